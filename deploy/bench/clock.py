"""Seconds of one core, and bytes: how everything in this package is measured.

CPU time and not a clock on the wall: what other programs do to the machine meanwhile lengthens the second
and hardly the first. What is compared is run in turns, so that whatever noise is left meets both.
"""

from __future__ import annotations

import gc
import os
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

Work = Callable[[], object]
MEGABYTE: Final = 1_000_000  # bytes


def seconds(work: Work) -> float:
    """CPU seconds of this process, all of its threads together, that one call takes."""
    gc.collect()
    start = time.process_time()
    work()
    return time.process_time() - start


def race(works: Mapping[str, Work], *, laps: int) -> dict[str, float]:
    """The least seconds of each over `laps`, run in turns."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(laps):
        for name, work in works.items():
            best[name] = min(best[name], seconds(work))
    return best


def peak_bytes(work: Work) -> int:
    """The most bytes that Python and NumPy held at once during one call, beyond those held before it."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@contextmanager
def one_core() -> Iterator[None]:
    """This process keeps to one core, where the system lets it choose."""
    if sys.platform != "linux":
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@contextmanager
def settled() -> Iterator[None]:
    """What was there before counts as no garbage, and is not looked through before each lap, or in one."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def hushed() -> Iterator[None]:
    """Whatever foreign code writes to standard output, past Python, goes nowhere: ours is for the figures."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
