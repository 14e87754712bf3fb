"""The claims of an audit: each a pure function that yields what contradicts it (PROTOCOL §9).

Here those about the updates (`UPDATES`), which say what admission has found, and those about their total,
which a node runs before it gives its share (`BEFORE_SHARE`); in `result_checks` those about what follows.
An auditor runs all of them on every round, so "verified" and "audited" cannot drift apart. Each trusts
the ledger's events and nothing else: the store may lie, omit or replay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from ..digest import Digest
from ..errors import Violation
from ..events import RoundId
from ..members import Address
from ..wire import Code, Exclusion, Kind, cut
from .record import Missing, RoundRecord


class Weight(Enum):
    """What a finding means for the verdict."""

    FAULT = "fault"  # the claim does not hold
    UNKNOWN = "unknown"  # bytes are missing: the claim is neither proven nor refuted
    NOTICE = "notice"  # the claim holds, and a reader should know this


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One contradiction between what was claimed and what follows from ledger and store."""

    clause: str
    message: str
    culprit: Address | None = None  # None: nobody can be named
    round: RoundId | None = None
    weight: Weight = Weight.FAULT
    expected: object = None
    found: object = None

    def violation(self) -> Violation:
        """The same, for whoever has to stop at it."""
        return Violation(
            self.clause, self.message, culprit=self.culprit, expected=self.expected, found=self.found
        )


RETIRED: Final = "retired by policy: what is claimed of it is unproven"
RoundCheck = Callable[[RoundRecord], Iterator[Finding]]


def contents_are_retrievable(record: RoundRecord) -> Iterator[Finding]:
    """§9.1: whatever the ledger names, the store has, in the layout that its CID promises."""
    for missing in record.missing:
        if record.retired and missing.kind is Kind.UPDATE:
            message = f"the update of 0x{missing.author.hex()} is {RETIRED}"
            yield unknown(record, "§9.1", message)
            continue
        message = f"{missing.what} cannot be fetched: {missing.why}"
        lost = unknown(record, "§9.1", message, culprit=missing.author)
        yield replace(lost, weight=Weight.NOTICE) if _is_spare(record, missing) else lost
    for line in record.unreadable:
        message = f"the {line.kind.name.lower()} is no lawful content: {line.fault}"
        yield Finding(clause="§9.1", message=message, culprit=line.author, round=record.id)
    if record.sealed and record.round.shares:
        message = "shares, openings and models are sealed to the study's audience, which the reader is not of"
        yield unknown(record, "§9.1", message)


def updates_match_commitments(record: RoundRecord) -> Iterator[Finding]:
    """§9.2: every revealed payload is the one committed to, byte for byte."""
    for exclusion in _excluded(record, Code.ROOT_MISMATCH):
        committed = record.round.commits[exclusion.member].root
        message = "the revealed payload is not the one committed to"
        found = _root_found(record, exclusion.member)
        yield _against(record, "§9.2", exclusion, message, expected=committed, found=found)


def updates_are_well_formed(record: RoundRecord) -> Iterator[Finding]:
    """§9.3: header as expected, and every leaf as the suite's rules have it."""
    for exclusion in _excluded(record, Code.MALFORMED):
        message = f"leaf {exclusion.leaf} of the update breaks rule {exclusion.rule}"
        yield _against(record, "§9.3", exclusion, message)


def submission_proofs_hold(record: RoundRecord) -> Iterator[Finding]:
    """§9.4: every sender knew what it encrypted, and meant it for this round."""
    for exclusion in _excluded(record, Code.PROOF_FAILED):
        message = "the submission proof fails: replayed, mauled or made without knowing the plaintext"
        yield _against(record, "§9.4", exclusion, message)


def updates_start_from_the_right_model(record: RoundRecord) -> Iterator[Finding]:
    """§9.5: every commit names the model that the previous result leads to; so lineage is unbroken."""
    expected = record.base_digest
    if expected is None:
        yield unknown(record, "§9.5", "the model it starts from cannot be recomputed")
        return
    for member, commit in record.round.commits.items():
        if commit.base_model != expected:
            yield Finding(
                clause="§9.5",
                message="trained from another model than the last result leads to",
                culprit=member,
                round=record.id,
                expected=expected,
                found=commit.base_model,
            )


def nobody_is_called_unavailable_lightly(record: RoundRecord) -> Iterator[Finding]:
    """§9.16: nobody is left out as unavailable in the first half of the combine window; a node that held
    the bytes gives no share.

    Waiting shows on the ledger. Reach does not: a member may bring its bytes the moment after, so only
    a reader that held them before the total was posted has to refuse, and nobody can be blamed for it.
    """
    posted = record.round.total
    earliest = record.round.unavailable_from
    if posted is None or earliest is None:
        return
    for member in sorted(record.called_unavailable):
        if posted.time < earliest:
            yield Finding(
                clause="§9.16",
                message=f"0x{member.hex()} was called unavailable in the first half of the combine window",
                culprit=posted.sender,
                round=record.id,
                expected=f"not before {earliest}",
                found=posted.time,
            )
        elif member in record.held:
            message = f"0x{member.hex()} is called unavailable, yet its update was here before the total"
            yield Finding(clause="§9.16", message=message, round=record.id)
        elif member in record.updates:
            message = f"0x{member.hex()} was called unavailable and can be fetched now"
            yield Finding(clause="§9.16", message=message, round=record.id, weight=Weight.NOTICE)


def exclusions_are_justified(record: RoundRecord) -> Iterator[Finding]:
    """§9.6: the total lists exactly the members that pass every public check, and says why others do not.

    What is said of a member whose payload we lack is neither right nor wrong to us.
    """
    posted, claimed, beyond = record.round.total, record.claimed_exclusions, record.out_of_reach
    if posted is None:
        return
    if beyond:
        message = f"cannot be judged without the payloads of {names(sorted(beyond))}{_why_gone(record)}"
        yield unknown(record, "§9.6", message)
    members = tuple(m for m in record.admission.admitted if m not in beyond)
    listed = tuple(m for m in posted.members if m not in beyond)
    if listed != members:
        yield Finding(
            clause="§9.6",
            message="the total's members are not those whose updates pass",
            culprit=posted.sender,
            round=record.id,
            expected=names(members),
            found=names(listed),
        )
    if claimed is None:
        return
    excluded = tuple(e for e in record.admission.excluded if e.member not in beyond)
    said = claimed if isinstance(claimed, Violation) else tuple(e for e in claimed if e.member not in beyond)
    if said != excluded:
        yield Finding(
            clause="§9.6",
            message="the total's exclusions are not justified",
            culprit=posted.sender,
            round=record.id,
            expected=_codes(excluded),
            found=str(said) if isinstance(said, Violation) else _codes(said),
        )


def contributors_reach_the_minimum(record: RoundRecord) -> Iterator[Finding]:
    """§9.7: no sum of fewer updates than agreed was ever posted."""
    posted, minimum = record.round.total, record.agreement.spec.minimum
    if posted is not None and len(posted.members) < minimum:
        yield Finding(
            clause="§9.7",
            message="a total of too few updates",
            culprit=posted.sender,
            round=record.id,
            expected=f"at least {minimum}",
            found=len(posted.members),
        )


def total_is_the_sum(record: RoundRecord) -> Iterator[Finding]:
    """§9.8: the posted total is the sum of exactly the admitted updates, byte for byte."""
    posted = record.round.total
    if posted is None:
        return
    if record.out_of_reach:
        missing = f"{names(sorted(record.out_of_reach))}{_why_gone(record)}"
        yield unknown(record, "§9.8", f"cannot be recomputed without the payloads of {missing}")
        return
    total = record.recomputed_total
    expected = "none: too few updates pass" if total is None else total.root()
    if posted.root != expected:
        yield Finding(
            clause="§9.8",
            message="the posted total is not the sum of the admitted updates",
            culprit=posted.sender,
            round=record.id,
            weight=Weight.UNKNOWN if record.is_ambiguous else Weight.FAULT,
            expected=expected,
            found=posted.root,
        )
    elif total is not None and record.total is not None and _root_of_stored(record) != total.root():
        yield Finding(
            clause="§9.8",
            message="the stored total is not the one whose root was posted",
            culprit=posted.sender,
            round=record.id,
        )


def retries_keep_their_members(record: RoundRecord) -> Iterator[Finding]:
    """§9.14: from one base model, nobody opens two sets of members that public evidence does not explain.

    Two sums that differ by one member are that member's update (§5.1). It happens where a round was
    tainted, or ended in a sum that leads to no model. Members that public evidence names may be left out.
    """
    posted = record.round.total
    if posted is None:
        return
    for rival in record.rivals:
        before, after = rival.binding_members, set(posted.members)
        if not before:
            continue  # a wrong total got no honest share, so it was never opened
        if after - before or before - after - record.named - record.out_of_reach:
            if rival.out_of_reach and rival.retired and rival.total_to_open is None:
                message = f"another set of members than in round {rival.id}, whose updates are {RETIRED}"
                yield unknown(record, "§9.14", message)
                continue
            yield Finding(
                clause="§9.14",
                message=f"another set of members than was opened in round {rival.id}, from the same base",
                culprit=posted.sender,
                round=record.id,
                expected=names(sorted(before)),
                found=names(posted.members),
            )


def no_fault_was_proven(record: RoundRecord) -> Iterator[Finding]:
    """§9.17: no total of the round was proven unlawful before the contract's court.

    A total that stands and is the one we recompute cannot be: then the contract runs another court.
    """
    round, right = record.round, record.recomputed_total
    # The root alone is no total: it may stand beside other members than those of its header.
    lawful = None if right is None else (right.root(), tuple(record.admission.admitted))
    for fault, total in zip(round.faults, [*round.rescinded, round.total], strict=False):
        at = f"{fault.fault.name}, leaf {fault.leaf}"
        message = f"a fault of its total was proven before the contract's court ({at})"
        if total is not None and total is round.total and (total.root, total.members) == lawful:
            wrong = f"the contract's court convicted a total that is right ({at})"
            yield Finding(clause="§9.17", message=wrong, round=record.id)
            continue
        yield Finding(clause="§9.17", message=message, culprit=fault.aggregator, round=record.id)
        if fault.member is not None:
            message = f"its admitted update was proven malformed before the contract's court ({at})"
            yield Finding(clause="§9.17", message=message, culprit=fault.member, round=record.id)


UPDATES: tuple[RoundCheck, ...] = (
    updates_match_commitments,
    updates_are_well_formed,
    submission_proofs_hold,
    updates_start_from_the_right_model,
)
BEFORE_SHARE: tuple[RoundCheck, ...] = (
    nobody_is_called_unavailable_lightly,
    exclusions_are_justified,
    contributors_reach_the_minimum,
    total_is_the_sum,
    retries_keep_their_members,
)


def _why_gone(record: RoundRecord) -> str:
    return f", {RETIRED}" if record.retired else ""


def _is_spare(record: RoundRecord, missing: Missing) -> bool:
    """Whether the same result was proposed by somebody else, whose content is here."""
    fetched = {Kind.OPENING: record.openings, Kind.MODEL: record.models}.get(missing.kind)
    if fetched is None:
        return False
    results = {proposal.sender: (proposal.opening, proposal.model) for proposal in record.round.proposals}
    return any(results[who] == results[missing.author] for who in fetched)


def _excluded(record: RoundRecord, code: Code) -> Iterator[Exclusion]:
    return (exclusion for exclusion in record.admission.excluded if exclusion.code is code)


def _against(
    record: RoundRecord,
    clause: str,
    exclusion: Exclusion,
    message: str,
    *,
    expected: object = None,
    found: object = None,
) -> Finding:
    return Finding(
        clause=clause,
        message=message,
        culprit=exclusion.member,
        round=record.id,
        expected=expected,
        found=found,
    )


def _root_found(record: RoundRecord, member: Address) -> Digest:
    return cut(record.updates[member], record.agreement.update_shape).root()


def _root_of_stored(record: RoundRecord) -> Digest | None:
    """Of the stored total; its shape leaves no byte that the root does not cover."""
    return None if record.stored_total is None else record.stored_total.root()


def _codes(exclusions: tuple[Exclusion, ...]) -> str:
    return "[" + ", ".join(f"0x{e.member.hex()} {_code(e)}" for e in exclusions) + "]"


def _code(exclusion: Exclusion) -> str:
    detail = f"({exclusion.leaf}, {exclusion.rule!r})" if exclusion.code is Code.MALFORMED else ""
    return exclusion.code.name + detail


def unknown(record: RoundRecord, clause: str, message: str, culprit: Address | None = None) -> Finding:
    """A claim that cannot be judged for want of bytes."""
    return Finding(clause=clause, message=message, culprit=culprit, round=record.id, weight=Weight.UNKNOWN)


def names(members: Iterable[Address]) -> str:
    """Addresses in a message; a report adds what the roster calls them."""
    return "[" + ", ".join(f"0x{member.hex()}" for member in members) + "]"
