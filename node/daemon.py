"""The node's loop: read the ledger, do the next duty, repeat (PROTOCOL §10.3).

It keeps nothing in memory that ledger, store, vault and journal cannot rebuild; what else it
remembers only spares work (`federation.pace`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import assert_never

from federation.audit.view import LedgerView
from federation.endings import failed
from federation.errors import LedgerRejected, Unavailable, Violation
from federation.ledger.ledger import Receipt
from federation.members import show_address
from federation.races import is_lost_race

from .adopt import adopt, confirm, propose
from .dispute import dispute
from .duty import (
    Adopt,
    Conclude,
    Confirm,
    Dispute,
    Done,
    Duty,
    End,
    Fetch,
    Giving,
    Publish,
    Reveal,
    Share,
    Submit,
    Wait,
    next_duty,
)
from .policy import PolicyRefusal
from .seat import Seat
from .share import give_share, publish_share
from .submit import reveal, submit

log = logging.getLogger(__name__)


def run(seat: Seat, view: LedgerView, pause: Callable[[], bool]) -> None:
    """The study is complete, or `pause` returned False; `Refused` comes out, for a person to read."""
    log.info("started", extra={"study": seat.observer.study.id, "account": show_address(seat.me)})
    going, said = True, ""
    while going:
        why = ""
        try:
            duty = step(seat, view)
            if isinstance(duty, Wait | Done):
                _tidy(seat, view)
        except (Unavailable, Violation, LedgerRejected) as trouble:
            if isinstance(trouble, LedgerRejected) and not is_lost_race(trouble):
                raise
            why = str(trouble)
            if why != said:  # once, not with every poll
                _report(trouble, _here(seat))
        else:
            if isinstance(duty, Done):
                log.info("done", extra={"study": seat.observer.study.id})
                return
            if not isinstance(duty, Wait | Fetch):
                said = ""
                continue  # the ledger has moved: look again at once
            why = duty.why if isinstance(duty, Wait) else "the aggregator combines"
            if why != said:
                log.info("waiting", extra={"why": why, "round": _here(seat)})
        said = why
        going = pause()


def _tidy(seat: Seat, view: LedgerView) -> None:
    """Our store keeps no updates beyond our policy, or the next quiet moment sees to it."""
    if seat.retention is None:
        return
    try:
        if discarded := seat.retention.tend(view.history, view.now):
            log.info("retired", extra={"updates": discarded, "rounds_kept": seat.retention.rounds})
    except Unavailable as trouble:  # never a reason to miss a duty, or to go on when all is done
        log.warning("updates cannot be retired now", extra={"why": str(trouble)})


def step(seat: Seat, view: LedgerView) -> Duty:
    """One duty, read from the ledger as it is now, and done."""
    view.refresh()
    seat.telemetry.read_ledger(view.head.number, view.now)
    seat.telemetry.stands(seat.observer.study, view.now)
    _tell_endings(seat)
    duty = next_duty(
        seat.observer.study,
        view.now,
        me=seat.me,
        recall=seat.journal.recall,
        disputes=seat.disputes,
        forbids=lambda giving: _forbidden(seat, giving),
    )
    head = view.head.number
    if seat.pace.is_vain(duty, head):
        return Wait(why="the ledger has yet to show something new")
    try:
        receipt = _do_watched(seat, duty)
    except PolicyRefusal as refusal:  # since we asked: the file of patients has changed, an approval is gone
        return Wait(why=str(refusal))
    except Violation:
        seat.pace.give_up(duty)
        raise
    except LedgerRejected:  # somebody was faster, or we were ourselves before a restart
        seat.pace.wait_for(duty, head + 1)
        raise
    if receipt is not None:
        seat.pace.wait_for(duty, receipt.at.block)
    return duty


def _forbidden(seat: Seat, giving: Giving) -> str:
    """Why our own rules forbid this, recorded; empty where they do not, or where something else fails.

    That is met again when the duty is done, and belongs to it.
    """
    try:
        match giving:
            case Submit(round=round):
                seat.may_commit(round)
            case Reveal(round=round):
                seat.may_give("reveal", round)
            case Share(round=round):
                seat.may_give("share", round)
            case unknown:
                assert_never(unknown)
    except PolicyRefusal as refusal:
        return str(refusal)
    except (Unavailable, Violation):
        return ""
    return ""


def _tell_endings(seat: Seat) -> None:
    """One line for each round that has ended since the last look, with the reason in a sentence."""
    for round in seat.endings.news(seat.observer.study):
        level = logging.WARNING if failed(round) else logging.INFO
        extra = {"round": str(round.id), "why": seat.observer.ending(round)}
        log.log(level, "a round has ended", extra=extra)


def _do_watched(seat: Seat, duty: Duty) -> Receipt | None:
    if isinstance(duty, Wait | Done):
        return _do(seat, duty)
    with seat.telemetry.duty(type(duty).__name__.lower(), duty.round):
        return _do(seat, duty)


def _do(seat: Seat, duty: Duty) -> Receipt | None:
    """What the ledger took for it, if one call was the whole of it."""
    match duty:
        case Submit(round=round):
            return submit(seat, round)
        case Reveal(round=round):
            return reveal(seat, round)
        case Share(round=round, total=total):
            return give_share(seat, round, total)
        case Dispute(round=round, total=total):
            return dispute(seat, round, total)
        case Publish() | Fetch():
            _move_bytes(seat, duty)
            return None
        case _:
            return _conclude(seat, duty)


def _conclude(seat: Seat, duty: Conclude | Adopt | Confirm | End | Wait | Done) -> Receipt | None:
    """What follows once the shares are given, or too late to be."""
    match duty:
        case Conclude(round=round):
            return propose(seat, seat.record(round))
        case Adopt(round=round, last=last, may_share=may_share):
            return adopt(seat, round, last=last, may_share=may_share)
        case Confirm():
            return confirm(seat, duty)
        case End(round=round, reason=reason):
            return seat.ledger.abandon(round, reason)
        case Wait() | Done():
            return None
        case unknown:
            assert_never(unknown)


def _move_bytes(seat: Seat, duty: Publish | Fetch) -> None:
    """What no call on the ledger belongs to."""
    match duty:
        case Publish(round=round):
            publish_share(seat, round)  # the journal remembers it
        case Fetch(round=round):
            seat.fetch_updates(round)
        case unknown:
            assert_never(unknown)


def _here(seat: Seat) -> str:
    """The round that is under way or next."""
    return str(seat.observer.study.current().id)


def _report(trouble: Unavailable | Violation | LedgerRejected, round: str) -> None:
    match trouble:
        case Unavailable():
            log.warning("retrying", extra={"why": str(trouble), "round": round})
        case Violation():
            log.error("violation", extra=trouble.for_logs | {"round": round})
        case LedgerRejected():
            log.info("overtaken", extra={"why": str(trouble), "round": round})
        case unknown:
            assert_never(unknown)
