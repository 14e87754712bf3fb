"""A chain, or its node, that lies about what was recorded: deleted, inserted, reordered and edited events.

The claims trust the ledger for what was said by whom. So a forged event is found, but the finding may
name whoever the forgery speaks for: which of two nodes lies is settled by comparing their blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import pytest

from federation.agreement import terms_of
from federation.audience import PUBLIC
from federation.audit.charges import find_charge
from federation.audit.observer import Observer
from federation.audit.report import Report
from federation.audit.view import LedgerView
from federation.ciphers.threshold.keys import decode_key
from federation.digest import Cid, Digest, LedgerId, sha256
from federation.errors import LedgerRejected, Violation
from federation.events import (
    BondDeposited,
    BondWithdrawn,
    Event,
    Fault,
    FaultProven,
    LogPosition,
    MemberJoined,
    ModelConfirmed,
    Reason,
    ResultObjected,
    ResultProposed,
    RoundAbandoned,
    RoundId,
    SharePosted,
    Stake,
    StudyAccepted,
    StudyCreated,
    StudyId,
    Timestamp,
    TotalPosted,
    UpdateCommitted,
    UpdateRevealed,
)
from federation.ledger.ledger import Block
from federation.members import Address
from federation.rehearsal import AGGREGATOR, AUDITOR, Rehearsal
from federation.runs import Held, whole
from federation.store.content import put_bytes
from federation.study import decode_spec

from ..rehearsing import (
    HOSPITALS,
    A,
    B,
    Blame,
    C,
    D,
    audit,
    commit_payload,
    faults,
    honest_payload,
    hospital,
    key_of,
    opened,
    post_total,
    rehearse,
    reveals,
    spec_of,
    unknowns,
    up_to_reveals,
)


@dataclass(kw_only=True)
class LyingLedger:
    """The blocks of an honest chain with other events in them."""

    honest: Rehearsal
    told: Sequence[Event]

    @property
    def id(self) -> LedgerId:
        return self.honest.ledger(AUDITOR).id

    @property
    def code_digest(self) -> Digest:
        return self.honest.ledger(AUDITOR).code_digest

    def head(self) -> Block:
        return self.honest.ledger(AUDITOR).head()

    def events(self, after: int, until: int) -> Sequence[Event]:
        return [event for event in self.told if after < event.at.block <= until]


@cache
def study() -> tuple[Rehearsal, tuple[Event, ...]]:
    """Three rounds, the second with three shares, an objection and words of confirmation after the last."""
    rehearsal = rehearse()
    rehearsal.run_round()
    second = opened(rehearsal, up_to_reveals(rehearsal), A, B, C)
    (proposal,) = second.round.proposals
    wrong = sha256(b"another model")
    rehearsal.ledger(D).finish(
        second.id,
        proposal.opening,
        wrong,
        opening_cid=proposal.opening_cid,
        model_cid=put_bytes(rehearsal.store, b"no model"),
    )
    rehearsal.ledger(B).object_to_result(
        second.id,
        proposed_opening=proposal.opening,
        proposed_model=wrong,
        found_opening=proposal.opening,
        found_model=proposal.model,
    )
    third = rehearsal.run_round()
    for address in (A, B, C):
        rehearsal.confirm(address, third.id)
    ledger = rehearsal.ledger(AUDITOR)
    return rehearsal, tuple(ledger.events(-1, ledger.head().number))


HONEST = {Blame("§9.12", D)}  # all that is wrong with it


def told(events: Sequence[Event], rehearsal: Rehearsal | None = None) -> Report:
    """The audit by somebody whose node tells these events."""
    rehearsal = rehearsal or study()[0]
    ledger = LyingLedger(honest=rehearsal, told=events)
    view = LedgerView(ledger)
    view.read_on()
    return audit(Observer(view, ledger, rehearsal.store, rehearsal.study).study_record(PUBLIC))


def found(events: Sequence[Event]) -> bool:
    """Whether anybody would notice."""
    try:
        report = told(events)
    except (LedgerRejected, Violation):  # the study itself is gone
        return True
    return faults(report) != HONEST or bool(unknowns(report))


def test_the_honest_events_show_what_is_wrong_and_nothing_else() -> None:
    assert faults(told(study()[1])) == HONEST
    assert not found(study()[1])


def _may_vanish(index: int, events: Sequence[Event]) -> bool:
    """Nothing else on the ledger depends on these: only another node's events can show that they are gone."""
    event = events[index]
    match event:
        case MemberJoined(member=member):
            return member.address == AUDITOR
        case SharePosted(round=round):
            before = [e for e in events if isinstance(e, SharePosted) and e.round == round]
            return len(before) > 2
        case ModelConfirmed() | ResultObjected():
            return True
        case ResultProposed(sender=sender, round=round):
            # D's would take the object of an objection with it.
            beside = [e for e in events if isinstance(e, ResultProposed) and e.round == round]
            return len(beside) > 1 and sender != D
        case _:
            return False


def test_no_event_that_another_depends_on_can_be_deleted() -> None:
    """What can: a surplus share, one of two proposals, and what is said of results. And the newest events,
    all of them: an auditor sees how far it was shown the ledger (the report's head), not what comes after.
    """
    _, events = study()
    for index in range(len(events)):
        without = events[:index] + events[index + 1 :]
        assert found(without) != _may_vanish(index, events), events[index]


def test_the_newest_events_can_be_withheld_unseen() -> None:
    """Said aloud as a test, so that nobody believes otherwise."""
    _, events = study()
    assert not found(events[:-1])


def test_no_event_can_be_told_twice() -> None:
    _, events = study()
    for index, event in enumerate(events):
        assert found((*events[: index + 1], event, *events[index + 1 :])), event


def test_no_event_can_be_told_again_later_under_a_new_position() -> None:
    _, events = study()
    last = events[-1]
    for event in events:
        again = replace(event, at=LogPosition(last.at.block, 3), time=last.time)
        report = told((*events, again))
        assert Blame("§9.21", None) in faults(report), event


def test_no_two_events_can_be_told_in_another_order() -> None:
    _, events = study()
    for index in range(len(events) - 1):
        swapped = (*events[:index], events[index + 1], events[index], *events[index + 2 :])
        assert found(swapped), events[index]


def test_time_cannot_run_backwards() -> None:
    _, events = study()
    for index in range(len(events) - 1):
        later = replace(events[index], time=Timestamp(events[-1].time + 1))
        assert found((*events[:index], later, *events[index + 1 :])), events[index]


OTHER = sha256(b"other")


def _edits(event: Event) -> list[Event]:
    """The same event with each of its facts changed in turn."""
    fields: dict[str, object] = {}
    match event:
        case StudyCreated(terms=terms):
            leaves, stake = terms.leaves, terms.stake
            changed = [replace(terms, digest=OTHER), replace(terms, key=OTHER)]
            changed += [replace(terms, aggregators=(Address(b"\x99" * 20), *terms.aggregators))]
            changed += [replace(terms, leaves=leaves._replace(suite=3 - leaves.suite))]
            changed += [replace(terms, leaves=leaves._replace(ciphertexts=leaves.ciphertexts + 1))]
            changed += [replace(terms, leaves=leaves._replace(chunks=leaves.chunks + 1))]
            changed += [replace(terms, leaves=leaves._replace(binding=OTHER))]
            changed += [replace(terms, stake=stake._replace(gwei=stake.gwei + 1))]
            changed += [replace(terms, stake=stake._replace(lock=stake.lock + 1))]
            changed += [replace(terms, stake=stake._replace(treasury=A))]
            return [replace(event, terms=terms) for terms in changed]
        case StudyAccepted():
            fields = {"digest": OTHER, "sender": AGGREGATOR}
        case UpdateCommitted():
            fields = {"root": OTHER, "base_model": OTHER, "sender": AGGREGATOR}
        case UpdateRevealed():
            fields = {"cid": _other(event.cid), "sender": AGGREGATOR}
        case TotalPosted():
            fields = {
                "root": OTHER,
                "cid": _other(event.cid),
                "members": event.members[1:],
                "sender": A,
            }
        case SharePosted():
            fields = {"total": OTHER, "digest": OTHER, "cid": _other(event.cid), "sender": AGGREGATOR}
        case ResultProposed():
            fields = {"opening": OTHER, "model": OTHER, "opening_cid": _other(event.opening_cid)}
            fields |= {"model_cid": _other(event.model_cid), "sender": AUDITOR}
        case ModelConfirmed():
            fields = {"model": OTHER, "sender": AGGREGATOR}
        case ResultObjected():
            fields = {"proposed_model": OTHER, "sender": AGGREGATOR}
        case _:
            pass
    return [replace(event, **{name: value}) for name, value in fields.items()]  # type: ignore[arg-type]


def _other(cid: Cid) -> Cid:
    return Cid(cid[:4] + OTHER)


def test_no_fact_of_an_event_can_be_edited() -> None:
    _, events = study()
    tried = 0
    for index, event in enumerate(events):
        for edited in _edits(event):
            tried += 1
            if isinstance(event, ResultProposed) and event.sender == D and edited.sender == D:
                continue  # it was wrong before, and still is
            assert found((*events[:index], edited, *events[index + 1 :])), edited
    assert tried > 100


def test_an_invented_end_of_a_round_is_unlawful() -> None:
    _, events = study()
    last = events[-1]
    at = LogPosition(last.at.block, 3)
    for number in (1, 2, 3, 4):
        round = RoundId(StudyId(1), number)
        end = RoundAbandoned(at=at, time=last.time, sender=A, round=round, reason=Reason.NO_TOTAL)
        assert faults(told((*events, end))) == HONEST | {Blame("§9.21", None)}


def test_the_finding_says_which_event_is_unlawful_and_the_rest_is_audited() -> None:
    rehearsal, events = study()
    last = events[-1]
    stranger = Address(b"\x99" * 20)
    commit = UpdateCommitted(
        at=LogPosition(last.at.block, 3),
        time=last.time,
        sender=stranger,
        round=RoundId(rehearsal.study, 4),
        root=OTHER,
        base_model=OTHER,
    )
    report = told((*events, commit))
    (finding,) = [finding for finding in report.findings if finding.clause == "§9.21"]
    place = f"UpdateCommitted of 0x{stranger.hex()} in block {commit.at.block}, index 3: NotInStudy"
    assert finding.message.endswith(place)
    verdicts = {claim.name: claim.verdict for claim in report.claims}
    assert verdicts.pop("events_obey_the_law") == "fails"
    assert verdicts.pop("models_follow_from_openings") == "fails"  # D's lie, as before
    assert set(verdicts.values()) == {"holds"}


def test_a_daemon_stops_at_an_unlawful_event_however_often_it_asks() -> None:
    rehearsal, events = study()
    view = LedgerView(LyingLedger(honest=rehearsal, told=(*events, events[-1])))
    for _ in range(2):
        with pytest.raises(Violation, match="unlawful event"):
            view.refresh()


# ---------------------------------------------------------------- the study's own document


def _with_document(document: bytes, stored: bytes | None = None) -> Report:
    """The study as it would be if this document had been agreed on, or stored in its place."""
    rehearsal, events = study()
    spec = decode_spec(document)
    terms = terms_of(
        spec, put_bytes(rehearsal.store, document if stored is None else stored), rehearsal.agreement.ledger
    )
    changed = [
        replace(event, terms=terms)
        if isinstance(event, StudyCreated)
        else replace(event, digest=terms.digest)
        if isinstance(event, StudyAccepted)
        else event
        for event in events
    ]
    return told(changed)


def _document() -> bytes:
    return study()[0].agreement.spec.encode()


def test_another_document_than_the_agreed_one_is_found_and_nothing_else_is_claimed() -> None:
    other = replace(decode_spec(_document()), name="another study").encode()
    report = _with_document(_document(), stored=other)
    assert faults(report) == {Blame("§9.22", None)}
    round_claims = [claim for claim in report.claims if claim.clause < "§9.2"]
    assert {claim.verdict for claim in round_claims} == {"unchecked"}


def test_a_document_that_is_no_study_is_found() -> None:
    report = _with_document(_document(), stored=b"\xff" * 40)
    assert faults(report) == {Blame("§9.22", None)}


def test_a_document_larger_than_any_study_is_found() -> None:
    report = _with_document(_document(), stored=bytes(1 << 17))
    assert faults(report) == {Blame("§9.22", None)}


def test_a_scale_whose_sums_could_wrap_is_found() -> None:
    spec = decode_spec(_document())
    report = _with_document(replace(spec, scale=replace(spec.scale, bits=24)).encode())
    assert Blame("§9.22", None) in faults(report)


def test_a_genesis_that_is_not_the_tasks_is_found() -> None:
    report = _with_document(replace(decode_spec(_document()), genesis=OTHER).encode())
    assert Blame("§9.22", None) in faults(report)


def test_terms_that_say_other_than_the_document_are_found() -> None:
    _, events = study()
    changed = [
        replace(event, terms=replace(event.terms, rounds=9)) if isinstance(event, StudyCreated) else event
        for event in events
    ]
    assert faults(told(changed)) == {Blame("§9.22", None)}


def test_a_key_that_fails_its_proof_is_found() -> None:
    good = decode_key(key_of("paillier").public_key)
    bad = replace(good, roots=(good.roots[1], good.roots[0], *good.roots[2:]))
    spec = replace(spec_of("paillier"), key=bad.encode())
    rehearsal = Rehearsal(spec, [hospital(address, "paillier") for address in HOSPITALS])
    rehearsal.run_round()
    assert faults(audit(rehearsal.study_record())) == {Blame("§9.22", None)}


# ---------------------------------------------------------------- bonds, turns and verdicts

FIRST, SECOND = AGGREGATOR, Address(b"\x9f" * 20)
BENEFICIARY = Address(b"\x7e" * 20)
STAKE = 5_000_000_000  # wei


@cache
def disputed() -> tuple[Rehearsal, tuple[Event, ...]]:
    """One round: the first aggregator's total lists D, whose leaf is malformed; the second's is finished."""
    stake = Stake(gwei=5, lock=60, treasury=BENEFICIARY)
    spec = replace(spec_of("paillier"), aggregators=(FIRST, SECOND), stake=stake)
    rehearsal = Rehearsal(spec, [hospital(address, "paillier") for address in HOSPITALS])
    for aggregator in spec.aggregators:
        rehearsal.ledger(aggregator).deposit_bond(StudyId(1), STAKE + 1)
    payload = honest_payload(rehearsal, D)
    commit_payload(rehearsal, D, replace(payload, leaves=Held(bytes(len(whole(payload.leaves))))))
    for address in (A, B, C):
        id = rehearsal.commit(address)
    reveals(rehearsal, id)
    total = rehearsal.record(id).recomputed_total
    assert total is not None
    post_total(rehearsal, id, total, HOSPITALS)
    charge = find_charge(rehearsal.record(id))
    assert charge is not None
    rehearsal.ledger(C).dispute(charge)
    cid = rehearsal.store.put(total.read())
    rehearsal.ledger(SECOND).post_total(id, (A, B, C), total.root(), cid)
    for address in (A, B):
        rehearsal.post_share(address, id)
    rehearsal.finish(id)
    rehearsal.wait(61)
    rehearsal.ledger(FIRST).withdraw_bond(StudyId(1), 1)
    rehearsal.ledger(SECOND).withdraw_bond(StudyId(1), STAKE)
    ledger = rehearsal.ledger(AUDITOR)
    return rehearsal, tuple(ledger.events(-1, ledger.head().number))


def as_was(events: Sequence[Event]) -> bool:
    """Whether nobody would notice."""
    rehearsal, honest = disputed()
    try:
        report = told(events, rehearsal)
    except (LedgerRejected, Violation):
        return False
    return (faults(report), unknowns(report)) == _found_in(honest)


@cache
def _found_in(events: tuple[Event, ...]) -> tuple[set[Blame], set[Blame]]:
    report = told(events, disputed()[0])
    return faults(report), unknowns(report)


def place_of(kind: type[Event], number: int = 0) -> int:
    """Of the so-manieth event of its kind."""
    return [k for k, event in enumerate(disputed()[1]) if isinstance(event, kind)][number]


def test_a_disputed_round_shows_who_was_at_fault_and_nothing_else() -> None:
    assert {blame.culprit for blame in _found_in(disputed()[1])[0]} == {FIRST, D}


def test_no_event_of_bonds_and_verdicts_that_another_depends_on_can_be_deleted() -> None:
    """What can: a withdrawal. (A deposit of somebody who posts nothing could, too.)"""
    _, events = disputed()
    for kind in (BondDeposited, FaultProven, TotalPosted):
        for number in range(sum(isinstance(event, kind) for event in events)):
            at = place_of(kind, number)
            assert not as_was(events[:at] + events[at + 1 :]), events[at]
    at = place_of(BondWithdrawn)
    assert as_was(events[:at] + events[at + 1 :])


def test_no_event_of_bonds_and_verdicts_can_be_told_twice() -> None:
    _, events = disputed()
    for kind in (BondDeposited, BondWithdrawn, FaultProven, TotalPosted):
        at = place_of(kind)
        assert not as_was((*events[: at + 1], *events[at:])), events[at]


def test_a_withdrawal_told_before_the_lock_has_passed_is_unlawful() -> None:
    _, events = disputed()
    at = place_of(BondWithdrawn, 1)
    early = replace(events[at], time=Timestamp(events[at].time - 1))
    before = [replace(event, time=early.time) for event in events[at - 1 : at]]
    assert not as_was((*events[: at - 1], *before, early))


FACTS: dict[str, object] = {
    "aggregator": SECOND,
    "member": C,
    "slashed": STAKE - 1,
    "beneficiary": C,
}
UNSEEN: dict[str, object] = {"sender": A, "fault": Fault.PROOF, "leaf": 2}


@pytest.mark.parametrize("field", FACTS)
def test_no_sentence_can_be_edited(field: str) -> None:
    _, events = disputed()
    at = place_of(FaultProven)
    assert not as_was((*events[:at], replace(events[at], **{field: FACTS[field]}), *events[at + 1 :]))


@pytest.mark.parametrize("field", UNSEEN)
def test_of_a_total_that_was_taken_back_events_alone_show_neither_why_nor_by_whom(field: str) -> None:
    """The evidence is in the call's data, which another node has too."""
    _, events = disputed()
    at = place_of(FaultProven)
    assert as_was((*events[:at], replace(events[at], **{field: UNSEEN[field]}), *events[at + 1 :]))


def test_bonds_that_say_other_amounts_are_unlawful_where_it_matters() -> None:
    _, events = disputed()
    for number in (0, 1):
        at = place_of(BondDeposited, number)
        less = replace(events[at], amount=STAKE - 1)
        assert not as_was((*events[:at], less, *events[at + 1 :]))
    at = place_of(BondWithdrawn)
    more = replace(events[at], amount=2)
    assert not as_was((*events[:at], more, *events[at + 1 :]))


def test_an_invented_verdict_on_a_total_that_is_right_is_found_and_blames_nobody() -> None:
    rehearsal, events = disputed()
    at = place_of(FaultProven)
    last = events[-1]
    slashed = 1  # what is left of the second one's bond
    verdict = replace(
        events[at],
        at=LogPosition(last.at.block, 3),
        time=last.time,
        aggregator=SECOND,
        member=None,
        slashed=slashed,
    )
    found_in = faults(told((*events, verdict), rehearsal))
    assert Blame("§9.17", None) in found_in
    assert Blame("§9.17", SECOND) not in found_in
