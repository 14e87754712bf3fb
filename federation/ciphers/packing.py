"""Lanes: many small signed integers in one plaintext, added without touching each other.

A plaintext is Σ v_i · 2^(24i) with signed digits v_i in [-2^23, 2^23), kept modulo n and centred when
read. While every lane of the *total* stays in that range the digits are unique, so no bias and no
count of summands is needed to read it (PROTOCOL §7.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from gmpy2 import mpz

from ..errors import Refused, Violation
from .suite import IntVector

LANE_BITS: Final = 24
LANE_BYTES: Final = LANE_BITS // 8
HALF: Final = 1 << (LANE_BITS - 1)  # a lane holds [-HALF, HALF)
# 2^16 summands, whatever stands in their lanes, stay below n/2 in magnitude: an overflowing top lane
# is seen as a number that is too large, and never comes back round the modulus as a plausible one.
GUARD_BITS: Final = 16


def lanes_of(bits: int) -> int:
    """How many lanes a plaintext modulo a number of `bits` bits has."""
    return (bits - 2 - GUARD_BITS) // LANE_BITS


def check_lanes(values: IntVector) -> None:
    """Raises `Refused` unless every value fits its lane."""
    outside = np.flatnonzero((values < -HALF) | (values >= HALF))
    if outside.size:
        raise Refused(f"value {int(outside[0])}: expected one in [-2^23, 2^23), found {values[outside[0]]}")


def pack_lanes(values: IntVector) -> mpz:
    """Σ values_i · 2^(24i), possibly negative; the caller has checked the lanes."""
    digits = (values + HALF).astype("<u4").view(np.uint8).reshape(-1, 4)[:, :LANE_BYTES]
    return mpz.from_bytes(digits.tobytes(), "little") - _offset(len(values))


def unpack_lanes(plaintext: mpz, modulus: mpz, lanes: int) -> IntVector:
    """The signed digits of a plaintext; raises `Violation` without a culprit where they overflow."""
    centred = plaintext - modulus if 2 * plaintext > modulus else plaintext
    shifted = centred + _offset(lanes)
    if not 0 <= shifted < mpz(1) << (LANE_BITS * lanes):
        raise Violation("§7.4", "an opened plaintext", expected=f"{lanes} lanes of 24 bits", found="more")
    raw = np.frombuffer(int(shifted).to_bytes(LANE_BYTES * lanes, "little"), dtype=np.uint8)
    digits = np.zeros((lanes, 4), dtype=np.uint8)
    digits[:, :LANE_BYTES] = raw.reshape(lanes, LANE_BYTES)
    return digits.view("<u4").reshape(lanes).astype(np.int64) - HALF


def unpack_vector(plaintexts: Sequence[mpz], modulus: mpz, *, lanes: int, count: int) -> IntVector:
    """The first `count` lanes of all plaintexts; raises `Violation` unless the unused ones are zero.

    Unused lanes are where another member's old ciphertext could be carried out unseen.
    """
    values = np.concatenate([unpack_lanes(plaintext, modulus, lanes) for plaintext in plaintexts])
    if values[count:].any():
        raise Violation("§7.4", "unused lanes of an opening", expected="zero", found="another value")
    return values[:count]


def _offset(lanes: int) -> mpz:
    """Σ 2^23 · 2^(24i): turns signed digits into unsigned ones."""
    return HALF * (((mpz(1) << (LANE_BITS * lanes)) - 1) // ((1 << LANE_BITS) - 1))
