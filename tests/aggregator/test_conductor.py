"""The conductor brings every round to its lawful end, whatever the world does to it."""

from __future__ import annotations

import logging
from dataclasses import replace
from threading import Event

import numpy as np
import pytest

from aggregator.conductor import Conductor
from aggregator.duty import Abandon, Done, Finish, PostTotal, Wait, duty
from federation.agreement import terms_of
from federation.audit.charges import find_charge
from federation.combination import combine
from federation.digest import sha256
from federation.errors import LedgerRejected, Refused, Violation
from federation.events import Reason, RoundId, StudyId, TotalPosted
from federation.rehearsal import AGGREGATOR, Rehearsal, sealing_secret
from federation.rounds import Tainted
from federation.runs import Held
from federation.store.content import put_bytes
from federation.wire import Code, cut, excluded_in

from ..rehearsing import (
    GWEI,
    HOSPITALS,
    STAKE,
    STANDBY,
    A,
    B,
    C,
    D,
    altered,
    audited,
    flip,
    in_the_clear,
    post_total,
    rehearse,
    rehearse_staked,
)
from .stage import (
    Patchy,
    ReadThrough,
    conductor,
    hospitals_reveal,
    hospitals_share,
    posted_root,
    sealed_with_us,
    works,
    wrong_share,
)

FIRST = RoundId(StudyId(1), 1)


def staged(kind: str, rounds: int = 2) -> Rehearsal:
    return sealed_with_us(rounds) if kind == "sealed" else rehearse(kind, rounds=rounds)


@pytest.mark.parametrize("kind", ["plain", "paillier", "sealed"])
def test_a_whole_study_runs_and_each_model_is_the_one_computed_in_the_clear(kind: str) -> None:
    stage = staged(kind)
    aggregator = conductor(stage)
    for _ in range(2):
        assert works(aggregator) == []
        id = hospitals_reveal(stage)
        base = stage.base(stage.round(id))
        assert works(aggregator) == [PostTotal(round=id, patient=True)]
        hospitals_share(stage, id)
        assert works(aggregator) == [Finish(round=id, sharers=(A, B))]
        assert np.array_equal(stage.record(id).model, in_the_clear(stage, id, base, HOSPITALS))
    assert aggregator.step() == Done()
    assert audited(stage).findings == []


def test_where_the_aggregator_is_no_reader_the_members_open_and_it_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = rehearse("plain, sealed", rounds=1)
    aggregator = conductor(stage)
    id = hospitals_reveal(stage)
    works(aggregator)
    hospitals_share(stage, id)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert isinstance(aggregator.step(), Wait)
            stage.wait(1)
    assert sum("its members open" in record.message for record in caplog.records) == 1
    stage.finish(id)
    assert aggregator.step() == Done()


def test_two_conductors_at_once_do_no_harm_and_the_slower_reads_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = staged("plain", rounds=1)
    lagging = ReadThrough(stage.ledger(AGGREGATOR))
    fast, slow = conductor(stage), conductor(stage, ledger=lagging)
    id = hospitals_reveal(stage)
    lagging.shows_until = stage.ledger(AGGREGATOR).head()
    works(fast)
    with caplog.at_level(logging.INFO):
        assert isinstance(slow.step(), PostTotal)
    assert [vars(r)["rule"] for r in caplog.records if "overtaken" in r.message] == ["TotalAlreadyPosted"]
    assert isinstance(slow.step(), Wait), "not again before the ledger shows something new"
    lagging.shows_until = None
    hospitals_share(stage, id)
    lagging.shows_until = stage.ledger(AGGREGATOR).head()
    works(fast)
    assert isinstance(slow.step(), Finish)
    lagging.shows_until = None
    assert slow.step() == fast.step() == Done()
    assert len(stage.round(id).proposals) == 1


def test_what_cannot_be_fetched_is_waited_for_and_left_out_only_after_half_the_window() -> None:
    stage = staged("plain", rounds=1)
    store = Patchy(inner=stage.store)
    aggregator = conductor(stage, store=store)
    id = hospitals_reveal(stage)
    store.lost.add(stage.round(id).reveals[D].cid)
    for _ in range(2):
        stage.wait(14)
        assert isinstance(aggregator.step(), Wait)
    assert aggregator.troubles == 2
    stage.wait(2)
    assert works(aggregator) == [PostTotal(round=id, patient=False)]
    assert aggregator.troubles == 0
    record = stage.record(id)
    assert record.round.total is not None
    assert record.round.total.members == (A, B, C)
    assert record.total is not None
    excluded = excluded_in(cut(record.total, stage.agreement.total_shape).header)
    assert [(e.member, e.code) for e in excluded] == [(D, Code.UNAVAILABLE)]


def test_a_payload_that_comes_in_time_counts() -> None:
    stage = staged("plain", rounds=1)
    store = Patchy(inner=stage.store)
    aggregator = conductor(stage, store=store)
    id = hospitals_reveal(stage)
    store.lost.add(stage.round(id).reveals[D].cid)
    assert isinstance(aggregator.step(), Wait)
    store.lost.clear()
    works(aggregator)
    total = stage.round(id).total
    assert total is not None
    assert total.members == HOSPITALS


def test_bytes_other_than_those_committed_to_exclude_their_sender_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = staged("plain", rounds=1)
    aggregator = conductor(stage)
    id = FIRST
    for address in HOSPITALS:
        stage.commit(address)
    for address in HOSPITALS[:3]:
        stage.reveal(address, id)
    stage.ledger(D).reveal_update(id, put_bytes(stage.store, b"another update"))
    with caplog.at_level(logging.INFO):
        works(aggregator)
    (left_out,) = [vars(r) for r in caplog.records if r.message == "an update is left out"]
    assert left_out["member"] == "0x" + D.hex()
    total = stage.round(id).total
    assert total is not None
    assert total.members == (A, B, C)


def test_with_too_few_sound_updates_nothing_is_posted_and_the_round_ends_for_that_reason() -> None:
    stage = staged("plain", rounds=1)
    aggregator = conductor(stage)
    for address in HOSPITALS:
        stage.commit(address)
    for address in (A, B):
        stage.reveal(address, FIRST)
    for address in (C, D):
        stage.ledger(address).reveal_update(FIRST, put_bytes(stage.store, b"junk"))
    assert isinstance(aggregator.step(), Wait)
    assert stage.round(FIRST).total is None
    stage.wait(61)
    assert works(aggregator) == [Abandon(round=FIRST, reason=Reason.NO_TOTAL)]
    assert works(aggregator) == []


def test_a_wrong_share_costs_its_sender_its_name_and_the_round_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = staged("plain", rounds=1)
    aggregator = conductor(stage)
    id = hospitals_reveal(stage)
    works(aggregator)
    wrong = b"not a share of anything"
    wrong_share(stage, A, id, wrong)
    stage.post_share(B, id)
    with caplog.at_level(logging.INFO):
        assert isinstance(aggregator.step(), Wait), "one right share of two"
        stage.wait(1)
        assert isinstance(aggregator.step(), Wait), "the same input is not tried again"
    accused = [vars(r)["culprit"] for r in caplog.records if r.message == "a share is wrong"]
    assert accused == ["0x" + A.hex()]
    stage.post_share(C, id)
    assert works(aggregator) == [Finish(round=id, sharers=(A, B, C))]
    assert aggregator.step() == Done()


def test_a_share_sealed_under_another_key_is_blamed_on_its_sender(caplog: pytest.LogCaptureFixture) -> None:
    stage = sealed_with_us(rounds=1)
    aggregator = conductor(stage)
    id = hospitals_reveal(stage)
    works(aggregator)
    cid = put_bytes(stage.store, b"sealed to nobody")
    stage.ledger(A).post_share(id, sha256(b"junk"), cid, total=posted_root(stage, id))
    hospitals_share(stage, id, (B, C))
    with caplog.at_level(logging.INFO):
        assert works(aggregator) == [Finish(round=id, sharers=(A, B, C))]
    assert "0x" + A.hex() in {vars(r)["culprit"] for r in caplog.records if r.message == "a share is wrong"}
    assert aggregator.step() == Done()


def test_a_share_that_cannot_be_fetched_is_waited_for() -> None:
    stage = staged("plain", rounds=1)
    store = Patchy(inner=stage.store)
    aggregator = conductor(stage, store=store)
    id = hospitals_reveal(stage)
    works(aggregator)
    hospitals_share(stage, id)
    store.lost.add(stage.round(id).shares[B].cid)
    assert isinstance(aggregator.step(), Wait)
    store.lost.clear()
    assert works(aggregator) == [Finish(round=id, sharers=(A, B))]


def test_a_successor_that_lacks_an_update_waits_before_it_opens() -> None:
    stage = staged("plain", rounds=1)
    id = hospitals_reveal(stage)
    works(conductor(stage))
    hospitals_share(stage, id)
    store = Patchy(inner=stage.store, lost={stage.round(id).reveals[C].cid})
    successor = conductor(stage, store=store)
    assert isinstance(successor.step(), Wait)
    assert successor.troubles == 1
    store.lost.clear()
    assert works(successor) == [Finish(round=id, sharers=(A, B))]


def test_shares_that_nobody_gave_in_time_taint_the_round() -> None:
    stage = staged("plain", rounds=1)
    aggregator = conductor(stage)
    id = hospitals_reveal(stage)
    works(aggregator)
    stage.post_share(A, id)
    stage.wait(61)
    assert works(aggregator) == [Abandon(round=id, reason=Reason.TOO_FEW_SHARES)]
    assert stage.round(id).phase(aggregator.view.now) == Tainted(reason=Reason.TOO_FEW_SHARES)


def test_after_a_tainted_round_no_total_of_other_members_is_posted(caplog: pytest.LogCaptureFixture) -> None:
    stage = staged("plain", rounds=1)
    aggregator = conductor(stage)
    id = hospitals_reveal(stage)
    works(aggregator)
    stage.post_share(A, id)
    stage.wait(61)
    works(aggregator)
    retry = hospitals_reveal(stage, (A, B, C))
    with caplog.at_level(logging.INFO):
        assert isinstance(aggregator.step(), Wait)
    assert "§9.14" in {vars(r).get("clause") for r in caplog.records}
    assert stage.round(retry).total is None
    stage.wait(200)
    assert works(aggregator) == [Abandon(round=retry, reason=Reason.NO_TOTAL)]


def test_too_few_commits_end_the_round() -> None:
    stage = staged("plain", rounds=1)
    aggregator = conductor(stage)
    stage.commit(A)
    assert isinstance(aggregator.step(), Wait)
    stage.wait(61)
    assert works(aggregator) == [Abandon(round=FIRST, reason=Reason.TOO_FEW_COMMITS)]


def test_a_total_that_is_not_the_sum_is_never_opened(caplog: pytest.LogCaptureFixture) -> None:
    stage = staged("plain", rounds=1)
    id = hospitals_reveal(stage)
    honest = stage.record(id).recomputed_total
    assert honest is not None
    lie = replace(honest, leaves=Held(bytes(len(honest.first_part))))
    cid = stage.store.put(lie.read())
    stage.ledger(AGGREGATOR).post_total(id, HOSPITALS, lie.root(), cid)
    for address in (A, B):
        wrong_share(stage, address, id, address)
    with caplog.at_level(logging.INFO):
        assert isinstance(conductor(stage).step(), Wait)
    assert [vars(r)["clause"] for r in caplog.records if "clause" in vars(r)] == ["§9.8"]
    assert stage.round(id).proposals == []


def test_a_silent_store_is_waited_out() -> None:
    stage = staged("plain", rounds=1)
    store = Patchy(inner=stage.store)
    aggregator = conductor(stage, store=store)
    hospitals_reveal(stage)
    store.silent = True
    assert isinstance(aggregator.step(), Wait)
    assert isinstance(aggregator.step(), Wait)
    assert aggregator.troubles == 2
    store.silent = False
    assert len(works(aggregator)) == 1


def test_a_study_whose_document_is_no_study_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    stage = staged("plain", rounds=1)
    junk = b"no study"
    terms = replace(
        terms_of(stage.agreement.spec, put_bytes(stage.store, junk), stage.agreement.ledger),
        digest=sha256(junk),
    )
    stage.ledger(AGGREGATOR).create_study(terms)
    for address in HOSPITALS:
        stage.ledger(address).accept_study(StudyId(2), terms.digest)
    for address in HOSPITALS:
        stage.ledger(address).commit_update(RoundId(StudyId(2), 1), sha256(address), sha256(b"base"))
    for address in HOSPITALS:
        stage.ledger(address).reveal_update(RoundId(StudyId(2), 1), terms.cid)
    aggregator = conductor(stage)
    with caplog.at_level(logging.INFO):
        assert isinstance(aggregator.step(), Wait)
        id = hospitals_reveal(stage)
        assert works(aggregator) == [PostTotal(round=id, patient=True)]
    assert sum(record.message == "a study is unsound" for record in caplog.records) == 1


def test_a_study_that_makes_this_version_fail_does_not_take_the_others_with_it(caplog) -> None:
    stage = staged("plain", rounds=1)
    cid = put_bytes(stage.store, b"a document that breaks whoever reads it")
    terms = replace(terms_of(stage.agreement.spec, cid, stage.agreement.ledger), digest=sha256(b"another"))
    stage.ledger(AGGREGATOR).create_study(terms)
    for address in HOSPITALS:
        stage.ledger(address).accept_study(StudyId(2), terms.digest)
    for address in HOSPITALS:
        stage.ledger(address).commit_update(RoundId(StudyId(2), 1), sha256(address), sha256(b"base"))
    for address in HOSPITALS:
        stage.ledger(address).reveal_update(RoundId(StudyId(2), 1), cid)

    class Breaking:
        """The stage's store, in which one content brings out a defect of ours."""

        put, has = stage.store.put, stage.store.has

        def get(self, wanted, *, size, start=0):
            if wanted == cid:
                raise MemoryError
            return stage.store.get(wanted, size=size, start=start)

    aggregator = conductor(stage, store=Breaking())
    with caplog.at_level(logging.INFO):
        assert isinstance(aggregator.step(), Wait)
        id = hospitals_reveal(stage)
        assert works(aggregator) == [PostTotal(round=id, patient=True)]
    (line,) = [vars(record) for record in caplog.records if record.message == "a study is unsound"]
    assert line["problem"] == "it makes this version fail: MemoryError"


def test_a_study_of_another_aggregator_or_not_yet_accepted_is_left_alone() -> None:
    stage = staged("plain", rounds=1)
    study = stage.view.history.study(StudyId(1))
    stage.commit(A)
    stage.wait(61)
    stage.view.refresh()
    assert isinstance(duty(study, stage.view.now, me=AGGREGATOR, opens=True), Abandon)
    assert isinstance(duty(study, stage.view.now, me=A, opens=True), Wait)
    lukewarm = replace(study, accepted={})
    assert isinstance(duty(lukewarm, stage.view.now, me=AGGREGATOR, opens=True), Wait)


def bonded(stake: int = STAKE.gwei) -> Rehearsal:
    """A study with a standby, whose two aggregators have staked so many gwei each."""
    stage = rehearse_staked("plain", rounds=1)
    for aggregator in (AGGREGATOR, STANDBY):
        if stake < STAKE.gwei:
            stage.ledger(aggregator).withdraw_bond(StudyId(1), (STAKE.gwei - stake) * GWEI)
    return stage


def standby(stage: Rehearsal) -> Conductor:
    return Conductor(stage.ledger(STANDBY), stage.store, sealing_secret(STANDBY))


def test_a_standby_posts_the_total_once_the_first_has_let_its_turn_pass() -> None:
    stage = bonded()
    second = standby(stage)
    id = hospitals_reveal(stage)
    assert "our turn" in str(second.step())
    stage.wait(60)
    assert isinstance(second.step(), Wait), "the last second of the first one's turn"
    stage.wait(1)
    assert [type(due) for due in works(second)] == [PostTotal]
    posted = stage.round(id).total
    assert posted is not None
    assert posted.sender == STANDBY
    assert isinstance(conductor(stage).step(), Wait), "the first comes too late and finds it done"
    hospitals_share(stage, id)
    assert works(second) == [Finish(round=id, sharers=(A, B))]


def test_a_standby_opens_anothers_total_only_when_that_one_has_not_done_so_in_time() -> None:
    stage = bonded()
    first, second = conductor(stage), standby(stage)
    id = hospitals_reveal(stage)
    works(first)
    hospitals_share(stage, id)
    assert isinstance(second.step(), Wait)
    stage.wait(60)
    assert isinstance(second.step(), Wait), "the last second of the first one's time"
    stage.wait(1)
    assert works(second) == [Finish(round=id, sharers=(A, B))]
    assert [proposal.sender for proposal in stage.round(id).proposals] == [STANDBY]


def test_after_a_proven_fault_the_standby_has_its_turn_at_once_and_the_first_none() -> None:
    stage = rehearse_staked("paillier", rounds=1)
    id = hospitals_reveal(stage)
    record = stage.record(id)
    post_total(stage, id, altered(combine(record.agreement, id, record.admission), 1, flip))
    charge = find_charge(stage.record(id))
    assert charge is not None
    stage.ledger(C).dispute(charge)
    assert "a fault of ours was proven" in str(conductor(stage).step())
    assert [type(due) for due in works(standby(stage))] == [PostTotal]


def test_an_aggregator_that_has_staked_too_little_says_what_is_missing() -> None:
    stage = bonded(stake=STAKE.gwei - 1)
    aggregator = conductor(stage)
    id = hospitals_reveal(stage)
    assert "`tally bond --study 1 --deposit`" in str(aggregator.step())
    assert stage.round(id).total is None
    stage.ledger(AGGREGATOR).deposit_bond(StudyId(1), GWEI)
    assert works(aggregator) == [PostTotal(round=id, patient=True)]


def test_a_rejection_that_is_no_race_stops_the_service() -> None:
    class Stern(ReadThrough):
        def post_total(self, *_: object) -> TotalPosted:
            raise LedgerRejected("NotAggregator", (AGGREGATOR,))

    stage = staged("plain", rounds=1)
    aggregator = conductor(stage, ledger=Stern(stage.ledger(AGGREGATOR)))
    hospitals_reveal(stage)
    with pytest.raises(Refused, match="NotAggregator"):
        aggregator.run(Event(), poll=0.01, longest=0.01)


def test_an_unlawful_ledger_stops_the_service() -> None:
    class Bent(ReadThrough):
        def events(self, after: int, until: int) -> list[object]:
            return [*self.inner.events(after, until), *self.inner.events(after, until)]

    stage = staged("plain", rounds=1)
    with pytest.raises(Violation, match="unlawful"):
        conductor(stage, ledger=Bent(stage.ledger(AGGREGATOR))).step()


def test_nothing_that_is_logged_holds_a_sum_or_a_key(caplog: pytest.LogCaptureFixture) -> None:
    stage = sealed_with_us(rounds=1)
    aggregator = conductor(stage)
    with caplog.at_level(logging.DEBUG):
        id = hospitals_reveal(stage)
        works(aggregator)
        hospitals_share(stage, id)
        works(aggregator)
    lines = "\n".join(str(vars(record)) for record in caplog.records)
    record = stage.record(id)
    assert record.opening is not None
    assert "sent" in lines
    for secret in (stage.content_key, record.opening.first_part, *record.shares.values()):
        assert secret.hex() not in lines
        assert repr(secret) not in lines
