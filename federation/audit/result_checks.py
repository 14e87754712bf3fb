"""The claims about what follows from a total: shares, opening, sum, model and who vouched (PROTOCOL §9).

Pure, as `checks`; an auditor runs them on every round. A node needs none of them: it computes each of
these values itself and acts on its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..digest import Digest
from ..errors import Violation
from ..events import ResultProposed
from ..model import from_safetensors
from ..opening import check_opening, check_share
from ..wire import Kind, Payload
from .checks import (
    BEFORE_SHARE,
    UPDATES,
    Finding,
    RoundCheck,
    Weight,
    contents_are_retrievable,
    names,
    no_fault_was_proven,
    unknown,
)
from .record import RoundRecord


def shares_are_right(record: RoundRecord) -> Iterator[Finding]:
    """§9.9: every share is what its member's key share yields for this round's one lawful total."""
    total, posted = record.total_to_open, record.round.shares
    unseen = posted.keys() - record.shares.keys() - record.authors_of_unreadable(Kind.SHARE)
    undecided = record.is_ambiguous or (total is None and bool(record.out_of_reach))
    if posted and undecided:
        yield unknown(record, "§9.9", "no share can be checked while the total is unknown")
    elif unseen:
        yield unknown(record, "§9.9", f"cannot be checked: the shares of {names(sorted(unseen))}")
    if undecided:
        return
    for member, share in posted.items():
        try:
            if total is None:
                raise Violation("§5.4", "a share where no total may be opened: too few updates pass")
            if member in record.shares:
                data = record.shares[member]
                check_share(record.agreement, record.id, total, member=member, digest=share.digest, data=data)
        except Violation as fault:
            yield Finding(clause="§9.9", message=str(fault), culprit=member, round=record.id)


def openings_are_right(record: RoundRecord) -> Iterator[Finding]:
    """§9.10: every proposed opening is the only one the total has; nobody has to be trusted for it."""
    total, expected = record.total_to_open, _opening_digest(record)
    for proposal in record.round.proposals:
        data = record.openings.get(proposal.sender)
        undecided = record.is_ambiguous or (total is None and bool(record.out_of_reach))
        if undecided or (data is None and expected is None and total is not None):
            yield unknown(record, "§9.10", "no opening can be checked: bytes that it depends on are missing")
        elif total is None:
            message = "an opening where no total may be opened: too few updates pass"
            yield _proposal(record, "§9.10", proposal, message, None)
        elif data is not None and (fault := _fault_of_opening(record, total, data)) is not None:
            yield _proposal(record, "§9.10", proposal, f"wrong opening: {fault}", expected)
        elif proposal.opening != expected:
            yield _proposal(record, "§9.10", proposal, "another opening was posted than follows", expected)


def sum_is_within_bounds(record: RoundRecord) -> Iterator[Finding]:
    """§9.11: the opened sum is within the suite's bounds; where not, no member can be named."""
    if record.round.proposals and record.summed is None:
        yield unknown(record, "§9.11", "the opened sum is not known")
    for derived in (record.summed, record.model):
        if isinstance(derived, Violation):
            yield Finding(clause="§9.11", message=str(derived), round=record.id)
            return


def models_follow_from_openings(record: RoundRecord) -> Iterator[Finding]:
    """§9.12: every proposed model is apply(base, opened sum), bit for bit.

    From an impossible sum none follows, and whoever proposes one all the same is wrong.
    """
    expected = record.model_digest
    for proposal in record.round.proposals:
        if record.model is None:
            yield unknown(record, "§9.12", "the model that follows cannot be recomputed")
        elif proposal.model != expected:
            yield _proposal(record, "§9.12", proposal, "the proposed model does not follow", expected)
        elif proposal.sender in record.models and not _is_model(record, record.models[proposal.sender]):
            yield _proposal(record, "§9.12", proposal, "the stored model is not the proposed one", expected)


def statements_are_right(record: RoundRecord) -> Iterator[Finding]:
    """§9.13: whoever confirmed a model confirmed the one that follows; whoever objected was right to."""
    model, opening = record.model_digest, _opening_digest(record)
    round = record.round
    if record.model is None:
        if round.confirmations or round.objections:
            yield unknown(record, "§9.13", "the model that follows cannot be recomputed")
        return
    for member, confirmed in round.confirmations.items():
        if confirmed.model != model:
            yield Finding(
                clause="§9.13",
                message="confirmed a model that does not follow",
                culprit=member,
                round=record.id,
                expected=model,
                found=confirmed.model,
            )
    proposed = {(proposal.opening, proposal.model) for proposal in round.proposals}
    for member, objection in round.objections.items():
        against = (objection.proposed_opening, objection.proposed_model)
        if against == (opening, model):
            message = "objected to the right result"
        elif against not in proposed:
            message = "objected to a result that nobody proposed"
        elif model is not None and (objection.found_opening, objection.found_model) != (opening, model):
            message = "objected with another result than follows"
        else:
            continue
        yield Finding(clause="§9.13", message=message, culprit=member, round=record.id)


def results_are_settled(record: RoundRecord) -> Iterator[Finding]:
    """§9.15: t members have confirmed the model, by word or by training from it; else it is only proposed."""
    if record.round.proposals and record.study.settled_model(record.round) is None:
        yield Finding(
            clause="§9.15",
            message=f"fewer than {record.agreement.spec.threshold} members have confirmed one model so far",
            round=record.id,
            weight=Weight.NOTICE,
        )


RESULTS: tuple[RoundCheck, ...] = (
    shares_are_right,
    openings_are_right,
    sum_is_within_bounds,
    models_follow_from_openings,
    statements_are_right,
    results_are_settled,
)
ROUND_CHECKS: tuple[RoundCheck, ...] = (
    contents_are_retrievable,
    *UPDATES,
    *BEFORE_SHARE,
    no_fault_was_proven,
    *RESULTS,
)


def _proposal(
    record: RoundRecord, clause: str, proposal: ResultProposed, message: str, expected: object
) -> Finding:
    found = proposal.model if clause == "§9.12" else proposal.opening
    return Finding(
        clause=clause,
        message=message,
        culprit=proposal.sender,
        round=record.id,
        expected=expected,
        found=found,
    )


def _opening_digest(record: RoundRecord) -> Digest | None:
    return None if record.opening is None else record.opening.root()


def _is_model(record: RoundRecord, data: bytes) -> bool:
    try:
        stored = from_safetensors(data, record.agreement.task.parameters)
    except Violation:
        return False
    return record.agreement.model_digest(stored) == record.model_digest


def _fault_of_opening(record: RoundRecord, total: Payload, data: bytes) -> Violation | None:
    try:
        check_opening(record.agreement, record.id, total, data)
    except Violation as fault:
        return fault
    return None
