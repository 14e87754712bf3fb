"""After a restore a node gives nothing in rounds that had begun, and what it should in those that follow."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from federation.errors import Refused
from federation.events import Reason, RoundId
from federation.rehearsal import Rehearsal
from node.duty import Adopt, Conclude, End, Reveal, Wait
from node.journal import Entry
from node.restored import MARK, mark_restored, sit_out_what_began

from ..rehearsing import WINDOW, A, audited, faults, rehearse
from ..worlds import in_memory
from .test_duty import COMMITTED, Memory, due
from .ward import Node, others_act, without

OTHERS = without(A)
PASSED: Memory = {(Entry.PASSED, 1): b"restored"}
DOUBTED: Memory = {(Entry.DOUBTED, 1): b"restored"}
GIVING = ("commit_update", "reveal_update", "post_share")


def staged(folder: Path, *, rounds: int = 3) -> tuple[Rehearsal, Node]:
    stage = rehearse("plain", rounds=rounds)
    return stage, Node(stage, A, folder / "vault")


def lose_and_restore(node: Node) -> None:
    """The machine is lost; a new one has the identity and the key share, and nothing else."""
    node.kill()
    shutil.rmtree(node.folder)
    node.folder.mkdir()
    mark_restored(node.folder)
    start(node)


def start(node: Node) -> int:
    node.start()
    seat = node.seat
    return sit_out_what_began(node.folder, seat.observer.study, seat.journal, ledger=seat.ledger.id)


def up_to(stage: Rehearsal, node: Node, call: str) -> None:
    """The node has sent this call; the others have done their part."""
    while not node.calls(call):
        node.works()
        others_act(stage, OTHERS)


def go_on(stage: Rehearsal, node: Node, *, until: int) -> None:
    """Node and others work, and time runs out where they wait for each other, until so many rounds ended."""
    for _ in range(60):
        stage.view.refresh()
        before = stage.view.head.number
        if len([round for round in stage.observer.study.rounds if round.ended]) >= until:
            return
        node.works()
        others_act(stage, OTHERS, finish_at=3)
        stage.view.refresh()
        if stage.view.head.number == before:
            stage.wait(WINDOW)
    raise AssertionError("the study stands still")


def given(node: Node, round: int) -> list[str]:
    """What the node sent of its own for this round."""
    return [
        call
        for call, arguments in node.sent
        if call in GIVING and isinstance(arguments[0], RoundId | tuple) and arguments[0][1] == round
    ]


@pytest.mark.parametrize("lost_after", GIVING)
def test_a_restored_node_gives_nothing_more_in_the_round_and_everything_in_the_next(
    tmp_path: Path, lost_after: str
) -> None:
    stage, node = staged(tmp_path, rounds=2)
    up_to(stage, node, lost_after)
    before = given(node, 1)
    lose_and_restore(node)
    go_on(stage, node, until=1)
    assert given(node, 1) == before
    go_on(stage, node, until=2)
    assert given(node, 2) == list(GIVING)
    assert faults(audited(stage)) == set()


def test_without_the_restore_the_same_loss_stops_the_node(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    up_to(stage, node, "commit_update")
    lose_and_restore(node)
    assert isinstance(node.step(), Wait)
    node.kill()
    shutil.rmtree(node.folder)
    node.start()
    with pytest.raises(Refused, match="does not remember"):
        node.step()


def test_what_is_sat_out_is_noted_once_for_each_restore(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    up_to(stage, node, "commit_update")
    lose_and_restore(node)
    go_on(stage, node, until=1)
    node.works()
    node.kill()
    assert start(node) == 0
    assert node.seat.journal.recall(Entry.PASSED, RoundId(stage.study, 2)) is None
    node.kill()
    mark_restored(node.folder)
    assert start(node) == 2
    assert node.seat.journal.recall(Entry.PASSED, RoundId(stage.study, 2)) is not None


def test_cut_off_before_its_mark_the_same_is_noted_again(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    up_to(stage, node, "commit_update")
    lose_and_restore(node)
    node.kill()
    mark_restored(node.folder)  # as if the mark had not been brought up to date
    assert start(node) == 1
    assert isinstance(node.step(), Wait)


def test_a_commit_of_the_lost_self_that_arrives_late_is_sat_out(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    lose_and_restore(node)
    assert node.seat.journal.recall(Entry.PASSED, RoundId(stage.study, 1)) is None
    stage.commit(A)  # another update than this node would make
    assert isinstance(node.step(), Wait)
    go_on(stage, node, until=1)
    assert given(node, 1) == []
    go_on(stage, node, until=2)
    assert given(node, 2) == list(GIVING)


def test_a_round_that_had_not_begun_is_its_own_from_the_first_call_on(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    lose_and_restore(node)
    go_on(stage, node, until=1)
    assert given(node, 1) == list(GIVING)


def test_what_begins_later_and_is_not_remembered_still_stops_it(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    lose_and_restore(node)
    go_on(stage, node, until=1)
    node.works()
    stage.view.refresh()
    second = node.seat.journal.recall(Entry.TRAINED, RoundId(stage.study, 2))
    assert second is not None
    node.kill()
    (node.folder / "journal.sqlite").unlink()
    node.start()
    with pytest.raises(Refused, match="round 1/1: the ledger shows a commitment"):
        node.step()


def test_a_restored_node_still_ends_a_round_that_nobody_comes_to(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    node.works()  # commits; nobody else does
    lose_and_restore(node)
    assert isinstance(node.step(), Wait)
    stage.wait(WINDOW)
    assert node.works()[0] == End(round=RoundId(stage.study, 1), reason=Reason.TOO_FEW_COMMITS)


def test_a_restored_node_still_joins_the_others_shares(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    up_to(stage, node, "reveal_update")
    lose_and_restore(node)
    while len(stage.round().shares) < len(OTHERS):
        others_act(stage, OTHERS, finish_at=9)
    assert isinstance(node.step(), Wait)
    stage.wait(WINDOW)
    assert node.works()[0] == Conclude(round=RoundId(stage.study, 1))
    assert stage.round().id.number == 2


def test_a_mark_that_is_none_is_refused_by_its_name(tmp_path: Path) -> None:
    _, node = staged(tmp_path)
    node.kill()
    for text in ("", "{}", '{"version": 1, "studies": [1]}'):
        (node.folder / MARK).write_text(text)
        with pytest.raises(Refused, match=f"{MARK}: expected the mark"):
            start(node)
        node.kill()


def test_in_a_round_that_is_sat_out_nothing_of_ours_is_due_in_any_phase() -> None:
    play = in_memory().start(4).commit(1)
    for go_on in (
        lambda: play,
        lambda: play.commit(0, 2, 3),
        lambda: play.reveal(0, 1, 2, 3),
        lambda: play.total(0, 1, 2, 3),
        lambda: play.share(0),
    ):
        assert "sit it out" in str(due(go_on(), PASSED))


def test_the_result_of_a_round_that_is_sat_out_is_adopted_without_our_share() -> None:
    silent = in_memory().start(4).commit(1, 2, 3).late().reveal(1, 2, 3).total(1, 2, 3).share(1, 2)
    silent.finish(silent.aggregator)
    assert due(silent, PASSED) == Adopt(round=silent.round, last=False, may_share=False)
    shared = in_memory().start().finished()
    assert due(shared, PASSED) == Adopt(round=shared.round, last=False, may_share=False), "no Publish"


def test_the_doubted_round_is_ours_as_long_as_the_ledger_shows_what_we_remember() -> None:
    play = in_memory().start().commit(0, 1, 2)
    assert due(play, DOUBTED | COMMITTED) == Reveal(round=play.round)
    assert "sit it out" in str(due(play, DOUBTED))
    assert "sit it out" in str(due(play, DOUBTED | {(Entry.TRAINED, 1): b"another root"}))
