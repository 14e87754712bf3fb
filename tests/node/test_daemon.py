"""A node brings its part of every round to the end, whatever it is told, and tells on who cheats."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aggregator.conductor import Conductor
from federation.admission import admit
from federation.arithmetic import apply, mean, weigh
from federation.audit.charges import find_charge
from federation.audit.view import LedgerView
from federation.combination import combine
from federation.digest import Digest, sha256
from federation.disputes import Charge
from federation.errors import LedgerRejected, Refused, Unavailable, Violation
from federation.events import Fault, FaultProven, Reason, RoundId, StudyId
from federation.ledger.ledger import Ledger, Receipt
from federation.members import Address
from federation.rehearsal import AGGREGATOR, Rehearsal, sealing_secret
from federation.rounds import Abandoned
from federation.runs import Held, whole
from federation.store.content import put_bytes
from federation.store.unixfs import cid_of
from federation.submission import clip_update, quantise_update
from federation.wire import Code, Payload, excluded_in
from node.daemon import run
from node.duty import Adopt, Conclude, Dispute, Done, End, Fetch, Publish, Reveal, Share, Submit, Wait
from node.journal import Entry, name_of
from node.open import recall_models
from node.train import training_seed
from node.vault import Vault

from ..rehearsing import (
    HOSPITALS,
    KINDS,
    SCALE,
    STAKE,
    STANDBY,
    WINDOW,
    A,
    B,
    C,
    D,
    altered,
    audited,
    commit_payload,
    flip,
    honest_payload,
    hospital,
    post_total,
    quantised,
    rehearse,
    rehearse_staked,
    reveals,
    share_anyway,
    spec_of,
)
from ..rehearsing import (
    staked as stake_of,
)
from .ward import Node, identity, others_act, patients, without

FIRST, SECOND = RoundId(StudyId(1), 1), RoundId(StudyId(1), 2)


def staged(folder: Path, *, kind: str = "plain", rounds: int = 1) -> tuple[Rehearsal, Node]:
    """One real node, A, among rehearsed ones."""
    stage = rehearse(kind, rounds=rounds)
    return stage, Node(stage, A, folder / "vault")


def until_total(stage: Rehearsal, node: Node) -> None:
    """All have revealed; the aggregator has the word."""
    node.works()
    others_act(stage, without(A))
    node.works()
    others_act(stage, without(A))


def polls(count: int) -> Callable[[], bool]:
    """Looks so many times, then stops."""
    left = iter(range(count, 0, -1))
    return lambda: next(left) > 1


def messages(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    said = [vars(record) for record in caplog.records if record.message == event]
    return [
        " ".join(str(line.get(part, "")) for part in ("why", "clause", "problem", "culprit")) for line in said
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_study_of_real_nodes_ends_with_the_model_computed_in_the_clear(
    kind: str, tmp_path: Path
) -> None:
    stage = rehearse(kind, rounds=2)
    nodes = [Node(stage, site, tmp_path / site.hex()) for site in HOSPITALS]
    conductor = Conductor(stage.ledger(AGGREGATOR), stage.store, sealing_secret(AGGREGATOR))
    for _ in range(40):
        for node in nodes:
            node.works()
        conductor.step()
        if len(stage.round().shares) == 4:
            stage.wait(WINDOW)  # where the aggregator is no reader, a member concludes
        if all(isinstance(node.step(), Done) for node in nodes):
            break
    assert all(isinstance(node.step(), Done) for node in nodes)
    model = stage.agreement.task.initial()
    for number in (1, 2):
        id = RoundId(stage.study, number)
        summed = np.zeros(stage.agreement.task.size + 1, np.int64)
        for node in nodes:
            seed = node.seat.vault.seed()
            order = training_seed(seed, stage.agreement.ledger, id)
            found = stage.agreement.task.train(model, patients(node.me), seed=order)
            summed += quantise_update(
                stage.agreement,
                id,
                clip_update(stage.agreement, found),
                member=node.me,
                weight=weigh(patients(node.me).samples, SCALE),
                seed=seed,
            )
        model = apply(model, mean(summed, members=4, scale=SCALE))
        assert stage.round(id).proposals[0].model == stage.agreement.model_digest(model)
        assert len(stage.round(id).shares) >= 2
        assert not stage.round(id).objections
    assert set(stage.round(SECOND).confirmations) == set(HOSPITALS)
    assert audited(stage).findings == []


def test_the_loop_ends_when_the_study_does_and_says_what_it_did(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage, node = staged(tmp_path)

    def pause() -> bool:
        others_act(stage, without(A))
        return True

    with caplog.at_level(logging.INFO):
        run(node.seat, node.view, pause)
    said = [record.message for record in caplog.records if record.name.startswith("node.")]
    done = [event for event in said if event != "waiting"]
    assert done == ["started", "committed", "revealed", "shared", "a round has ended", "adopted", "done"]


def test_the_loop_ends_where_it_is_told_to(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    run(node.seat, node.view, lambda: False)
    assert A in stage.round().commits


def test_a_wrong_total_gets_no_share_ever_and_its_author_is_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage, node = staged(tmp_path)
    until_total(stage, node)
    total = combine(stage.agreement, FIRST, stage.record(FIRST).admission)
    wrong = replace(total, leaves=Held(flip(whole(total.leaves), 7)))  # its lowest bit
    post_total(stage, FIRST, wrong, HOSPITALS)
    with caplog.at_level(logging.INFO):
        run(node.seat, node.view, polls(5))
    (why,) = messages(caplog, "violation")
    assert f"0x{AGGREGATOR.hex()}" in why
    assert "not the sum" in why
    assert "no share is given" in why
    posted = stage.round(FIRST).total
    assert posted is not None
    assert node.seat.journal.recall(Entry.WITHHELD, FIRST) == name_of(posted)
    node.restart()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        run(node.seat, node.view, polls(5))
    assert messages(caplog, "violation") == [], "a restart neither shares nor complains again"
    for sharer in (B, C):
        share_anyway(stage, sharer, FIRST, wrong)
    assert isinstance(node.step(), Wait)
    assert node.calls("post_share") == []
    assert node.seat.journal.recall(Entry.SHARED, FIRST) is None


def garbled(share: Payload) -> Payload:
    return replace(share, leaves=Held(flip(whole(share.leaves), 0)))


def leave_out(stage: Rehearsal, member: Address) -> None:
    """The aggregator says that it could not fetch this member's update."""
    record = stage.record(FIRST)
    kept = {who: data for who, data in record.updates.items() if who != member}
    total = combine(stage.agreement, FIRST, admit(stage.agreement, record.round, kept))
    assert [e.code for e in excluded_in(total.header)] == [Code.UNAVAILABLE]
    post_total(stage, FIRST, total, without(member))


def test_a_member_left_out_too_early_costs_the_aggregator_its_name_and_our_share(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    until_total(stage, node)
    leave_out(stage, D)
    with pytest.raises(Violation, match=f"0x{D.hex()} was called unavailable in the first half") as caught:
        node.step()
    assert caught.value.culprit == AGGREGATOR
    assert node.calls("post_share") == []


def test_a_member_left_out_whose_update_we_held_all_along_gets_no_share_either(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    until_total(stage, node)
    assert isinstance(node.step(), Fetch)
    stage.wait(WINDOW // 2 + 1)
    leave_out(stage, D)
    with pytest.raises(Violation, match=f"0x{D.hex()} is called unavailable, yet its update was here"):
        node.step()
    assert isinstance(node.step(), Dispute), "which finds nothing that could be shown"
    assert isinstance(node.step(), Wait)
    assert node.calls("post_share") == []


def test_while_the_aggregator_combines_each_update_is_fetched_once(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    until_total(stage, node)
    late = stage.round(FIRST).reveals[D].cid
    node.store.lost.add(late)
    reads = []
    for lost in (True, True, False, False):
        if not lost:
            node.store.lost.clear()
        before = node.store.read
        assert isinstance(node.step(), Fetch)
        reads.append(node.store.read - before)
    assert reads == [4, 1, 1, 0]
    assert {member for _, member in node.seat.held} == set(HOSPITALS)


def test_a_member_left_out_late_whom_we_could_not_fetch_either_holds_nobody_up(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    until_total(stage, node)
    node.store.lost.add(stage.round(FIRST).reveals[D].cid)
    assert isinstance(node.step(), Fetch)
    stage.wait(WINDOW // 2 + 1)
    leave_out(stage, D)
    assert isinstance(node.step(), Share)


def test_where_a_false_share_keeps_the_total_shut_ours_is_given_after_all(tmp_path: Path) -> None:
    stage, node = staged(tmp_path, kind="paillier", rounds=2)
    until_total(stage, node)
    total = stage.post_total(FIRST)
    share_anyway(stage, B, FIRST, total, garbled)
    stage.post_share(C, FIRST)
    cid = put_bytes(stage.store, b"no such thing")
    stage.ledger(AGGREGATOR).finish(FIRST, sha256(b"x"), sha256(b"y"), opening_cid=cid, model_cid=cid)
    assert stage.record(FIRST).opening is None
    assert node.works() == [
        Adopt(round=FIRST, last=False, may_share=True),
        Publish(round=FIRST),
        Adopt(round=FIRST, last=False, may_share=False),
        Submit(round=SECOND),
    ]
    round = stage.round(FIRST)
    assert len(node.calls("post_share")) == 1
    assert A in round.objections
    assert [p.sender for p in round.proposals] == [AGGREGATOR, A]
    assert round.proposals[1].model == stage.record(FIRST).model_digest


def test_two_members_who_conclude_at_once_do_no_harm(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    until_total(stage, node)
    stage.post_total(FIRST)
    assert isinstance(node.works()[0], Share)
    stage.post_share(B, FIRST)
    stage.wait(WINDOW)
    node.ledger.final = stage.ledger(A).head()
    stage.finish(FIRST, B)
    assert node.step() == Conclude(round=FIRST)
    node.ledger.final = None
    assert node.works() == [Adopt(round=FIRST, last=True, may_share=False)]
    assert [p.sender for p in stage.round(FIRST).proposals] == [B]


def test_a_payload_out_of_reach_delays_the_share_and_does_not_forfeit_it(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    until_total(stage, node)
    stage.post_total(FIRST)
    node.store.lost.add(stage.round(FIRST).reveals[C].cid)
    for _ in range(3):
        with pytest.raises(Unavailable, match=f"0x{C.hex()}"):
            node.step()
    assert node.seat.journal.recall(Entry.WITHHELD, FIRST) is None
    node.store.lost.clear()
    assert isinstance(node.step(), Share)
    assert A in stage.round(FIRST).shares


@pytest.mark.parametrize("call", ["commit_update", "reveal_update", "post_share", "confirm_model"])
def test_a_silent_store_is_waited_for_with_one_line_whatever_is_due(
    tmp_path: Path, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    stage, node = staged(tmp_path)
    while call not in {name for name, _ in node.sent}:
        node.store.silent = True
        sent = len(node.sent)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            run(node.seat, node.view, polls(4))
        complaints = len(messages(caplog, "retrying"))
        assert complaints <= 1, "once, not with every poll"
        assert complaints == 1 or len(node.sent) > sent or isinstance(node.step(), Wait | Fetch)
        node.store.silent = False
        node.works()
        others_act(stage, without(A))
    assert len(node.calls(call)) == 1


@pytest.mark.parametrize("part", ["opening", "model"])
def test_a_wrong_result_draws_an_objection_and_our_own_and_the_right_one_is_adopted(
    tmp_path: Path, part: str
) -> None:
    stage, node = staged(tmp_path, rounds=2)
    until_total(stage, node)
    stage.post_total(FIRST)
    node.works()
    others_act(stage, without(A), finish_at=9)
    record = stage.record(FIRST)
    assert record.opening is not None
    assert record.model_digest is not None
    right = (record.opening.root(), record.model_digest)
    wrong = (sha256(b"wrong"), right[1]) if part == "opening" else (right[0], sha256(b"wrong"))
    cid = put_bytes(stage.store, b"no such thing")
    stage.ledger(AGGREGATOR).finish(FIRST, *wrong, opening_cid=cid, model_cid=cid)
    assert node.works() == [Adopt(round=FIRST, last=False, may_share=False), Submit(round=SECOND)]
    round = stage.round(FIRST)
    objection = round.objections[A]
    assert (objection.proposed_opening, objection.proposed_model) == wrong
    assert (objection.found_opening, objection.found_model) == right
    assert [(p.sender, p.opening, p.model) for p in round.proposals] == [(AGGREGATOR, *wrong), (A, *right)]
    assert stage.round(SECOND).commits[A].base_model == right[1]
    node.restart()
    assert isinstance(node.step(), Wait)
    assert len(node.calls("object_to_result")) == len(node.calls("finish")) == 1


def test_a_right_result_beside_a_wrong_one_only_draws_the_objection(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    until_total(stage, node)
    stage.post_total(FIRST)
    node.works()
    others_act(stage, without(A), finish_at=9)
    stage.finish(FIRST, B)
    cid = put_bytes(stage.store, b"no such thing")
    stage.ledger(AGGREGATOR).finish(FIRST, sha256(b"x"), sha256(b"y"), opening_cid=cid, model_cid=cid)
    assert node.works() == [Adopt(round=FIRST, last=True, may_share=False)]
    assert node.calls("finish") == []
    assert set(stage.round(FIRST).objections) == {A}
    assert stage.round(FIRST).confirmations[A].model == stage.record(FIRST).model_digest


@pytest.mark.parametrize("kind", ["plain", "paillier, sealed"])
def test_with_the_aggregator_dead_while_opening_a_member_concludes(tmp_path: Path, kind: str) -> None:
    stage, node = staged(tmp_path, kind=kind)
    until_total(stage, node)
    stage.post_total(FIRST)
    assert isinstance(node.works()[0], Share)
    stage.post_share(B, FIRST)
    assert isinstance(node.step(), Wait)
    stage.wait(WINDOW)
    assert node.works() == [Conclude(round=FIRST), Adopt(round=FIRST, last=True, may_share=False)]
    assert isinstance(node.step(), Done)
    assert [p.sender for p in stage.round(FIRST).proposals] == [A]
    assert stage.round(FIRST).proposals[0].model == stage.record(FIRST).model_digest


def test_with_the_aggregator_dead_while_combining_the_round_ends_and_the_next_goes_on(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    until_total(stage, node)
    assert isinstance(node.step(), Fetch)
    stage.wait(WINDOW)
    assert node.works() == [End(round=FIRST, reason=Reason.NO_TOTAL), Submit(round=SECOND)]
    assert stage.round(FIRST).phase(stage.view.now) == Abandoned(reason=Reason.NO_TOTAL)
    others_act(stage, without(A))
    assert node.works() == [Reveal(round=SECOND)]
    roots = [stage.round(id).commits[A].root for id in (FIRST, SECOND)]
    assert roots[0] != roots[1]


def test_another_member_who_is_faster_is_no_trouble(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    until_total(stage, node)
    stage.wait(WINDOW)
    node.view.refresh()
    node.ledger.final = stage.ledger(A).head()
    stage.abandon(FIRST, Reason.NO_TOTAL)
    run(node.seat, node.view, polls(3))
    assert len(node.calls("abandon")) == 1, "not again before the ledger shows something new"
    node.ledger.final = None
    assert node.works() == [Submit(round=SECOND)]


def test_an_impossible_sum_is_left_behind_and_the_next_round_starts_where_it_did(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage, node = staged(tmp_path, rounds=2)
    node.works()
    for site in (B, C):
        stage.commit(site)
    values = quantised(stage, D, FIRST, stage.base(stage.round(FIRST)))
    values[-1] = -(2**20)  # a weight below zero: the total weight is then impossible
    commit_payload(stage, D, honest_payload(stage, D, values))
    assert node.works() == [Reveal(round=FIRST)]
    reveals(stage, FIRST, (B, C, D))
    stage.post_total(FIRST)
    assert isinstance(node.works()[0], Share)
    stage.post_share(B, FIRST)
    fault = stage.record(FIRST).model
    assert isinstance(fault, Violation)
    cid = put_bytes(stage.store, b"nothing follows")
    stage.ledger(AGGREGATOR).finish(FIRST, sha256(b"x"), sha256(b"y"), opening_cid=cid, model_cid=cid)
    with caplog.at_level(logging.INFO):
        assert node.works() == [Adopt(round=FIRST, last=False, may_share=False), Submit(round=SECOND)]
    assert len(messages(caplog, "violation")) == 1
    # What was found is an opened sum: less the cheat's own part, the honest hospitals' patients.
    assert not any(str(fault.found) in str(vars(record)) for record in caplog.records)
    genesis = stage.agreement.spec.genesis
    assert stage.round(FIRST).objections[A].found_model == genesis
    assert stage.round(SECOND).commits[A].base_model == genesis


def test_while_our_own_call_is_not_final_nothing_is_done_again(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    for call in ("commit_update", "reveal_update", "post_share"):
        node.ledger.final = stage.ledger(A).head()  # what comes now is not shown yet
        assert not isinstance(node.step(), Wait)
        read, written = node.store.read, len(node.store.written)
        stage.wait(1)
        for _ in range(5):
            assert isinstance(node.step(), Wait)
        assert (node.store.read, len(node.store.written)) == (read, written)
        assert len(node.calls(call)) == 1
        node.ledger.final = None
        assert node.works() == ([Publish(round=FIRST)] if call == "post_share" else [])
        others_act(stage, without(A), finish_at=9)
        if call == "reveal_update":
            stage.post_total(FIRST)


def test_what_a_fork_has_undone_is_done_again(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    genesis = stage.ledger(A).head()
    assert isinstance(node.step(), Submit)
    node.ledger.final = genesis
    assert isinstance(node.step(), Wait)
    # The chain grows past the block of our call without showing it: blocks are shown, events are not.
    node.ledger.final = replace(genesis, number=genesis.number + 50)
    hidden = node.ledger.events
    node.ledger.events = lambda after, until: [e for e in hidden(after, until) if e.sender != A]
    run(node.seat, node.view, polls(2))
    assert len(node.calls("commit_update")) == 2
    assert len(set(node.calls("commit_update"))) == 1, "the very same commitment"


def test_bytes_other_than_those_committed_to_are_never_published(tmp_path: Path) -> None:
    stage, node = staged(tmp_path, kind="paillier")
    node.works()
    others_act(stage, without(A))
    values = node.seat.vault.values(FIRST)
    node.kill()
    for file in (tmp_path / "vault").glob("[sv]*"):
        file.unlink()
    another = Vault(tmp_path / "vault", identity(A), stage.agreement.ledger, lambda n: b"\x07" * n)
    another.seed()
    another.keep_values(FIRST, values)
    node.start()
    before = list(node.store.written)
    with pytest.raises(Refused, match="the journal holds trained"):
        node.step()
    assert node.store.written == before
    assert node.calls("reveal_update") == []


def test_a_share_that_comes_too_late_for_the_ledger_never_reaches_the_store(tmp_path: Path) -> None:
    """Else whoever made us late could open, with a share of its own, a round that counts as unopened."""
    stage, node = staged(tmp_path)
    until_total(stage, node)
    stage.post_total(FIRST)
    node.ledger.final = stage.ledger(A).head()
    stage.wait(WINDOW + 1)
    before = set(node.store.written)
    with pytest.raises(LedgerRejected, match="OpenWindowClosed"):
        node.step()
    node.ledger.final = None
    assert [type(duty) for duty in node.works()] == [End, Submit]
    assert set(node.store.written) == before
    assert not stage.store.has(cid_of((node.seat.vault.share(FIRST),)))


def test_a_false_share_and_a_false_result_do_not_keep_the_right_one_out(tmp_path: Path) -> None:
    """D gives a false share, waits for one true one, and finishes at once with a result of its own."""
    stage, node = staged(tmp_path)
    until_total(stage, node)
    total = stage.post_total(FIRST)
    share_anyway(stage, D, FIRST, total, garbled)
    stage.post_share(B, FIRST)
    cid = put_bytes(stage.store, b"no such thing")
    stage.ledger(D).finish(FIRST, sha256(b"x"), sha256(b"y"), opening_cid=cid, model_cid=cid)
    stage.wait(WINDOW + 1)
    duties = [type(duty) for duty in node.works()]
    assert duties == [Adopt, Publish, Adopt], "first our share, then the result that it opens"
    round = stage.round(FIRST)
    assert [proposal.sender for proposal in round.proposals] == [D, A]
    assert round.proposals[1].model == stage.record(FIRST).model_digest
    assert set(round.objections) == {A}


def test_a_model_once_adopted_stands_though_others_withdraw_what_it_was_made_of(tmp_path: Path) -> None:
    stage, node = staged(tmp_path, rounds=2)
    until_total(stage, node)
    stage.post_total(FIRST)
    node.works()
    others_act(stage, without(A))
    node.works()
    node.restart()
    node.store.lost.add(stage.round(FIRST).reveals[D].cid)
    with pytest.raises(Unavailable, match="cannot be recomputed yet"):
        node.seat.observer.base_of(stage.round(SECOND), node.seat.content_key)
    recall_models(node.seat.observer, node.seat.vault, node.seat.journal)
    base = node.seat.observer.base_of(stage.round(SECOND), node.seat.content_key)
    assert stage.agreement.model_digest(base) == stage.record(FIRST).model_digest


# ---------------------------------------------------------------- totals that are charged


def lied_to(folder: Path, *, kind: str = "paillier", disputes: bool = True) -> tuple[Rehearsal, Node, Digest]:
    """A stage with a standby, up to a wrong total, and its name."""
    stage = rehearse_staked(kind, rounds=1)
    node = Node(stage, A, folder / "vault", disputes=disputes)
    until_total(stage, node)
    wrong = altered(combine(stage.agreement, FIRST, stage.record(FIRST).admission), 1, flip)
    post_total(stage, FIRST, wrong)
    return stage, node, standing_total(stage)


def standing_total(stage: Rehearsal) -> Digest:
    """The name of the total that stands in the first round."""
    posted = stage.round(FIRST).total
    assert posted is not None
    return name_of(posted)


def test_a_wrong_total_is_charged_once_and_the_node_shares_in_the_next_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage, node, wrong = lied_to(tmp_path)
    with caplog.at_level(logging.INFO):
        run(node.seat, node.view, polls(4))
    assert len(messages(caplog, "violation")) == len(messages(caplog, "fault proven")) == 1
    node.restart()
    assert isinstance(node.step(), Fetch), "the round is combined again"
    (fault,) = stage.round(FIRST).faults
    assert (fault.sender, fault.aggregator, fault.fault, fault.leaf) == (A, AGGREGATOR, Fault.SUM, 1)
    assert (stake_of(stage, AGGREGATOR), stake_of(stage, A)) == (0, STAKE.gwei)
    assert node.seat.journal.recall(Entry.WITHHELD, FIRST) == wrong
    right = stage.post_total(FIRST, STANDBY).root()
    assert [type(duty) for duty in node.works()] == [Share, Publish]
    assert node.seat.journal.recall(Entry.SHARED, FIRST) == right
    assert len(node.calls("dispute")) == 1
    others_act(stage, without(A), finish_at=2)
    assert [type(duty) for duty in node.works()] == [Adopt]
    assert isinstance(node.step(), Done)


def test_each_of_two_wrong_totals_is_refused_and_charged(tmp_path: Path) -> None:
    stage, node, first = lied_to(tmp_path)
    assert [type(duty) for duty in node.works()] == [Dispute]
    right = combine(stage.agreement, FIRST, stage.record(FIRST).admission)
    again = altered(right, 1, lambda data: bytes(len(data)))
    post_total(stage, FIRST, again, by=STANDBY)
    second = standing_total(stage)
    assert [type(duty) for duty in node.works()] == [Dispute]
    assert [fault.aggregator for fault in stage.round(FIRST).faults] == [AGGREGATOR, STANDBY]
    stage.wait(1)
    assert [type(duty) for duty in node.works()] == [End, Submit]
    assert node.seat.journal.recall(Entry.WITHHELD, FIRST) == second != first
    assert node.calls("post_share") == []
    assert stage.round(FIRST).phase(stage.view.now) == Abandoned(reason=Reason.NO_TOTAL)


def test_where_our_policy_charges_nobody_the_share_is_withheld_and_that_is_all(tmp_path: Path) -> None:
    stage, node, _ = lied_to(tmp_path, disputes=False)
    assert node.works() == []
    assert node.accusations == 1
    assert node.calls("dispute") == node.calls("post_share") == []
    assert stage.round(FIRST).faults == []
    assert node.seat.journal.recall(Entry.UNPROVEN, FIRST) is None


def test_another_who_proves_the_fault_first_costs_us_a_look_at_the_ledger(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage, node, _ = lied_to(tmp_path)
    with pytest.raises(Violation):
        node.step()
    node.ledger.final = stage.ledger(A).head()
    charge = find_charge(stage.record(FIRST))
    assert charge is not None
    stage.ledger(B).dispute(charge)
    with caplog.at_level(logging.INFO):
        run(node.seat, node.view, polls(3))
    assert len(messages(caplog, "overtaken")) == len(node.calls("dispute")) == 1
    node.ledger.final = None
    assert isinstance(node.step(), Fetch)
    assert node.seat.journal.recall(Entry.UNPROVEN, FIRST) is None
    assert (stake_of(stage, A), stake_of(stage, B)) == (0, STAKE.gwei)


def test_what_cannot_be_shown_is_said_once_and_the_round_ends_without_a_share(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = rehearse_staked("paillier", rounds=2)
    node = Node(stage, A, tmp_path / "vault")
    until_total(stage, node)
    leave_out(stage, D)
    with caplog.at_level(logging.INFO):
        run(node.seat, node.view, polls(4))
        node.restart()
        run(node.seat, node.view, polls(4))
    assert messages(caplog, "not provable") == ["no fault that the contract can judge   "]
    assert node.calls("dispute") == []
    stage.wait(WINDOW)
    assert [type(duty) for duty in node.works()] == [End, Submit]
    assert stake_of(stage, AGGREGATOR) == STAKE.gwei


def test_a_court_that_does_not_follow_is_not_asked_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, node, wrong = lied_to(tmp_path)
    asked: list[Charge] = []

    def dispute(charge: Charge) -> Receipt:
        asked.append(charge)
        raise LedgerRejected("SumIsRight")

    node.ledger.dispute = dispute
    with caplog.at_level(logging.INFO):
        run(node.seat, node.view, polls(4))
    (why,) = messages(caplog, "not provable")
    assert "SumIsRight" in why
    assert len(asked) == 1
    assert node.seat.journal.recall(Entry.UNPROVEN, FIRST) == wrong
    assert isinstance(node.step(), Wait)


def test_a_proof_that_a_fork_has_undone_is_brought_again(tmp_path: Path) -> None:
    stage, node, _ = lied_to(tmp_path)
    assert [type(duty) for duty in node.works()] == [Dispute]
    head = stage.ledger(A).head()
    node.restart()
    every = node.ledger.events
    node.ledger.events = lambda *blocks: [e for e in every(*blocks) if not isinstance(e, FaultProven)]
    node.view = node.seat.observer._view = LedgerView(node.ledger)
    node.ledger.final = replace(head, number=head.number + 50)
    with pytest.raises(LedgerRejected, match="NoTotal"):
        node.step()
    assert len(node.calls("dispute")) == 2
    assert len(set(node.calls("dispute"))) == 1, "the very same proof"


def with_standby(folder: Path) -> tuple[Rehearsal, Node]:
    """As `staged`, of a suite that the court judges, with a second aggregator; all have revealed."""
    spec = replace(spec_of("paillier"), aggregators=(AGGREGATOR, STANDBY))
    stage = Rehearsal(spec, [hospital(address, "paillier") for address in HOSPITALS])
    node = Node(stage, A, folder / "vault")
    until_total(stage, node)
    return stage, node


def post(stage: Rehearsal, by: Address, total: Payload, members: tuple[Address, ...] = HOSPITALS) -> None:
    stage.ledger(by).post_total(FIRST, members, total.root(), stage.store.put(total.read()))


def test_a_lawful_total_is_opened_though_its_root_stood_beside_a_wrong_list(tmp_path: Path) -> None:
    """Else the first aggregator could spoil the total of the one who follows him."""
    stage, node = with_standby(tmp_path)
    right = combine(stage.agreement, FIRST, stage.record(FIRST).admission)
    post(stage, AGGREGATOR, right, (A, B, C))
    run(node.seat, node.view, polls(3))
    assert stage.round(FIRST).faults, "the node refused it, and proved why"
    post(stage, STANDBY, right)
    run(node.seat, node.view, polls(3))
    assert A in stage.round(FIRST).shares


def test_a_wrong_root_is_charged_again_when_another_posts_it(tmp_path: Path) -> None:
    """Else the second of two cheats keeps his stake, and an honest third never has its turn."""
    stage, node = with_standby(tmp_path)
    right = combine(stage.agreement, FIRST, stage.record(FIRST).admission)
    wrong = replace(right, leaves=Held(flip(whole(right.leaves))))
    for aggregator in (AGGREGATOR, STANDBY):
        post(stage, aggregator, wrong)
        run(node.seat, node.view, polls(3))
    assert [fault.aggregator for fault in stage.round(FIRST).faults] == [AGGREGATOR, STANDBY]


def test_bytes_that_are_withdrawn_between_two_passes_stop_no_other_duty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever serves a wrong total once, and then parts of it, silences all members for ever."""
    monkeypatch.setattr("federation.store.content.RUN_BYTES", 64)  # so that nothing is held in memory
    stage, node = with_standby(tmp_path)
    right = combine(stage.agreement, FIRST, stage.record(FIRST).admission)
    post(stage, AGGREGATOR, replace(right, leaves=Held(flip(whole(right.leaves)))))
    with pytest.raises(Violation):
        node.step()
    posted = stage.round(FIRST).total
    assert posted is not None
    node.store.lost_behind.add(posted.cid)
    stage.wait(WINDOW)
    run(node.seat, node.view, polls(3))
    assert A in stage.round(SECOND).commits


class Pauper:
    """A ledger whose account can pay for everything but a dispute."""

    def __init__(self, inner: Ledger) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def dispute(self, charge: Charge) -> Receipt:
        raise Refused(f"no ether for {charge.fault.name}")


def test_who_cannot_pay_for_a_dispute_goes_on_without(tmp_path: Path) -> None:
    stage, node = with_standby(tmp_path)
    node.seat = replace(node.seat, ledger=Pauper(node.ledger))
    right = combine(stage.agreement, FIRST, stage.record(FIRST).admission)
    post(stage, AGGREGATOR, replace(right, leaves=Held(flip(whole(right.leaves)))))
    run(node.seat, node.view, polls(3))
    assert stage.round(FIRST).faults == []
    stage.wait(WINDOW)
    run(node.seat, node.view, polls(3))
    assert A in stage.round(SECOND).commits
