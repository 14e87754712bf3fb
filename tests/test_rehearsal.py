"""Whole studies in memory: what all parties reach together, and how a round ends that they do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from federation.admission import Admission
from federation.audience import PUBLIC
from federation.audit.observer import Observer
from federation.combination import combine
from federation.digest import Digest
from federation.errors import LedgerRejected, Refused, Unavailable, Violation
from federation.events import Reason, RoundId
from federation.model import to_safetensors
from federation.opening import join_shares
from federation.rehearsal import AGGREGATOR, AUDITOR, Rehearsal, sealing_secret
from federation.rounds import Abandoned, Finished, Overdue, Tainted
from federation.runs import Held, whole
from federation.store.content import get_bytes
from federation.wire import Code, Exclusion, Kind

from .rehearsing import (
    HOSPITALS,
    KINDS,
    WINDOW,
    A,
    B,
    Blame,
    C,
    D,
    audit,
    audited,
    commit_payload,
    faults,
    flip,
    honest_payload,
    in_the_clear,
    opened,
    post_total,
    quantised,
    rehearse,
    reveals,
    share_anyway,
    unknowns,
    up_to_reveals,
)


@pytest.mark.parametrize("kind", KINDS)
def test_three_rounds_equal_the_computation_on_plain_integers(kind: str) -> None:
    rehearsal = rehearse(kind)
    model = rehearsal.agreement.task.initial()
    for _ in range(3):
        record = rehearsal.run_round()
        model = in_the_clear(rehearsal, record.id, model, HOSPITALS)
        assert isinstance(record.model, np.ndarray)
        assert record.model.tobytes() == model.tobytes()
        assert isinstance(record.round.phase(rehearsal.view.now), Finished)
    assert rehearsal.observer.study.is_complete
    with pytest.raises(LedgerRejected, match="StudyComplete"):
        rehearsal.commit(A)


@pytest.mark.parametrize("kind", KINDS)
def test_an_honest_study_audits_clean(kind: str) -> None:
    rehearsal = rehearse(kind)
    for _ in range(3):
        last = rehearsal.run_round()
    for address in (C, D):
        rehearsal.confirm(address, last.id)
    report = audited(rehearsal)
    assert (report.findings, report.notices) == ([], [])
    assert {claim.verdict for claim in report.claims} == {"holds"}


@pytest.mark.parametrize("suite", ["plain", "paillier"])
def test_the_round_goes_on_without_one_who_never_commits(suite: str) -> None:
    rehearsal = rehearse(suite)
    record = opened(rehearsal, up_to_reveals(rehearsal, (A, B, C)))
    _check_result(rehearsal, record.id, (A, B, C))
    assert record.admission.excluded == ()
    assert audited(rehearsal).findings == []


@pytest.mark.parametrize("suite", ["plain", "paillier"])
def test_the_round_goes_on_without_one_who_never_reveals(suite: str) -> None:
    rehearsal = rehearse(suite)
    for address in HOSPITALS:
        id = rehearsal.commit(address)
    record = opened(rehearsal, reveals(rehearsal, id, (A, B, D)))
    _check_result(rehearsal, id, (A, B, D))
    assert record.admission.excluded == (Exclusion(member=C, code=Code.NO_REVEAL),)
    assert audited(rehearsal).findings == []


@pytest.mark.parametrize("suite", ["plain", "paillier"])
def test_the_round_goes_on_without_one_who_reveals_and_then_gives_no_share(suite: str) -> None:
    rehearsal = rehearse(suite)
    id = up_to_reveals(rehearsal)
    opened(rehearsal, id, C, D)
    _check_result(rehearsal, id, HOSPITALS)
    assert audited(rehearsal).findings == []


@pytest.mark.parametrize("suite", ["plain", "paillier"])
def test_a_wrong_share_costs_its_sender_its_name_and_the_round_nothing(suite: str) -> None:
    rehearsal = rehearse(suite)
    id = up_to_reveals(rehearsal)
    rehearsal.post_total(id)
    total = rehearsal.record(id).recomputed_total
    assert total is not None
    share_anyway(
        rehearsal, B, id, total, alter=lambda share: replace(share, leaves=Held(flip(whole(share.leaves), 3)))
    )
    rehearsal.post_share(A, id)
    with pytest.raises(Unavailable, match="1 right shares of 2"):
        rehearsal.finish(id)
    rehearsal.post_share(D, id)
    rehearsal.finish(id)
    _check_result(rehearsal, id, HOSPITALS)
    record = rehearsal.record(id)
    shares = {m: (record.round.shares[m].digest, data) for m, data in record.shares.items()}
    rejected = join_shares(rehearsal.agreement, id, total, shares).rejected
    assert [(who, fault.culprit) for who, fault in rejected.items()] == [(B, B)]
    assert faults(audited(rehearsal)) == {Blame("§9.9", B)}


def _stop_after_commits(rehearsal: Rehearsal) -> RoundId:
    rehearsal.commit(A)
    id = rehearsal.commit(B)
    rehearsal.wait(WINDOW)
    return id


def _stop_after_reveals(rehearsal: Rehearsal) -> RoundId:
    for address in HOSPITALS:
        id = rehearsal.commit(address)
    return reveals(rehearsal, id, (A, B))


def _stop_before_total(rehearsal: Rehearsal) -> RoundId:
    id = up_to_reveals(rehearsal)
    rehearsal.wait(WINDOW)
    return id


def _stop_at_shares(rehearsal: Rehearsal, *sharers: bytes) -> RoundId:
    id = up_to_reveals(rehearsal)
    rehearsal.post_total(id)
    for address in HOSPITALS:
        if address in sharers:
            rehearsal.post_share(address, id)
    rehearsal.wait(WINDOW if len(sharers) < 2 else 2 * WINDOW)
    return id


ENDS: dict[Reason, Callable[[Rehearsal], RoundId]] = {
    Reason.TOO_FEW_COMMITS: _stop_after_commits,
    Reason.TOO_FEW_REVEALS: _stop_after_reveals,
    Reason.NO_TOTAL: _stop_before_total,
    Reason.NO_SHARES: _stop_at_shares,
    Reason.TOO_FEW_SHARES: lambda rehearsal: _stop_at_shares(rehearsal, C),
    Reason.NO_RESULT: lambda rehearsal: _stop_at_shares(rehearsal, C, D),
}


@pytest.mark.parametrize("reason", ENDS)  # all but FAULT_PROVEN, which no deadline leads to
def test_a_round_that_ends_for_any_reason_is_followed_by_one_from_the_same_model(reason: Reason) -> None:
    rehearsal = rehearse()
    first = rehearsal.run_round()
    id = ENDS[reason](rehearsal)
    assert rehearsal.round(id).phase(rehearsal.view.now) == Overdue(reason=reason)
    wrong = Reason(reason % len(Reason) + 1)
    with pytest.raises(LedgerRejected, match="WrongReason"):
        rehearsal.abandon(id, wrong)
    rehearsal.abandon(id, reason)
    ended = rehearsal.round(id).phase(rehearsal.view.now)
    opened_once = reason in {Reason.TOO_FEW_SHARES, Reason.NO_RESULT}
    assert ended == (Tainted(reason=reason) if opened_once else Abandoned(reason=reason))
    retry = rehearsal.run_round()
    assert retry.id.number == id.number + 1
    assert isinstance(first.model, np.ndarray)
    expected = in_the_clear(rehearsal, retry.id, first.model, HOSPITALS)
    assert isinstance(retry.model, np.ndarray)
    assert retry.model.tobytes() == expected.tobytes()
    assert audited(rehearsal).findings == []


def test_a_round_cannot_be_ended_while_it_can_still_go_on() -> None:
    rehearsal = rehearse()
    id = up_to_reveals(rehearsal)
    with pytest.raises(LedgerRejected, match="NotYet"):
        rehearsal.abandon(id, Reason.NO_TOTAL)


def test_after_a_taint_nobody_shares_in_a_sum_of_one_member_fewer() -> None:
    """Both sums would open, and their difference would be that member's update."""
    rehearsal = rehearse()
    id = _stop_at_shares(rehearsal, C)
    rehearsal.abandon(id, Reason.TOO_FEW_SHARES)
    retry = up_to_reveals(rehearsal, (A, B, C))
    rehearsal.post_total(retry)
    for address in HOSPITALS:
        with pytest.raises(Violation) as caught:
            rehearsal.post_share(address, retry)
        assert (caught.value.clause, caught.value.culprit) == ("§9.14", AGGREGATOR)
    assert not rehearsal.round(retry).opened
    assert faults(audited(rehearsal)) == {Blame("§9.14", AGGREGATOR)}


def test_after_a_taint_a_member_may_be_left_out_that_public_evidence_names() -> None:
    rehearsal = rehearse()
    id = _stop_at_shares(rehearsal, C)
    rehearsal.abandon(id, Reason.TOO_FEW_SHARES)
    for address in HOSPITALS:
        retry = rehearsal.commit(address)
    payload = rehearsal.hospitals[D].payloads[retry]
    rehearsal.hospitals[D].payloads[retry] = replace(payload, leaves=Held(flip(whole(payload.leaves))))
    opened(rehearsal, reveals(rehearsal, retry))
    assert faults(audited(rehearsal)) == {Blame("§9.2", D)}


def test_after_a_total_that_nobody_shared_in_a_round_of_fewer_members_may_open() -> None:
    rehearsal = rehearse()
    rehearsal.abandon(_stop_at_shares(rehearsal), Reason.NO_SHARES)
    opened(rehearsal, up_to_reveals(rehearsal, (A, B, C)))
    assert audited(rehearsal).findings == []


def test_no_node_shares_in_a_total_that_leaves_out_one_honest_valid_reveal() -> None:
    rehearsal = rehearse()
    id = up_to_reveals(rehearsal)
    record = rehearsal.record(id)
    kept = {member: update for member, update in record.admission.admitted.items() if member != D}
    roots = {member: record.admission.roots[member] for member in kept}
    total = combine(rehearsal.agreement, id, Admission(admitted=kept, roots=roots, excluded=()))
    post_total(rehearsal, id, total, (A, B, C))
    for address in HOSPITALS:
        with pytest.raises(Violation) as caught:
            rehearsal.post_share(address, id)
        assert (caught.value.clause, caught.value.culprit) == ("§9.6", AGGREGATOR)
    rehearsal.wait(WINDOW)
    rehearsal.abandon(id, Reason.NO_SHARES)
    assert faults(audited(rehearsal)) == {Blame("§9.6", AGGREGATOR), Blame("§9.8", AGGREGATOR)}


def test_the_right_result_settles_against_a_wrong_proposal() -> None:
    rehearsal = rehearse()
    id = up_to_reveals(rehearsal)
    rehearsal.post_total(id)
    for address in (A, B):
        rehearsal.post_share(address, id)
    record = rehearsal.record(id)
    assert record.opening is not None
    assert isinstance(record.model, np.ndarray)
    wrong = record.model + np.float32(1)
    digest = rehearsal.agreement.model_digest(wrong)
    rehearsal.ledger(AGGREGATOR).finish(
        id,
        record.opening.root(),
        digest,
        opening_cid=rehearsal.put(Kind.OPENING, id, whole(record.opening)),
        model_cid=rehearsal.put(Kind.MODEL, id, to_safetensors(wrong, rehearsal.agreement.task.parameters)),
    )
    rehearsal.finish(id, proposer=B)
    right = rehearsal.record(id).model_digest
    assert right is not None
    rehearsal.ledger(C).object_to_result(
        id,
        proposed_opening=record.opening.root(),
        proposed_model=digest,
        found_opening=record.opening.root(),
        found_model=right,
    )
    rehearsal.confirm(C, id)
    assert _settled(rehearsal, id) is None
    assert [notice.clause for notice in audited(rehearsal).notices] == ["§9.15"]
    rehearsal.confirm(D, id)
    assert _settled(rehearsal, id) == right
    rehearsal.run_round()
    assert faults(audited(rehearsal)) == {Blame("§9.12", AGGREGATOR)}
    _check_result(rehearsal, id, HOSPITALS)


def test_a_sum_that_no_honest_members_make_leads_to_no_model_and_names_nobody() -> None:
    """As with any suite whose body a member garbles: the round is lost, the next starts where it did."""
    rehearsal = rehearse()
    id = _garbled(rehearsal)
    with pytest.raises(Refused, match="no model follows"):
        rehearsal.finish(id)
    rehearsal.wait(2 * WINDOW)
    rehearsal.abandon(id, Reason.NO_RESULT)
    assert faults(audited(rehearsal)) == {Blame("§9.11", None)}


def test_a_result_proposed_for_an_impossible_sum_does_not_stop_the_study() -> None:
    rehearsal = rehearse()
    first = rehearsal.run_round()
    id = _garbled(rehearsal)
    opening = rehearsal.record(id).opening
    assert opening is not None
    rehearsal.ledger(AGGREGATOR).finish(
        id,
        opening.root(),
        Digest(b"\1" * 32),
        opening_cid=rehearsal.put(Kind.OPENING, id, whole(opening)),
        model_cid=rehearsal.put(Kind.MODEL, id, b"no model"),
    )
    following = rehearsal.run_round()
    assert isinstance(first.model, np.ndarray)
    assert isinstance(following.model, np.ndarray)
    expected = in_the_clear(rehearsal, following.id, first.model, HOSPITALS)
    assert following.model.tobytes() == expected.tobytes()
    assert faults(audited(rehearsal)) == {Blame("§9.11", None), Blame("§9.12", AGGREGATOR)}


def _garbled(rehearsal: Rehearsal) -> RoundId:
    """A round up to its shares, in which D claims more patients than the cap allows all members together."""
    round = rehearsal.round()
    values = quantised(rehearsal, D, round.id, rehearsal.base(round))
    values[-1] = 8_000_000
    commit_payload(rehearsal, D, honest_payload(rehearsal, D, values))
    for address in (A, B, C):
        rehearsal.commit(address)
    reveals(rehearsal, round.id)
    rehearsal.post_total(round.id)
    for address in (A, B):
        rehearsal.post_share(address, round.id)
    return round.id


@pytest.mark.parametrize("suite", ["plain", "paillier"])
def test_what_is_sealed_to_an_audience_is_read_by_nobody_else(suite: str) -> None:
    rehearsal = rehearse(f"{suite}, sealed")
    record = rehearsal.run_round()
    stored = [share.cid for share in record.round.shares.values()]
    stored += [proposal.model_cid for proposal in record.round.proposals]
    plaintexts = [*record.shares.values(), *record.models.values()]
    for cid, plaintext in zip(stored, plaintexts, strict=True):
        assert plaintext[8:40] not in get_bytes(rehearsal.store, cid, size=1 << 16)
    assert rehearsal.agreement.content_key(D, sealing_secret(D)) == rehearsal.content_key
    with pytest.raises(Violation) as caught:
        rehearsal.agreement.content_key(AGGREGATOR, sealing_secret(AGGREGATOR))
    assert caught.value.culprit == AGGREGATOR
    with pytest.raises(Violation):
        rehearsal.agreement.content_key(AUDITOR, sealing_secret(AGGREGATOR))


def test_an_auditor_without_the_key_of_a_sealed_study_blames_nobody_and_vouches_for_less() -> None:
    rehearsal = rehearse("paillier, sealed")
    rehearsal.run_round()
    rehearsal.run_round()
    outsider = Observer(rehearsal.view, rehearsal.ledger(AUDITOR), rehearsal.store, rehearsal.study)
    report = audit(outsider.study_record(PUBLIC))
    assert faults(report) == set()
    assert {blame.clause for blame in unknowns(report)} == {
        "§9.1",
        "§9.5",
        "§9.9",
        "§9.10",
        "§9.11",
        "§9.12",
    }
    verdicts = {claim.name: claim.verdict for claim in report.claims}
    assert verdicts["total_is_the_sum"] == "holds"
    assert verdicts["models_follow_from_openings"] == "unknown"


def _check_result(rehearsal: Rehearsal, id: RoundId, members: tuple[bytes, ...]) -> None:
    record = rehearsal.record(id)
    assert record.base is not None
    assert isinstance(record.model, np.ndarray)
    contributors = tuple(address for address in HOSPITALS if address in members)
    expected = in_the_clear(rehearsal, id, record.base, contributors)
    assert record.model.tobytes() == expected.tobytes()


def _settled(rehearsal: Rehearsal, id: RoundId) -> Digest | None:
    return rehearsal.observer.study.settled_model(rehearsal.round(id))
