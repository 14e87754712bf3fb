"""What this node has to do next: a pure function of the ledger, the block time and the journal.

The loop in `daemon` asks, does the one duty, and asks again. Nothing else decides, so a node that is
killed anywhere comes back to the same answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

from federation.digest import Digest
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

from .journal import Entry, name_of


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
class Dispute:
    """Prove on chain, where it can be, what is wrong with a total that we refuse to open."""

    round: RoundId
    total: Digest  # its name in the journal


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
class Confirm:
    """Our word on the study's last model is not final yet: a fork may have taken it back, so say it again."""

    round: RoundId
    model: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The study is complete, and that we have adopted its last model is final."""


Duty = Submit | Reveal | Share | Dispute | Publish | Fetch | Conclude | Adopt | Confirm | End | Wait | Done
Giving = Submit | Reveal | Share  # of ours
Recall = Callable[[Entry, RoundId], bytes | None]
Forbids = Callable[[Giving], str]  # why our own rules forbid it; empty where they do not


def next_duty(
    study: Study,
    now: Timestamp,
    *,
    me: Address,
    recall: Recall,
    disputes: bool = True,
    forbids: Forbids = lambda _: "",
) -> Duty:
    """The one thing to do now; raises `Refused` where the ledger shows what we do not remember.

    `disputes`: whether our policy lets us charge those who post wrong totals. What `forbids` forbids is
    left undone, and nothing else is: rounds are ended, results adopted, faults proven as ever.
    """
    for round in study.rounds:
        forgotten = _forgotten(round, me=me, recall=recall)
        if forgotten and not _is_passed(round, me=me, recall=recall):
            raise Refused(_FORGOTTEN.format(round=round.id, what=forgotten))
    if not study.is_accepted:
        missing = len(study.terms.members) - len(study.accepted)
        return Wait(why=f"{missing} members have yet to accept the study")
    duty = _allowed(_duty(study, now, me=me, recall=recall), study, forbids)
    if disputes and isinstance(duty, Wait | Done):
        # Last of all: whoever can keep a dispute from ending (a call too large for the chain, a store that
        # answers by halves) must not keep us from committing, sharing and ending rounds.
        charges = (Dispute(round=r.id, total=name) for r in study.rounds if (name := _unproven(r, recall)))
        return next(charges, duty)
    return duty


def _duty(study: Study, now: Timestamp, *, me: Address, recall: Recall) -> Duty:
    """What is due of a study that all have accepted, but for disputes."""
    left_over = _left_over(study, now, me=me, recall=recall)
    if left_over is not None:
        return left_over
    if study.is_complete:
        return _last_word(study.finished[-1], me=me, recall=recall)
    current = study.current()
    if _is_passed(current, me=me, recall=recall):
        return _sitting_out(current, now)
    return _in_round(current, now, me=me, recall=recall)


def _allowed(duty: Duty, study: Study, forbids: Forbids) -> Duty:
    """The duty, or as much of it as our own rules leave."""
    match duty:
        case Submit() | Reveal() | Share():
            why = forbids(duty)
            return Wait(why=why) if why else duty
        case Adopt(round=id, may_share=True):
            total = study.rounds[id.number - 1].total
            forbidden = total is not None and forbids(Share(round=id, total=total))
            return replace(duty, may_share=False) if forbidden else duty
        case _:
            return duty


def _left_over(study: Study, now: Timestamp, *, me: Address, recall: Recall) -> Duty | None:
    """What earlier rounds still ask of us, the one under way included; None for nothing."""
    for round in study.rounds:
        unpublished = me in round.shares and recall(Entry.PUBLISHED, round.id) is None
        lost = isinstance(round.phase(now), Tainted) or _is_passed(round, me=me, recall=recall)
        if unpublished and not lost:
            return Publish(round=round.id)
    for finished in study.finished:
        if recall(Entry.ADOPTED, finished.id) is None:
            last = study.is_complete and finished is study.finished[-1]
            may_share = me not in finished.shares and not _is_withheld(finished, recall)
            may_share = may_share and not _is_passed(finished, me=me, recall=recall)
            return Adopt(round=finished.id, last=last, may_share=may_share)
    return None


def _last_word(last: Round, *, me: Address, recall: Recall) -> Confirm | Done:
    """Where the last sum led to no model, we left it at its base, and there is none to confirm."""
    model = recall(Entry.ADOPTED, last.id)
    if model is None or me in last.confirmations or model == last.base_model():
        return Done()
    return Confirm(round=last.id, model=Digest(model))


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
    if _is_withheld(round, recall):
        return Wait(why="we refuse to open this total")
    return Share(round=round.id, total=total)


def _unproven(round: Round, recall: Recall) -> Digest | None:
    """The name of a total that stands, that we refuse to open, and of which a fault may yet be proven."""
    if round.total is None or round.verdict is not None or not _is_withheld(round, recall):
        return None
    name = name_of(round.total)
    return None if recall(Entry.UNPROVEN, round.id) == name else name


def _is_withheld(round: Round, recall: Recall) -> bool:
    """Whether we refuse to open the total that stands."""
    return round.total is not None and recall(Entry.WITHHELD, round.id) == name_of(round.total)


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
