"""What this node has to do next: a pure function of the ledger, the block time and the journal.

The loop in `daemon` asks, does the one duty, and asks again. Nothing else decides, so a node that is
killed anywhere comes back to the same answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from federation.errors import Refused
from federation.events import Reason, RoundId, Timestamp, TotalPosted
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

from .journal import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Train from the model we have recomputed, encrypt, and commit."""

    round: RoundId


@dataclass(frozen=True, slots=True, kw_only=True)
class Reveal:
    """Publish what we committed to."""

    round: RoundId


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Check the posted total and give our one share, or withhold it."""

    round: RoundId
    total: TotalPosted


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Store the bytes of the share that the ledger shows as given."""

    round: RoundId


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """While the aggregator combines, see for ourselves whose updates can be fetched."""

    round: RoundId


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclude:
    """Join the shares ourselves: the aggregator has not."""

    round: RoundId


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt:
    """Recompute a proposed result; adopt it, or object and propose our own."""

    round: RoundId
    last: bool  # whether nobody will train from it, so that it has to be confirmed by word
    may_share: bool  # whether our share is still taken, should the others' not suffice to open the total


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """A deadline passed without quorum: end the round."""

    round: RoundId
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Nothing to do until the ledger moves."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The study is complete and we have adopted its last model."""


Duty = Submit | Reveal | Share | Publish | Fetch | Conclude | Adopt | End | Wait | Done
Recall = Callable[[Entry, RoundId], bytes | None]


def next_duty(study: Study, now: Timestamp, *, me: Address, recall: Recall) -> Duty:
    """The one thing to do now; raises `Refused` where the ledger shows what we do not remember."""
    for round in study.rounds:
        forgotten = _forgotten(round, me=me, recall=recall)
        if forgotten and not _is_passed(round, me=me, recall=recall):
            raise Refused(_FORGOTTEN.format(round=round.id, what=forgotten))
    if not study.is_accepted:
        missing = len(study.terms.members) - len(study.accepted)
        return Wait(why=f"{missing} members have yet to accept the study")
    for round in study.rounds:
        unpublished = me in round.shares and recall(Entry.PUBLISHED, round.id) is None
        lost = isinstance(round.phase(now), Tainted) or _is_passed(round, me=me, recall=recall)
        if unpublished and not lost:
            return Publish(round=round.id)
    for finished in study.finished:
        if recall(Entry.ADOPTED, finished.id) is None:
            last = study.is_complete and finished is study.finished[-1]
            posted = None if finished.total is None else finished.total.root
            may_share = me not in finished.shares and recall(Entry.WITHHELD, finished.id) != posted
            may_share = may_share and not _is_passed(finished, me=me, recall=recall)
            return Adopt(round=finished.id, last=last, may_share=may_share)
    if study.is_complete:
        return Done()
    current = study.current()
    if _is_passed(current, me=me, recall=recall):
        return _sitting_out(current, now)
    return _in_round(current, now, me=me, recall=recall)


def _in_round(round: Round, now: Timestamp, *, me: Address, recall: Recall) -> Duty:
    match round.phase(now):
        case Committing():
            return Wait(why="the others commit") if me in round.commits else Submit(round=round.id)
        case Revealing():
            ours = me in round.commits and me not in round.reveals
            return Reveal(round=round.id) if ours else Wait(why="the others reveal")
        case Combining():
            return Fetch(round=round.id)
        case Opening(total=total, closes=closes):
            return _in_opening(round, total, overtime=now > closes, me=me, recall=recall)
        case Overdue(reason=reason):
            return End(round=round.id, reason=reason)
        case Finished() | Abandoned() | Tainted():
            return Wait(why="the next round opens")  # pragma: no cover  # `current` never returns these
        case unknown:
            assert_never(unknown)


def _in_opening(round: Round, total: TotalPosted, *, overtime: bool, me: Address, recall: Recall) -> Duty:
    if overtime:
        enough = len(round.shares) >= round.terms.threshold
        return Conclude(round=round.id) if enough else Wait(why="the round ends without enough shares")
    if me in round.shares:
        return Wait(why="the others share")
    if recall(Entry.WITHHELD, round.id) == total.root:
        return Wait(why="we refuse to open this total")
    return Share(round=round.id, total=total)


def _sitting_out(round: Round, now: Timestamp) -> Duty:
    """What anyone of the study may do, and what gives nothing of ours."""
    match round.phase(now):
        case Overdue(reason=reason):
            return End(round=round.id, reason=reason)
        case Opening(closes=closes) if now > closes and len(round.shares) >= round.terms.threshold:
            return Conclude(round=round.id)
        case _:
            return Wait(why="this round began before our vault was restored: we sit it out")


def _is_passed(round: Round, *, me: Address, recall: Recall) -> bool:
    """Whether an earlier self may have given in this round what we do not know: then we give nothing.

    It had begun when the vault was restored, or began right then and the ledger shows a call of ours.
    """
    if recall(Entry.PASSED, round.id) is not None:
        return True
    doubted = recall(Entry.DOUBTED, round.id) is not None
    return doubted and bool(_forgotten(round, me=me, recall=recall))


def _forgotten(round: Round, *, me: Address, recall: Recall) -> str:
    """What the ledger shows of ours that the journal does not remember; empty for nothing."""
    committed, shared = round.commits.get(me), round.shares.get(me)
    if committed is not None and recall(Entry.TRAINED, round.id) != committed.root:
        return "a commitment"
    total = None if round.total is None else round.total.root
    return "a share" if shared is not None and recall(Entry.SHARED, round.id) != total else ""


_FORGOTTEN = (
    "round {round}: the ledger shows {what} of ours that our journal does not remember. Was the vault "
    "copied back from an older backup, or does another node use this account? Bring back the newest vault; "
    "if there is none, begin an empty one by `tally node backup` and `tally node restore`: what was given "
    "before could be given a second time."
)
