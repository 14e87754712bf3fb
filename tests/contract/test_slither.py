"""Slither's remarks and their answers; that there are no others `make slither` finds."""

from __future__ import annotations

import json

from deploy.slither import ANSWERS, Remark, unanswered

REMARK = Remark(
    detector="low-level-calls", text="Low level call in Bonds.withdrawBond(StudyId,uint256) (…#22-33):"
)
ANSWER = {"detector": "low-level-calls", "places": ["Bonds.withdrawBond(StudyId,uint256)"], "why": "it pays"}


def test_a_remark_is_answered_for_its_detector_and_its_place():
    assert unanswered([REMARK], [ANSWER]) == []


def test_a_remark_of_another_detector_or_place_has_no_answer():
    for other in (
        Remark(detector="reentrancy-eth", text=REMARK.text),
        Remark(detector=REMARK.detector, text="Low level call in Bonds.depositBond(StudyId)"),
    ):
        assert unanswered([REMARK, other], [ANSWER]) == [f"{other.detector}: {other.text}"]


def test_an_answer_to_nothing_is_told():
    (told,) = unanswered([], [ANSWER])
    assert "answers nothing" in told


def test_every_answer_says_why():
    answers = json.loads(ANSWERS.read_text())
    assert all(answer["why"].endswith(".") and answer["places"] for answer in answers)
