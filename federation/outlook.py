"""What a study waits for, and until when: one line for people, from the ledger's facts and block time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from .endings import Calls, ending, listed, overdue
from .events import Timestamp
from .members import Address
from .rounds import (
    Abandoned,
    Combining,
    Committing,
    Finished,
    Opening,
    Overdue,
    Revealing,
    Round,
    Study,
    Tainted,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """`until` is the last second in which it may still come; None where no clock runs."""

    awaited: str
    until: Timestamp | None = None


def outlook(study: Study, now: Timestamp, call: Calls) -> Outlook:
    """Whose turn it is in the round that is under way or next."""
    if not study.is_accepted:
        missing = [member for member in study.terms.members if member not in study.accepted]
        return Outlook(awaited=f"{listed(missing, call)} to accept the study")
    if study.is_complete:
        last = study.finished[-1]
        if study.settled_model(last) is not None:
            return Outlook(awaited="nothing: the study is complete and its last model confirmed")
        threshold = study.terms.threshold
        return Outlook(
            awaited=f"{threshold} members to confirm the last model: {len(last.confirmations)} have"
        )
    return _in_round(study.current(), now, call)


def last_ending(study: Study, call: Calls) -> str:
    """How the newest round that has ended did so; empty before the first."""
    return next((said for round in reversed(study.rounds) if (said := ending(round, call))), "")


def _in_round(round: Round, now: Timestamp, call: Calls) -> Outlook:
    until: Timestamp | None = None
    match round.phase(now):
        case Committing(closes=until):
            missing = [member for member in round.terms.members if member not in round.commits]
            clock = "" if until else ": the first one starts the clock"
            awaited = f"{listed(missing, call)} to commit{clock}"
        case Revealing(closes=until):
            missing = [member for member in sorted(round.commits) if member not in round.reveals]
            awaited = f"{listed(missing, call)} to reveal"
        case Combining(closes=until):
            awaited = f"{listed(_on_turn(round, now), call)} to post the total"
        case Opening() as phase:
            return _in_opening(round, phase, now, call)
        case Overdue() as phase:
            awaited = f"anybody to end the round: {overdue(round, phase, call)}"
        case Finished() | Abandoned() | Tainted():
            awaited = "the next round to open"  # pragma: no cover  # `current` has not ended
        case unknown:
            assert_never(unknown)
    return Outlook(awaited=awaited, until=until)


def _in_opening(round: Round, phase: Opening, now: Timestamp, call: Calls) -> Outlook:
    missing, closes = round.terms.threshold - len(round.shares), phase.closes
    if now > closes:
        until = Timestamp(closes + round.terms.windows.open)
        return Outlook(awaited="anybody to join the shares and propose the result", until=until)
    if missing <= 0:
        poster = call(phase.total.sender)
        return Outlook(awaited=f"{poster} to join the shares and propose the result", until=closes)
    silent = [member for member in round.terms.members if member not in round.shares]
    return Outlook(awaited=f"{missing} more of the shares of {listed(silent, call)}", until=closes)


def _on_turn(round: Round, now: Timestamp) -> list[Address]:
    """The aggregators that may post now."""
    begun = [(round.turn_begins(aggregator), aggregator) for aggregator in round.turns]
    return [aggregator for begins, aggregator in begun if begins is not None and begins <= now]
