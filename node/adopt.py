"""A result is adopted only when we have recomputed it; another one draws an objection (PROTOCOL §5.5)."""

from __future__ import annotations

import logging

from federation.audit.record import RoundRecord
from federation.digest import Digest
from federation.errors import LedgerRejected, Unavailable, Violation
from federation.events import ResultProposed, RoundId
from federation.ledger.ledger import Receipt
from federation.result import propose_result

from .duty import Confirm
from .journal import Entry
from .seat import Seat
from .share import give_share

log = logging.getLogger(__name__)


def adopt(seat: Seat, round: RoundId, *, last: bool, may_share: bool = False) -> Receipt | None:
    """We know this round's model, and have said so wherever somebody claimed another one.

    Where the shares so far do not open the total, false ones among them, we add ours if we may; then
    the receipt is of that share, and the round is still to be adopted.

    The next commit confirms it; after the last round we confirm by word. Where the opened sum leads to
    no model, the next round starts where this one did.
    """
    record = seat.record(round)
    posted = record.round.total
    if record.opening is None and posted is not None and may_share and seat.can_open(round):
        return give_share(seat, round, posted)
    if isinstance(record.model, Violation):
        _leave_behind(seat, record, record.model)
        return None
    result = record.result()
    opening, model = result.opening.root(), record.agreement.model_digest(result.model)
    wrong = [p for p in record.round.proposals if (p.opening, p.model) != (opening, model)]
    if wrong and seat.me not in record.round.objections:
        _object(seat, record, wrong[0], opening, model)
    usable = {*record.openings} & {*record.models} - {p.sender for p in wrong}
    if not usable:  # nobody proposed it, or nobody can fetch what was proposed
        propose(seat, record)
    seat.vault.keep_model(round, result.model)
    if last and seat.me not in record.round.confirmations:
        confirm(seat, Confirm(round=round, model=model))
    seat.journal.remember(Entry.ADOPTED, round, model)
    log.info("adopted", extra={"round": str(round), "model": model.hex()})
    return None


def confirm(seat: Seat, duty: Confirm) -> Receipt:
    """Our word on the last model is on the ledger; until it is final there it is not given again."""
    receipt = seat.ledger.confirm_model(duty.round, duty.model)
    seat.pace.wait_for(duty, receipt.at.block)
    return receipt


def propose(seat: Seat, record: RoundRecord) -> Receipt | None:
    """Our own result of the round is on the ledger, its opening and model in the store.

    None where somebody else was first with the same one.
    """
    result = record.result()
    try:
        receipt = propose_result(
            seat.ledger,
            seat.store,
            record.id,
            agreement=record.agreement,
            key=seat.content_key,
            result=result,
        )
    except LedgerRejected as refusal:
        if refusal.rule != "SameResult":
            raise
        return None
    model = record.agreement.model_digest(result.model)
    log.info("proposed", extra={"round": str(record.id), "model": model.hex(), "gas": receipt.gas})
    return receipt


def _leave_behind(seat: Seat, record: RoundRecord, fault: Violation) -> None:
    """The round led to no model, so any that was proposed is wrong; nobody in particular is at fault."""
    log.error("violation", extra={**fault.for_logs, "round": str(record.id)})
    base, opening = record.base_digest, record.opening
    if base is None or opening is None:
        raise Unavailable(f"round {record.id}: a sum without base or opening")  # pragma: no cover
    if seat.me not in record.round.objections:
        _object(seat, record, record.round.proposals[0], opening.root(), base)
    seat.journal.remember(Entry.ADOPTED, record.id, base)


def _object(seat: Seat, record: RoundRecord, wrong: ResultProposed, opening: Digest, model: Digest) -> None:
    log.error(
        "objected",
        extra={"round": str(record.id), "culprit": f"0x{wrong.sender.hex()}", "found": wrong.model.hex()},
    )
    seat.ledger.object_to_result(
        record.id,
        proposed_opening=wrong.opening,
        proposed_model=wrong.model,
        found_opening=opening,
        found_model=model,
    )
