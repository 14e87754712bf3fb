"""What the aggregator has to do next in a study: a pure function of the ledger's facts and block time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from federation.bonds import WEI_PER_GWEI, show_ether
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
    """The next duty of `me` in `study` at block time `now`; `opens`: whether it can read shares."""
    if me not in study.terms.aggregators:
        return Wait(until="never: other aggregators serve this study")
    if not study.is_accepted:
        return Wait(until="all members have accepted")
    if study.is_complete:
        return Done()
    return _duty_in(study, now, me=me, opens=opens)


def _duty_in(study: Study, now: Timestamp, *, me: Address, opens: bool) -> Duty:
    round = study.current()
    match round.phase(now):
        case Committing() | Revealing() as phase:
            return Wait(until=f"members end {type(phase).__name__.lower()}")
        case Combining():
            return _combining(round, now, me=me, staked=study.bonds.of(me).amount)
        case Opening(total=total, closes=closes):
            ours = total.sender == me or now > closes
            return _opening(round, ours=ours) if opens else Wait(until="members have opened the total")
        case Overdue(reason=reason):
            return Abandon(round=round.id, reason=reason)
        case Finished() | Abandoned() | Tainted():
            return Wait(until="the next round begins")
        case unknown:
            assert_never(unknown)


def _opening(round: Round, *, ours: bool) -> Duty:
    if len(round.shares) < round.terms.threshold:
        return Wait(until="members have given their shares")
    if not ours:
        return Wait(until="the aggregator that posted the total has opened it, or its time is over")
    return Finish(round=round.id, sharers=tuple(sorted(round.shares)))


def _combining(round: Round, now: Timestamp, *, me: Address, staked: int) -> Duty:
    begins, stake = round.turn_begins(me), round.terms.stake.gwei * WEI_PER_GWEI
    if begins is None:
        return Wait(until="the next round: a fault of ours was proven in this one")
    if now < begins:
        return Wait(until="our turn: an aggregator before us has until then")
    if staked < stake:
        command = f"tally bond --study {round.id.study} --deposit"
        return Wait(until=f"we have staked {show_ether(stake)}: `{command}`")
    return PostTotal(round=round.id, patient=still_patient(round, now))
