"""The ring's products in NumPy: inverse transforms as exact products of float64 matrices.

4096 = 64·64: with position i = 64u + v and coefficient j = p + 64r, i·j is 64up + vp + 64vr modulo 4096. So
one 64×64 matrix over u and, for each p, one over v do it all; ψ^-j, 1/4096 and the twist between the
two stand in the second. Values are cut into halves of at most 16 bits, entries have 30, so every partial sum
of 64 products is an integer below 2^53: float64 holds it exactly, and neither the order of adding nor
fused multiplication can change a bit. A BLAS makes this three times faster than butterflies of 64-bit
words in NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..suite import IntVector
from .element import DEGREE, MODULUS, PRIMES, Integers, Residues, add, root_of_unity, squeeze, unfold

_SIDE: Final = 64
_STEP: Final = 8  # blocks at a time: their matrices stay in a core's cache
_LIMB_BITS: Final = 15
_LIMB: Final = float(1 << _LIMB_BITS)
_Floats = NDArray[np.float64]


class NumpyKernels:
    """Implements `Kernels` wherever NumPy runs."""

    def masked(self, masks: Residues, spectrum: Residues, message: Integers) -> Residues:
        body = np.empty_like(masks)
        for start in range(0, len(masks), _STEP):
            part = slice(start, start + _STEP)
            for tower, q in enumerate(PRIMES):
                sums = _product(masks[part, tower], spectrum[tower], tower)
                sums += message[part] - message[part] // q * q
                body[part, tower] = sums - (sums >= q) * q
        return body

    def opened(self, masks: Residues, spectrum: Residues, body: Residues) -> tuple[IntVector, int, int]:
        q1, q2 = PRIMES
        values = np.empty((len(masks), 2 * DEGREE), dtype=np.int64)
        noise = excess = 0
        for start in range(0, len(masks), _STEP):
            part = slice(start, start + _STEP)
            first, second = (
                body[part, tower].astype(np.int64) - _product(masks[part, tower], spectrum[tower], tower)
                for tower in range(len(PRIMES))
            )
            first += (first < 0) * q1
            digit = (second - first) % q2 * pow(q1, -1, q2) % q2  # Garner: first + q1·digit
            first += q1 * digit
            first -= (first > MODULUS // 2) * MODULUS
            read, left, over = unfold(first)
            values[part] = read.reshape(-1, 2 * DEGREE)
            noise, excess = max(noise, left), max(excess, over)
        return values.reshape(-1), noise, excess

    def squeeze(self, seeds: Sequence[bytes], length: int) -> NDArray[np.uint8]:
        return squeeze(seeds, length)

    def add(self, parts: Sequence[Residues], first_leaf: int) -> Residues:
        return add(parts, first_leaf)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tower:
    """A prime's matrices, entries centred."""

    columns: _Floats  # [p, u]
    rows: _Floats  # [p, v, r]


@cache
def _tower(q: int) -> _Tower:
    inverse, powers = pow(root_of_unity(q), -1, q), [1]
    for _ in range(2 * DEGREE - 1):
        powers.append(powers[-1] * inverse % q)
    table = np.array(powers)
    side = np.arange(_SIDE)
    u, p = side, side[:, None]
    columns = table[128 * u * p % (2 * DEGREE)]
    p, v, r = side[:, None, None], side[:, None], side
    rows = table[(p + 64 * r + 2 * v * p + 128 * v * r) % (2 * DEGREE)] * pow(DEGREE, -1, q) % q
    return _Tower(columns=_centre(columns, q), rows=_centre(rows, q))


def _centre(residues: Integers, q: int) -> _Floats:
    return np.where(2 * residues > q, residues - q, residues).astype(np.float64)


def _product(masks: Residues, spectrum: Residues, tower: int) -> Integers:
    """a·s for each spectrum a of a tower: canonical coefficients."""
    q, matrices = PRIMES[tower], _tower(PRIMES[tower])
    factor = spectrum.astype(np.uint64)
    quotient = (factor << np.uint64(32)) // np.uint64(q)  # Shoup's: a·s mod q in [0, 2q) without a division
    values = masks.astype(np.uint64)
    over = values * quotient
    over >>= np.uint64(32)
    over *= np.uint64(q)
    values *= factor
    values -= over
    blocks = len(masks)
    halves = np.empty((2, blocks, _SIDE, _SIDE))
    halves[0] = (values & np.uint64((1 << _LIMB_BITS) - 1)).reshape(blocks, _SIDE, _SIDE)
    halves[1] = (values >> np.uint64(_LIMB_BITS)).reshape(blocks, _SIDE, _SIDE)
    mixed = _join(matrices.columns @ halves, q)  # [block, p, v]
    np.rint(mixed * (1 / _LIMB), out=halves[1])
    np.subtract(mixed, halves[1] * _LIMB, out=halves[0])
    by_column = halves.transpose(2, 0, 1, 3).reshape(_SIDE, 2 * blocks, _SIDE)
    done = (
        (by_column @ matrices.rows).reshape(_SIDE, 2, blocks, _SIDE).transpose(1, 2, 3, 0)
    )  # [., block, r, p]
    coefficients = _join(done, q).astype(np.int64).reshape(blocks, DEGREE)
    coefficients += (coefficients < 0) * q
    return coefficients


def _join(halves: _Floats, q: int) -> _Floats:
    """low + 2^15·high modulo q, in magnitude at most q/2 and a little."""
    high = _reduce(halves[1], q)
    high *= _LIMB
    high += halves[0]
    return _reduce(high, q)


def _reduce(values: _Floats, q: int) -> _Floats:
    """`values`, below 2^53 in magnitude, less the multiple of q nearest by a rounded quotient: exact."""
    over = values * (1 / q)
    np.rint(over, out=over)
    over *= q
    return values - over
