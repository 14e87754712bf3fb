"""The claims about a whole study: its key, its document, its contract, its lineage (PROTOCOL §9)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

from ..digest import Digest
from ..epochs import Sought
from ..errors import Refused, Unavailable, Violation
from ..members import Address
from ..rounds import Candidate, Epoch, Study
from .checks import Finding, Weight
from .record import StudyRecord

StudyCheck = Callable[[StudyRecord], Iterator[Finding]]


def contract_is_the_audited_build(record: StudyRecord, audited: Digest) -> Iterator[Finding]:
    """§9.20: the chain runs the contract whose source this package ships."""
    if record.code != audited:
        message = "the deployed contract is not the audited build"
        yield Finding(clause="§9.20", message=message, expected=audited, found=record.code)


def events_obey_the_law(record: StudyRecord) -> Iterator[Finding]:
    """§9.21: roster, order and deadlines: each event was allowed where it stands, and once.

    Blames nobody: our contract cannot record such an event, so it is the chain or its node that lies,
    perhaps in the sender's name. That events are missing at the end cannot be seen from events: compare
    the report's head with another node's.
    """
    if record.unlawful is not None:
        message = f"the ledger holds an unlawful event, and nothing behind it was audited: {record.unlawful}"
        yield Finding(clause="§9.21", message=message)


def study_is_sound(record: StudyRecord) -> Iterator[Finding]:
    """§9.22: agreed document, key proof, head-room: no opening can be wrong, whoever made the key."""
    try:
        if isinstance(record.agreement, Violation):
            raise record.agreement
        record.agreement.check()
    except Violation as fault:
        yield Finding(
            clause="§9.22",
            message=str(fault),
            culprit=None if fault.culprit is None else Address(fault.culprit),
            expected=fault.expected,
            found=fault.found,
        )
    except Refused as fault:
        yield Finding(clause="§9.22", message=str(fault))


def everyone_accepted(record: StudyRecord) -> Iterator[Finding]:
    """§9.23: no round began before each member had accepted this very document."""
    missing = set(record.study.terms.members) - record.study.accepted.keys()
    if record.study.rounds and missing:
        for member in sorted(missing):
            yield Finding(
                clause="§9.23", message="rounds began without this member's consent", culprit=member
            )


def neighbouring_sets_are_reported(record: StudyRecord) -> Iterator[Finding]:
    """§9.24: consecutive opened sums that differ by one member are reported.

    Their difference is that member's update, up to the model's drift; the remedy is noise at the site.
    """
    opened = [r for r in record.rounds if r.round.opened and r.round.total is not None]
    for earlier, later in pairwise(opened):
        if earlier.round.total is None or later.round.total is None:
            continue
        difference = set(earlier.round.total.members) ^ set(later.round.total.members)
        if len(difference) == 1:
            (member,) = difference
            message = f"rounds {earlier.id} and {later.id} differ by one member, 0x{member.hex()}"
            yield Finding(clause="§9.24", message=message, round=later.id, weight=Weight.NOTICE)


def later_keys_are_sound(record: StudyRecord) -> Iterator[Finding]:
    """§9.25: every key was new, accepted, proven and dealt to the same members before its first round.

    The study's own key is that of §9.22 and §9.23. Places that lead nowhere are no fault where another one
    leads to the document, nor where the key never rules a round: then they are notices.
    """
    for epoch in record.study.later_epochs:
        yield from _without_consent(record.study, epoch)
    for epoch, sought in zip(record.study.later_epochs, record.keys, strict=False):  # none: §9.22 fails
        for finding in _unsound(sought, epoch):
            rules = record.study.epoch_of(epoch.first) == epoch
            yield finding if rules else replace(finding, weight=Weight.NOTICE)


STUDY_CHECKS: tuple[StudyCheck, ...] = (
    events_obey_the_law,
    study_is_sound,
    everyone_accepted,
    neighbouring_sets_are_reported,
    later_keys_are_sound,
)


def _without_consent(study: Study, epoch: Epoch) -> Iterator[Finding]:
    accepted = study.candidates.get(epoch.key, Candidate()).accepted
    begun = study.rounds[epoch.first - 1 : epoch.first]
    first_commit = min((commit.at for round in begun for commit in round.commits.values()), default=None)
    for member in study.terms.members:
        consent = accepted.get(member)
        if member in epoch.unasked:
            continue  # nobody could act in its seat when the key was adopted
        if consent is None or (first_commit is not None and consent.at > first_commit):
            message = f"the key 0x{epoch.key.hex()} rules from round {epoch.first} on without this member"
            yield Finding(clause="§9.25", message=message, culprit=member)


def _unsound(sought: Sought, epoch: Epoch) -> Iterator[Finding]:
    """One finding for each proposer whose place is of no use; or one for the key, which all have accepted."""
    subject = f"the key 0x{sought.key.hex()}, from round {epoch.first} on"
    match sought.outcome:
        case Violation() as fault if sought.found:
            message = f"{subject}, was accepted by all and is unsound: {fault}"
            yield Finding(clause="§9.25", message=message, expected=fault.expected, found=fault.found)
            return
        case Violation():
            weight, outcome = Weight.FAULT, "its rounds are not examined"
        case Unavailable() as why if sought.found:
            message = f"{subject}: its rounds are not examined: {why}"
            yield Finding(clause="§9.25", message=message, weight=Weight.UNKNOWN)
            return
        case Unavailable():
            weight, outcome = Weight.UNKNOWN, "its rounds are not examined"
        case _:
            weight, outcome = Weight.NOTICE, "another place leads to its document"
    for vain in sought.vain:
        message = f"{subject}: no document of it where its proposer says, and {outcome}: {vain.why}"
        yield Finding(clause="§9.25", message=message, culprit=vain.proposer, weight=weight)
