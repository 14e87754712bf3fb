"""What calls cost is what `contracts/gas.json` says, and within the goals that were set."""

from __future__ import annotations

import json

import pytest

from deploy.contracts import built
from tests.contract.gas import FORKS, SNAPSHOT, TABLE, VOTES, Snapshot, measured, table

TOLERANCE = 0.02
INNER = {"convict"}  # made by the court alone: part of what a dispute costs
COMMIT_AND_REVEAL, PRODUCT, CHUNK = 90_000, 700_000, 400_000  # goals: gas, disputes among ten members


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return json.loads(SNAPSHOT.read_text())


def test_every_call_costs_what_the_snapshot_says(devnet, snapshot):
    found, expected = measured(devnet), snapshot[FORKS[devnet.kind]]
    assert found.keys() == expected.keys()
    for size, by_members in found.items():
        assert by_members.keys() == expected[size].keys()
        for members, figures in by_members.items():
            due = expected[size][members]
            assert figures.keys() == due.keys()
            changed = {call: (due[call], gas) for call, gas in figures.items() if _differs(due[call], gas)}
            assert changed == {}, f"{size} parameters, {members} members: run `make gas`"


def _differs(expected: int, found: int) -> bool:
    return abs(found - expected) > TOLERANCE * expected


def test_the_table_shows_the_snapshot(snapshot):
    assert TABLE.read_text() == table(snapshot)


@pytest.mark.parametrize("fork", FORKS.values())
def test_every_call_of_the_contract_is_in_the_table(snapshot, fork):
    build = built()
    entries = [*build["abi"], *build["court"]["abi"]]
    calls = {e["name"] for e in entries if e["type"] == "function" and e["stateMutability"] != "view"}
    shown = {name.partition(",")[0] for of in snapshot[fork].values() for row in of.values() for name in row}
    assert calls - INNER <= shown


@pytest.mark.parametrize("fork", FORKS.values())
def test_commit_and_reveal_keep_their_goal_for_any_model_and_number_of_members(snapshot, fork):
    for by_members in (of for size, of in snapshot[fork].items() if size != VOTES):
        for figures in by_members.values():
            assert figures["commit and reveal"] <= COMMIT_AND_REVEAL


@pytest.mark.parametrize("fork", FORKS.values())
def test_a_dispute_among_ten_keeps_its_goal(snapshot, fork):
    sizes = {size: of for size, of in snapshot[fork].items() if size != VOTES}
    assert all(of["10"]["disputeSum, a capsule leaf"] <= PRODUCT for of in sizes.values())
    assert sizes["31"]["10"]["disputeSum, a body leaf"] <= CHUNK
