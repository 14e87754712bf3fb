"""Real processes, killed at moments that the ledger shows; one study, and what came of it.

Round 1: hospital-1 dies between its commit and its reveal. Round 2: hospital-2 dies before the next
round's commit. Round 3: hospital-2 is missing; the aggregator dies between total and result. Round 4:
all are back. Windows are long and the chain's clock is moved, so that a slow machine changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import pytest

from deploy.consortium import AGGREGATORS, Consortium, Plan
from deploy.devnet import Devnet
from deploy.outcome import Auditor, Summary, summarise
from federation.audit.checks import Weight
from federation.audit.report import Report
from federation.errors import ExitCode
from federation.events import RoundId, StudyId
from federation.members import Address
from federation.rounds import Round, Study
from federation.wire import Code

WINDOW = 120  # seconds of block time
PATIENCE = 180  # seconds of our own until something that must happen counts as failed
ROUNDS = 4


class Stage:
    """A consortium under way, watched through the ledger alone."""

    def __init__(self, consortium: Consortium) -> None:
        self.consortium = consortium
        self.auditor = Auditor(consortium)
        self.who: dict[str, Address] = {member.name: member.address for member in consortium.members}

    def start(self, *names: str) -> None:
        for name in names:
            self.consortium.start(name)

    def until(self, what: str, happened: Callable[[Study], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not happened(self.auditor.study):
            if time.monotonic() > deadline:
                words = {name: self.consortium.last_words(name) for name in (*self.who, "aggregator")}
                raise AssertionError(f"never happened: {what}; {words}")
            time.sleep(0.05)
            self.auditor.refresh()

    def ends(self) -> dict[str, int]:
        """Exit codes, once every hospital's daemon has ended by itself or patience has."""
        deadline = time.monotonic() + PATIENCE
        while not self.who.keys() <= self.consortium.ended().keys() and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.consortium.ended()

    def round(self, number: int) -> Round:
        rounds = self.auditor.study.rounds
        if number <= len(rounds):
            return rounds[number - 1]
        return Round(id=RoundId(StudyId(1), number), terms=self.auditor.study.terms)

    def members(self, *numbers: int) -> set[Address]:
        return {self.who[f"hospital-{number}"] for number in numbers}

    def pass_window(self) -> None:
        """Block time has left the window that is open."""
        self.consortium.devnet.advance(WINDOW + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """How it ended."""

    stage: Stage
    study: Study
    report: Report
    summary: Summary
    killed_before_reveal: Round  # as it stood when hospital-1 died
    killed_before_finish: Round  # as it stood when the aggregator died
    exits: dict[str, int]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("faults")
    plan = Plan(hospitals=4, rounds=ROUNDS, bits=512, unsafe=True, window_seconds=WINDOW)
    with (
        Devnet.start("anvil", directory=folder / "chain", block_time=1) as devnet,
        Consortium.found(folder, plan, devnet) as consortium,
    ):
        yield _play(Stage(consortium))


def _play(stage: Stage) -> Story:
    kill = stage.consortium.kill
    # Round 1. The fourth is late, so the window stays open while the first one dies.
    stage.start(*AGGREGATORS, "hospital-1", "hospital-2", "hospital-3")
    stage.until("hospital-1 commits", lambda _: stage.members(1) <= stage.round(1).commits.keys())
    kill("hospital-1")
    killed_before_reveal = deepcopy(stage.round(1))
    stage.start("hospital-4")
    stage.until("the others reveal", lambda _: stage.members(2, 3, 4) == stage.round(1).reveals.keys())
    stage.pass_window()
    stage.until("a total without hospital-1", lambda _: stage.round(1).total is not None)
    stage.start("hospital-1")
    # Round 2. The second one dies when it has shared, so before it can commit to round 3.
    stage.until("hospital-2 shares", lambda _: stage.members(2) <= stage.round(2).shares.keys())
    kill("hospital-2")
    # Round 3. Three are enough, and the aggregator dies with the total posted and nothing opened.
    stage.until("three commit", lambda _: stage.members(1, 3, 4) == stage.round(3).commits.keys())
    stage.pass_window()
    stage.until("a total of round 3", lambda _: stage.round(3).total is not None)
    kill("aggregator")
    killed_before_finish = deepcopy(stage.round(3))
    stage.until("shares", lambda _: len(stage.round(3).shares) >= stage.consortium.plan.threshold)
    stage.start("aggregator", "hospital-2")
    # Round 4. Everybody is back.
    stage.until("the study ends", lambda _: stage.auditor.is_over)
    report = stage.auditor.audit()
    return Story(
        stage=stage,
        study=stage.auditor.study,
        report=report,
        summary=summarise(stage.consortium, stage.auditor, report, setup=0, took=0),
        killed_before_reveal=killed_before_reveal,
        killed_before_finish=killed_before_finish,
        exits=stage.ends(),
    )


def contributors(story: Story, number: int) -> set[Address]:
    total = story.study.rounds[number - 1].total
    assert total is not None
    return set(total.members)


def test_a_node_killed_between_commit_and_reveal_is_left_out_and_the_round_ends(story: Story) -> None:
    before = story.killed_before_reveal
    assert story.stage.members(1) <= before.commits.keys()
    assert before.reveals == {}
    first = story.study.rounds[0]
    assert first.proposals
    assert contributors(story, 1) == story.stage.members(2, 3, 4)
    (excluded,) = story.report.record.rounds[0].admission.excluded
    assert {excluded.member} == story.stage.members(1)
    assert excluded.code is Code.NO_REVEAL


def test_a_node_killed_before_its_commit_is_not_waited_for_longer_than_the_window(story: Story) -> None:
    third = story.study.rounds[2]
    assert third.commits.keys() == story.stage.members(1, 3, 4)
    assert third.proposals
    assert contributors(story, 3) == story.stage.members(1, 3, 4)


def test_killed_nodes_resume_and_take_part_in_the_next_round(story: Story) -> None:
    every = story.stage.members(1, 2, 3, 4)
    assert contributors(story, 2) == every  # hospital-1 is back
    assert contributors(story, 4) == every  # hospital-2 is back


def test_an_aggregator_killed_between_total_and_result_finishes_the_round_when_it_is_back(
    story: Story,
) -> None:
    before = story.killed_before_finish
    assert before.total is not None
    assert before.proposals == []
    proposals = story.study.rounds[2].proposals
    assert [proposal.sender for proposal in proposals] == [story.study.terms.aggregators[0]]


def test_no_round_was_lost_and_every_model_is_that_of_the_run_on_plain_integers(story: Story) -> None:
    assert len(story.study.rounds) == ROUNDS
    assert story.summary.rounds == ROUNDS
    assert story.summary.bit_equal


def test_crashes_are_no_faults(story: Story) -> None:
    assert [f for f in story.report.findings if f.weight is Weight.FAULT] == []
    assert story.report.findings == []
    assert story.report.exit_code is ExitCode.OK


def test_a_node_that_came_back_did_not_commit_again(story: Story) -> None:
    for name in story.stage.who:
        log = (story.stage.consortium.directory / name / "log").read_text()
        committed = [line for line in log.splitlines() if " committed " in line]
        rounds = [word for line in committed for word in line.split() if word.startswith("round=")]
        assert rounds
        assert len(rounds) == len(set(rounds))


def test_a_hospitals_daemon_ends_by_itself_when_the_study_is_complete(story: Story) -> None:
    assert story.exits == dict.fromkeys(story.stage.who, ExitCode.OK)
