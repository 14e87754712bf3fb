"""The ring's products compiled by Numba: ten times as fast as `matrices`, byte for byte the same.

The same 64·64 split, by butterflies: each half is a cyclic transform of 64 points over 64 lanes that lie side
by side in memory, so that one instruction serves 8 or 16 of them. Words of 32 bits stay below 2q
(Harvey, "Faster arithmetic for number-theoretic transforms", 2014): products are Shoup's, with a
precomputed quotient and no division. Whatever leaves here is canonical.

Every function is plain Python as well, and runs as such where Numba is told not to compile.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..suite import IntVector
from . import keccak
from .element import (
    DEGREE,
    KAPPA,
    LANE_BITS,
    MODULUS,
    PRIMES,
    Integers,
    Residues,
    moduli_of,
    root_of_unity,
    squeeze,
)
from .jit import compiled

_SIDE: Final = 64
_U = np.uint32
_W = np.uint64
_Q1, _Q2 = PRIMES
_HALF_Q: Final = MODULUS // 2
_GARNER: Final = pow(_Q1, -1, _Q2)
_GARNER_OVER: Final = (_GARNER << 32) // _Q2


class _Tower(NamedTuple):
    """A prime with its constants, each beside its Shoup quotient ⌊c·2^32/q⌋."""

    q: np.uint32
    root: Residues  # powers of ψ^-128, 32 of them
    root_over: Residues
    twist: Residues  # [p, v]: ψ^(-2pv)
    twist_over: Residues
    last: Residues  # [r, p]: ψ^-(p + 64r) / 4096
    last_over: Residues
    turned: NDArray[np.int64]  # rev of 6 bits


@cache
def _tower(q: int) -> _Tower:
    inverse, powers = pow(root_of_unity(q), -1, q), [1]
    for _ in range(2 * DEGREE - 1):
        powers.append(powers[-1] * inverse % q)
    table = np.array(powers)
    row, column = np.arange(_SIDE)[:, None], np.arange(_SIDE)
    root = table[2 * _SIDE * np.arange(_SIDE // 2)]
    twist = table[2 * row * column]
    last = table[column + _SIDE * row] * pow(DEGREE, -1, q) % q
    turned = [int(f"{k:06b}"[::-1], 2) for k in range(_SIDE)]
    return _Tower(
        q=_U(q),
        root=root.astype(_U),
        root_over=_over(root, q),
        twist=twist.astype(_U),
        twist_over=_over(twist, q),
        last=last.astype(_U),
        last_over=_over(last, q),
        turned=np.array(turned),
    )


def _over(constants: NDArray[np.generic], q: int) -> Residues:
    return ((constants.astype(_W) << _W(32)) // _W(q)).astype(_U)


class CompiledKernels:
    """Implements `Kernels` where Numba is installed."""

    def masked(self, masks: Residues, spectrum: Residues, message: Integers) -> Residues:
        body = np.empty_like(masks)
        for tower, q in enumerate(PRIMES):
            factor = spectrum[tower].copy()
            _mask_blocks(masks, tower, factor, _over(factor, q), _tower(q), message, body)
        return body

    def opened(self, masks: Residues, spectrum: Residues, body: Residues) -> tuple[IntVector, int, int]:
        values = np.empty((len(masks), 2 * DEGREE), dtype=np.int64)
        over = np.stack([_over(spectrum[tower], q) for tower, q in enumerate(PRIMES)])
        bounds = np.zeros(2, dtype=np.int64)
        towers = (_tower(PRIMES[0]), _tower(PRIMES[1]))
        _open_blocks(masks, spectrum, over, towers, _read_only(body), values, bounds)
        return values.reshape(-1), int(bounds[0]), int(bounds[1])

    def squeeze(self, seeds: Sequence[bytes], length: int) -> NDArray[np.uint8]:
        streams = np.empty((len(seeds), length), dtype=np.uint8)
        whole = len(seeds) // keccak.STREAMS * keccak.STREAMS
        for start in range(0, whole, keccak.STREAMS):
            group = slice(start, start + keccak.STREAMS)
            streams[group] = keccak.shake128(b"".join(seeds[group]), length)
        streams[whole:] = squeeze(seeds[whole:], length)
        return streams

    def add(self, parts: Sequence[Residues], first_leaf: int) -> Residues:
        total, moduli = parts[0].copy(), moduli_of(len(parts[0]), first_leaf)
        for part in parts[1:]:
            _accumulate(total, _read_only(part), moduli)
        return total


def _read_only(residues: Residues) -> Residues:
    """The same array, of the one type that is compiled for."""
    view = residues.view()
    view.flags.writeable = False
    return view


@compiled
def _times(x: np.uint32, factor: np.uint32, over: np.uint32, q: np.uint32) -> np.uint32:
    """x·factor modulo q in [0, 2q), for any word x (Shoup)."""
    high = _U((_W(x) * _W(over)) >> _W(32))
    return _U(_U(x * factor) - _U(high * q))


@compiled
def _transform(x: Residues, tower: _Tower) -> None:
    """64 cyclic transforms of 64 points in place: rows are points, and come out in the order `turned`.

    Decimation in frequency, two rounds at a time so that a word is loaded half as often. Words stay below 2q.
    """
    q, root, over = tower.q, tower.root, tower.root_over
    q2 = _U(2 * q)
    half, step = 16, 1
    while half >= 1:
        for start in range(0, _SIDE, 4 * half):
            for k in range(half):
                w1, o1 = root[k * step], over[k * step]
                w2, o2 = root[2 * k * step], over[2 * k * step]
                w3, o3 = root[(k + half) * step], over[(k + half) * step]
                at, gap = (start + k) * _SIDE, half * _SIDE
                row0, row1 = x[at : at + _SIDE], x[at + gap : at + gap + _SIDE]
                row2, row3 = x[at + 2 * gap : at + 2 * gap + _SIDE], x[at + 3 * gap : at + 3 * gap + _SIDE]
                for lane in range(_SIDE):
                    a, b, c, d = row0[lane], row1[lane], row2[lane], row3[lane]
                    sum_ac, sum_bd = _U(a + c), _U(b + d)
                    e, f = min(sum_ac, _U(sum_ac - q2)), min(sum_bd, _U(sum_bd - q2))
                    g, h = _times(_U(a - c + q2), w1, o1, q), _times(_U(b - d + q2), w3, o3, q)
                    sum_ef, sum_gh = _U(e + f), _U(g + h)
                    row0[lane] = min(sum_ef, _U(sum_ef - q2))
                    row1[lane] = _times(_U(e - f + q2), w2, o2, q)
                    row2[lane] = min(sum_gh, _U(sum_gh - q2))
                    row3[lane] = _times(_U(g - h + q2), w2, o2, q)
        half //= 4
        step *= 4


@compiled
def _multiply(
    mask: Residues, factor: Residues, over: Residues, tower: _Tower, x: Residues, y: Residues
) -> None:
    """The coefficients of mask·factor into `x`, each below 2q; `y` is room to work in."""
    q, turned = tower.q, tower.turned
    for i in range(DEGREE):
        y[i] = _times(mask[i], factor[i], over[i], q)
    _transform(y, tower)
    for p in range(_SIDE):
        row = y[turned[p] * _SIDE : turned[p] * _SIDE + _SIDE]
        twist, twist_over = tower.twist[p], tower.twist_over[p]
        for v in range(_SIDE):
            row[v] = _times(row[v], twist[v], twist_over[v], q)
    for v in range(_SIDE):
        column = x[v * _SIDE : v * _SIDE + _SIDE]
        for p in range(_SIDE):
            column[p] = y[turned[p] * _SIDE + v]
    _transform(x, tower)
    for r in range(_SIDE):
        row = x[turned[r] * _SIDE : turned[r] * _SIDE + _SIDE]
        out = y[r * _SIDE : r * _SIDE + _SIDE]
        last, last_over = tower.last[r], tower.last_over[r]
        for p in range(_SIDE):
            out[p] = _times(row[p], last[p], last_over[p], q)
    x[:] = y


@compiled
def _mask_blocks(
    masks: Residues,
    tower: int,
    factor: Residues,
    over: Residues,
    constants: _Tower,
    message: Integers,
    body: Residues,
) -> None:
    """body[., tower] = mask·factor + message modulo q; |message| < 2^60."""
    q = constants.q
    wide, inverse = np.int64(q), 1.0 / q
    product, room = np.empty(DEGREE, dtype=_U), np.empty(DEGREE, dtype=_U)
    for block in range(len(masks)):
        _multiply(masks[block, tower], factor, over, constants, product, room)
        added, out = message[block], body[block, tower]
        for i in range(DEGREE):
            # The rounded quotient is off by one at most: what is left lies in (0, 2q + 2^10).
            left = added[i] - np.int64(np.floor(added[i] * inverse)) * wide + wide
            short = _U(left)
            short = min(short, _U(short - q))
            total = _U(product[i] + short)
            total = min(total, _U(total - q))
            total = min(total, _U(total - q))
            out[i] = min(total, _U(total - q))


@compiled
def _open_blocks(
    masks: Residues,
    spectrum: Residues,
    over: Residues,
    towers: tuple[_Tower, _Tower],
    body: Residues,
    values: Integers,
    bounds: Integers,
) -> None:
    """As `element.unfold` of the centred body - mask·spectrum; bounds = the largest noise and excess."""
    first, second = np.empty(DEGREE, dtype=_U), np.empty(DEGREE, dtype=_U)
    room, centred = np.empty(DEGREE, dtype=_U), np.empty(DEGREE, dtype=np.int64)
    for block in range(len(masks)):
        _multiply(masks[block, 0], spectrum[0], over[0], towers[0], first, room)
        _multiply(masks[block, 1], spectrum[1], over[1], towers[1], second, room)
        _centre(body[block, 0], body[block, 1], first, second, centred)
        _unfold(centred, values[block], bounds)


@compiled
def _centre(low: Residues, high: Residues, first: Residues, second: Residues, centred: Integers) -> None:
    """(low - first, high - second) modulo (q1, q2), by Garner: the one integer within ±q/2."""
    q1, q2, inverse, over = _U(_Q1), _U(_Q2), _U(_GARNER), _U(_GARNER_OVER)
    twice1, twice2 = _U(2 * _Q1), _U(2 * _Q2)
    for i in range(DEGREE):
        one = _U(low[i] + _U(twice1 - first[i]))  # first < 2·q1: below 3·q1, a 32-bit word
        one = min(one, _U(one - q1))
        one = min(one, _U(one - q1))
        two = _U(high[i] + _U(twice2 - second[i]))
        two = min(two, _U(two - q2))
        two = min(two, _U(two - q2))
        digit = _times(_U(two + _U(twice2 - one)), inverse, over, q2)
        digit = min(digit, _U(digit - q2))
        joined = np.int64(one) + np.int64(digit) * _Q1
        centred[i] = joined - MODULUS if joined > _HALF_Q else joined


@compiled
def _unfold(centred: Integers, values: Integers, bounds: Integers) -> None:
    """`element.unfold` of one block; `bounds` grow."""
    half, near = 1 << (LANE_BITS - 1), KAPPA // 2
    noise, lowest, highest = np.int64(0), np.int64(0), np.int64(0)
    for i in range(DEGREE):
        message = np.int64(np.floor((centred[i] + near) * (1.0 / KAPPA)))  # off by one at most
        left = centred[i] - message * KAPPA
        message = message + 1 if left > near else message
        message = message - 1 if left < -near else message
        left = centred[i] - message * KAPPA
        upper = (message + half) >> LANE_BITS
        values[2 * i] = message - (upper << LANE_BITS)
        values[2 * i + 1] = upper
        noise = max(noise, left, -left)
        lowest, highest = min(lowest, upper), max(highest, upper)
    bounds[0] = max(bounds[0], noise)
    bounds[1] = max(bounds[1], -half - lowest, highest - (half - 1))


@compiled
def _accumulate(total: Residues, part: Residues, moduli: Residues) -> None:
    """total += part, leaf by leaf."""
    for leaf in range(len(total)):
        into, read, q = total[leaf], part[leaf], moduli[leaf, 0]
        for i in range(len(into)):
            added = _U(into[i] + read[i])
            into[i] = min(added, _U(added - q))
