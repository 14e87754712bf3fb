"""The vault: nothing is overwritten, nothing is half written, nobody else can read it."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from federation.ciphers.suite import KeyShare
from federation.digest import Digest, LedgerId, labelled
from federation.errors import Refused
from federation.events import RoundId, StudyId
from federation.identity import Identity
from federation.rehearsal import sealing_secret
from federation.seal import SealingSecret
from node.vault import Vault, forget_key_share, keep_key_share, read_key_share

from ..rehearsing import A, B, flip
from ..seams import Crash, Fuse, FusedVault
from .ward import identity

LEDGER = LedgerId(labelled("here"))
FIRST, SECOND = RoundId(StudyId(1), 1), RoundId(StudyId(1), 2)
VALUES = np.array([0, -1, 2**40, -(2**40), 7], np.int64)
KEY = labelled("a key")
SHARE = KeyShare(b"a share of the key, which nobody else may see")


def vault(folder: Path, who: Identity | None = None, ledger: LedgerId = LEDGER) -> Vault:
    return Vault(folder, who or identity(A), ledger, os.urandom)


def test_the_seed_is_made_once_and_stays(tmp_path: Path) -> None:
    first = vault(tmp_path).seed()
    assert len(first) == 32
    assert vault(tmp_path).seed() == first
    assert vault(tmp_path / "another").seed() != first


def test_a_lost_seed_is_not_replaced_while_updates_made_with_it_are_here(tmp_path: Path) -> None:
    ours = vault(tmp_path)
    ours.seed()
    ours.keep_values(FIRST, VALUES)
    (tmp_path / "seed").unlink()
    with pytest.raises(Refused, match="restore the newest vault"):
        ours.seed()


def test_values_come_back_as_they_were_kept(tmp_path: Path) -> None:
    ours = vault(tmp_path)
    assert not ours.has_values(FIRST)
    ours.keep_values(FIRST, VALUES)
    again = vault(tmp_path)
    assert again.has_values(FIRST)
    assert again.values(FIRST).dtype == np.int64
    assert np.array_equal(again.values(FIRST), VALUES)
    assert not again.has_values(SECOND)
    assert not vault(tmp_path, ledger=LedgerId(labelled("there"))).has_values(FIRST)


LARGE = np.arange((5 << 20) // 16, dtype=np.int64)  # two pieces and a half


@pytest.mark.parametrize("size", [0, 1, (1 << 20) // 8, (1 << 20) // 8 + 1, len(LARGE)])
def test_values_of_any_size_come_back(tmp_path: Path, size: int) -> None:
    vault(tmp_path).keep_values(FIRST, LARGE[:size])
    assert np.array_equal(vault(tmp_path).values(FIRST), LARGE[:size])


BOX = (1 << 20) + 80


@pytest.mark.parametrize(
    "alter",
    [
        lambda data: data[:BOX],
        lambda data: data[: 2 * BOX],
        lambda data: data[BOX:],
        lambda data: data[BOX : 2 * BOX] + data[:BOX] + data[2 * BOX :],
        lambda data: data + data[-BOX:],
        lambda data: data[:-1],
        lambda data: data[:0],
    ],
    ids=["first alone", "last gone", "first gone", "swapped", "one more", "cut off", "empty"],
)
def test_pieces_that_are_not_the_ones_that_were_kept_are_refused(tmp_path: Path, alter) -> None:
    ours = vault(tmp_path)
    ours.keep_values(FIRST, LARGE)
    (path,) = tmp_path.glob("values-*")
    path.write_bytes(alter(path.read_bytes()))
    with pytest.raises(Refused, match="altered"):
        ours.values(FIRST)


def test_another_update_for_the_same_round_is_refused_and_the_first_stays(tmp_path: Path) -> None:
    ours = vault(tmp_path)
    ours.keep_values(FIRST, VALUES)
    ours.keep_values(FIRST, VALUES.copy())
    for other in (VALUES + 1, VALUES[:-1]):
        with pytest.raises(Refused, match="never encrypt twice"):
            ours.keep_values(FIRST, other)
    ours.keep_values(SECOND, VALUES + 1)
    assert np.array_equal(ours.values(FIRST), VALUES)


def test_another_identity_reads_nothing(tmp_path: Path) -> None:
    ours = vault(tmp_path)
    ours.seed()
    ours.keep_values(FIRST, VALUES)
    theirs = vault(tmp_path, replace(identity(A), sealing_secret=SealingSecret(sealing_secret(B))))
    for read in (theirs.seed, lambda: theirs.values(FIRST)):
        with pytest.raises(Refused, match="not this identity's, or altered"):
            read()


@pytest.mark.parametrize("position", [0, 31, 32, 63, 64, -1])
def test_an_altered_file_is_refused_by_its_name(tmp_path: Path, position: int) -> None:
    ours = vault(tmp_path)
    ours.keep_values(FIRST, VALUES)
    (file,) = tmp_path.glob("values-*")
    file.write_bytes(flip(file.read_bytes(), position))
    with pytest.raises(Refused, match=file.name):
        ours.values(FIRST)


def test_one_files_content_is_refused_under_anothers_name(tmp_path: Path) -> None:
    ours = vault(tmp_path)
    ours.keep_values(FIRST, VALUES)
    ours.keep_values(SECOND, VALUES + 1)
    one, two = sorted(tmp_path.glob("values-*"))
    two.write_bytes(one.read_bytes())
    with pytest.raises(Refused, match="altered"):
        ours.values(SECOND)


def test_no_file_holds_a_secret_in_the_clear_and_all_are_their_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "vault"
    before = os.umask(0)
    try:
        ours = vault(folder)
        seed = ours.seed()
        ours.keep_values(FIRST, VALUES)
        keep_key_share(folder, "pass phrase", SHARE, key=KEY, random=os.urandom)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = list(folder.iterdir())
    assert len(files) == 3
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        for secret in (seed, SHARE, VALUES.tobytes(), b"pass phrase"):
            assert secret not in file.read_bytes()
            assert secret.hex().encode() not in file.read_bytes()


@pytest.mark.parametrize("touches", [0, 1])
def test_a_write_that_was_cut_off_leaves_nothing_and_can_be_made_again(tmp_path: Path, touches: int) -> None:
    cut_off = FusedVault(tmp_path, identity(A), LEDGER, os.urandom)
    cut_off.fuse = Fuse(touches)
    with pytest.raises(Crash):
        cut_off.keep_values(FIRST, VALUES)
    ours = vault(tmp_path)
    assert not ours.has_values(FIRST)
    ours.keep_values(FIRST, VALUES + 5)
    assert np.array_equal(ours.values(FIRST), VALUES + 5)


def test_a_key_share_is_kept_under_the_password_and_never_overwritten(tmp_path: Path) -> None:
    path = keep_key_share(tmp_path, "pass phrase", SHARE, key=KEY, random=os.urandom)
    held = path.read_bytes()
    assert read_key_share(tmp_path, "pass phrase", key=KEY) == SHARE
    with pytest.raises(Refused, match="already in the vault"):
        keep_key_share(tmp_path, "pass phrase", KeyShare(b"another"), key=KEY, random=os.urandom)
    assert path.read_bytes() == held
    with pytest.raises(Refused, match="wrong password"):
        read_key_share(tmp_path, "Pass phrase", key=KEY)


def test_a_missing_key_share_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="tally node keys --settings … --accept …"):
        read_key_share(tmp_path, "pass phrase", key=KEY)


def test_keys_whose_digests_begin_alike_are_kept_apart(tmp_path: Path) -> None:
    """Two such keys are found in 2^32 tries: forgetting one must not destroy the share of the other."""
    alike = Digest(KEY[:8] + bytes(24))
    keep_key_share(tmp_path, "pass phrase", SHARE, key=KEY, random=os.urandom)
    keep_key_share(tmp_path, "pass phrase", KeyShare(b"another"), key=alike, random=os.urandom)
    forget_key_share(tmp_path, alike, random=os.urandom)
    assert read_key_share(tmp_path, "pass phrase", key=KEY) == SHARE


def test_one_keys_share_is_refused_as_anothers(tmp_path: Path) -> None:
    path = keep_key_share(tmp_path, "pass phrase", SHARE, key=KEY, random=os.urandom)
    other = labelled("another key")
    path.rename(path.with_name(path.name.replace(KEY.hex(), other.hex())))
    with pytest.raises(Refused, match="altered"):
        read_key_share(tmp_path, "pass phrase", key=other)


def test_a_vault_that_cannot_be_written_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Refused, match="file: expected a folder"):
        vault(tmp_path / "file")
    ours = vault(tmp_path / "vault")
    (tmp_path / "vault" / "seed.partial").mkdir()
    with pytest.raises(Refused, match="seed: cannot be written"):
        ours.seed()
