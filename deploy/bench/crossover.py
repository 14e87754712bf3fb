"""From how many values on `hybrid` is the cheaper suite: what the choice `auto` rests on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from federation.ciphers import SuiteName, resolve
from federation.ciphers.hybrid.keys import decode_keys
from federation.ciphers.suite import Dealing
from federation.ciphers.threshold.packing import lanes_of

from .clock import race
from .figures import Crossover, Point
from .subject import HEADER, Subject

LENGTHS: Final = (500, 1000, 1500, 2000, 2500, 3000, 4000)
_LAST: Final = 1 << 16  # a length at which `hybrid` has long been the smaller


def crossover(dealing: Dealing, lengths: Sequence[int], *, laps: int) -> Crossover:
    """Seconds from measured lengths, bytes from the layouts."""
    points = [_point(dealing, length, laps=laps) for length in lengths]
    return Crossover(seconds_from=_seconds_from(points), bytes_from=_bytes_from(dealing), points=points)


def _point(dealing: Dealing, length: int, *, laps: int) -> Point:
    subjects = [Subject(name, dealing, length) for name in ("paillier", "hybrid")]
    steps = {
        (subject.name.name, step): work
        for subject in subjects
        for step, work in (subject.cheap_steps() | subject.joint_steps()).items()
        if step not in {"commit", "check_share"}  # the first holds `encrypt`, the second is for blame
    }
    took = race({f"{name} {step}": work for (name, step), work in steps.items()}, laps=laps)
    paillier, hybrid = (
        sum(spent for step, spent in took.items() if step.startswith(subject.name.name))
        for subject in subjects
    )
    sizes = [_bytes(dealing, subject.name.name, length) for subject in subjects]
    return Point(
        values=length,
        paillier_s=paillier,
        hybrid_s=hybrid,
        paillier_bytes=sizes[0],
        hybrid_bytes=sizes[1],
    )


def _seconds_from(points: Sequence[Point]) -> int:
    """Behind the last length at which `paillier` is cheaper; 0 where it never is."""
    dearer = [at for at, point in enumerate(points) if point.hybrid_s >= point.paillier_s]
    if not dearer:
        return 0
    if dearer[-1] == len(points) - 1:
        return points[-1].values
    one, other = points[dearer[-1]], points[dearer[-1] + 1]
    before, behind = one.hybrid_s - one.paillier_s, other.paillier_s - other.hybrid_s
    share = before / (before + behind) if before + behind > 0 else 0.0
    return round(one.values + share * (other.values - one.values))


def _bytes_from(dealing: Dealing) -> int:
    """One more than the greatest length at which `paillier` is no larger, which fills its last ciphertext."""
    lanes = lanes_of(decode_keys(dealing.public_key)[0].bits)
    for length in range(_LAST // lanes * lanes, 0, -lanes):
        if _bytes(dealing, "paillier", length) <= _bytes(dealing, "hybrid", length):
            return length + 1
    return 1


def _bytes(dealing: Dealing, name: str, length: int) -> int:
    suite = resolve(SuiteName(name=name, key=dealing.public_key, values=length))
    return len(HEADER) + suite.layout.size + suite.layout.proof_bytes
