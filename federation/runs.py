"""Leaves in runs: the piece that work on a payload is done in.

A payload can be larger than a machine's memory. So nobody holds one: leaves come and go a `Run` at a time,
in order, and whoever needs them again reads them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

RUN_BYTES: Final = 1 << 20  # the most bytes of leaves handled in one piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Consecutive leaves of one width; `first` counts from the payload's leaf 1 (leaf 0 is the header)."""

    first: int
    count: int
    width: int  # bytes a leaf

    @property
    def size(self) -> int:
        """Bytes."""
        return self.count * self.width


def in_runs(parts: Iterable[Run]) -> Iterator[Run]:
    """The same leaves in pieces of at most `RUN_BYTES`, in order; no piece crosses from one part to the next."""
    for part in parts:
        step = max(1, RUN_BYTES // max(1, part.width))
        for offset in range(0, part.count, step):
            count = min(step, part.count - offset)
            yield Run(first=part.first + offset, count=count, width=part.width)
