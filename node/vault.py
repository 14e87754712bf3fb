"""What must survive this node, encrypted at rest: key share, seed, and each round's integers, share, model.

The key share is locked by the password itself; the rest by a key derived from the sealing secret, which the
password locks. Everything is on disk before anything that depends on it is sent (PROTOCOL §10.2).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from federation.arithmetic import IntVector, Model
from federation.ciphers.suite import KeyShare, Seed
from federation.digest import DIGEST_BYTES, Digest, LedgerId, derive, labelled
from federation.errors import Refused, Violation
from federation.events import RoundId
from federation.identity import (
    Identity,
    lock,
    make_folder,
    sync_folder,
    unlock,
    write_secret,
    write_secret_pieces,
)
from federation.seal import OVERHEAD, ContentKey, seal, unseal

SEED_BYTES: Final = 32
_INTEGER: Final = np.dtype("<i8")
_PARAMETER: Final = np.dtype("<f4")
_PIECE: Final = 1 << 20  # bytes that are sealed in one box
_BOX: Final = _PIECE + OVERHEAD
_SHARE: Final = "key-share-"  # files are named so, and by the whole digest of the key


class Vault:
    """A folder that belongs to one identity on one ledger."""

    def __init__(
        self, directory: Path, identity: Identity, ledger: LedgerId, random: Callable[[int], bytes]
    ) -> None:
        self._directory = directory
        self._ledger = ledger
        self._random = random
        self._key = ContentKey(derive(identity.sealing_secret, "vault"))
        make_folder(directory)

    def seed(self) -> Seed:
        """The node's one secret seed, made on first use and durable before it is used."""
        path = self._directory / "seed"
        if not path.exists():
            if any(self._directory.glob("values-*")):
                raise Refused(f"{path} is missing beside updates made with it: restore the newest vault")
            self._write(path, self._random(SEED_BYTES))
        return Seed(bytes(self._read(path)))

    def keep_values(self, round: RoundId, values: IntVector) -> None:
        """This round's integers are durable; raises `Refused` where others were kept for it."""
        path = self._values_path(round)
        if path.exists():
            if not np.array_equal(self.values(round), values):
                problem = "the vault holds another update: never encrypt twice in one round"
                raise Refused(f"round {round}: {problem}")
            return
        self._write(path, values.astype(_INTEGER, copy=False).data.cast("B"))

    def has_values(self, round: RoundId) -> bool:
        """Whether this round's update was trained and kept."""
        return self._values_path(round).exists()

    def values(self, round: RoundId) -> IntVector:
        """The integers kept for this round."""
        return np.frombuffer(self._read(self._values_path(round)), _INTEGER).astype(np.int64, copy=False)

    def keep_share(self, round: RoundId, share: bytes) -> None:
        """The bytes of this round's share are durable, for when the ledger shows that it was given."""
        self._write(self._path("share", round), share)

    def share(self, round: RoundId) -> bytes:
        """The share kept for this round."""
        return bytes(self._read(self._path("share", round)))

    def keep_model(self, round: RoundId, model: Model) -> None:
        """The model that we recomputed for this round is durable: it need not be recomputed again."""
        self._write(self._path("model", round), model.astype(_PARAMETER, copy=False).data.cast("B"))

    def model(self, round: RoundId) -> Model | None:
        """The model kept for this round, if any."""
        path = self._path("model", round)
        if not path.exists():
            return None
        return np.frombuffer(self._read(path), _PARAMETER).astype(np.float32, copy=False)

    def _values_path(self, round: RoundId) -> Path:
        return self._path("values", round)

    def _path(self, kind: str, round: RoundId) -> Path:
        return self._directory / f"{kind}-{self._ledger.hex()[:16]}-{round.study}-{round.number}"

    def _write(self, path: Path, secret: bytes | memoryview) -> None:
        write_secret_pieces(path, self._boxes(path, secret))

    def _boxes(self, path: Path, secret: bytes | memoryview) -> Iterator[bytes]:
        """The secret in numbered pieces, the last one marked: none can be left out or moved."""
        for index in range(max(1, -(-len(secret) // _PIECE))):
            piece = secret[index * _PIECE : (index + 1) * _PIECE]
            context = _context(path, index, last=(index + 1) * _PIECE >= len(secret))
            yield seal(self._key, bytes(piece), context=context, nonce=self._random(32))

    def _read(self, path: Path) -> bytearray:
        """What was written; one piece at a time, so that nobody holds a whole update twice."""
        secret = bytearray()
        for index, (box, last) in enumerate(_pieces_of(path)):
            try:
                secret += unseal(self._key, box, context=_context(path, index, last=last))
            except Violation as error:
                raise Refused(f"{path}: not this identity's, or altered: restore it from a backup") from error
        return secret


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldShare:
    """A key share that lies in the vault, locked; there may be one for each key epoch."""

    key: Digest
    path: Path


def keep_key_share(
    directory: Path, password: str, share: KeyShare, *, key: Digest, random: Callable[[int], bytes]
) -> Path:
    """The share of the decryption key is locked by the password; raises `Refused` to overwrite one."""
    path = _share_path(directory, key)
    if path.exists():
        raise Refused(f"{path} exists: this key share is already in the vault")
    make_folder(directory)
    write_secret(path, lock(share, password, context=_share_context(key), random=random))
    return path


def read_key_share(directory: Path, password: str, *, key: Digest) -> KeyShare:
    """The share of the key with this digest; raises `Refused` with what to do where there is none."""
    path = _share_path(directory, key)
    if not path.exists():
        command = "tally node keys --settings … --accept … --public-key …"
        raise Refused(f"no share of key {key.hex()[:16]} in {directory}: run `{command}`")
    return KeyShare(unlock(path, password, context=_share_context(key)))


def held_key_shares(directory: Path) -> list[HeldShare]:
    """Every key share in the vault, by the digest of its key; needs no password."""
    return [HeldShare(key=_key_of(path), path=path) for path in sorted(directory.glob(f"{_SHARE}*.json"))]


def forget_key_share(directory: Path, key: Digest, *, random: Callable[[int], bytes]) -> Path:
    """The share of this key is overwritten and gone, as far as this file system tells the truth.

    Disks that spread their writes, file systems that copy on write, snapshots and backups may still hold it.
    """
    path = _share_path(directory, key)
    if not path.exists():
        known = ", ".join(held.key.hex() for held in held_key_shares(directory)) or "none"
        raise Refused(f"no share of key {key.hex()} in {directory}: expected one of those held, {known}")
    try:
        with path.open("r+b") as file:
            file.write(random(path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        sync_folder(directory)
    except OSError as error:
        raise Refused(f"{path}: cannot be destroyed: {error.strerror}; destroy it by hand") from error
    return path


def _key_of(path: Path) -> Digest:
    """The digest in the file's name."""
    try:
        key = bytes.fromhex(path.stem.removeprefix(_SHARE))
    except ValueError:
        key = b""
    if len(key) != DIGEST_BYTES:
        problem = "expected the share of a key, named by its whole digest, found another file"
        raise Refused(f"{path}: {problem}; move it away and accept the dealer's share again")
    return Digest(key)


def _share_path(directory: Path, key: Digest) -> Path:
    return directory / f"{_SHARE}{key.hex()}.json"


def _share_context(key: Digest) -> bytes:
    return labelled("key-share-file", key)


def _pieces_of(path: Path) -> Iterator[tuple[bytes, bool]]:
    """The boxes in a file of the vault, each with whether it is the last."""
    try:
        with path.open("rb") as file:
            box = file.read(_BOX)
            while following := file.read(_BOX):
                yield box, False
                box = following
            yield box, True
    except OSError as error:
        raise Refused(f"{path}: cannot be read: {error.strerror}") from error


def _context(path: Path, index: int, *, last: bool) -> bytes:
    return labelled("vault-file", path.name.encode(), index.to_bytes(8, "big"), bytes([last]))
