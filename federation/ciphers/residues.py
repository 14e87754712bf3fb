"""Residues as fixed-width bytes, and products of many powers: the arithmetic below `paillier`.

Nothing here knows a key or a protocol. Everything is big-endian.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import gmpy2
from gmpy2 import mpz

from ..digest import xof

WORD_BYTES: Final = 16  # a challenge or batch exponent: 128 bits
_BUCKET_BITS: Final = 4  # window of `product_of_powers`; no other size pays between 1 and 10^5 bases


def pack(values: Iterable[mpz], width: int) -> bytes:
    """Each value in `width` bytes, one after another."""
    return b"".join(int(value).to_bytes(width, "big") for value in values)


def unpack(data: bytes, width: int) -> list[mpz]:
    """The inverse of `pack`; the caller has checked that `width` divides the length."""
    return [mpz.from_bytes(data[at : at + width], "big") for at in range(0, len(data), width)]


def expand(label: str, modulus: mpz, *parts: bytes) -> mpz:
    """A public residue that nobody chose: an XOF value 128 bits longer than `modulus`, reduced."""
    length = (modulus.bit_length() + 7) // 8 + WORD_BYTES
    return mpz.from_bytes(xof(label, length, *parts), "big") % modulus


def words(label: str, count: int, *parts: bytes) -> list[mpz]:
    """`count` 128-bit words of an XOF."""
    return unpack(xof(label, WORD_BYTES * count, *parts), WORD_BYTES)


def product(values: Iterable[mpz], modulus: mpz) -> mpz:
    """∏ values mod modulus."""
    result = mpz(1)
    for value in values:
        result = result * value % modulus
    return result


def first_non_unit(values: Sequence[mpz], modulus: mpz) -> int | None:
    """The index of the first value that shares a factor with `modulus`; one gcd where there is none."""
    if gmpy2.gcd(product(values, modulus), modulus) == 1:
        return None
    return next(k for k, value in enumerate(values) if gmpy2.gcd(value, modulus) != 1)


def are_units(values: Sequence[mpz], modulus: mpz, *, below: mpz) -> bool:
    """Whether every value lies in [1, below) and is invertible modulo `modulus`."""
    return all(0 < value < below for value in values) and first_non_unit(values, modulus) is None


def product_of_powers(bases: Sequence[mpz], exponents: Sequence[mpz], modulus: mpz) -> mpz:
    """∏ base^exponent mod modulus for public, non-negative exponents: one bucket for each window digit."""
    longest = max((int(exponent).bit_length() for exponent in exponents), default=0)
    mask = (1 << _BUCKET_BITS) - 1
    result = mpz(1)
    for shift in reversed(range(0, longest, _BUCKET_BITS)):
        for _ in range(_BUCKET_BITS):
            result = result * result % modulus
        buckets = [mpz(1)] * (mask + 1)
        for base, exponent in zip(bases, exponents, strict=True):
            digit = int(exponent >> shift) & mask
            if digit:
                buckets[digit] = buckets[digit] * base % modulus
        running = mpz(1)
        for bucket in reversed(buckets[1:]):  # ∏ bucket_d^d as a product of suffix products
            running = running * bucket % modulus
            result = result * running % modulus
    return result


class FixedBase:
    """Raises one base to many secret exponents below 2^bits: a table of base^(digit · 2^(8j)), no squarings.

    Table look-ups depend on the exponent, so this hides nothing from whoever shares the processor's
    cache; PROTOCOL §12 lists side channels of big integers among the limits.
    """

    def __init__(self, base: mpz, modulus: mpz, bits: int) -> None:
        self._modulus = modulus
        self._rows: list[list[mpz]] = []
        for _ in range(-(-bits // 8)):
            row = [mpz(1)]
            for _ in range(255):
                row.append(row[-1] * base % modulus)
            self._rows.append(row)
            base = row[-1] * base % modulus

    def power(self, exponent: mpz) -> mpz:
        """base^exponent mod modulus."""
        result = mpz(1)
        for row, digit in zip(self._rows, int(exponent).to_bytes(len(self._rows), "little"), strict=True):
            if digit:
                result = result * row[digit] % self._modulus
        return result
