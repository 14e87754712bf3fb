"""One base modulo n² to many exponents: a comb table, cut to the number of exponents.

Lim and Lee's comb (CRYPTO 1994): the exponent's bits stand in `rows` rows; a column of them is a digit
for a table. One table serves `squarings + 1` columns, with a squaring between two of them. Entries
are kept split (see `split`), so that a multiplication by one is half as long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from gmpy2 import f_divmod, mpz
from numpy.typing import NDArray

from ...errors import Refused
from .split import split

_MAX_ENTRIES: Final = 1 << 16  # 57 MB at 3072 bits
# What an entry and a squaring cost, in multiplications by an entry (measured from 2048 to 4096 bits).
_ENTRY: Final = 1.8
_SQUARING: Final = 1.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How an exponent is cut: bit (r·tables + j)·columns + c stands in row r, table j, column c."""

    rows: int  # bits of a digit: a table has 2^rows entries
    tables: int
    columns: int  # that share a table

    @property
    def bits(self) -> int:
        """The longest exponent that fits."""
        return self.rows * self.tables * self.columns

    def cost(self, count: int) -> float:
        """Of the tables and `count` powers, in multiplications by an entry."""
        each = self.tables * self.columns + _SQUARING * (self.columns - 1)
        return _SQUARING * self.bits + _ENTRY * (self.tables << self.rows) + count * each


@lru_cache
def shape_for(bits: int, count: int) -> Shape:
    """The quickest one for `count` exponents below 2^bits; memory is bounded."""
    shapes = (
        Shape(rows=rows, tables=tables, columns=-(-bits // (rows * tables)))
        for rows in range(1, 14)
        for tables in range(1, min(-(-bits // rows), _MAX_ENTRIES >> rows) + 1)
    )
    return min(shapes, key=lambda shape: shape.cost(count))


class FixedBase:
    """Raises one unit modulo n² to many secret exponents.

    Table look-ups depend on the exponent, so this hides nothing from whoever shares the processor's
    cache; PROTOCOL §12 lists side channels of big integers among the limits.
    """

    def __init__(self, base: mpz, n: mpz, shape: Shape) -> None:
        self._n, self._n_squared, self._shape = n, n * n, shape
        generators = []  # base^(2^(columns · i)) for i = r·tables + j
        for _ in range(shape.rows * shape.tables):
            generators.append(base)
            for _ in range(shape.columns):
                base = base * base % self._n_squared
        halves = split(generators, n)
        parts = list(zip(halves.values, halves.inverses, halves.slopes, strict=True))
        self._tables = [_table(parts[j :: shape.tables], n) for j in range(shape.tables)]

    def powers(self, exponents: Sequence[mpz]) -> Iterator[tuple[mpz, mpz]]:
        """base^exponent for each, as a value modulo n² and a slope of any length (see `unsplit`).

        Raises `Refused` for an exponent that the comb has no room for: its top would be dropped.
        """
        if any(exponent.bit_length() > self._shape.bits for exponent in exponents):
            raise Refused(f"expected exponents of at most {self._shape.bits} bits")
        n_squared = self._n_squared
        for columns in self._digits(exponents).tolist():
            value, slope = mpz(1), mpz(0)
            for column in columns:
                value, slope = value * value % n_squared, 2 * slope
                for (values, slopes), digit in zip(self._tables, column, strict=True):
                    value = value * values[digit] % n_squared
                    slope += slopes[digit]
            yield value, slope

    def _digits(self, exponents: Sequence[mpz]) -> NDArray[np.uint16]:
        """For each exponent its columns, the highest first, and in each the digit for every table."""
        shape = self._shape
        width = -(-shape.bits // 8)
        octets = b"".join([exponent.to_bytes(width, "little") for exponent in exponents])
        raw = np.frombuffer(octets, dtype=np.uint8).reshape(-1, width)
        bits = np.unpackbits(raw, axis=1, bitorder="little")[:, : shape.bits]
        places = bits.reshape(-1, shape.rows, shape.tables, shape.columns)
        digits = np.zeros((len(exponents), shape.tables, shape.columns), dtype=np.uint16)
        for row in range(shape.rows):
            digits |= places[:, row].astype(np.uint16) << np.uint16(row)
        return digits.transpose(0, 2, 1)[:, ::-1]


def _table(generators: Sequence[tuple[mpz, mpz, mpz]], n: mpz) -> tuple[list[mpz], list[mpz]]:
    """Values and slopes of the products of all subsets; each generator is value, its inverse, slope."""
    values, inverted, slopes = [mpz(1)], [mpz(1)], [mpz(0)]
    for value, inverse, slope in generators:
        for index in range(len(values)):
            # x·y = high·n + low = low·(1 + (high/low)·n)
            high, low = f_divmod(values[index] * value, n)
            inverted.append(inverted[index] * inverse % n)
            values.append(low)
            slopes.append((slopes[index] + slope + high * inverted[-1]) % n)
    return values, slopes
