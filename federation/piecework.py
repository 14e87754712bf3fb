"""Work on one run of leaves, as pure functions of what can be sent to another process (PROTOCOL §4.3, §5.3).

Admitting, combining and verifying are this work, run after run, over whatever executor a party has: its own
thread, more processes, or a cluster. Nothing secret goes in or comes out; a result that a worker got wrong
is found like any other lie, because every node and auditor does the same work again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from .ciphers import SuiteName, resolve
from .errors import Malformed
from .merkle import RootHasher, Tree, trees_over
from .runs import Run, in_order
from .wire import Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What one pass over a payload's leaves shows."""

    trunk: RootHasher  # of the tree over header and leaves
    fault: Malformed | None  # of the first leaf that the suite refuses


def examine(suite: SuiteName, payload: Payload, executor: Executor) -> Examined:
    """The tree over the payload's header and leaves, and the first leaf that the suite refuses."""
    trunk, first = RootHasher(), None
    trunk.add(payload.header)
    calls = ((suite, run, data) for run, data in payload.runs())
    for trees, fault in in_order(executor, _examine_run, calls):
        trunk.extend(trees)
        first = first or fault
    return Examined(trunk=trunk, fault=first)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sum:
    """The leaves of a total, added anew each time they are read: nobody has to hold them."""

    suite: SuiteName
    updates: Sequence[Payload]
    executor: Executor

    def read(self) -> Iterator[bytes]:
        """Run by run, in order."""
        return in_order(self.executor, _add_run, self._calls())

    def _calls(self) -> Iterator[tuple[SuiteName, Run, list[bytes]]]:
        for same in zip(*(update.runs() for update in self.updates), strict=True):
            yield self.suite, same[0][0], [data for _, data in same]


def _examine_run(suite: SuiteName, run: Run, data: bytes) -> tuple[list[Tree], Malformed | None]:
    fault = None
    try:
        resolve(suite).check_run(run, data)
    except Malformed as found:
        fault = found.with_traceback(None)  # whose frames hold the run
    return trees_over(data, run.width, first=run.first), fault


def _add_run(suite: SuiteName, run: Run, parts: Sequence[bytes]) -> bytes:
    return resolve(suite).combine(run, parts)
