"""One vector under Paillier: c = (1 + m·n)·h_s^α mod n² for each leaf, and its submission proof.

All randomness follows from one secret, which the caller derives from seed, key, header and values:
another of these means unrelated randomness, so that no crash, fork or restored snapshot can leave two
ciphertexts whose quotient shows the difference of two updates (PROTOCOL §7.5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from gmpy2 import mpz

from ...digest import Digest, secret_stream
from ...errors import Refused
from ...runs import Run
from .comb import FixedBase, Shape, shape_for
from .keys import PublicKey
from .packing import Plaintexts
from .residues import pack
from .split import unsplit
from .submission import prove_submission


@dataclass(frozen=True, slots=True, kw_only=True)
class PaillierEncryption:
    """Implements `Encryption` for one capsule; can be pickled, for processes of this machine alone."""

    key: PublicKey
    plaintexts: Plaintexts = field(repr=False)
    first: int  # index of the capsule's first leaf in the payload
    secret: bytes = field(repr=False)  # 32 bytes, of this update alone
    header: bytes

    def run(self, run: Run) -> bytes:
        start, stop = run.first - self.first, run.first - self.first + run.count
        if start < 0 or stop > len(self.plaintexts):
            last = self.first + len(self.plaintexts) - 1
            found = f"{run.first} … {run.first + run.count - 1}"
            raise Refused(f"expected leaves in {self.first} … {last}, found {found}")
        randomisers = [self._randomiser(index) for index in range(start, stop)]
        ciphertexts = (
            unsplit(value, slope + self.plaintexts[index], self.key.n)  # (1+n)^m only adds to the slope
            for index, (value, slope) in zip(range(start, stop), self._masks(randomisers), strict=True)
        )
        return pack(ciphertexts, 2 * self.key.width)

    def prove(self, root: Digest) -> bytes:
        count = len(self.plaintexts)
        return prove_submission(
            self.key,
            [self.plaintexts[index] for index in range(count)],
            [self._randomiser(index) for index in range(count)],
            secret=self.secret,
            header=self.header,
            root=root,
        )

    def _masks(self, randomisers: Sequence[mpz]) -> Iterator[tuple[mpz, mpz]]:
        """h_s^α mod n² for each α, as value and slope; the table's look-ups depend on α (PROTOCOL §12.6)."""
        return _table(self.key, shape_for(self.key.randomiser_bits, len(self.plaintexts))).powers(randomisers)

    def _randomiser(self, index: int) -> mpz:
        """α: ciphertext k of the capsule, counted from 1, uses stream k."""
        length = self.key.randomiser_bits // 8
        stream = secret_stream(self.secret, "randomiser", length, (1 + index).to_bytes(8, "big"))
        return mpz.from_bytes(stream, "big")


@lru_cache(maxsize=2)  # one for each dealer; at most 57 MB at 3072 bits, once in each process
def _table(key: PublicKey, shape: Shape) -> FixedBase:
    return FixedBase(key.h_s, key.n, shape)
