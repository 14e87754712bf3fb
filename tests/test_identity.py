"""Keys on disk: never overwritten, never readable without the password, never printed."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from federation.errors import Refused
from federation.identity import (
    ACCOUNT_FILE,
    PASSWORD_VARIABLE,
    PREDECESSORS_FILE,
    SEALING_FILE,
    Identity,
    create_identity,
    load_identity,
    lock,
    make_folder,
    read_file,
    read_password,
    sealing_key_hex,
    unlock,
    write_secret,
)
from federation.members import show_address
from federation.seal import SealingSecret, seal_to, sealing_key_of, unseal_with

PASSWORD = "a pass phrase of some length"
COST = 1 << 4  # a test has no secrets: real files take half a second each


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Identity]:
    folder = tmp_path_factory.mktemp("made") / "identity"
    return folder, create_identity(folder, PASSWORD, os.urandom, cost=COST)


def test_what_was_made_is_loaded_again(made: tuple[Path, Identity]) -> None:
    folder, identity = made
    loaded = load_identity(folder, PASSWORD)
    assert loaded.address == identity.address
    assert loaded.sealing_secret == identity.sealing_secret
    assert loaded.account.key == identity.account.key


def test_an_heir_reads_what_was_sealed_before_and_knows_its_names(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second", "third")]
    first = create_identity(folders[0], PASSWORD, os.urandom, cost=COST)
    second = create_identity(folders[1], PASSWORD, os.urandom, cost=COST, heir_of=first)
    create_identity(folders[2], PASSWORD, os.urandom, cost=COST, heir_of=second)
    heir = load_identity(folders[2], PASSWORD)
    assert heir.sealing_secret == first.sealing_secret
    assert heir.predecessors == (second.address, first.address)
    assert heir.named_among([first.address]) == first.address
    assert heir.named_among([first.address, second.address]) == second.address
    assert heir.named_among([first.address, heir.address]) == heir.address
    assert heir.named_among([]) == heir.address
    assert load_identity(folders[0], PASSWORD).named_among([heir.address]) == first.address


@pytest.mark.parametrize("text", ["no JSON", "7", '["0x12"]'])
def test_a_list_of_predecessors_that_is_none_is_refused_by_name(tmp_path: Path, text: str) -> None:
    first = create_identity(tmp_path / "first", PASSWORD, os.urandom, cost=COST)
    create_identity(tmp_path / "heir", PASSWORD, os.urandom, cost=COST, heir_of=first)
    (tmp_path / "heir" / PREDECESSORS_FILE).write_text(text)
    with pytest.raises(Refused, match=r"predecessors\.json: expected an array of addresses"):
        load_identity(tmp_path / "heir", PASSWORD)


def test_the_keystore_is_one_that_other_wallets_read(made: tuple[Path, Identity]) -> None:
    folder, identity = made
    keystore = json.loads((folder / ACCOUNT_FILE).read_text())
    assert keystore["version"] == 3
    assert "0x" + keystore["address"].removeprefix("0x").lower() == show_address(identity.address)


def test_the_public_half_is_the_one_that_boxes_are_sealed_to(made: tuple[Path, Identity]) -> None:
    _, identity = made
    key = sealing_key_of(identity.sealing_secret)
    assert sealing_key_hex(identity) == key.hex()
    box = seal_to(key, b"for us", context=b"", ephemeral=SealingSecret(os.urandom(32)))
    assert unseal_with(identity.sealing_secret, box, context=b"") == b"for us"


def test_existing_keys_are_never_overwritten(made: tuple[Path, Identity], tmp_path: Path) -> None:
    folder, identity = made
    with pytest.raises(Refused, match="no key is lost"):
        create_identity(folder, "another", os.urandom, cost=COST)
    assert load_identity(folder, PASSWORD).address == identity.address
    (tmp_path / SEALING_FILE).write_text("one of two is enough")
    with pytest.raises(Refused, match=SEALING_FILE):
        create_identity(tmp_path, PASSWORD, os.urandom, cost=COST)
    assert not (tmp_path / ACCOUNT_FILE).exists()


def test_files_are_their_owners_alone_and_hold_no_secret_in_the_clear(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        identity = create_identity(tmp_path / "keys", PASSWORD, os.urandom, cost=COST)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    files = sorted((tmp_path / "keys").iterdir())
    assert [file.name for file in files] == [ACCOUNT_FILE, SEALING_FILE]
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        content = file.read_bytes()
        for secret in (bytes(identity.account.key), identity.sealing_secret, PASSWORD.encode()):
            assert secret not in content
            assert secret.hex().encode() not in content


def test_an_identity_is_never_printed(made: tuple[Path, Identity]) -> None:
    _, identity = made
    shown = f"{identity} {identity!r}"
    assert identity.account.address in shown
    assert identity.sealing_secret.hex() not in shown
    assert bytes(identity.account.key).hex() not in shown


def test_a_wrong_password_is_refused_by_the_files_name_and_without_the_password(
    made: tuple[Path, Identity],
) -> None:
    folder, _ = made
    with pytest.raises(Refused, match=f"{ACCOUNT_FILE}: wrong password") as caught:
        load_identity(folder, "a wrong pass phrase")
    assert "pass phrase" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", '"text"', "nonsense", '{"version": 3}', '{"version": 4, "crypto": {}}', "\udcff\udcfe"],
)
def test_a_file_that_is_no_keystore_is_refused(
    made: tuple[Path, Identity], tmp_path: Path, content: str
) -> None:
    (tmp_path / ACCOUNT_FILE).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(Refused, match="no keystore of version 3"):
        load_identity(tmp_path, PASSWORD)
    (tmp_path / ACCOUNT_FILE).write_bytes((made[0] / ACCOUNT_FILE).read_bytes())
    (tmp_path / SEALING_FILE).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(Refused, match="expected a locked file of version 1"):
        load_identity(tmp_path, PASSWORD)


def test_missing_keys_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=rf"{ACCOUNT_FILE}: cannot be read: No such file"):
        load_identity(tmp_path, PASSWORD)


def test_a_locked_secret_opens_with_its_password_and_context_alone(tmp_path: Path) -> None:
    path = tmp_path / "locked"
    path.write_bytes(lock(b"secret", PASSWORD, context=b"here", random=os.urandom, cost=COST))
    assert unlock(path, PASSWORD, context=b"here") == b"secret"
    for password, context in ((PASSWORD + " ", b"here"), (PASSWORD, b"there"), ("", b"here")):
        with pytest.raises(Refused, match="wrong password, or the file was altered"):
            unlock(path, password, context=context)


@pytest.mark.parametrize("cost", [0, 1, 3, -16, 1 << 21, 1 << 60, "x", None])
def test_a_cost_that_would_exhaust_memory_or_protect_nothing_is_refused(tmp_path: Path, cost: object) -> None:
    path = tmp_path / "locked"
    document = json.loads(lock(b"secret", PASSWORD, context=b"", random=os.urandom, cost=COST))
    path.write_text(json.dumps(document | {"n": cost}))
    with pytest.raises(Refused, match="locked file of version 1"):
        unlock(path, PASSWORD, context=b"")


def test_the_password_is_the_files_first_line(tmp_path: Path) -> None:
    file = tmp_path / "password"
    for content in (PASSWORD, PASSWORD + "\n", PASSWORD + "\r\n", PASSWORD + "\nsecond line\n"):
        file.write_bytes(content.encode())
        assert read_password(file) == PASSWORD


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "found none"), (b"\nlater", "found none"), (b"\xff\xfe", "UTF-8")]
)
def test_a_password_file_without_a_password_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "password").write_bytes(content)
    with pytest.raises(Refused, match=words) as caught:
        read_password(tmp_path / "password")
    assert caught.value.__cause__ is None


def test_without_a_file_the_environment_holds_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    assert read_password(None) == PASSWORD
    for unset in (
        lambda: monkeypatch.setenv(PASSWORD_VARIABLE, ""),
        lambda: monkeypatch.delenv(PASSWORD_VARIABLE),
    ):
        unset()
        with pytest.raises(Refused, match=f"set password_file in the settings, or {PASSWORD_VARIABLE}"):
            read_password(None)


def test_a_secret_replaces_a_half_written_one_and_takes_none_of_its_modes(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    partial = tmp_path / "secret.partial"
    partial.write_bytes(b"of a run that was killed")
    partial.chmod(0o666)
    write_secret(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not partial.exists()


def test_a_secret_is_not_written_through_a_link_that_somebody_has_laid(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (tmp_path / "secret.partial").symlink_to(victim)
    write_secret(tmp_path / "secret", b"whole")
    assert victim.read_bytes() == b"untouched"
    assert (tmp_path / "secret").read_bytes() == b"whole"


def test_places_that_cannot_be_used_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Refused, match="file: expected a folder"):
        make_folder(tmp_path / "file")
    with pytest.raises(Refused, match="secret: cannot be written"):
        write_secret(tmp_path / "nowhere" / "secret", b"")
    with pytest.raises(Refused, match="cannot be read: Is a directory"):
        read_file(tmp_path)
