"""SHAKE128 of 32 seeds at once, compiled by Numba: each 64-bit word of the state in 32 neighbouring lanes.

What `hashlib` does one stream after another; here one instruction serves 8 streams. FIPS 202, section 3.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from .jit import compiled

STREAMS: Final = 32
RATE: Final = 168  # bytes of a state of 200 that each permutation yields
SEED_BYTES: Final = 32
_ROUNDS: Final = 24
_W = np.uint64
_Words = NDArray[np.uint64]


def shake128(seeds: bytes, length: int) -> NDArray[np.uint8]:
    """`length` bytes, a multiple of 168, for each of 32 seeds of 32 bytes: [seed, byte]."""
    words = np.frombuffer(seeds, dtype="<u8").reshape(STREAMS, SEED_BYTES // 8)
    out = np.empty((STREAMS, length // 8), dtype=_W)
    _squeeze(words, _CONSTANTS, out)
    return out.view(np.uint8)


def _round_constants() -> _Words:
    """Bits 2^j - 1 of each constant come from a shift register, seven a round."""
    register, constants = 1, []
    for _ in range(_ROUNDS):
        constant = 0
        for j in range(7):
            constant |= (register & 1) << ((1 << j) - 1)
            register = register << 1 ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)
    return np.array(constants, dtype=_W)


_CONSTANTS: Final = _round_constants()


@compiled
def _turn(word: np.uint64, bits: int) -> np.uint64:
    """`word` turned to the left."""
    return _W((word << _W(bits)) | (word >> _W(64 - bits)))


@compiled
def _round(state: _Words, constant: np.uint64, out: _Words) -> None:
    """One round of Keccak-f[1600] from `state` to `out`; word (x, y) of a stream is at 32·(x + 5y) + lane."""
    for lane in range(STREAMS):
        a0, a1, a2, a3, a4 = (
            state[lane],
            state[32 + lane],
            state[64 + lane],
            state[96 + lane],
            state[128 + lane],
        )
        a5, a6, a7, a8, a9 = (
            state[160 + lane],
            state[192 + lane],
            state[224 + lane],
            state[256 + lane],
            state[288 + lane],
        )
        a10, a11, a12, a13, a14 = (
            state[320 + lane],
            state[352 + lane],
            state[384 + lane],
            state[416 + lane],
            state[448 + lane],
        )
        a15, a16, a17, a18, a19 = (
            state[480 + lane],
            state[512 + lane],
            state[544 + lane],
            state[576 + lane],
            state[608 + lane],
        )
        a20, a21, a22, a23, a24 = (
            state[640 + lane],
            state[672 + lane],
            state[704 + lane],
            state[736 + lane],
            state[768 + lane],
        )
        c0 = a0 ^ a5 ^ a10 ^ a15 ^ a20
        c1 = a1 ^ a6 ^ a11 ^ a16 ^ a21
        c2 = a2 ^ a7 ^ a12 ^ a17 ^ a22
        c3 = a3 ^ a8 ^ a13 ^ a18 ^ a23
        c4 = a4 ^ a9 ^ a14 ^ a19 ^ a24
        d0 = c4 ^ _turn(c1, 1)
        d1 = c0 ^ _turn(c2, 1)
        d2 = c1 ^ _turn(c3, 1)
        d3 = c2 ^ _turn(c4, 1)
        d4 = c3 ^ _turn(c0, 1)
        b0, b1, b2, b3, b4 = (
            a0 ^ d0,
            _turn(a6 ^ d1, 44),
            _turn(a12 ^ d2, 43),
            _turn(a18 ^ d3, 21),
            _turn(a24 ^ d4, 14),
        )
        out[lane] = b0 ^ (~b1 & b2) ^ constant
        out[32 + lane] = b1 ^ (~b2 & b3)
        out[64 + lane] = b2 ^ (~b3 & b4)
        out[96 + lane] = b3 ^ (~b4 & b0)
        out[128 + lane] = b4 ^ (~b0 & b1)
        b0, b1, b2, b3, b4 = (
            _turn(a3 ^ d3, 28),
            _turn(a9 ^ d4, 20),
            _turn(a10 ^ d0, 3),
            _turn(a16 ^ d1, 45),
            _turn(a22 ^ d2, 61),
        )
        out[160 + lane] = b0 ^ (~b1 & b2)
        out[192 + lane] = b1 ^ (~b2 & b3)
        out[224 + lane] = b2 ^ (~b3 & b4)
        out[256 + lane] = b3 ^ (~b4 & b0)
        out[288 + lane] = b4 ^ (~b0 & b1)
        b0, b1, b2, b3, b4 = (
            _turn(a1 ^ d1, 1),
            _turn(a7 ^ d2, 6),
            _turn(a13 ^ d3, 25),
            _turn(a19 ^ d4, 8),
            _turn(a20 ^ d0, 18),
        )
        out[320 + lane] = b0 ^ (~b1 & b2)
        out[352 + lane] = b1 ^ (~b2 & b3)
        out[384 + lane] = b2 ^ (~b3 & b4)
        out[416 + lane] = b3 ^ (~b4 & b0)
        out[448 + lane] = b4 ^ (~b0 & b1)
        b0, b1, b2, b3, b4 = (
            _turn(a4 ^ d4, 27),
            _turn(a5 ^ d0, 36),
            _turn(a11 ^ d1, 10),
            _turn(a17 ^ d2, 15),
            _turn(a23 ^ d3, 56),
        )
        out[480 + lane] = b0 ^ (~b1 & b2)
        out[512 + lane] = b1 ^ (~b2 & b3)
        out[544 + lane] = b2 ^ (~b3 & b4)
        out[576 + lane] = b3 ^ (~b4 & b0)
        out[608 + lane] = b4 ^ (~b0 & b1)
        b0, b1, b2, b3, b4 = (
            _turn(a2 ^ d2, 62),
            _turn(a8 ^ d3, 55),
            _turn(a14 ^ d4, 39),
            _turn(a15 ^ d0, 41),
            _turn(a21 ^ d1, 2),
        )
        out[640 + lane] = b0 ^ (~b1 & b2)
        out[672 + lane] = b1 ^ (~b2 & b3)
        out[704 + lane] = b2 ^ (~b3 & b4)
        out[736 + lane] = b3 ^ (~b4 & b0)
        out[768 + lane] = b4 ^ (~b0 & b1)


@compiled
def _squeeze(seeds: _Words, constants: _Words, out: _Words) -> None:
    state, other = np.zeros(25 * STREAMS, dtype=_W), np.zeros(25 * STREAMS, dtype=_W)
    for lane in range(STREAMS):
        for word in range(SEED_BYTES // 8):
            state[word * STREAMS + lane] = seeds[lane, word]
        state[SEED_BYTES // 8 * STREAMS + lane] = _W(0x1F)  # the suffix of SHAKE, then padding
        state[(RATE // 8 - 1) * STREAMS + lane] = _W(1 << 63)
    for start in range(0, out.shape[1], RATE // 8):
        for step in range(0, _ROUNDS, 2):
            _round(state, constants[step], other)
            _round(other, constants[step + 1], state)
        for word in range(RATE // 8):
            for lane in range(STREAMS):
                out[lane, start + word] = state[word * STREAMS + lane]
