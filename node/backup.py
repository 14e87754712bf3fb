"""A backup of this node's key shares: one file under a passphrase of its own (PROTOCOL §10.2).

It holds the shares and what is known of openings, so that a new vault does not begin to count at nothing
(`openings`), and on purpose neither seed nor journal nor updates. An old seed would encrypt again
under randomness that was used; an old journal would deny what was done since. Whoever restores starts
with a fresh seed and takes part in rounds that had not begun (`restored`). The identity is backed up by
copying its folder, which is locked already.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from federation import cbor
from federation.ciphers.suite import KeyShare
from federation.dealing import PublicKey
from federation.digest import DIGEST_BYTES, Digest, labelled
from federation.errors import Refused
from federation.identity import SCRYPT_COST, lock, make_folder, read_file, unlock, write_secret
from federation.members import Address, parse_address, show_address

from .openings import StudyOpenings, remember_restored, remembered
from .restored import mark_restored
from .vault import held_key_shares, keep_key_share, read_key_share

WHAT: Final = "tallystick node backup"
BACKUP_LIMIT: Final = 1 << 20  # bytes
_SHARES: Final = 1  # keys of the CBOR map
_OPENINGS: Final = 2

Shares = Mapping[Digest, KeyShare]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What a backup brings back."""

    shares: Shares
    openings: tuple[StudyOpenings, ...] = ()


def gather(directory: Path, password: str) -> Backup:
    """Every key share in the vault, unlocked, and its openings; raises `Refused` where there is no share."""
    held = held_key_shares(directory)
    if not held:
        raise Refused(f"no key share in {directory}: there is nothing to back up before one is accepted")
    shares = {share.key: read_key_share(directory, password, key=share.key) for share in held}
    return Backup(shares=shares, openings=tuple(remembered(directory)))


def write_backup(
    path: Path,
    passphrase: str,
    backup: Backup,
    *,
    member: Address,
    random: Callable[[int], bytes],
    cost: int = SCRYPT_COST,
) -> None:
    """What `member` holds lies in `path`, locked; raises `Refused` rather than overwrite a file."""
    if path.exists():
        raise Refused(f"{path} exists: a backup is never overwritten; choose a new file")
    keys = sorted(backup.shares)
    shares: list[cbor.Value] = [[key, bytes(backup.shares[key])] for key in keys]
    content = cbor.encode({_SHARES: shares, _OPENINGS: [_written(one) for one in backup.openings]})
    locked: dict[str, object] = json.loads(
        lock(content, passphrase, context=_context(member, keys), random=random, cost=cost)
    )
    heading = {"what": WHAT, "member": show_address(member), "keys": [key.hex() for key in keys]}
    write_secret(path, (json.dumps(heading | locked, indent=2) + "\n").encode())


def owner_of(path: Path) -> Address:
    """Whose shares a backup says it holds; raises `Refused` for any other file."""
    owner, _ = _heading(path)
    return owner


def read_backup(path: Path, passphrase: str, *, member: Address) -> Backup:
    """What is in a backup of this member; raises `Refused` for another's, or where it does not open."""
    owner, keys = _heading(path)
    if owner != member:
        expected = f"a backup of {show_address(member)}, whose identity the settings name"
        raise Refused(f"{path}: expected {expected}, found one of {show_address(owner)}")
    content = unlock(path, passphrase, context=_context(member, keys))
    match cbor.decode(content, limit=BACKUP_LIMIT):
        case {1: list() as pairs, 2: list() as openings}:
            found = {
                Digest(key): KeyShare(share)
                for pair in pairs
                if isinstance(pair, list)
                for key, share in [pair]
                if isinstance(key, bytes) and isinstance(share, bytes)
            }
            if sorted(found) == sorted(keys):
                return Backup(shares=found, openings=tuple(_read(path, one) for one in openings))
    raise Refused(f"{path}: expected the shares of {len(keys)} keys, found others: another program wrote it")


def check_shares(shares: Shares, publics: Iterable[PublicKey], *, member: Address) -> None:
    """Each of these keys has a share here that belongs to it; raises `Refused` or `Violation`."""
    for public in publics:
        suite = public.resolve()
        if suite.key_digest not in shares:
            known = ", ".join(key.hex() for key in sorted(shares))
            raise Refused(
                f"--public-key: expected a key that the backup has a share of ({known}), "
                f"found {suite.key_digest.hex()}"
            )
        if member not in public.members:
            raise Refused(f"--public-key: {show_address(member)} holds no share of {suite.key_digest.hex()}")
        suite.check_key_share(public.members.index(member) + 1, shares[suite.key_digest])


def restore(directory: Path, password: str, backup: Backup, *, random: Callable[[int], bytes]) -> list[Path]:
    """The shares are in the vault, none overwritten; every round that began before is sat out.

    Openings count as in the backup, and for what was opened since. They and the mark come before the first
    share: cut off in between, the vault is more careful than it has to be.
    """
    held = {share.key: share.path for share in held_key_shares(directory)}
    for key in backup.shares:
        if key in held:
            raise Refused(f"{held[key]} exists: nothing is restored over a share that is here")
    make_folder(directory)
    mark_restored(directory)
    remember_restored(directory, backup.openings)
    return [
        keep_key_share(directory, password, share, key=key, random=random)
        for key, share in backup.shares.items()
    ]


def _written(openings: StudyOpenings) -> cbor.Value:
    rounds: list[cbor.Value] = list(openings.rounds)
    return [bytes.fromhex(openings.ledger), openings.study, openings.most, rounds]


def _read(path: Path, value: cbor.Value) -> StudyOpenings:
    match value:
        case [bytes() as ledger, int() as study, int() as most, list() as rounds] if all(
            isinstance(number, int) for number in rounds
        ):
            try:
                return StudyOpenings.model_validate(
                    {"ledger": ledger.hex(), "study": study, "most": most, "rounds": rounds}
                )
            except ValidationError:
                pass
    raise Refused(
        f"{path}: expected openings [ledger, study, most, rounds], found others: make another backup"
    )


def _heading(path: Path) -> tuple[Address, list[Digest]]:
    data = read_file(path)
    if len(data) <= BACKUP_LIMIT:
        try:
            document: object = json.loads(data)
            match document:
                case {"what": found, "member": str() as member, "keys": list() as keys} if found == WHAT:
                    digests = [Digest(bytes.fromhex(key)) for key in keys]
                    if all(len(digest) == DIGEST_BYTES for digest in digests):
                        return parse_address(member), digests
        except (ValueError, TypeError, RecursionError, Refused):
            pass
    raise Refused(f"{path}: expected a file of `tally node backup`, found something else")


def _context(member: Address, keys: Iterable[Digest]) -> bytes:
    return labelled("node-backup", member, *keys)
