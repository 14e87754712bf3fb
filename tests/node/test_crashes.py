"""Killed before, in the middle of or after any write: the node comes back and nothing shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from federation.digest import sha256
from federation.events import RoundId, StudyId
from federation.rehearsal import AGGREGATOR, Rehearsal
from federation.rounds import Opening
from federation.store.content import put_bytes
from node.duty import Done
from node.journal import Entry

from ..rehearsing import WINDOW, A, audited, rehearse
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


SCENARIOS: dict[str, tuple[str, Others]] = {
    "honest": ("plain", honest),
    "honest, paillier, sealed": ("paillier, sealed", honest),
    "aggregator dies opening": ("plain", aggregator_dies_opening),
    "aggregator dies once combining": ("plain", aggregator_dies_once_combining),
    "aggregator lies about the result": ("plain", aggregator_lies_about_the_result),
}


def study(scenario: str, folder: Path, fuse: Fuse) -> Node:
    """Our node, when it has nothing left to do."""
    kind, others = SCENARIOS[scenario]
    stage = rehearse(kind, rounds=2)
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
        for call in ("commit_update", "post_share", "reveal_update", "finish"):
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
    assert RoundId(StudyId(1), 3) == rounds[-1].id
