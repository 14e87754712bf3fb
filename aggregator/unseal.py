"""Third on an update's way: t shares open the total, and the opened sum leads to the next model.

The aggregator has no key share. It joins what the members gave, checks it as anyone can, and learns
the sum only where the study counts it among its readers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from federation.arithmetic import Model
from federation.audit.checks import Weight
from federation.audit.record import RoundRecord
from federation.audit.result_checks import shares_are_right
from federation.errors import Unavailable, Violation
from federation.opening import Joined, join_shares, next_model, opened_sum
from federation.wire import Kind, Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a round comes to. Never printed: it holds the sum."""

    opening: Payload
    model: Model

    def __repr__(self) -> str:
        return "Result(…)"


def open_total(record: RoundRecord, accuse: Callable[[Violation], None]) -> Result:
    """The opening and the next model; `accuse` is told of each wrong share, and the rest go on.

    Raises `Unavailable` while updates or shares cannot be fetched, `Violation` when all that was posted
    is here and leads to no result.
    """
    total = _posted_total(record)
    joined = _join(record, total, accuse)
    if record.base is None:
        raise Unavailable(f"round {record.id}: the model it starts from is not known yet")
    members = len(record.admission.admitted)
    summed = opened_sum(record.agreement, record.id, total, joined.payload, members=members)
    model = next_model(record.agreement, record.base, summed, members=members)
    return Result(opening=joined.payload, model=model)


def _posted_total(record: RoundRecord) -> Payload:
    """The posted total as recomputed here: a second aggregator does not believe the first either."""
    posted = record.round.total
    if posted is None:
        raise Violation("§5.4", "an opening without a total")
    if record.out_of_reach or record.total is None:
        raise Unavailable(f"round {record.id}: not all of what the total is made of can be fetched")
    total = record.recomputed_total
    if total is None or total.root() != posted.root:
        found = "none: too few updates pass" if total is None else total.root()
        raise Violation(
            "§9.8",
            "the posted total is not the sum of the admitted updates",
            culprit=posted.sender,
            expected=found,
            found=posted.root,
        )
    return total


def _join(record: RoundRecord, total: Payload, accuse: Callable[[Violation], None]) -> Joined:
    shares = {member: (record.round.shares[member].digest, data) for member, data in record.shares.items()}
    for broken in record.unreadable:
        if broken.kind is Kind.SHARE:
            accuse(Violation("§5.4", "a share that cannot be unsealed", culprit=broken.author))
    try:
        joined = join_shares(record.agreement, record.id, total, shares)
    except Unavailable as shortage:
        for finding in shares_are_right(record):
            if finding.weight is Weight.FAULT:
                accuse(Violation(finding.clause, finding.message, culprit=finding.culprit))
        if record.missing:
            raise
        # All is here: only one more share helps, and that is another input.
        raise Violation("§5.4", "too few of the shares are right") from shortage
    for fault in joined.rejected.values():
        accuse(fault)
    return joined
