"""What a daemon tells whoever watches it: duties, answers, gas, and where its studies stand (PROTOCOL §10.8).

The daemons know this Protocol alone; `metrics` and `traces` listen, each with names of its own, and
where nobody does, that is `SILENT`. What is told is public on the ledger or about this process: never a
value, a key or a count of patients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from .errors import LedgerRejected, Refused, Unavailable, Violation
from .events import RoundId, Timestamp
from .races import is_lost_race
from .rounds import Study


class Outcome(Enum):
    """How a duty or a question to somebody else ended."""

    DONE = "done"
    UNAVAILABLE = "unavailable"  # it is tried again
    VIOLATION = "violation"  # a peer broke the protocol
    OVERTAKEN = "overtaken"  # the ledger had moved on
    REFUSED = "refused"  # our own rules, or the contract's
    DEFECT = "defect"  # ours


def outcome_of(error: BaseException) -> Outcome:
    """By the family of the error."""
    match error:
        case Unavailable():
            return Outcome.UNAVAILABLE
        case Violation():
            return Outcome.VIOLATION
        case LedgerRejected() if is_lost_race(error):
            return Outcome.OVERTAKEN
        case Refused():
            return Outcome.REFUSED
        case Exception():
            return Outcome.DEFECT
        case _:  # the process ends, or nobody wants the rest of an answer
            return Outcome.DONE


@dataclass(slots=True)
class Attempt:
    """Something under way; its outcome follows from what it raises, unless whoever does it knows better."""

    outcome: Outcome = Outcome.DONE

    def end(self, error: BaseException) -> None:
        """It has raised this."""
        if self.outcome is Outcome.DONE:
            self.outcome = outcome_of(error)


class Telemetry(Protocol):
    """Hears what happens. Nothing here raises, blocks or decides."""

    def duty(self, kind: str, round: RoundId) -> AbstractContextManager[Attempt]:
        """What is done inside is one duty of this round."""

    def asking_node(self, shown: str) -> AbstractContextManager[Attempt]:
        """What is done inside is one question to the Ethereum node at this address (host and port alone)."""

    def asking_store(self, operation: str) -> AbstractContextManager[Attempt]:
        """What is done inside is one operation of the content store: `put`, `get` or `has`."""

    def paid(self, call: str, gas: int) -> None:
        """A call of ours used so much gas, whether it passed or not."""

    def read_ledger(self, number: int, time: Timestamp) -> None:
        """The ledger was read up to this final block."""

    def stands(self, study: Study, now: Timestamp) -> None:
        """Where a study stands at block time `now`."""


class Together:
    """Several listeners hear the same."""

    def __init__(self, listeners: Sequence[Telemetry]) -> None:
        self._listeners = tuple(listeners)

    def duty(self, kind: str, round: RoundId) -> AbstractContextManager[Attempt]:
        """See `Telemetry`."""
        return _all(one.duty(kind, round) for one in self._listeners)

    def asking_node(self, shown: str) -> AbstractContextManager[Attempt]:
        """See `Telemetry`."""
        return _all(one.asking_node(shown) for one in self._listeners)

    def asking_store(self, operation: str) -> AbstractContextManager[Attempt]:
        """See `Telemetry`."""
        return _all(one.asking_store(operation) for one in self._listeners)

    def paid(self, call: str, gas: int) -> None:
        """See `Telemetry`."""
        for one in self._listeners:
            one.paid(call, gas)

    def read_ledger(self, number: int, time: Timestamp) -> None:
        """See `Telemetry`."""
        for one in self._listeners:
            one.read_ledger(number, time)

    def stands(self, study: Study, now: Timestamp) -> None:
        """See `Telemetry`."""
        for one in self._listeners:
            one.stands(study, now)


@contextmanager
def _all(attempts: Iterable[AbstractContextManager[Attempt]]) -> Iterator[Attempt]:
    """One attempt for whoever makes it, told to all."""
    ours = Attempt()
    with ExitStack() as stack:
        theirs = [stack.enter_context(one) for one in attempts]
        try:
            yield ours
        finally:
            for attempt in theirs:
                attempt.outcome = ours.outcome


SILENT: Final[Telemetry] = Together(())  # nobody watches
