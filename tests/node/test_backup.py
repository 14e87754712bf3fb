"""A backup opens for its member under its passphrase alone, and a restored vault does nothing twice."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation import cbor
from federation.ciphers.suite import KeyShare
from federation.dealing import PublicKey
from federation.digest import Digest, labelled
from federation.errors import Refused, Violation
from federation.identity import lock
from node.backup import Backup, check_shares, gather, read_backup, restore, write_backup
from node.notes import replace_note
from node.openings import StudyOpenings, remembered
from node.restored import MARK
from node.vault import forget_key_share, held_key_shares, keep_key_share, read_key_share

from ..rehearsing import HOSPITALS, A, B, key_of

DEALING = key_of("paillier")
PUBLIC = PublicKey(suite="paillier", key=DEALING.public_key, members=HOSPITALS)
KEY = PUBLIC.resolve().key_digest
OTHER = labelled("the key of another epoch")
SHARES = {KEY: DEALING.key_shares[0], OTHER: KeyShare(b"a share of another epoch's key")}
COST = 1 << 4  # of scrypt: a test has no secrets
OPENED = StudyOpenings(ledger="ab" * 32, study=3, most=10, rounds=(1, 2, 4))
KEPT = Backup(shares=SHARES, openings=(OPENED,))


def written(path: Path, backup: Backup = KEPT, passphrase: str = "a passphrase") -> Path:
    write_backup(path, passphrase, backup, member=A, random=os.urandom, cost=COST)
    return path


def shares_of(backup: Backup) -> list[cbor.Value]:
    return [[key, bytes(share)] for key, share in sorted(backup.shares.items())]


def test_what_was_backed_up_comes_back(tmp_path: Path) -> None:
    for key, share in SHARES.items():
        keep_key_share(tmp_path / "vault", "password", share, key=key, random=os.urandom)
    replace_note(tmp_path / "vault" / "openings", "any name", OPENED)
    path = written(tmp_path / "backup", gather(tmp_path / "vault", "password"))
    found = read_backup(path, "a passphrase", member=A)
    assert found == KEPT
    restore(tmp_path / "new", "new password", found, random=os.urandom)
    for key, share in SHARES.items():
        assert read_key_share(tmp_path / "new", "new password", key=key) == share
    assert {held.key for held in held_key_shares(tmp_path / "new")} == {*SHARES}
    assert remembered(tmp_path / "new") == [OPENED.model_copy(update={"restored": True})]


def test_a_restored_count_stands_for_all_that_may_have_been_opened_since(tmp_path: Path) -> None:
    own = OPENED.model_copy(update={"rounds": (4, 5)})
    replace_note(tmp_path / "openings", f"{own.ledger}-{own.study}", own)
    restore(tmp_path, "password", KEPT, random=os.urandom)
    (found,) = remembered(tmp_path)
    assert found.rounds == (1, 2, 4, 5), "nothing that was known here is forgotten"
    assert (OPENED.count, found.count) == (3, 10)


@pytest.mark.parametrize(
    "line", [7, [b"\xab" * 31, 3, 10, [1]], [b"\xab" * 32, 0, 10, [1]], [b"\xab" * 32, 3, 10, ["1"]]]
)
def test_openings_that_are_none_are_refused(line: cbor.Value, tmp_path: Path) -> None:
    path = written(tmp_path / "backup")
    context = labelled("node-backup", A, *sorted(SHARES))
    content = cbor.encode({1: shares_of(KEPT), 2: [line]})
    locked = lock(content, "a passphrase", context=context, random=os.urandom, cost=COST)
    path.write_text(json.dumps(json.loads(path.read_text()) | json.loads(locked)))
    with pytest.raises(Refused, match="expected openings"):
        read_backup(path, "a passphrase", member=A)


@given(shares=st.dictionaries(st.binary(min_size=32, max_size=32), st.binary(max_size=900), max_size=5))
def test_any_shares_come_back(shares: dict[bytes, bytes], tmp_path_factory) -> None:
    path = tmp_path_factory.getbasetemp() / "any-backup"
    path.unlink(missing_ok=True)
    kept = Backup(shares={Digest(key): KeyShare(share) for key, share in shares.items()})
    assert read_backup(written(path, kept), "a passphrase", member=A) == kept


def test_a_backup_shows_whose_it_is_and_no_secret(tmp_path: Path) -> None:
    path = written(tmp_path / "backup")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = json.loads(path.read_text())
    assert document["member"] == f"0x{A.hex()}"
    assert document["keys"] == sorted(key.hex() for key in SHARES)
    for share in SHARES.values():
        assert share.hex() not in path.read_text()
    with pytest.raises(Refused, match="never overwritten"):
        written(path)


def test_a_wrong_passphrase_and_another_member_are_told_apart(tmp_path: Path) -> None:
    path = written(tmp_path / "backup")
    with pytest.raises(Refused, match="wrong password, or the file was altered"):
        read_backup(path, "A passphrase", member=A)
    whose = f"expected a backup of 0x{B.hex()}, .* found one of 0x{A.hex()}"
    with pytest.raises(Refused, match=whose):
        read_backup(path, "a passphrase", member=B)


@pytest.mark.parametrize("field", ["member", "keys", "box", "salt", "n", "what"])
def test_every_altered_field_of_a_backup_is_found(field: str, tmp_path: Path) -> None:
    path = written(tmp_path / "backup")
    document = json.loads(path.read_text())
    value = document[field]
    match value:
        case int():
            document[field] = value * 2
        case list():
            document[field] = value[:1]
        case _:
            document[field] = value[:-1] + ("0" if value[-1] != "0" else "1")
    path.write_text(json.dumps(document))
    with pytest.raises(Refused, match="backup: "):
        read_backup(path, "a passphrase", member=A)


def test_another_owner_written_over_the_first_does_not_open_it(tmp_path: Path) -> None:
    path = written(tmp_path / "backup")
    path.write_text(path.read_text().replace(A.hex(), B.hex()))
    with pytest.raises(Refused, match="altered"):
        read_backup(path, "a passphrase", member=B)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"what": "tallystick node backup", "keys": [1]}', "\x00"])
def test_what_is_no_backup_is_refused_by_its_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "other").write_text(text)
    with pytest.raises(Refused, match="other: expected a file of `tally node backup`"):
        read_backup(tmp_path / "other", "a passphrase", member=A)


def test_a_backup_whose_content_is_not_what_its_heading_says_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "backup")
    context = labelled("node-backup", A, *sorted(SHARES))
    for content in ({1: [[KEY, b"share"]], 2: []}, {1: [7], 2: []}, {2: []}, {1: shares_of(KEPT)}):
        locked = lock(cbor.encode(content), "a passphrase", context=context, random=os.urandom, cost=COST)
        path.write_text(json.dumps(json.loads(path.read_text()) | json.loads(locked)))
        with pytest.raises(Refused, match="expected the shares of 2 keys"):
            read_backup(path, "a passphrase", member=A)


def test_shares_are_checked_against_the_keys_that_are_given() -> None:
    check_shares(SHARES, [PUBLIC], member=A)
    check_shares(SHARES, [], member=A)
    with pytest.raises(Violation):
        check_shares({KEY: DEALING.key_shares[1]}, [PUBLIC], member=A)
    with pytest.raises(Refused, match=rf"a share of \({OTHER.hex()}\), found {KEY.hex()}"):
        check_shares({OTHER: SHARES[OTHER]}, [PUBLIC], member=A)
    with pytest.raises(Refused, match="holds no share of"):
        check_shares(SHARES, [PUBLIC], member=type(A)(b"\x09" * 20))


def test_nothing_is_restored_over_a_share_that_is_here(tmp_path: Path) -> None:
    path = keep_key_share(tmp_path, "password", KeyShare(b"ours"), key=OTHER, random=os.urandom)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(Refused, match=f"{path.name} exists"):
        restore(tmp_path, "password", KEPT, random=os.urandom)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_restore_that_is_cut_off_has_left_its_mark_first(tmp_path: Path) -> None:
    drawn = 0

    def random(size: int) -> bytes:
        nonlocal drawn
        drawn += 1
        if drawn > 2:  # the salt and the nonce of one share
            raise KeyboardInterrupt
        return os.urandom(size)

    with pytest.raises(KeyboardInterrupt):
        restore(tmp_path, "password", KEPT, random=random)
    assert (tmp_path / MARK).exists()
    assert len(held_key_shares(tmp_path)) == 1


def test_an_empty_vault_has_nothing_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="nothing to back up"):
        gather(tmp_path / "vault", "password")


def test_a_forgotten_share_is_overwritten_and_the_others_stay(tmp_path: Path) -> None:
    for key, share in SHARES.items():
        keep_key_share(tmp_path, "password", share, key=key, random=os.urandom)
    path = next(held.path for held in held_key_shares(tmp_path) if held.key == KEY)
    size, locked = path.stat().st_size, path.read_bytes()
    with path.open("rb") as still_open:
        assert forget_key_share(tmp_path, KEY, random=os.urandom) == path
        overwritten = still_open.read()
    assert len(overwritten) == size
    assert overwritten != locked
    assert not path.exists()
    assert [held.key for held in held_key_shares(tmp_path)] == [OTHER]
    with pytest.raises(Refused, match=f"expected one of those held, {OTHER.hex()}"):
        forget_key_share(tmp_path, KEY, random=os.urandom)


def test_a_file_that_is_no_key_share_is_named(tmp_path: Path) -> None:
    keep_key_share(tmp_path, "password", SHARES[KEY], key=KEY, random=os.urandom)
    for name in ("", "00", "xy", KEY.hex()[:16], KEY.hex() + "00", f"{KEY.hex()} (copy)"):
        path = tmp_path / f"key-share-{name}.json"
        path.write_bytes(b"{}")
        with pytest.raises(Refused, match=rf"key-share-{re.escape(name)}.json: expected the share of a key"):
            held_key_shares(tmp_path)
        path.unlink()
    assert [held.key for held in held_key_shares(tmp_path)] == [KEY]
