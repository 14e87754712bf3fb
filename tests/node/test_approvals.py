"""What people decide on a task is kept: by whom, when, over what; the last word stands, and none is lost."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from federation.digest import labelled, sha256
from federation.errors import Refused
from node.approvals import Approvals, Limits
from node.notes import keep_note, read_notes, replace_note

from ..rehearsing import rehearse

AGREEMENT = rehearse(rounds=3).agreement
TASK = AGREEMENT.task.spec.digest


def test_an_approval_says_who_decided_when_and_over_which_terms(tmp_path: Path) -> None:
    Approvals(tmp_path).approve(AGREEMENT, by="Dr. Ada", at="2026-11-23T07:00:00+00:00")
    (decision,) = Approvals(tmp_path).decisions()
    assert (decision.task, decision.decision) == (TASK.hex(), "approved")
    assert (decision.by, decision.at) == ("Dr. Ada", "2026-11-23T07:00:00+00:00")
    assert decision.study == sha256(AGREEMENT.spec.encode()).hex()
    assert decision.limits == Limits(rounds=3, contributors=3, public=True)
    (file,) = (tmp_path / "approvals").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_last_decision_stands_and_the_others_stay(tmp_path: Path) -> None:
    approvals = Approvals(tmp_path)
    assert approvals.of(TASK) is None
    approvals.approve(AGREEMENT, by="a", at="1")
    assert approvals.of(TASK) == Limits.of(AGREEMENT)
    assert approvals.of(labelled("another task")) is None
    approvals.revoke(TASK, by="b", at="2")
    assert approvals.of(TASK) is None
    approvals.approve(AGREEMENT, by="c", at="0")  # a clock that was put back decides nothing
    assert Approvals(tmp_path).of(TASK) == Limits.of(AGREEMENT)
    assert [one.by for one in approvals.decisions()] == ["a", "b", "c"]


def test_of_many_decisions_at_once_none_is_lost(tmp_path: Path) -> None:
    def decide(number: int) -> int:
        return Approvals(tmp_path).approve(AGREEMENT, by=str(number), at="now").number

    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(decide, range(24)))
    assert sorted(numbers) == list(range(1, 25))
    assert {one.by for one in Approvals(tmp_path).decisions()} == {str(number) for number in range(24)}
    assert len(list((tmp_path / "approvals").iterdir())) == 24, "nothing half written is left"


def test_a_decision_that_was_moved_away_stands_in_the_way_of_no_other(tmp_path: Path) -> None:
    approvals = Approvals(tmp_path)
    for name in ("a", "b", "c"):
        approvals.approve(AGREEMENT, by=name, at="1")
    next((tmp_path / "approvals").glob("*-000002.json")).unlink()
    assert approvals.revoke(TASK, by="d", at="2").number == 4
    assert approvals.of(TASK) is None


def test_a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    assert read_notes(tmp_path / "absent", Limits) == []
    (tmp_path / "openings").write_text("in the way of a folder")
    with pytest.raises(Refused, match="openings: expected a folder that can be read"):
        read_notes(tmp_path / "openings", Limits)


def test_a_note_is_never_written_over_another(tmp_path: Path) -> None:
    one, other = (Limits(rounds=number, contributors=3, public=False) for number in (1, 2))
    assert keep_note(tmp_path, "name", one)
    assert not keep_note(tmp_path, "name", other)
    assert read_notes(tmp_path, Limits) == [one]
    replace_note(tmp_path, "name", other)
    assert read_notes(tmp_path, Limits) == [other]


def test_what_a_crash_left_half_written_is_not_read(tmp_path: Path) -> None:
    limits = Limits(rounds=1, contributors=3, public=False)
    keep_note(tmp_path, "name", limits)
    for left in ("name2.0123456789abcdef", "name2.json.partial"):
        (tmp_path / left).write_text("{")
    assert read_notes(tmp_path, Limits) == [limits]


def test_a_vault_that_takes_no_note_says_so(tmp_path: Path) -> None:
    (tmp_path / "approvals").write_text("in the way of a folder")
    with pytest.raises(Refused, match="approvals: expected a folder"):
        Approvals(tmp_path).approve(AGREEMENT, by="a", at="1")
    assert [path.name for path in tmp_path.iterdir()] == ["approvals"]
