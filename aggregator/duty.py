"""What the aggregator has to do next in a study: a pure function of the ledger's facts and block time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from federation.events import Reason, RoundId, Timestamp
from federation.members import Address
from federation.rounds import (
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

from .admit import still_patient


@dataclass(frozen=True, slots=True, kw_only=True)
class PostTotal:
    """The reveals are in: admit, add, post."""

    round: RoundId
    patient: bool  # whether it is too early to leave anyone out as unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """At least t shares were given: open the total, apply it, propose the result."""

    round: RoundId
    sharers: tuple[Address, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandon:
    """A deadline has passed without quorum."""

    round: RoundId
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing is due; others have to act first, or time to pass."""

    until: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """All rounds of the study have finished."""


Due = PostTotal | Finish | Abandon
Duty = Due | Wait | Done


def duty(study: Study, now: Timestamp, *, me: Address, opens: bool) -> Duty:
    """The aggregator's next duty in `study` at block time `now`; `opens`: whether it can read shares."""
    if study.terms.aggregator != me:
        return Wait(until="never: another aggregator serves this study")
    if not study.is_accepted:
        return Wait(until="all members have accepted")
    if study.is_complete:
        return Done()
    return _duty_in(study.current(), now, opens=opens)


def _duty_in(round: Round, now: Timestamp, *, opens: bool) -> Duty:
    match round.phase(now):
        case Committing() | Revealing() as phase:
            return Wait(until=f"members end {type(phase).__name__.lower()}")
        case Combining():
            return PostTotal(round=round.id, patient=still_patient(round, now))
        case Opening():
            if opens and len(round.shares) >= round.terms.threshold:
                return Finish(round=round.id, sharers=tuple(sorted(round.shares)))
            return Wait(until="members have given their shares" if opens else "members have opened the total")
        case Overdue(reason=reason):
            return Abandon(round=round.id, reason=reason)
        case Finished() | Abandoned() | Tainted():
            return Wait(until="the next round begins")
        case unknown:
            assert_never(unknown)
