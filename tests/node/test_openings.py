"""How many sums our patients are part of: no study, ledger, backup or lost vault makes the count smaller."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from federation.digest import LedgerId, labelled
from federation.errors import Refused
from federation.events import LogPosition, Motion, MotionKind, RoundId, StudyId, Timestamp, Voted
from federation.governance import Consortium
from federation.members import Address, Member, Role
from federation.rehearsal import Rehearsal
from node.duty import Adopt, End, Reveal, Submit, Wait
from node.notes import replace_note
from node.openings import (
    Openings,
    StudyOpenings,
    accounts_of,
    remember_restored,
    remembered,
    still_to_come,
)
from node.policy import PolicyRefusal
from node.refusals import refusals_in

from ..rehearsing import WINDOW, A
from .test_policy import change_policy, policy, staged
from .ward import Node, others_act, without

ELSEWHERE = LedgerId(b"\xee" * 32)


def id_of(number: int) -> RoundId:
    return RoundId(StudyId(1), number)


def round_ends(stage: Rehearsal, node: Node) -> None:
    """The round that is under way or next, to its end, with our node's part in it or without."""
    number = stage.round().id.number
    for _ in range(12):
        node.works()
        others_act(stage, without(A), finish_at=3)
        if stage.round().id.number > number:
            return
        if len(stage.round().commits) == 3 and not stage.round().reveals:
            stage.wait(WINDOW)
    raise AssertionError("the round never ends")


def counted(folder: Path, stage: Rehearsal) -> set[int]:
    """As a node would count that has this folder."""
    stage.view.refresh()
    openings = Openings(folder, stage.agreement.ledger)
    return {id.number for id in openings.here(stage.view.history, A)}


def test_when_the_last_allowed_sum_is_open_the_node_goes_on_without_its_patients(tmp_path: Path) -> None:
    stage, node = staged(tmp_path, rounds=3)
    change_policy(node, most_openings=2)
    for _ in range(3):
        round_ends(stage, node)
    assert isinstance(node.works()[0], Adopt)
    ours = [A in round.commits for round in stage.observer.study.rounds]
    assert ours == [True, True, False]
    (record,) = refusals_in(node.folder)
    assert (record.act, record.rule, record.round, record.found) == ("commit", "most_openings", 3, "3")


def test_a_lost_vault_does_not_begin_to_count_anew(tmp_path: Path) -> None:
    stage, node = staged(tmp_path, rounds=4)
    for _ in range(2):
        round_ends(stage, node)
    node.kill()
    shutil.rmtree(node.folder)
    assert counted(node.folder, stage) == {1, 2}
    assert counted(tmp_path / "another machine", stage) == {1, 2}


@pytest.mark.parametrize(("folder", "rule"), [("approvals", "approval"), ("openings", "most_openings")])
def test_a_note_that_cannot_be_read_keeps_our_patients_out_and_no_round_from_ending(
    tmp_path: Path, folder: str, rule: str
) -> None:
    stage, node = staged(tmp_path)
    (node.folder / folder).mkdir(exist_ok=True)
    (node.folder / folder / "x.json").write_text("{")
    waits = node.step()
    assert isinstance(waits, Wait)
    assert f"{folder}/x.json" in waits.why
    for site in without(A)[:1]:
        stage.commit(site)
    stage.wait(WINDOW)
    assert isinstance(node.step(), End)
    assert {(one.act, one.rule) for one in refusals_in(node.folder)} == {("commit", rule)}


def test_what_is_about_to_be_committed_counts_before_it_is_trained(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    node.seat.rules.openings.note(node.seat.observer.history, A, id_of(1))
    assert counted(node.folder, stage) == {1}
    assert isinstance(node.step(), Submit)
    assert counted(node.folder, stage) == {1}


def test_a_round_that_ends_unopened_or_without_us_counts_no_more(tmp_path: Path) -> None:
    stage, node = staged(tmp_path, rounds=3)
    assert isinstance(node.step(), Submit)
    stage.wait(WINDOW)
    node.works()  # ends the round, in which nobody else committed, and commits in the next
    assert stage.round().id == id_of(2)
    assert counted(node.folder, stage) == {2}
    round_ends(stage, node)
    openings = Openings(node.folder, stage.agreement.ledger)
    openings.note(stage.view.history, A, id_of(3))  # then killed, for longer than a window
    for site in without(A):
        stage.commit(site)
    assert counted(node.folder, stage) == {2, 3}, "our call may still come"
    stage.wait(WINDOW)
    others_act(stage, without(A), finish_at=3)
    assert counted(node.folder, stage) == {2, 3}
    while stage.round().id == id_of(3):
        others_act(stage, without(A), finish_at=3)
    assert counted(node.folder, stage) == {2}


def test_a_round_that_others_opened_counts_though_we_gave_no_share(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    assert isinstance(node.step(), Submit)
    others_act(stage, without(A))
    assert isinstance(node.step(), Reveal)
    while not stage.observer.study.finished:
        others_act(stage, without(A), finish_at=3)
        stage.round()
    assert node.calls("post_share") == []
    assert counted(node.folder, stage) == {1}


def test_openings_on_other_ledgers_count_beside_those_here(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    there = StudyOpenings(ledger=ELSEWHERE.hex(), study=1, most=9, rounds=(1, 2, 3))
    replace_note(node.folder / "openings", "of another ledger", there)
    change_policy(node, most_openings=3)
    assert isinstance(node.step(), Wait)
    change_policy(node, most_openings=4)
    assert isinstance(node.step(), Submit)
    openings = Openings(node.folder, stage.agreement.ledger)
    assert openings.elsewhere() == 3


def test_a_restored_vault_counts_each_study_elsewhere_as_run_to_its_end(tmp_path: Path) -> None:
    _, node = staged(tmp_path)
    there = StudyOpenings(ledger=ELSEWHERE.hex(), study=1, most=9, rounds=(1, 2, 3))
    remember_restored(node.folder, [there])
    change_policy(node, most_openings=9)
    assert isinstance(node.step(), Wait)
    change_policy(node, most_openings=10)
    assert isinstance(node.step(), Submit)


def test_of_its_own_ledger_a_restored_vault_knows_exactly_what_was_opened(tmp_path: Path) -> None:
    stage, node = staged(tmp_path, rounds=3)
    round_ends(stage, node)
    stale = remembered(node.folder)
    round_ends(stage, node)
    remember_restored(tmp_path / "new", stale)
    assert counted(tmp_path / "new", stage) == {1, 2}
    Openings(tmp_path / "new", stage.agreement.ledger).note(stage.view.history, A, id_of(3))
    (note,) = remembered(tmp_path / "new")
    assert (note.rounds, note.restored) == ((1, 2, 3), False)


def test_a_study_that_would_pass_the_cap_is_not_joined(tmp_path: Path) -> None:
    stage, node = staged(tmp_path, rounds=3)
    rules = node.seat.rules
    history, study = stage.view.history, stage.observer.study
    assert still_to_come(history, A, joining=study) == 3
    round_ends(stage, node)
    assert isinstance(node.works()[-1], Submit)
    stage.view.refresh()
    assert still_to_come(history, A, joining=study) == 1, "two are counted already"
    assert counted(node.folder, stage) == {1, 2}
    replace(rules, policy=policy(most_openings=3)).check_joining(history, A, study)
    with pytest.raises(PolicyRefusal, match="in at most 2 sums, of all studies, found 3"):
        replace(rules, policy=policy(most_openings=2)).check_joining(history, A, study)


def test_all_accounts_that_an_institution_has_had_are_one() -> None:
    first, second, third, other = (Address(bytes([k]) * 20) for k in (1, 2, 3, 4))
    consortium = Consortium()
    for account in (first, other):
        consortium.join(institution(account))
    for before, heir in ((first, second), (second, third)):
        until = Timestamp(10)
        motion = Motion(kind=MotionKind.REPLACE, subject=before, member=institution(heir), expires=until)
        for sender in (before, other):
            at, id = LogPosition(1, 0), labelled(heir.hex())
            consortium.vote(Voted(at=at, time=Timestamp(1), sender=sender, id=id, motion=motion))
    assert accounts_of(consortium, third) == accounts_of(consortium, first) == {first, second, third}
    assert accounts_of(consortium, other) == {other}


def institution(address: Address) -> Member:
    return Member(address=address, role=Role.INSTITUTION, sealing_key=bytes(32), name="")


@pytest.mark.parametrize("text", ["", "{}", '{"version": 2}', "[]"])
def test_a_note_that_is_none_stops_the_count_and_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "openings").mkdir()
    (tmp_path / "openings" / "spoilt.json").write_text(text)
    with pytest.raises(Refused, match=r"spoilt.json: expected a note"):
        remembered(tmp_path)
