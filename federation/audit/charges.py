"""From a record that does not add up to a charge that the contract's court will follow (PROTOCOL §5.7).

Nothing is charged that was not judged here first, by the court's own rules: a charge that proves nothing
costs its sender gas. What cannot be proven on chain (bytes that nobody has, a proof's equation, an
exclusion, a base model) is left to the nodes, which withhold their shares.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..admission import examine_update
from ..ciphers.judged import moduli_of
from ..disputes import Charge
from ..errors import LedgerRejected, Violation
from ..events import Fault
from ..evidence import first_difference, header_evidence, leaf_evidence, proof_evidence, sum_evidence
from ..judge import case_of, judge
from ..members import Address
from ..piecework import Sum, examine
from ..wire import Exclusion, Payload, cut
from .record import RoundRecord


def find_charge(record: RoundRecord) -> Charge | None:
    """The first fault of the total that stands which the contract can be shown; None where there is none.

    Reads every listed update twice, and the total as far as its first wrong leaf and once more. Bytes that
    nobody has prove nothing, and shield nobody whose bytes are here.
    """
    round = record.round
    if round.total is None or round.verdict is not None or not record.agreement.suite.code:
        return None
    case = case_of(record.study, round)
    for charge in _suspected(record):
        try:
            judge(case, charge)
        except LedgerRejected:
            continue
        return charge
    return None


def _suspected(record: RoundRecord) -> Iterator[Charge]:
    """Charges that may hold, the cheapest to prove first."""
    posted = record.round.total
    if posted is None:  # pragma: no cover  # the caller has looked
        return
    ledger, shape = record.agreement.ledger, record.agreement.task.shape_digest
    total = record.stored_total
    if total is not None and total.root() != posted.root:
        total = None  # bytes under another root say nothing
    if total is not None:
        header = header_evidence(total, ledger=ledger, shape=shape)
        yield Charge(round=record.id, fault=Fault.HEADER, member=None, evidence=header)
    updates: list[Payload] = []
    for member in posted.members:
        update = _committed(record, member)
        if update is not None:
            yield from _against_member(record, member, update)
            updates.append(update)
    if total is None or len(updates) < len(posted.members):
        return  # no sum can be shown
    suite = record.agreement.suite_name
    leaf = first_difference(total, Sum(suite=suite, updates=updates, executor=record.executor))
    if leaf is not None:
        evidence = sum_evidence(suite, leaf, updates=updates, total=total)
        yield Charge(round=record.id, fault=Fault.SUM, member=None, evidence=evidence)


def _against_member(record: RoundRecord, member: Address, update: Payload) -> Iterator[Charge]:
    """What an admitted update that our own checks leave out may be charged with.

    Each rule, and not only the first that it breaks: a wrong base model in the header is not judged, and
    must not hide a leaf that is.
    """
    commit, suite = record.round.commits[member], record.agreement.suite_name
    verdict = examine_update(record.agreement, commit, record.updates[member], executor=record.executor)
    if not isinstance(verdict, Exclusion):
        return
    shape = record.agreement.task.shape_digest
    header = header_evidence(update, ledger=record.agreement.ledger, shape=shape)
    yield Charge(round=record.id, fault=Fault.HEADER, member=member, evidence=header)
    fault = examine(suite, update, record.executor).fault
    if fault is not None:
        evidence = leaf_evidence(suite, fault.leaf, update)
        yield Charge(round=record.id, fault=Fault.LEAF, member=member, evidence=evidence)
    for dealer in range(len(moduli_of(suite))):
        proof = proof_evidence(suite, update, dealer=dealer)
        yield Charge(round=record.id, fault=Fault.PROOF, member=member, evidence=proof)


def _committed(record: RoundRecord, member: Address) -> Payload | None:
    """The member's update, if its bytes are here and are those that it committed to."""
    if member not in record.updates:
        return None
    try:
        update = cut(record.updates[member], record.agreement.update_shape)
    except Violation:
        return None
    return update if update.root() == record.round.commits[member].root else None
