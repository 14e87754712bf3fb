"""Exact discrete Gaussians: what hides in `hybrid`, drawn from a keyed stream (PROTOCOL §7.12.4).

Inversion of a cumulative table of 128-bit integers. A sample looks at 64 bits, which decide but for a
chance of 2^-56, and at 64 more on a tie, so the distribution is the table's to the last bit. Rounding
a float's Gaussian, or a ternary secret, would fall outside the security argument (§12.7).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import cache
from itertools import accumulate
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ...digest import keystream

SIGMA: Final = 8
TAIL: Final = 120  # 15σ; what lies beyond weighs 2^-161
WORD_BYTES: Final = 8  # of the stream, for each sample
TIE_STREAMS: Final = 1 << 95  # stream 2^95 + j holds the low words of stream j
_PRECISION: Final = 80  # decimal digits; the table needs 39
_UNSURE: Final = 127  # in the guide: 16 bits with which words of several samples begin

Samples = NDArray[np.int8]


def gaussians(key: bytes, count: int, *, streams: range) -> Samples:
    """`count` samples from each of some streams (below 2^95), one row a stream.

    Sample i of a stream is made of bytes 8i … 8i+7 of the stream and, on a tie, of the same bytes of stream
    2^95 + j, so it never depends on what else is drawn.
    """
    raw = b"".join(keystream(key, WORD_BYTES * count, index=stream) for stream in streams)
    words = np.frombuffer(raw, dtype="<u8")
    samples = look_up(words, lambda i: low_word(key, i % count, stream=streams[i // count]))
    return samples.reshape(len(streams), count)


def low_word(key: bytes, i: int, *, stream: int) -> int:
    """The 64 bits below sample i's word of `stream`."""
    words = keystream(key, WORD_BYTES * (i + 1), index=TIE_STREAMS + stream)
    return int.from_bytes(words[WORD_BYTES * i :], "little")


def look_up(words: NDArray[np.uint64], low: Callable[[int], int]) -> Samples:
    """The sample that each word of 64 bits stands for; `low(i)` gives the 64 bits below word i."""
    table = _table()
    samples: Samples = table.guide[words.view("<u2")[3::4]]  # little-endian: each word's highest 16 bits
    unsure = np.flatnonzero(samples == _UNSURE)
    reached = np.searchsorted(table.high, words[unsure], side="right")
    samples[unsure] = table.lowest + reached
    for i in unsure[table.high[reached - 1] == words[unsure]]:  # ties
        samples[i] = bisect_right(thresholds(), (int(words[i]) << 64) + low(int(i))) - TAIL
    return samples


@cache
def thresholds() -> tuple[int, ...]:
    """T_x = 2^128 · P(X ≤ x) to the nearest integer, for x = -120 … 119.

    The sample for a 128-bit number u is #{T_x ≤ u} - 120. P(x) is proportional to exp(-x²/2σ²) over
    [-120, 120]. `Decimal.exp` rounds correctly, so 80 digits leave an error below 10^-35 in T_x, and no T_x
    lies within 10^-3 of a half; a test bounds each entry with ball arithmetic besides.
    """
    exact = Context(prec=_PRECISION, rounding=ROUND_HALF_EVEN)
    half = [exact.exp(exact.divide(Decimal(-x * x), Decimal(2 * SIGMA**2))) for x in range(TAIL + 1)]
    below = list(accumulate((half[abs(x)] for x in range(-TAIL, TAIL + 1)), exact.add))
    unit = exact.divide(Decimal(1 << 128), below[-1])
    return tuple(int(exact.multiply(weight, unit).to_integral_value(context=exact)) for weight in below[:-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """What 16 bits and what 64 bits of u decide."""

    guide: Samples  # by the highest 16 bits
    high: NDArray[np.uint64]  # the highest 64 bits of the thresholds strictly between 0 and 2^128
    lowest: int  # the sample below the first of these


@cache
def _table() -> _Table:
    inner = [threshold for threshold in thresholds() if 0 < threshold < 1 << 128]
    lowest = thresholds().index(inner[0]) - TAIL
    cells = np.arange(1 << 16)
    at_start = np.searchsorted([-(-threshold >> 112) for threshold in inner], cells, side="right")
    at_end = np.searchsorted([threshold >> 112 for threshold in inner], cells, side="right")
    return _Table(
        guide=np.where(at_start == at_end, lowest + at_start, _UNSURE).astype(np.int8),
        high=np.array([threshold >> 64 for threshold in inner], dtype=np.uint64),
        lowest=lowest,
    )
