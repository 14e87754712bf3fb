"""Residues as fixed-width bytes, and products of many powers: the arithmetic below `paillier`.

Nothing here knows a key or a protocol. Everything is big-endian.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final

import gmpy2
from gmpy2 import mpz

from ...digest import xof

WORD_BYTES: Final = 16  # a challenge or batch exponent: 128 bits
_MAX_WINDOW: Final = 12  # bits; 4096 buckets of 6144 bits are 3 MB, and more pay from 10^5 bases only


def pack(values: Iterable[mpz], width: int) -> bytes:
    """Each value in `width` bytes, one after another."""
    return b"".join([value.to_bytes(width, "big") for value in values])


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
    # Reduced first: a ciphertext is twice as long as n, and its product with a residue three times.
    if gmpy2.gcd(product((value % modulus for value in values), modulus), modulus) == 1:
        return None
    return next(k for k, value in enumerate(values) if gmpy2.gcd(value, modulus) != 1)


def are_units(values: Sequence[mpz], modulus: mpz, *, below: mpz) -> bool:
    """Whether every value lies in [1, below) and is invertible modulo `modulus`."""
    return all(0 < value < below for value in values) and first_non_unit(values, modulus) is None


def inverses(values: Sequence[mpz], modulus: mpz) -> list[mpz]:
    """1/value mod modulus for each; the values have to be units. One inversion for all (Montgomery)."""
    before = list(accumulate(values, lambda a, b: a * b % modulus, initial=mpz(1)))
    rest = gmpy2.invert(before.pop(), modulus)
    result = []
    for value, product_before in zip(reversed(values), reversed(before), strict=True):
        result.append(rest * product_before % modulus)
        rest = rest * value % modulus
    return result[::-1]


def product_of_powers(bases: Sequence[mpz], exponents: Sequence[mpz], modulus: mpz) -> mpz:
    """∏ base^exponent mod modulus for public, non-negative exponents."""
    longest = max((exponent.bit_length() for exponent in exponents), default=0)
    few, by_table = min((_table_cost(len(bases), longest, window), window) for window in range(1, 7))
    many, by_bucket = min(
        (_bucket_cost(len(bases), longest, window), window) for window in range(1, _MAX_WINDOW + 1)
    )
    if few < many:
        tables = [_small_powers(base, by_table, modulus) for base in bases]
        return _with_tables(tables, exponents, modulus, longest=longest, window=by_table)
    return _with_buckets(bases, exponents, modulus, longest=longest, window=by_bucket)


def _table_cost(count: int, bits: int, window: int) -> int:
    """Multiplications of `_with_tables`, tables included, that depend on the window."""
    return count * ((1 << window) - 2 + -(-bits // window))


def _bucket_cost(count: int, bits: int, window: int) -> int:
    """The same of `_with_buckets`."""
    return -(-bits // window) * (count + (2 << window))


def _small_powers(base: mpz, window: int, modulus: mpz) -> list[mpz]:
    """base^0 … base^(2^window - 1)."""
    powers = [mpz(1), base]
    while len(powers) < 1 << window:
        powers.append(powers[-1] * base % modulus)
    return powers


def _with_tables(
    tables: Sequence[Sequence[mpz]], exponents: Sequence[mpz], modulus: mpz, *, longest: int, window: int
) -> mpz:
    """For few bases: each base's small powers, one chain of squarings for all (Straus)."""
    mask = (1 << window) - 1
    result = mpz(1)
    for shift in reversed(range(0, longest, window)):
        for _ in range(window):
            result = result * result % modulus
        for table, exponent in zip(tables, exponents, strict=True):
            digit = int(exponent >> shift) & mask
            if digit:
                result = result * table[digit] % modulus
    return result


def _with_buckets(
    bases: Sequence[mpz], exponents: Sequence[mpz], modulus: mpz, *, longest: int, window: int
) -> mpz:
    """For many bases: one bucket for each digit of a window, shared by all (Pippenger)."""
    mask = (1 << window) - 1
    result = mpz(1)
    for shift in reversed(range(0, longest, window)):
        for _ in range(window):
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
