"""Killed before, in the middle of or after any write: the party comes back and nothing shows.

Here a party is killed once at each of its steps, in the first scenario that has it (about 20 s);
`make faults` does so in every scenario.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import get_args

import pytest

import aggregator.duty
import node.duty
from aggregator.publish import Outcome, Overtaken
from federation.errors import LedgerRejected
from federation.events import RoundId, StudyId
from federation.ledger.ledger import Ledger
from federation.members import Address
from federation.rehearsal import Rehearsal
from federation.rounds import Round
from federation.store.content import ContentStore, put_bytes
from federation.store.unixfs import cid_of
from federation.wire import Payload
from node.journal import Entry
from node.seat import Seat

from ..rehearsing import A, audited
from ..seams import CALLS, Fuse, Step
from .conftest import in_memory
from .killed import Run, killed_at, steps_of
from .parties import PARTIES

Undisturbed = dict[tuple[str, str], Run]
SCENARIOS = [(party, name) for party, scenarios in PARTIES.items() for name in scenarios]


@pytest.fixture(scope="module")
def undisturbed() -> Undisturbed:
    """Every scenario as it goes when nobody is killed."""
    with in_memory() as folder:
        return {
            (party, name): PARTIES[party][name](folder / f"{party}, {name}", Fuse())
            for party, name in SCENARIOS
        }


def new_steps(undisturbed: Undisturbed, party: str, name: str) -> dict[Step, int]:
    """The steps of a scenario that none before it has."""
    known: set[Step] = set()
    for other in PARTIES[party]:
        steps = steps_of(undisturbed[party, other])
        if other == name:
            return {step: number for step, number in steps.items() if step not in known}
        known |= steps.keys()
    raise AssertionError(name)


def steps(undisturbed: Undisturbed, party: str) -> Iterator[Step]:
    for name in PARTIES[party]:
        yield from steps_of(undisturbed[party, name])


@pytest.mark.parametrize(("party", "name"), SCENARIOS)
def test_a_party_killed_at_any_step_leaves_what_an_undisturbed_one_does(
    party: str, name: str, undisturbed: Undisturbed, folder: Path
) -> None:
    expected = undisturbed[party, name]
    for number in new_steps(undisturbed, party, name).values():
        killed = killed_at(PARTIES[party][name], expected, number, folder / str(number))
        assert not killed.wrong, killed


@pytest.mark.parametrize(
    ("party", "duties"), [("node", node.duty.Duty), ("aggregator", aggregator.duty.Duty)]
)
def test_no_duty_is_left_out_and_only_looking_and_waiting_write_nothing(
    party: str, duties: object, undisturbed: Undisturbed
) -> None:
    every = {kind.__name__ for kind in get_args(duties)}
    seen = {duty for name in PARTIES[party] for duty in undisturbed[party, name].fuse.duties}
    assert seen == every
    writing = {step.duty for step in steps(undisturbed, party)} - {"start"}
    assert every - writing == {"Wait", "Done"} | ({"Fetch"} if party == "node" else set())


def test_each_line_of_the_journal_and_each_file_of_the_vault_is_among_the_steps(
    undisturbed: Undisturbed,
) -> None:
    written = {step.what for step in steps(undisturbed, "node")}
    assert {f"line {entry.value}" for entry in Entry} <= written
    files = {what for what in written if what.startswith("file ")}
    assert files == {
        f"file {name}" for name in ("seed", "openings", "values", "share", "model", "restored.json")
    }
    assert {what for what in written if what in CALLS} == {
        "commit_update",
        "reveal_update",
        "post_share",
        "finish",
        "confirm_model",
        "object_to_result",
        "abandon",
        "dispute",
    }


def test_every_step_can_be_killed_before_in_the_middle_and_after(undisturbed: Undisturbed) -> None:
    for party in PARTIES:
        found = set(steps(undisturbed, party))
        whole = {
            Step(s.duty, s.what, when) for s in found for when in ("before", "in the middle of", "after")
        }
        assert found == whole


def test_a_node_killed_again_and_again_gets_there_as_well(undisturbed: Undisturbed, folder: Path) -> None:
    class Relentless(Fuse):
        """Kills at every ninth step; a share alone needs eight."""

        def touch(self, what: str, when: str) -> None:
            if self.left < 0:
                self.left = 8
            super().touch(what, when)

    run = PARTIES["node"]["honest"](folder / "disturbed", Relentless(8))
    assert run.crashes >= 4
    assert run.trace == undisturbed["node", "honest"].trace
    assert audited(run.stage).findings == []


def published_by_a_careless_node(seat: Seat, round: RoundId) -> None:
    """The line says that the share is in the store before it is."""
    share = seat.vault.share(round)
    seat.journal.remember(Entry.PUBLISHED, round, cid_of((share,)))
    put_bytes(seat.store, share)


def posted_by_a_careless_aggregator(
    ledger: Ledger, store: ContentStore, round: RoundId, *, total: Payload, members: Sequence[Address]
) -> Outcome:
    """The ledger names bytes that the store does not have yet."""
    try:
        receipt = ledger.post_total(round, members, total.root(), cid_of(total.read()))
    except LedgerRejected as rejected:
        return Overtaken(rule=rejected.rule)
    store.put(total.read())
    return receipt


@pytest.mark.parametrize(
    ("party", "seam", "careless"),
    [
        ("node", "node.daemon.publish_share", published_by_a_careless_node),
        ("aggregator", "aggregator.conductor.post_total", posted_by_a_careless_aggregator),
    ],
)
def test_who_writes_in_another_order_is_found_out_at_exactly_that_step(
    party: str,
    seam: str,
    careless: Callable[..., object],
    undisturbed: Undisturbed,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenario = PARTIES[party]["honest"]
    monkeypatch.setattr(seam, careless)
    run = scenario(folder / "undisturbed", Fuse())
    assert run.trace == undisturbed[party, "honest"].trace, "nothing shows as long as nobody is killed"
    duty, put = {"node": ("Publish", "put 1"), "aggregator": ("PostTotal", "put 5")}[party]
    numbers = {step: number for step, number in steps_of(run).items() if step.duty == duty}
    killed = [killed_at(scenario, run, number, folder / str(number)) for number in numbers.values()]
    assert Step(duty, put, "before") in {one.step for one in killed if one.wrong}


def test_the_undisturbed_studies_are_what_their_names_say(undisturbed: Undisturbed) -> None:
    runs = {name: undisturbed["node", name] for name in PARTIES["node"]}
    sent = {name: [call for call, _ in run.attempts] for name, run in runs.items()}
    plain_way = ["commit_update", "reveal_update", "post_share"] * 2 + ["confirm_model"]
    assert sent["honest"] == sent["honest, paillier, sealed"] == plain_way
    assert sent["aggregator dies opening"].count("finish") == 2
    assert sent["aggregator dies once combining"].count("abandon") == 1
    assert sent["aggregator lies about the result"].count("object_to_result") == 2
    proposals = [len(round.proposals) for round in rounds(runs["aggregator dies once combining"].stage)]
    assert proposals == [0, 1, 1]
    assert sent["aggregator lies about the total"].count("dispute") == 2
    assert sent["aggregator lies about the total"].count("post_share") == 2
    lied = rounds(runs["aggregator lies about the total"].stage)
    assert [(len(round.faults), len(round.proposals)) for round in lied] == [(1, 1)] * 2
    unjudged = runs["aggregator lies about a total that is not judged"]
    assert "dispute" not in sent["aggregator lies about a total that is not judged"]
    assert [r.id for r in rounds(unjudged.stage)] == [RoundId(StudyId(1), 1), RoundId(StudyId(1), 2)]
    passed = rounds(runs["restored from the backup of its keys"].stage)
    assert [A in round.commits for round in passed] == [False, True]
    assert sent["a fork takes its last word back"].count("confirm_model") == 2


def rounds(stage: Rehearsal) -> list[Round]:
    stage.view.refresh()
    return stage.view.history.study(StudyId(1)).rounds
