"""The suite `paillier`: every value under threshold Paillier, many to a ciphertext.

The whole vector stands in one capsule with lanes of 24 bits; there is no body. PROTOCOL §7 gives the
bytes, §12 the argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import gmpy2

from ..digest import Digest
from ..errors import Refused, Violation
from ..runs import Run
from .secret import update_secret
from .suite import Encryption, IntVector, KeyShare, Layout, Opening, RoundContext, Seed, TotalContext
from .threshold.capsule import Capsule
from .threshold.key_proof import check_key_proof
from .threshold.keys import SAFE_BITS, PublicKey, decode_key
from .threshold.packing import LANE_BITS
from .threshold.shares import check_key_share_of


class PaillierSuite:
    """Threshold Paillier over vectors of one length; see `CipherSuite` for what each method promises."""

    def __init__(self, encoded_key: bytes, *, values: int) -> None:
        if values < 1:
            raise Refused(f"expected vectors of at least one value, found {values}")
        self.key: Final = decode_key(encoded_key)
        self._capsule: Final = Capsule(key=self.key, values=values, lane_bits=LANE_BITS)

    @property
    def code(self) -> int:
        return 1

    @property
    def key_digest(self) -> Digest:
        return self.key.digest

    @property
    def threshold(self) -> int:
        return self.key.threshold

    @property
    def holders(self) -> int:
        return self.key.holders

    @property
    def weakness(self) -> str:
        return weakness_of(self.key)

    @property
    def strength(self) -> str:
        return strength_of((self.key,))

    @property
    def layout(self) -> Layout:
        capsule = self._capsule.run
        body = Run(first=1 + capsule.count, count=0, width=0)
        return Layout(capsule=capsule, body=body, proof_bytes=self._capsule.proof_bytes)

    @property
    def share_bytes(self) -> int:
        return self._capsule.share_bytes

    @property
    def opening_leaf(self) -> Run:
        return self._capsule.opening_leaf

    def check_key(self) -> None:
        check_key_proof(self.key)

    def is_independent_of(self, key: bytes) -> bool:
        return are_independent((self.key,), (decode_key(key),))

    def check_key_share(self, member: int, key_share: KeyShare) -> None:
        check_key_share_of(self.key, member, key_share)

    def encrypt(self, values: IntVector, *, seed: Seed, header: bytes, context: RoundContext) -> Encryption:
        secret = update_secret(seed, key=self.key.digest, header=header, values=values)
        return self._capsule.encrypt(values, secret=secret, header=header)

    def check_run(self, run: Run, data: bytes) -> None:
        self._capsule.check_run(run, data)

    def check_proof(self, capsule: bytes, proof: bytes, *, header: bytes, root: Digest) -> None:
        self._capsule.check_proof(capsule, proof, header=header, root=root)

    def combine(self, run: Run, parts: Sequence[bytes]) -> bytes:
        return self._capsule.combine(run, parts)

    def share(self, capsule: bytes, *, member: int, key_share: KeyShare, context: TotalContext) -> bytes:
        return self._capsule.share(capsule, member=member, key_share=key_share, context=context)

    def check_share(self, capsule: bytes, share: bytes, *, member: int, context: TotalContext) -> None:
        self._capsule.check_share(capsule, share, member=member, context=context)

    def join(self, capsule: bytes, shares: Mapping[int, bytes]) -> Opening:
        return self._capsule.join(capsule, shares)

    def check_opening(self, capsule: bytes, opening: Opening, context: TotalContext) -> None:
        self._capsule.check_opening(capsule, opening, context)

    def decode(
        self, opening: Opening, body: Iterable[bytes], *, context: RoundContext, count: int, members: int
    ) -> IntVector:
        if count != self._capsule.values:
            raise Refused(f"expected {self._capsule.values} values, asked for {count}")
        if any(body):
            raise Violation("§7.9", "the total's body", expected="none in this suite", found="bytes")
        return self._capsule.decode(opening.plaintexts)


def strength_of(keys: Sequence[PublicKey]) -> str:
    """Bits of a modulus, which all dealers' have alike, and the number of dealers."""
    return f"{keys[0].bits} bits, {len(keys)} {'dealer' if len(keys) == 1 else 'dealers'}"


def are_independent(keys: Sequence[PublicKey], others: Sequence[PublicKey]) -> bool:
    """Whether no modulus of one side shares a factor with one of the other.

    Over the same primes a new polynomial, another order or fewer dealers make another digest, and the
    shares of the old key still open what is under the new one.
    """
    return all(gmpy2.gcd(key.n, other.n) == 1 for key in keys for other in others)


def weakness_of(key: PublicKey) -> str:
    """Why `key` protects no patient's data; empty where it does."""
    if key.bits >= SAFE_BITS:
        return ""
    return f"a modulus of {key.bits} bits can be factored: for tests only"
