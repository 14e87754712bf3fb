"""R_q = Z_q[X]/(X^4096 + 1): the parameters of `hybrid`, its transform, and what needs no mask.

q = q1·q2, two 30-bit primes. An element travels as its residues modulo q1, then modulo q2 (its two
*towers*), in coefficient order. A *spectrum* is an element's values at the odd powers of ψ, position i at
ψ^(2i+1): multiplication is by position there. PROTOCOL §7.12 gives the bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from math import isqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..suite import IntVector
from .gaussian import SIGMA

DEGREE: Final = 4096
PRIMES: Final = (1073692673, 1073668097)  # both 1 modulo 8192
MODULUS: Final = PRIMES[0] * PRIMES[1]  # just below 2^60
LANE_BITS: Final = 24  # two signed lanes a coefficient
KAPPA: Final = MODULUS >> 2 * LANE_BITS  # 4095: what a coefficient of the message is multiplied by
VALUES: Final = 2 * DEGREE  # of a vector, in one block
BLOCK_BYTES: Final = 4 * DEGREE * len(PRIMES)
LEAF_BYTES: Final = 512
LEAF_RESIDUES: Final = LEAF_BYTES // 4
BLOCK_LEAVES: Final = BLOCK_BYTES // LEAF_BYTES  # 32 of the first tower, then 32 of the second
MAX_MEMBERS: Final = 654  # noise within its bound stays below κ/2, beyond which it would read as a value
_ADDENDS: Final = 3  # canonical residues that fit a 32-bit word beside one more

Residues = NDArray[np.uint32]
Integers = NDArray[np.int64]


def noise_bound(members: int) -> int:
    """⌈10σ√members⌉: the most, in magnitude, in a coefficient of Σs or Σe, but for a chance below 2^-75."""
    return isqrt((10 * SIGMA) ** 2 * members - 1) + 1


@cache
def root_of_unity(q: int) -> int:
    """ψ = g^((q-1)/8192) for the smallest g ≥ 2 that makes it of order 8192."""
    g = 2
    while pow(g, (q - 1) // 2, q) == 1:
        g += 1
    return pow(g, (q - 1) // (2 * DEGREE), q)


def spectrum_of(short: IntVector) -> Residues:
    """Both towers' spectra of an element with small coefficients, by 12 rounds of butterflies."""
    spectrum = np.empty((len(PRIMES), DEGREE), dtype=np.uint32)
    for tower, q in enumerate(PRIMES):
        values, half = (short % q).astype(np.uint64), DEGREE
        powers, order = _butterflies(q)
        while half > 1:
            half //= 2
            pairs = values.reshape(-1, 2, half)
            right = pairs[:, 1] * powers[len(pairs) : 2 * len(pairs), None] % np.uint64(q)
            values = np.stack(
                [pairs[:, 0] + right, pairs[:, 0] + (np.uint64(q) - right)], axis=1
            ) % np.uint64(q)
        spectrum[tower] = values.reshape(-1)[order]
    return spectrum


@cache
def _butterflies(q: int) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """ψ^rev(k) for k = 0 … 4095, and rev, which turns 12 bits round."""
    bits = DEGREE.bit_length() - 1
    rev = [int(f"{k:0{bits}b}"[::-1], 2) for k in range(DEGREE)]
    powers = [pow(root_of_unity(q), k, q) for k in rev]
    return np.array(powers, dtype=np.uint64), np.array(rev, dtype=np.intp)


def squeeze(seeds: Sequence[bytes], length: int) -> NDArray[np.uint8]:
    """`length` bytes of SHAKE128 over each seed: [seed, byte]."""
    streams = b"".join(hashlib.shake_128(seed).digest(length) for seed in seeds)
    return np.frombuffer(streams, dtype=np.uint8).reshape(len(seeds), length)


def blocks_of(data: bytes) -> Residues:
    """Whole blocks as an array [block, tower, coefficient]; the caller has checked the length."""
    return np.frombuffer(data, dtype="<u4").reshape(-1, len(PRIMES), DEGREE)


def leaves_of(data: bytes) -> Residues:
    """Whole leaves as an array [leaf, residue]; the caller has checked the length."""
    return np.frombuffer(data, dtype="<u4").reshape(-1, LEAF_RESIDUES)


def fold(values: IntVector) -> Integers:
    """X = low + high·2^24 for each two values in turn, zeros after the last: whole blocks of coefficients."""
    missing = -len(values) % VALUES
    lanes = (np.pad(values, (0, missing)) if missing else values).reshape(-1, DEGREE, 2)
    folded: Integers = lanes[:, :, 1] << LANE_BITS
    folded += lanes[:, :, 0]
    return folded


def unfold(centred: Integers) -> tuple[IntVector, int, int]:
    """The values in κ·X + noise, the largest noise and the largest high lane beyond its range, in magnitude.

    X is the nearest multiple's: κ is odd, so there is always one. It is never reduced modulo 2^48, which
    would turn an overflow into a plausible value.
    """
    half = 1 << LANE_BITS - 1
    message = (centred + KAPPA // 2) // KAPPA
    noise = centred - message * KAPPA
    high = (message + half) >> LANE_BITS
    values = np.empty((*message.shape, 2), dtype=np.int64)
    values[..., 0] = message - (high << LANE_BITS)
    values[..., 1] = high
    excess = max(-half - int(high.min()), int(high.max()) - (half - 1), 0)
    return values.reshape(-1), max(-int(noise.min()), int(noise.max())), excess


def add(parts: Sequence[Residues], first_leaf: int) -> Residues:
    """The sum of canonical residues, leaf by leaf [leaf, residue]; `first_leaf` counts from the body's first.

    Three more summands fit before a reduction, so that a summand costs little more than reading it.
    """
    moduli = moduli_of(len(parts[0]), first_leaf)
    total = parts[0].copy()
    spare = np.empty_like(total)
    for start in range(1, len(parts), _ADDENDS):
        group = parts[start : start + _ADDENDS]
        for part in group:
            total += part
        for multiple in (2, 1) if len(group) > 1 else (1,):
            np.subtract(total, np.uint32(multiple) * moduli, out=spare)  # wraps to a large word if below
            np.minimum(total, spare, out=total)
    return total


def first_excess(leaves: Residues, first_leaf: int) -> tuple[int, int, int] | None:
    """The index of the first leaf with a residue not below its modulus, that modulus and that residue."""
    moduli = moduli_of(len(leaves), first_leaf)[:, 0]
    bad = np.flatnonzero(leaves.max(axis=1) >= moduli)
    return (int(bad[0]), int(moduli[bad[0]]), int(leaves[bad[0]].max())) if bad.size else None


def moduli_of(leaves: int, first_leaf: int) -> Residues:
    """Each leaf's modulus, as a column."""
    tower = (np.arange(first_leaf, first_leaf + leaves) % BLOCK_LEAVES) // (BLOCK_LEAVES // len(PRIMES))
    return np.array(PRIMES, dtype=np.uint32)[tower][:, None]
