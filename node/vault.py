"""What must survive this node, encrypted at rest: key share, seed, and each round's integers, share, model.

The key share is locked by the password itself; the rest by a key derived from the sealing secret, which the
password locks. Everything is on disk before anything that depends on it is sent (PROTOCOL §10.2).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from federation.arithmetic import IntVector, Model
from federation.ciphers.suite import KeyShare, Seed
from federation.digest import Digest, LedgerId, derive, labelled
from federation.errors import Refused, Violation
from federation.events import RoundId
from federation.identity import Identity, lock, make_folder, read_file, unlock, write_secret
from federation.seal import ContentKey, seal, unseal

SEED_BYTES: Final = 32
_INTEGER: Final = np.dtype("<i8")
_PARAMETER: Final = np.dtype("<f4")


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
        return Seed(self._read(path))

    def keep_values(self, round: RoundId, values: IntVector) -> None:
        """This round's integers are durable; raises `Refused` where others were kept for it."""
        path = self._values_path(round)
        if path.exists():
            if not np.array_equal(self.values(round), values):
                problem = "the vault holds another update: never encrypt twice in one round"
                raise Refused(f"round {round}: {problem}")
            return
        self._write(path, values.astype(_INTEGER).tobytes())

    def has_values(self, round: RoundId) -> bool:
        """Whether this round's update was trained and kept."""
        return self._values_path(round).exists()

    def values(self, round: RoundId) -> IntVector:
        """The integers kept for this round."""
        return np.frombuffer(self._read(self._values_path(round)), _INTEGER).astype(np.int64)

    def keep_share(self, round: RoundId, share: bytes) -> None:
        """The bytes of this round's share are durable, for when the ledger shows that it was given."""
        self._write(self._path("share", round), share)

    def share(self, round: RoundId) -> bytes:
        """The share kept for this round."""
        return self._read(self._path("share", round))

    def keep_model(self, round: RoundId, model: Model) -> None:
        """The model that we recomputed for this round is durable: it need not be recomputed again."""
        self._write(self._path("model", round), model.astype(_PARAMETER).tobytes())

    def model(self, round: RoundId) -> Model | None:
        """The model kept for this round, if any."""
        path = self._path("model", round)
        return np.frombuffer(self._read(path), _PARAMETER).astype(np.float32) if path.exists() else None

    def _values_path(self, round: RoundId) -> Path:
        return self._path("values", round)

    def _path(self, kind: str, round: RoundId) -> Path:
        return self._directory / f"{kind}-{self._ledger.hex()[:16]}-{round.study}-{round.number}"

    def _write(self, path: Path, secret: bytes) -> None:
        box = seal(self._key, secret, context=_context(path), nonce=self._random(32))
        write_secret(path, box)

    def _read(self, path: Path) -> bytes:
        try:
            return unseal(self._key, read_file(path), context=_context(path))
        except Violation as error:
            raise Refused(f"{path}: not this identity's, or altered: restore it from a backup") from error


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


def _share_path(directory: Path, key: Digest) -> Path:
    return directory / f"key-share-{key.hex()[:16]}.json"


def _share_context(key: Digest) -> bytes:
    return labelled("key-share-file", key)


def _context(path: Path) -> bytes:
    return labelled("vault-file", path.name.encode())
