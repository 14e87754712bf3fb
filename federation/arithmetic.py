"""From a trained update to integers and back, the same on every machine (PROTOCOL §8).

Pure NumPy, element by element; every constant factor is one correctly rounded quotient of
integers and the only sum of floats is exact, so that the integers, the mean and the model are
a function of their inputs and not of a processor's vector units. Every step goes block by block:
a model may fill most of a machine, so a step needs its input, its output and a few blocks. Nothing
here knows a cipher.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .digest import derive, keystream
from .errors import Refused, Violation

IntVector = NDArray[np.int64]
Vector = NDArray[np.float64]  # an update or a mean, flat, in the order of the task's tensors
Model = NDArray[np.float32]  # flat, in the same order

LANE: Final = 1 << 23  # every sum of one coordinate stays below this in magnitude
MILLION: Final = 1_000_000
BLOCK: Final = 1 << 13  # values handled in one piece; §8.4: each has a rounding stream of its own
_DRAW_BYTES: Final = 8  # for each value
_DRAW_BITS: Final = 53  # of those 64: what a float64 compares exactly
_LARGEST: Final = 1 << 53  # of any integer in a scale

# Operands and what IEEE 754 says of their sums, in bits: 2^-1023 twice and 2^-1074 plus zero (lost where
# denormals are read as zero), 1 + 2^-53 and 1 + 3·2^-53 (only nearest-even gives this pair).
_LEFT: Final = np.array([1 << 51, 1, 0x3FF << 52, 0x3FF << 52], np.uint64).view(np.float64)
_RIGHT: Final = np.array([1 << 51, 0, 0x3CA << 52, 0x3CB8 << 48], np.uint64).view(np.float64)
_SUMS: Final = np.array([1 << 52, 1, 0x3FF << 52, (0x3FF << 52) + 2], np.uint64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How a study turns floats into integers and back; part of its spec, so integers only."""

    clip: int  # L2 bound C of an update, in millionths
    bound: int  # coordinate range B of an update, in millionths
    weight_cap: int  # samples, at most two significant digits
    members: int  # the most contributors that a round can have
    bits: int  # of one quantised value, its sign included; see `default_bits`

    @property
    def top(self) -> int:
        """M, the largest magnitude of a quantised value."""
        return (1 << self.bits - 1) - 1

    def check(self) -> None:
        """§8.1: raises `Refused` unless no sum of contributions can ever reach a lane's limit."""
        sizes = {
            "clip": self.clip,
            "bound": self.bound,
            "weight_cap": self.weight_cap,
            "members": self.members,
        }
        for name, value in sizes.items():
            if not 1 <= value <= _LARGEST:
                raise Refused(f"scale: expected {name} in 1 … 2^53, found {value}")
        if not 2 <= self.bits <= 24:
            raise Refused(f"scale: expected bits in 2 … 24, found {self.bits}")
        if self.members * self.top >= LANE:
            found = f"{self.members} members × {self.top}"
            raise Refused(f"scale: expected sums of values below 2^23 = {LANE}, found {found}")
        if self.members * self.weight_cap >= LANE:
            found = f"{self.members} members × {self.weight_cap} samples"
            raise Refused(f"scale: expected sums of weights below 2^23 = {LANE}, found {found}")
        if _two_digits(self.weight_cap) != self.weight_cap:
            raise Refused(f"scale: expected weight_cap of two significant digits, found {self.weight_cap}")


def default_bits(members: int) -> int:
    """The most bits a value can have so that `members` of them always fit a lane: 24 - ⌈log2 members⌉."""
    if members < 1:
        raise Refused(f"expected at least 1 member, found {members}")
    return 24 - (members - 1).bit_length()


def weigh(samples: int, scale: Scale) -> int:
    """§8.2: min(samples, cap) rounded half up to two significant digits: in 1 … cap, and no exact count."""
    if samples < 1:
        raise Refused(f"expected at least 1 sample to train on, found {samples}")
    return _two_digits(min(samples, scale.weight_cap))


@dataclass(frozen=True, slots=True, kw_only=True)
class Clipped:
    """An update within the study's bounds, and what that cost it; the numbers are the node's to report."""

    vector: Vector  # L2 norm at most C, coordinates in [-B, B]
    norm: float  # L2 norm before
    kept: float  # L2 norm after
    cut: int  # values that the coordinate range cut off


def clip(update: Vector, *, scale: Scale, tensors: Sequence[tuple[str, int]]) -> Clipped:
    """§8.3: `update` scaled into the ball of radius C, then cut to [-B, B] in each coordinate.

    `tensors` are the names and sizes of its parts, in order; a NaN or an infinity raises `Refused`
    and names the tensor, never the value.
    """
    expected = max(1, sum(size for _, size in tensors))
    _check_kind("an update", update, np.dtype(np.float64), expected)
    peak = _peak(update)
    if not math.isfinite(peak):
        found, first = _unusable(update)
        where = _place(first, tensors)
        raise Refused(f"update: expected finite values, found {found} NaN or infinite, first {where}")
    radius, bound = scale.clip / MILLION, scale.bound / MILLION
    power = _power(peak)  # a norm near the end of the range may be infinite; that of update / power is not
    unit_norm = _norm(update, power)
    norm = unit_norm * power
    vector, cut = np.empty_like(update), 0
    for block in _blocks(update.size):
        inside = update[block] / power * (radius / unit_norm) if norm > radius else update[block]
        np.clip(inside, -bound, bound, out=vector[block])
        cut += int(np.count_nonzero(vector[block] != inside))
    power = _power(_peak(vector))
    return Clipped(vector=vector, norm=norm, kept=_norm(vector, power) * power, cut=cut)


def quantise(clipped: Clipped, *, weight: int, scale: Scale, secret: bytes, context: bytes) -> IntVector:
    """§8.4: d values in [-M, M], rounded without bias, then the weight.

    Value j stands for x_j · w/cap in steps of B/M. The rounding's streams depend on the secret, the
    context *and* the vector, so no two vectors ever share one, and the same call gives the same integers.
    Hence two passes: the vector is hashed before its first value is rounded.
    """
    if not 1 <= weight <= scale.weight_cap:
        raise Refused(f"expected a weight in 1 … {scale.weight_cap}, found {weight}")
    factor = (weight * scale.top * MILLION) / (scale.weight_cap * scale.bound)  # one rounding
    hashed = hashlib.sha256()
    for block in _blocks(clipped.vector.size):
        hashed.update((clipped.vector[block] * factor).astype("<f8", copy=False).data)
    key = derive(secret, "rounding", context, hashed.digest())
    values = np.empty(clipped.vector.size + 1, np.int64)
    for index, block in enumerate(_blocks(clipped.vector.size)):
        scaled = clipped.vector[block] * factor
        below = np.floor(scaled)
        draws = np.frombuffer(keystream(key, _DRAW_BYTES * scaled.size, index=index), "<u8")
        draws = draws >> np.uint64(8 * _DRAW_BYTES - _DRAW_BITS)
        up = draws.astype(np.float64) < (scaled - below) * float(1 << _DRAW_BITS)
        values[block] = np.clip(below + up, -scale.top, scale.top)
    values[-1] = weight
    return values


def mean(total: IntVector, *, members: int, scale: Scale) -> Vector:
    """§8.5: Σ(w_i·x_i) / Σw_i of an opened total of `members` contributions.

    Raises `Violation` without a culprit (only the sum is known) where no honest contributions add up to
    `total`: a weight outside (0, members·cap], a value that members could not reach, or one that
    these weights could not, which would carry a coordinate of the mean out of [-B, B].
    """
    if not 1 <= members <= scale.members:
        raise Refused(f"expected 1 … {scale.members} contributors, found {members}")
    _check_kind("a total", total, np.dtype(np.int64), max(total.size, 2))
    weight = int(total[-1])
    if not 0 < weight <= members * scale.weight_cap:
        limit = f"a total weight in 1 … {members * scale.weight_cap}"
        raise Violation("§8.5", "the opened sum is impossible", expected=limit, found=weight)
    values = total[:-1]
    largest = max(int(values.max()), -int(values.min()))
    if largest > members * scale.top:
        limit = f"values up to {members * scale.top}"
        raise Violation("§8.5", "the opened sum is impossible", expected=limit, found=largest)
    reach = scale.top * weight // scale.weight_cap + members  # rounding adds at most 1 for each contributor
    if largest > reach:
        limit = f"values up to {reach} for a total weight of {weight}"
        raise Violation("§8.5", "values exceed what the weights allow", expected=limit, found=largest)
    factor = (scale.bound * scale.weight_cap) / (scale.top * weight * MILLION)  # one rounding
    change = np.empty(values.size)
    np.multiply(values, factor, out=change)  # NumPy converts as it goes, some thousand values at a time
    return change


def apply(model: Model, change: Vector) -> Model:
    """§8.6: the next model: float64 addition, rounded to float32 once.

    Every party hashes the result, so it is refused where this process does not calculate as IEEE 754
    says, and where a parameter leaves the range of float32.
    """
    check_float_environment()
    _check_kind("a model", model, np.dtype(np.float32), change.size)
    _check_kind("a mean", change, np.dtype(np.float64), model.size)
    following = np.empty_like(model)
    with np.errstate(over="ignore", invalid="ignore"):
        for block in _blocks(model.size):
            following[block] = model[block].astype(np.float64) + change[block]
    if not is_finite(following):
        raise Refused(f"model: expected finite float32 parameters, found none at {_unusable(following)[1]}")
    return following


def is_finite(vector: Vector | Model) -> bool:
    """Whether no value is NaN or infinite, found without a mask as long as the vector."""
    return all(bool(np.isfinite(vector[block]).all()) for block in _blocks(vector.size))


def check_float_environment() -> None:
    """§8.6: raises `Refused` where denormals are flushed or rounding is not to nearest-even.

    Called at start-up and by `apply`: a library can switch the thread's mode at any time.
    """
    sums = (_LEFT + _RIGHT).view(np.uint64)
    halved = (np.array([1 << 52], np.uint64).view(np.float64) * 0.5).view(np.uint64)
    single = np.array([0x36A << 52], np.uint64).view(np.float64).astype(np.float32).view(np.uint32)  # 2^-149
    if not np.array_equal(sums, _SUMS) or halved[0] != 1 << 51 or single[0] != 1:
        raise Refused("floats: expected IEEE 754 with denormals and nearest-even, found another mode")


def _two_digits(count: int) -> int:
    step: int = 10 ** max(0, len(str(count)) - 2)
    return (count + step // 2) // step * step


def _blocks(size: int) -> Iterator[slice]:
    return (slice(first, min(first + BLOCK, size)) for first in range(0, size, BLOCK))


def _peak(vector: Vector) -> float:
    """The largest magnitude; NaN or infinite if any value is."""
    return max(float(vector.max()), -float(vector.min()))


def _power(peak: float) -> float:
    """The power of two that brings `peak` into [1, 2), or 1 for 0."""
    return math.ldexp(1.0, math.frexp(peak)[1] - 1) if peak else 1.0


def _norm(vector: Vector, power: float) -> float:
    """L2 norm of `vector / power`: the exact sum of rounded squares, rounded once, so in whatever order."""
    units = (vector[block] / power for block in _blocks(vector.size))
    return math.sqrt(math.fsum(part for unit in units for part in _exact_parts(unit * unit)))


def _exact_parts(terms: Vector) -> Iterator[float]:
    """A few floats whose exact sum is that of `terms`, which are at most `BLOCK` and below 2^1000.

    Each pass takes the 40 leading bits off: `grid` lies in a binade of step 2^(e-40) for terms up to 2^e,
    so `high` are multiples of that step, and 2^13 times 2^40 of them add exactly, whatever the order.
    """
    while peak := _peak(terms):
        grid = math.ldexp(1.5, math.frexp(peak)[1] + 12)  # half a binade of room on both sides, for signs
        high = (terms + grid) - grid
        yield float(high.sum())
        terms = terms - high  # exact: at most half a step, and no bit below the last of the term


def _unusable(vector: Vector | Model) -> tuple[int, int]:
    """How many values are NaN or infinite, and where the first is."""
    found = [np.flatnonzero(~np.isfinite(vector[block])) + block.start for block in _blocks(vector.size)]
    positions = np.concatenate(found)
    return positions.size, int(positions[0])


def _check_kind(what: str, vector: NDArray[np.generic], dtype: np.dtype[np.generic], size: int) -> None:
    if vector.dtype != dtype or vector.shape != (size,):
        expected = f"{what} of {size} {dtype}"
        raise Refused(f"expected {expected}, found {vector.dtype} of shape {vector.shape}")


def _place(position: int, tensors: Sequence[tuple[str, int]]) -> str:
    for name, size in tensors:
        if position < size:
            return f"in tensor {name} at {position}"
        position -= size
    raise AssertionError("position lies beyond the tensors, whose sizes were checked")
