"""Killed before, in the middle of or after any write: the node comes back and nothing shows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from federation.combination import combine
from federation.digest import sha256
from federation.events import RoundId, StudyId
from federation.rehearsal import AGGREGATOR, Rehearsal
from federation.rounds import Combining, Opening
from federation.store.content import put_bytes
from node.duty import Done
from node.journal import Entry

from ..rehearsing import (
    GWEI,
    STAKE,
    WINDOW,
    A,
    altered,
    audited,
    flip,
    post_total,
    rehearse,
    rehearse_staked,
)
from .ward import Fuse, Node, others_act, without

OTHERS = without(A)
Others = Callable[[Rehearsal], None]


def honest(stage: Rehearsal) -> None:
    """Everybody does what it should."""
    others_act(stage, OTHERS)


def aggregator_dies_opening(stage: Rehearsal) -> None:
    """The shares are given, and nobody but a member joins them."""
    others_act(stage, OTHERS, finish_at=9)
    if len(stage.round().shares) == 4:
        stage.wait(WINDOW)


def aggregator_dies_once_combining(stage: Rehearsal) -> None:
    """No total in round 1; all is well from round 2 on."""
    round = stage.round()
    if round.id.number == 1 and len(round.reveals) == 4:
        stage.wait(WINDOW)
    else:
        honest(stage)


def aggregator_lies_about_the_result(stage: Rehearsal) -> None:
    """A wrong opening and a wrong model are proposed before anyone proposes the right ones."""
    others_act(stage, OTHERS, finish_at=9)
    round = stage.round()
    if isinstance(round.phase(stage.view.now), Opening) and len(round.shares) == 4:
        cid = put_bytes(stage.store, b"no such thing")
        wrong = sha256(b"wrong opening"), sha256(b"wrong model")
        stage.ledger(AGGREGATOR).finish(round.id, *wrong, opening_cid=cid, model_cid=cid)


def aggregator_lies_about_the_total(stage: Rehearsal) -> None:
    """Every first total is wrong; once that is proven, the other aggregator posts the right one."""
    round = stage.round()
    match round.phase(stage.view.now):
        case Combining() if round.rescinded:
            stage.post_total(round.id)
        case Combining():
            post_wrong_total(stage)
            liar = stage.ledger(round.turns[0])
            liar.deposit_bond(round.id.study, STAKE.gwei * GWEI)  # to stake in the next round
        case Opening() if not round.rescinded:
            pass
        case _:
            honest(stage)


def aggregator_lies_where_nothing_is_judged(stage: Rehearsal) -> None:
    """The first round's total is wrong, of a suite that no contract judges: nobody shares, and it ends."""
    round = stage.round()
    match round.phase(stage.view.now):
        case Combining() if round.id.number == 1:
            post_wrong_total(stage)
        case Opening() if round.id.number == 1:
            stage.wait(WINDOW)
        case _:
            honest(stage)


def post_wrong_total(stage: Rehearsal) -> None:
    round = stage.round()
    right = combine(stage.agreement, round.id, stage.record(round.id).admission)
    post_total(stage, round.id, altered(right, 1, flip))


SCENARIOS: dict[str, tuple[Callable[[], Rehearsal], Others]] = {
    "honest": (partial(rehearse, "plain", rounds=2), honest),
    "honest, paillier, sealed": (partial(rehearse, "paillier, sealed", rounds=2), honest),
    "aggregator dies opening": (partial(rehearse, "plain", rounds=2), aggregator_dies_opening),
    "aggregator dies once combining": (partial(rehearse, "plain", rounds=2), aggregator_dies_once_combining),
    "aggregator lies about the result": (
        partial(rehearse, "plain", rounds=2),
        aggregator_lies_about_the_result,
    ),
    "aggregator lies about the total": (
        partial(rehearse_staked, "paillier", rounds=2),
        aggregator_lies_about_the_total,
    ),
    "aggregator lies about a total that is not judged": (
        partial(rehearse_staked, "plain", rounds=1),
        aggregator_lies_where_nothing_is_judged,
    ),
}


def study(scenario: str, folder: Path, fuse: Fuse) -> Node:
    """Our node, when it has nothing left to do."""
    begin, others = SCENARIOS[scenario]
    stage = begin()
    node = Node(stage, A, folder, fuse=fuse)
    for _ in range(40):
        node.works()
        if isinstance(node.step(), Done):
            return node
        others(stage)
    raise AssertionError("the study never ends")


def history(node: Node) -> object:
    """All that ledger, store and journal came to hold by our node's doing, times left out."""
    node.stage.view.refresh()
    rounds = node.stage.view.history.study(StudyId(1)).rounds
    return [
        (
            (round.commits[A].root, round.commits[A].base_model, round.reveals[A].cid),
            None if round.total is None else round.total.root,
            None if A not in round.shares else (round.shares[A].digest, round.shares[A].cid),
            [(p.sender, p.opening, p.model, p.opening_cid, p.model_cid) for p in round.proposals],
            sorted(round.objections) if A in round.objections else [],
            None if A not in round.confirmations else round.confirmations[A].model,
            None if round.end is None else round.end.reason,
            [(fault.sender, fault.fault, fault.leaf) for fault in round.faults],
            [node.seat.journal.recall(entry, round.id) for entry in Entry],
        )
        for round in rounds
    ]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_node_killed_at_any_write_ends_where_an_undisturbed_one_does(scenario: str, tmp_path: Path) -> None:
    undisturbed = study(scenario, tmp_path / "undisturbed", Fuse())
    expected = history(undisturbed)
    touched = list(undisturbed.fuse.touched)
    assert len(touched) > 30
    for number, where in enumerate(touched):
        node = study(scenario, tmp_path / str(number), Fuse(number))
        assert node.crashes == 1, where
        assert history(node) == expected, where
        assert set(node.written) == set(undisturbed.written), f"{where}: other bytes left the house"
        for call in ("commit_update", "post_share", "reveal_update", "finish", "dispute"):
            per_round = {(arguments[0], arguments) for arguments in node.calls(call)}
            assert len(per_round) == len({round for round, _ in per_round}), f"{where}: two versions"


def test_a_node_killed_again_and_again_gets_there_as_well(tmp_path: Path) -> None:
    undisturbed = study("honest", tmp_path / "undisturbed", Fuse())

    class Relentless(Fuse):
        """Kills at every seventh touch; a share alone needs six."""

        def touch(self, where: str) -> None:
            if self.left < 0:
                self.left = 6
            super().touch(where)

    node = study("honest", tmp_path / "disturbed", Relentless(6))
    assert node.crashes >= 4
    assert history(node) == history(undisturbed)
    assert set(node.written) == set(undisturbed.written)
    assert audited(node.stage).findings == []


def test_the_undisturbed_studies_are_what_their_names_say(tmp_path: Path) -> None:
    ends = {name: study(name, tmp_path / name, Fuse()) for name in SCENARIOS}
    sent = {name: [call for call, _ in node.sent] for name, node in ends.items()}
    plain_way = ["commit_update", "reveal_update", "post_share"] * 2 + ["confirm_model"]
    assert sent["honest"] == sent["honest, paillier, sealed"] == plain_way
    assert sent["aggregator dies opening"].count("finish") == 2
    assert sent["aggregator dies once combining"].count("abandon") == 1
    assert sent["aggregator lies about the result"].count("object_to_result") == 2
    ends["aggregator dies once combining"].stage.view.refresh()
    rounds = ends["aggregator dies once combining"].stage.view.history.study(StudyId(1)).rounds
    assert [len(round.proposals) for round in rounds] == [0, 1, 1]
    assert sent["aggregator lies about the total"].count("dispute") == 2
    assert sent["aggregator lies about the total"].count("post_share") == 2
    lied = ends["aggregator lies about the total"]
    assert [(len(round.faults), len(round.proposals)) for round in lied.seat.observer.study.rounds] == [
        (1, 1)
    ] * 2
    unjudged = ends["aggregator lies about a total that is not judged"]
    assert "dispute" not in sent["aggregator lies about a total that is not judged"]
    assert unjudged.seat.journal.recall(Entry.UNPROVEN, RoundId(StudyId(1), 1)) is not None
    assert RoundId(StudyId(1), 3) == rounds[-1].id
