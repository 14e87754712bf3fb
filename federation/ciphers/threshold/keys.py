"""The public key of threshold Paillier, its one encoding, and what everyone derives from it.

Only n, the commitments V_k to the sharing polynomial and the n-th roots are carried. The generators
h, h_s and v are derived from n by a hash, so that a dealer cannot choose them (PROTOCOL §7.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import factorial
from typing import Final

import gmpy2
from gmpy2 import mpz

from ... import cbor
from ...digest import Digest, labelled, sha256
from ...errors import Violation
from .residues import expand, pack

ROOTS: Final = 8  # 2^16 to the eighth: the key proof errs with 2^-128
MIN_BITS: Final = 128  # of n; below 2048 a key protects nothing and says so (`weakness`)
SAFE_BITS: Final = 2048  # 112-bit security; 3072 bits give 128
MAX_BITS: Final = 4096  # n² stays within the 1024 bytes that a chain's modexp accepts
MAX_HOLDERS: Final = 64  # keeps 4D² short and N below every prime factor of n
KEY_LIMIT: Final = 1 << 16  # bytes of an encoded key
_BITS, _MODULUS, _THRESHOLD, _HOLDERS, _COMMITMENTS, _ROOTS_FIELD = range(1, 7)  # keys of the CBOR map


@dataclass(frozen=True, kw_only=True)  # without slots: derived values are computed once and kept
class PublicKey:
    """n with its key proof; says nothing about whether the proof holds (see `key_proof`)."""

    bits: int  # of n, a multiple of 16
    n: mpz
    threshold: int  # t
    holders: int  # N
    commitments: tuple[mpz, ...]  # V_0 … V_{t-1}: v to the coefficients of the sharing polynomial
    roots: tuple[mpz, ...]  # n-th roots of the hash-derived elements y_0 … y_7

    def encode(self) -> bytes:
        """Deterministic CBOR: a map from 1 … 6 to the fields in order, residues in bits/8 bytes."""
        return cbor.encode(
            {
                _BITS: self.bits,
                _MODULUS: pack([self.n], self.width),
                _THRESHOLD: self.threshold,
                _HOLDERS: self.holders,
                _COMMITMENTS: [pack([value], self.width) for value in self.commitments],
                _ROOTS_FIELD: [pack([value], self.width) for value in self.roots],
            }
        )

    @property
    def width(self) -> int:
        """Bytes of a residue modulo n; a ciphertext has twice as many."""
        return self.bits // 8

    @property
    def randomiser_bits(self) -> int:
        """|α|: half the length of n, uniform: hiding rests on factoring (Damgård, Jurik, Nielsen)."""
        return self.bits // 2

    @cached_property
    def n_bytes(self) -> bytes:
        """n in bits/8 bytes."""
        return pack([self.n], self.width)

    @cached_property
    def digest(self) -> Digest:
        """Over n and the hash of the encoding: a contract checks n with 32 more bytes of calldata."""
        return labelled("key", self.n_bytes, sha256(self.encode()))

    @cached_property
    def n_squared(self) -> mpz:
        """n²."""
        return self.n * self.n

    @cached_property
    def delta(self) -> mpz:
        """D = N!, which clears the denominators of interpolation."""
        return mpz(factorial(self.holders))

    @cached_property
    def h_s(self) -> mpz:
        """h^n mod n² with h = -x² mod n: the base of all randomisers; of Jacobi symbol +1 and even order."""
        x = expand("paillier h", self.n, self.n_bytes)
        return gmpy2.powmod(-x * x % self.n, self.n, self.n_squared)

    @cached_property
    def v(self) -> mpz:
        """A square that nobody chose: the base of the verification keys."""
        x = expand("paillier v", self.n, self.n_bytes)
        return x * x % self.n

    def root_target(self, index: int) -> mpz:
        """y_index: the element whose n-th root the key proof shows."""
        return expand("paillier root", self.n, self.n_bytes, index.to_bytes(8, "big"))

    def verification_key(self, member: int) -> mpz:
        """v^s_member = ∏ V_k^(member^k) mod n (Feldman)."""
        result = mpz(1)
        for k, commitment in enumerate(self.commitments):
            result = result * gmpy2.powmod(commitment, member**k, self.n) % self.n
        return result


@lru_cache(maxsize=16)
def decode_key(data: bytes) -> PublicKey:
    """The key whose encoding is `data`; raises `Violation` for any other bytes. Proves nothing yet."""
    match cbor.decode(data, limit=KEY_LIMIT):
        case {
            1: int(bits),
            2: bytes(n),
            3: int(threshold),
            4: int(holders),
            5: list(commitments),
            6: list(roots),
        }:
            pass
        case other:
            raise Violation("§7.2", "the key's fields", expected="1 … 6", found=type(other).__name__)
    if not MIN_BITS <= bits <= MAX_BITS or bits % 16:
        raise Violation("§7.2", "bits", expected=f"a multiple of 16 in {MIN_BITS} … {MAX_BITS}", found=bits)
    if not 2 <= threshold <= (holders + 1) // 2 or holders > MAX_HOLDERS:
        expected = f"2 ≤ t, 2t - 1 ≤ N ≤ {MAX_HOLDERS}"
        raise Violation("§7.2", "threshold", expected=expected, found=f"{threshold} of {holders}")
    if (len(commitments), len(roots)) != (threshold, ROOTS):
        found = (len(commitments), len(roots))
        raise Violation("§7.2", "commitments and roots", expected=(threshold, ROOTS), found=found)
    key = PublicKey(
        bits=bits,
        n=_residue(n, bits),
        threshold=threshold,
        holders=holders,
        commitments=tuple(_residue(value, bits) for value in commitments),
        roots=tuple(_residue(value, bits) for value in roots),
    )
    if key.encode() != data:  # a seventh field, for one
        raise Violation("§7.2", "an encoding that is not the only one")
    return key


def _residue(value: cbor.Value, bits: int) -> mpz:
    if not isinstance(value, bytes) or len(value) != bits // 8:
        raise Violation(
            "§7.2", "a residue of the key", expected=f"{bits // 8} bytes", found=type(value).__name__
        )
    return mpz.from_bytes(value, "big")
