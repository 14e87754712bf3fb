"""One update under Paillier: c = (1 + m·n)·h_s^α mod n² for each leaf, and its submission proof.

All randomness follows from the seed, the key, the header and the values. Another value, header or
key means unrelated randomness, so that no crash, fork or restored snapshot can leave two ciphertexts
whose quotient shows the difference of two updates (PROTOCOL §7.5).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import gmpy2
import numpy as np
from gmpy2 import mpz

from ..digest import Digest, derive, secret_stream, sha256
from ..errors import Refused
from ..runs import Run
from .keys import PublicKey
from .packing import pack_lanes
from .residues import FixedBase, pack
from .submission import prove_submission
from .suite import IntVector, Seed

_TABLE_PAYS_FROM: Final = 64  # ciphertexts; below, building the table costs more than it saves


class PaillierEncryption:
    """Implements `Encryption` for a capsule that carries all the values."""

    def __init__(self, key: PublicKey, values: IntVector, *, lanes: int, seed: Seed, header: bytes) -> None:
        self._key = key
        self._header = header
        padded = np.zeros(-(-len(values) // lanes) * lanes, dtype=np.int64)
        padded[: len(values)] = values
        self._plaintexts = [pack_lanes(row) % key.n for row in padded.reshape(-1, lanes)]
        written = values.astype(">i8").tobytes()
        self._secret = derive(seed, "encrypt", key.digest, sha256(header), sha256(written))

    def run(self, run: Run) -> bytes:
        last = run.first + run.count - 1
        if run.first < 1 or last > len(self._plaintexts):
            raise Refused(f"expected leaves in 1 … {len(self._plaintexts)}, found {run.first} … {last}")
        n, n_squared, mask = self._key.n, self._key.n_squared, self._masking()
        return pack(
            (
                (1 + self._plaintexts[leaf - 1] * n) * mask(self._randomiser(leaf)) % n_squared
                for leaf in range(run.first, last + 1)
            ),
            2 * self._key.width,
        )

    def prove(self, root: Digest) -> bytes:
        return prove_submission(
            self._key,
            self._plaintexts,
            [self._randomiser(leaf) for leaf in range(1, 1 + len(self._plaintexts))],
            secret=self._secret,
            header=self._header,
            root=root,
        )

    def _randomiser(self, leaf: int) -> mpz:
        """α: leaf k uses stream k."""
        length = self._key.randomiser_bits // 8
        stream = secret_stream(self._secret, "randomiser", length, leaf.to_bytes(8, "big"))
        return mpz.from_bytes(stream, "big")

    def _masking(self) -> Callable[[mpz], mpz]:
        """α ↦ h_s^α mod n², by whichever way is quicker for so many."""
        if len(self._plaintexts) >= _TABLE_PAYS_FROM:
            return _table(self._key).power
        return lambda alpha: gmpy2.powmod_sec(self._key.h_s, alpha, self._key.n_squared)


@lru_cache(maxsize=2)  # 38 MB at 3072 bits
def _table(key: PublicKey) -> FixedBase:
    return FixedBase(key.h_s, key.n_squared, key.randomiser_bits)
