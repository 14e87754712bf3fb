"""What a contract is shown of a key, so that it can redo a sum (PROTOCOL §7.2, §7.12.1)."""

from __future__ import annotations

from dataclasses import dataclass

from gmpy2 import gcd, mpz

from ..digest import Digest, sha256
from ..errors import Refused
from ..runs import Run
from . import SuiteName, resolve
from .hybrid.keys import decode_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Modulus:
    """One dealer's n in the key's width, and what ties it to the key's digest on the ledger."""

    n: bytes
    rest: Digest  # SHA-256 of the encoded key
    digest: Digest  # kd_k: H("key"; n, rest)

    def common_factor(self, value: bytes) -> bytes:
        """A factor above 1 of both n and the big-endian `value`, in n's width; empty for none."""
        n = mpz.from_bytes(self.n, "big")
        factor = gcd(n, mpz.from_bytes(value, "big"))
        return b"" if factor == 1 else factor.to_bytes(len(self.n), "big")


def moduli_of(suite: SuiteName) -> tuple[Modulus, ...]:
    """Those of the round's key, as its dealers are ordered; raises `Refused` for a suite not judged."""
    if not resolve(suite).code:
        raise Refused(f"the contract judges no dispute of the suite {suite.name}")
    return tuple(
        Modulus(n=key.n_bytes, rest=sha256(key.encode()), digest=key.digest) for key in decode_keys(suite.key)
    )


def dealer_of(suite: SuiteName, leaf: int) -> int | None:
    """Under whose modulus this leaf of the tree lies, counted from 0; None for one of the body."""
    capsule: Run = resolve(suite).layout.capsule
    if not capsule.first <= leaf < capsule.first + capsule.count:
        return None
    return (leaf - capsule.first) * len(moduli_of(suite)) // capsule.count
