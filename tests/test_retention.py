"""Updates that have served leave the store; all that leads from total to model stays, and holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from aggregator.conductor import Conductor
from federation.audit.checks import Weight
from federation.audit.observer import Observer
from federation.audit.record import RoundRecord
from federation.audit.report import Report
from federation.audit.view import LedgerView
from federation.digest import Cid
from federation.errors import Unavailable
from federation.events import Reason, RoundId
from federation.in_memory import InMemoryStore
from federation.members import Address
from federation.rehearsal import AGGREGATOR, AUDITOR, Rehearsal, sealing_secret
from federation.retention import BATCH, Retention, holdings, is_retired
from federation.rounds import Round
from node.daemon import run as run_daemon
from node.journal import Entry

from .aggregator.stage import hospitals_reveal, hospitals_share, sealed_with_us, works
from .node.ward import Node
from .rehearsing import HOSPITALS, WINDOW, A, D, audit, rehearse, rehearse_staked, share_anyway, up_to_reveals

RETIRED = "retired by policy"
kinds = pytest.mark.parametrize("kind", ["plain", "paillier, sealed"])


def after(rounds: int, kind: str = "plain") -> Rehearsal:
    rehearsal = rehearse(kind, rounds=rounds + 3)
    for _ in range(rounds):
        rehearsal.run_round()
    return rehearsal


def tended(rehearsal: Rehearsal, rounds: int = 1) -> int:
    rehearsal.view.refresh()
    view = rehearsal.view
    return Retention(rehearsal.store, rounds=rounds).tend(view.history, view.now)


def numbers_retired(rehearsal: Rehearsal, rounds: int) -> list[int]:
    rehearsal.view.refresh()
    study, now = rehearsal.observer.study, rehearsal.view.now
    return [round.id.number for round in study.rounds if is_retired(study, round, now, rounds=rounds)]


def seen(rehearsal: Rehearsal, *, retain_rounds: int | None) -> Observer:
    """The study through the eyes of one who was never there, and has heard of the policy or not."""
    ledger = rehearsal.ledger(AUDITOR)
    view = LedgerView(ledger)
    view.refresh()
    return Observer(view, ledger, rehearsal.store, rehearsal.study, retain_rounds=retain_rounds)


def audited(rehearsal: Rehearsal, *, retain_rounds: int | None = 1) -> Report:
    return audit(seen(rehearsal, retain_rounds=retain_rounds).study_record(rehearsal.content_key))


def verdicts(report: Report) -> dict[str, str]:
    return {claim.clause: claim.verdict for claim in report.claims}


@pytest.mark.parametrize(("rounds", "retired"), [(1, [1, 2]), (2, [1]), (3, []), (4, [])])
def test_updates_have_served_once_so_many_later_rounds_have_settled_results(
    rounds: int, retired: list[int]
) -> None:
    rehearsal = after(4)  # nobody has trained from the last one's model, so it is not settled
    assert numbers_retired(rehearsal, rounds) == retired


def test_what_an_audit_needs_besides_updates_stays() -> None:
    rehearsal = after(3)
    found = holdings(rehearsal.view.history, rehearsal.view.now, rounds=1)
    first = rehearsal.round(RoundId(rehearsal.study, 1))
    assert tended(rehearsal) == len(HOSPITALS)
    assert found.retired == {reveal.cid for reveal in first.reveals.values()}
    assert not any(rehearsal.store.has(cid) for cid in found.retired)
    assert all(rehearsal.store.has(cid) for cid in found.kept)
    named = {first.total.cid, first.proposals[0].opening_cid, first.proposals[0].model_cid}
    assert named | {share.cid for share in first.shares.values()} | {first.terms.cid} <= found.kept


@kinds
def test_an_audit_says_what_is_retired_and_accuses_nobody(kind: str) -> None:
    rehearsal = after(3, kind)
    before = verdicts(audited(rehearsal))
    tended(rehearsal)
    report = audited(rehearsal)
    assert {finding.weight for finding in report.findings} == {Weight.UNKNOWN}
    assert all(RETIRED in finding.message and finding.culprit is None for finding in report.findings)
    assert {finding.round.number for finding in report.findings if finding.round} == {1}
    unproven = {"§9.1", "§9.6", "§9.8"}
    assert {clause for clause, verdict in verdicts(report).items() if verdict == "unknown"} == unproven
    kept = {clause: verdict for clause, verdict in before.items() if clause not in unproven}
    assert {clause: verdicts(report)[clause] for clause in kept} == kept


def test_without_the_policy_the_same_gap_is_laid_at_the_authors_doors() -> None:
    rehearsal = after(3)
    tended(rehearsal)
    report = audited(rehearsal, retain_rounds=None)
    assert not any(RETIRED in finding.message for finding in report.findings)
    assert {finding.culprit for finding in report.findings if finding.clause == "§9.1"} == set(HOSPITALS)


def test_a_gap_in_a_younger_round_is_no_retirement() -> None:
    rehearsal = after(3)
    lost = rehearsal.round(RoundId(rehearsal.study, 2)).reveals[A].cid
    rehearsal.store.discard([lost], kept=[])
    tended(rehearsal)
    accused = [finding for finding in audited(rehearsal).findings if finding.clause == "§9.1"]
    assert [(finding.round.number, finding.culprit) for finding in accused if finding.culprit] == [(2, A)]


@kinds
def test_whoever_comes_later_derives_the_same_models_from_what_stays(kind: str) -> None:
    rehearsal = after(4, kind)
    newest = rehearsal.round(RoundId(rehearsal.study, 4))
    before = rehearsal.base(newest)
    assert tended(rehearsal) == 2 * len(HOSPITALS)
    later = seen(rehearsal, retain_rounds=1).base_of(newest, rehearsal.content_key)
    assert later.tobytes() == before.tobytes()
    with pytest.raises(Unavailable, match="cannot be recomputed"):
        seen(rehearsal, retain_rounds=None).base_of(newest, rehearsal.content_key)


def record_without_updates(rehearsal: Rehearsal) -> RoundRecord:
    tended(rehearsal)
    observer = seen(rehearsal, retain_rounds=1)
    round = observer.study.rounds[0]
    return observer.record(round, rehearsal.content_key, rehearsal.agreement.task.initial())


def test_fewer_than_t_shares_stand_for_no_total() -> None:
    record = record_without_updates(after(3))
    assert record.total_to_open is not None
    few = replace(record.round, shares={A: record.round.shares[A]})
    assert replace(record, round=few).total_to_open is None


def test_other_bytes_than_those_of_the_posted_total_are_none() -> None:
    rehearsal = after(3)
    record = record_without_updates(rehearsal)
    second = seen(rehearsal, retain_rounds=1)
    other = second.record(second.study.rounds[1], rehearsal.content_key, None)
    assert replace(record, total=other.total).total_to_open is None


def test_a_members_word_is_never_enough_for_our_share() -> None:
    record = record_without_updates(after(3))
    assert record.recomputed_total is None  # what `node.share` looks at


@pytest.mark.parametrize(
    "target",
    [
        lambda first: first.terms.cid,
        lambda first: first.total.cid,
        lambda first: first.proposals[0].model_cid,
        lambda first: first.shares[A].cid,
    ],
    ids=["the study's document", "a total", "a model", "a share"],
)
def test_nobody_has_something_else_deleted_by_calling_it_an_update(target: Callable[[Round], Cid]) -> None:
    rehearsal = rehearse(rounds=6)
    rehearsal.run_round()
    first = rehearsal.round(RoundId(rehearsal.study, 1))
    for address in HOSPITALS:
        id = rehearsal.commit(address)
    for address in HOSPITALS[:-1]:
        rehearsal.reveal(address, id)
    aim = target(first)
    rehearsal.ledger(D).reveal_update(id, aim)
    rehearsal.post_total(id)
    for address in HOSPITALS[:2]:
        rehearsal.post_share(address, id)
    rehearsal.finish(id)
    for _ in range(2):
        rehearsal.run_round()
    assert numbers_retired(rehearsal, 1) == [1, 2]
    assert tended(rehearsal) == 2 * len(HOSPITALS) - 1
    assert rehearsal.store.has(aim)


def test_a_round_that_led_to_no_model_retires_nothing() -> None:
    rehearsal = after(1)
    up_to_reveals(rehearsal)
    rehearsal.wait(WINDOW)
    rehearsal.abandon(rehearsal.round().id, Reason.NO_TOTAL)
    rehearsal.run_round()
    assert numbers_retired(rehearsal, 1) == []
    rehearsal.run_round()
    assert numbers_retired(rehearsal, 1) == [1, 2]


def test_updates_stay_while_a_fault_of_their_total_can_cost_the_bond() -> None:
    rehearsal = rehearse_staked("plain", rounds=5)
    for _ in range(3):
        rehearsal.run_round()
    assert numbers_retired(rehearsal, 1) == []
    rehearsal.wait(101)  # one second more than the lock
    assert numbers_retired(rehearsal, 1) == [1]


def test_whether_a_retry_kept_its_members_is_unknown_where_too_few_stand_for_what_was_opened_before() -> None:
    rehearsal = rehearse(rounds=6)
    id = up_to_reveals(rehearsal)
    rehearsal.post_total(id)
    rehearsal.post_share(A, id)  # of two that would open it
    rehearsal.wait(WINDOW)
    rehearsal.abandon(id, Reason.TOO_FEW_SHARES)
    id = up_to_reveals(rehearsal, HOSPITALS[:3])
    total = rehearsal.post_total(id)
    for address in HOSPITALS[:2]:
        share_anyway(rehearsal, address, id, total)
    rehearsal.finish(id)
    for _ in range(2):
        rehearsal.run_round()

    def found() -> list[tuple[Weight, Address | None]]:
        return [(f.weight, f.culprit) for f in audited(rehearsal).findings if f.clause == "§9.14"]

    assert found() == [(Weight.FAULT, AGGREGATOR)]
    assert tended(rehearsal) == 4 + 3
    assert found() == [(Weight.UNKNOWN, None)]


class Full(InMemoryStore):
    """A store that cannot discard for a while."""

    silent = True

    def discard(self, contents, *, kept):
        if self.silent:
            raise Unavailable("the store is silent")
        assert len(contents) <= BATCH
        super().discard(contents, kept=kept)


def test_what_could_not_be_discarded_is_tried_again_and_what_was_is_not() -> None:
    rehearsal = after(3)
    store = Full()
    retention = Retention(store, rounds=1)
    with pytest.raises(Unavailable):
        retention.tend(rehearsal.view.history, rehearsal.view.now)
    store.silent = False
    rehearsal.view.refresh()
    assert retention.tend(rehearsal.view.history, rehearsal.view.now) == len(HOSPITALS)
    assert retention.tend(rehearsal.view.history, rehearsal.view.now) == 0


def conducting(stage: Rehearsal, rounds: int = 1) -> Conductor:
    retention = Retention(stage.store, rounds=rounds)
    return Conductor(stage.ledger(AGGREGATOR), stage.store, sealing_secret(AGGREGATOR), retention=retention)


def one_round(stage: Rehearsal, conductor: Conductor) -> None:
    id = hospitals_reveal(stage)
    works(conductor)
    hospitals_share(stage, id)
    works(conductor)


def test_an_aggregator_retires_updates_at_a_quiet_moment_and_begins_anew_without_them() -> None:
    stage = sealed_with_us(rounds=5)
    for _ in range(3):
        one_round(stage, conducting(stage))  # killed after each round
    first, second = stage.round(RoundId(stage.study, 1)), stage.round(RoundId(stage.study, 2))
    assert not any(stage.store.has(reveal.cid) for reveal in first.reveals.values())
    assert all(stage.store.has(reveal.cid) for reveal in second.reveals.values())
    one_round(stage, conducting(stage))
    assert len(stage.round(RoundId(stage.study, 4)).proposals) == 1


def test_a_store_that_cannot_discard_keeps_no_aggregator_from_its_duties(caplog) -> None:
    stage = sealed_with_us(rounds=5)
    stage.store.__class__ = Full
    for _ in range(4):
        one_round(stage, conducting(stage))
    assert len(stage.round(RoundId(stage.study, 4)).proposals) == 1
    assert "updates cannot be retired now" in caplog.text


def test_a_hospital_that_was_away_adopts_what_has_been_retired_meanwhile_and_retires_its_own(
    tmp_path: Path,
) -> None:
    stage = sealed_with_us(rounds=5)
    for _ in range(3):
        one_round(stage, conducting(stage))
    node = Node(stage, A, tmp_path)
    observer = Observer(node.view, node.ledger, node.store, stage.study, retain_rounds=1)
    seat = replace(node.seat, observer=observer, retention=Retention(stage.store, rounds=1))
    one_round(stage, conducting(stage, rounds=2))
    rounds = [stage.round(RoundId(stage.study, number)) for number in (1, 2, 3, 4)]
    for round in rounds:  # as `tally node restore` leaves it: what it gave before is not given again
        seat.journal.remember(Entry.PASSED, round.id, b"")
    assert [stage.store.has(round.reveals[A].cid) for round in rounds] == [False, True, True, True]
    run_daemon(seat, node.view, lambda: False)
    assert [seat.journal.recall(Entry.ADOPTED, round.id) for round in rounds] == [
        round.proposals[0].model for round in rounds
    ]
    assert [stage.store.has(round.reveals[A].cid) for round in rounds] == [False, False, True, True]
