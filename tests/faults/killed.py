"""A study in which one real party is killed at a step, and what ledger, store and disk then hold.

The steps are those that an undisturbed run touches (`seams`); nobody has listed them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Protocol

from federation.digest import Cid
from federation.events import Event
from federation.in_memory import InMemoryChain, InMemoryStore
from federation.members import Address
from federation.rehearsal import Rehearsal

from ..seams import Fuse, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """All that a run has left: two runs that leave the same cannot be told apart."""

    told: dict[Address, list[object]]  # by the ledger's events
    stored: frozenset[Cid]
    kept: tuple[object, ...]  # on the party's own disk


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A study that one party went through, killed or not."""

    stage: Rehearsal
    fuse: Fuse
    crashes: int
    trace: Trace
    attempts: tuple[tuple[str, tuple[object, ...]], ...]  # calls, whatever came of them


class Scenario(Protocol):
    """A study to its end, in which the party of interest is killed where the fuse says so."""

    def __call__(self, folder: Path, fuse: Fuse) -> Run: ...


def trace_of(stage: Rehearsal, kept: tuple[object, ...]) -> Trace:
    chain, store = stage.chain, stage.store
    assert isinstance(chain, InMemoryChain)
    assert isinstance(store, InMemoryStore)
    return Trace(told=told(chain._events), stored=frozenset(store._blocks), kept=kept)


def told(events: Sequence[Event]) -> dict[Address, list[object]]:
    """What each sender said, in its order: everything but when and where it stands on the ledger."""
    by_sender: dict[Address, list[object]] = {}
    for event in events:
        said = {f.name: getattr(event, f.name) for f in fields(event) if f.name not in {"at", "time"}}
        by_sender.setdefault(event.sender, []).append((type(event).__name__, said))
    return by_sender


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """One run that was killed once."""

    step: Step
    wrong: str  # what differs from the undisturbed run; empty for nothing


def steps_of(undisturbed: Run) -> dict[Step, int]:
    """Each step by the touch at which the run first came to it."""
    first: dict[Step, int] = {}
    for number, step in enumerate(undisturbed.fuse.touched):
        first.setdefault(step, number)
    return first


def killed_at(scenario: Scenario, undisturbed: Run, number: int, folder: Path) -> Killed:
    """The same study, killed at the touch of this number and started again."""
    run = scenario(folder, Fuse(number))
    return Killed(step=undisturbed.fuse.touched[number], wrong=_difference(undisturbed, run))


def _difference(undisturbed: Run, run: Run) -> str:
    if run.crashes != 1:
        return f"killed {run.crashes} times"
    if run.trace.told != undisturbed.trace.told:
        return "the ledger tells another story"
    if run.trace.stored != undisturbed.trace.stored:
        return "the store holds other bytes"
    if run.trace.kept != undisturbed.trace.kept:
        return "the disk holds other bytes"
    tried = {(call, arguments) for call, arguments in run.attempts}
    return "" if tried == set(undisturbed.attempts) else "another version of a call was tried"
