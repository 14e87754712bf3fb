"""Lanes: many small signed integers in one plaintext, added without touching each other.

A plaintext is Σ v_i · 2^(w·i) with signed digits v_i in [-2^(w-1), 2^(w-1)), kept modulo n and centred
when read; w is the width of a lane in bits. While every lane of the *total* stays in that range the
digits are unique, so no bias and no count of summands is needed to read it (PROTOCOL §7.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import gcd
from typing import Final

import numpy as np
from gmpy2 import mpz

from ...errors import Refused, Violation
from ..suite import IntVector

LANE_BITS: Final = 24  # of `paillier`; a capsule of short keys has narrower ones
HALF: Final = 1 << (LANE_BITS - 1)  # a lane of 24 bits holds [-HALF, HALF)
# 2^16 summands, whatever stands in their lanes, stay below n/2 in magnitude: an overflowing top lane
# is seen as a number that is too large, and never comes back round the modulus as a plausible one.
GUARD_BITS: Final = 16
_WORD: Final = np.dtype("<u8")


def lanes_of(bits: int, lane_bits: int = LANE_BITS) -> int:
    """How many lanes a plaintext modulo a number of `bits` bits has."""
    return (bits - 2 - GUARD_BITS) // lane_bits


def check_lanes(values: IntVector, lane_bits: int = LANE_BITS) -> None:
    """Raises `Refused` unless every value fits its lane."""
    half = 1 << (lane_bits - 1)
    if values.size and not (-half <= int(values.min()) and int(values.max()) < half):
        first = int(np.flatnonzero((values < -half) | (values >= half))[0])
        allowed = f"[-2^{lane_bits - 1}, 2^{lane_bits - 1})"
        raise Refused(f"value {first}: expected one in {allowed}, found another")  # never a value: §8.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Plaintexts:
    """A vector in lanes, ready to be encrypted; its own size in bytes, so cheap to send to a process."""

    lanes: int  # of a plaintext
    lane_bits: int
    digits: bytes = field(repr=False)  # of all lanes, offset to be unsigned, little-endian

    def __len__(self) -> int:
        return len(self.digits) // _row_bytes(self.lanes, self.lane_bits)

    def __getitem__(self, index: int) -> mpz:
        """Plaintext `index` as an integer of either sign, not reduced."""
        width = _row_bytes(self.lanes, self.lane_bits)
        if not 0 <= index < len(self):  # iteration ends here
            raise IndexError(index)
        row = self.digits[index * width : (index + 1) * width]
        return mpz.from_bytes(row, "little") - _offset(self.lanes, self.lane_bits)


def pack_vector(values: IntVector, *, lanes: int, lane_bits: int = LANE_BITS) -> Plaintexts:
    """`values`, checked by the caller, in as many plaintexts as they need; the last is filled with zeros."""
    count, half, group = -(-len(values) // lanes), 1 << (lane_bits - 1), _group(lane_bits)
    padded = np.full(count * lanes, half, dtype=np.int64)
    padded[: len(values)] += values
    digits = np.zeros((count, -(-lanes // group) * group), dtype=_WORD)
    digits[:, :lanes] = padded.reshape(count, lanes)
    words = digits[:, ::group].copy()
    for place in range(1, group):
        words |= digits[:, place::group] << np.uint64(place * lane_bits)
    octets = words.view(np.uint8).reshape(count, -1, _WORD.itemsize)[:, :, : group * lane_bits // 8]
    return Plaintexts(lanes=lanes, lane_bits=lane_bits, digits=octets.tobytes())


def unpack_vector(
    plaintexts: Sequence[mpz], modulus: mpz, *, lanes: int, count: int, lane_bits: int = LANE_BITS
) -> IntVector:
    """The first `count` lanes of all plaintexts; raises `Violation` unless the unused ones are zero.

    Unused lanes are where another member's old ciphertext could be carried out unseen. Raises it too
    where a plaintext is no sum of lanes. Neither names a culprit.
    """
    offset, width = _offset(lanes, lane_bits), _row_bytes(lanes, lane_bits)
    rows = []
    for plaintext in plaintexts:
        shifted = (plaintext - modulus if 2 * plaintext > modulus else plaintext) + offset
        if shifted < 0 or shifted.bit_length() > lanes * lane_bits:
            expected = f"{lanes} lanes of {lane_bits} bits"
            raise Violation("§7.4", "an opened plaintext", expected=expected, found="more")
        rows.append(shifted.to_bytes(width, "little"))
    values = _digits(b"".join(rows), lanes, lane_bits) - (1 << (lane_bits - 1))
    if values[count:].any():
        raise Violation("§7.4", "unused lanes of an opening", expected="zero", found="another value")
    return values[:count]


def pack_lanes(values: IntVector, lane_bits: int = LANE_BITS) -> mpz:
    """One plaintext, Σ values_i · 2^(lane_bits·i), of either sign; the caller has checked the lanes."""
    return pack_vector(values, lanes=len(values), lane_bits=lane_bits)[0]


def unpack_lanes(plaintext: mpz, modulus: mpz, lanes: int, lane_bits: int = LANE_BITS) -> IntVector:
    """The signed digits of one plaintext; raises `Violation` without a culprit where they overflow."""
    return unpack_vector([plaintext], modulus, lanes=lanes, count=lanes, lane_bits=lane_bits)


def _digits(octets: bytes, lanes: int, lane_bits: int) -> IntVector:
    """The unsigned digits of rows of `lanes` lanes, one after another."""
    group = _group(lane_bits)
    size = group * lane_bits // 8
    padded = np.zeros((len(octets) // size, _WORD.itemsize), dtype=np.uint8)
    padded[:, :size] = np.frombuffer(octets, dtype=np.uint8).reshape(-1, size)
    words = padded.view(_WORD)  # one column
    shifts = np.arange(group, dtype=_WORD) * np.uint64(lane_bits)
    digits = (words >> shifts) & np.uint64((1 << lane_bits) - 1)
    rows = digits.reshape(-1, -(-lanes // group) * group)[:, :lanes]
    return rows.astype(np.int64).reshape(-1)


def _group(lane_bits: int) -> int:
    """How many lanes fill whole bytes together: 1 of 24 bits, 4 of 14; they have to fit 64 bits."""
    return 8 // gcd(8, lane_bits)


def _row_bytes(lanes: int, lane_bits: int) -> int:
    """Bytes of one plaintext's digits, in whole groups."""
    group = _group(lane_bits)
    return -(-lanes // group) * group * lane_bits // 8


@lru_cache
def _offset(lanes: int, lane_bits: int) -> mpz:
    """Σ 2^(w-1) · 2^(w·i): turns signed digits into unsigned ones."""
    return ((mpz(1) << (lane_bits * lanes)) - 1) // ((1 << lane_bits) - 1) << (lane_bits - 1)
