"""Charges are brought before the contract's court; what comes of each is said in a line (PROTOCOL §5.7)."""

from __future__ import annotations

from collections.abc import Iterator

from federation.audit.charges import find_charge
from federation.audit.record import RoundRecord
from federation.audit.report import Report
from federation.disputes import Charge
from federation.errors import LedgerRejected, TallyError, Unavailable
from federation.events import FaultProven, TotalPosted
from federation.ledger.ledger import Ledger
from federation.members import Address
from federation.races import is_lost_race

from .verdicts import fault_in_words, named, verdict


def file_charge(ledger: Ledger, charge: Charge) -> FaultProven:
    """The fault is proven on the ledger, by its own account; errors as of `Ledger.dispute`."""
    at = ledger.dispute(charge).at
    for event in ledger.events(at.block - 1, at.block):
        if event.at == at and isinstance(event, FaultProven):
            return event
    raise Unavailable(f"round {charge.round}: proven in block {at.block}, which cannot be read now")


def file_charges(report: Report, ledger: Ledger, *, unless: str = "") -> Iterator[str]:
    """Every fault that an audit has seen and the court can be shown is proven on `ledger`, a line for each.

    With `unless`, a reason not to, nothing is sent, and the lines say what could have been. An audit
    stands whatever becomes of its charges: nothing is raised.
    """
    for record in report.record.rounds:
        posted = record.round.total
        if posted is None or not _is_suspect(record, posted):
            continue
        try:
            charge = find_charge(record)
            if charge is not None:
                yield _outcome(report, ledger, charge, accused=posted.sender, unless=unless)
        except TallyError as error:
            yield f"round {record.id}: no charge could be brought: {error}"


def _outcome(report: Report, ledger: Ledger, charge: Charge, *, accused: Address, unless: str) -> str:
    name, why = named(report.record.history.roster), unless
    if not why:
        try:
            return f"round {charge.round}: {verdict(file_charge(ledger, charge), name)}"
        except LedgerRejected as refusal:
            why = "somebody else was faster" if is_lost_race(refusal) else str(refusal)
        except TallyError as error:
            why = str(error)
    what = fault_in_words(charge.fault, charge.leaf, charge.member, total_of=accused, name=name)
    return f"round {charge.round}: it can be proven before the contract's court that {what}; not done: {why}"


def _is_suspect(record: RoundRecord, posted: TotalPosted) -> bool:
    """Whether the total that stands is not the one we recompute, and nobody has proven a fault of it."""
    right = record.recomputed_total
    return record.round.verdict is None and (right is None or posted.root != right.root())
