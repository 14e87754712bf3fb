"""Institutions decide together: real commands, real nodes, one study that outlives a change of keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic, sleep

import pytest

from deploy.command import tally
from deploy.consortium import AGGREGATORS, ETHER, Consortium, Plan
from deploy.devnet import Devnet
from deploy.outcome import Auditor
from federation.enrolment import read_enrolment
from federation.errors import ExitCode, Refused
from federation.members import show_address
from federation.rounds import Study

ROUNDS = 4
PATIENCE = 240  # seconds


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    folder = tmp_path_factory.mktemp("roster")
    plan = Plan(hospitals=4, rounds=ROUNDS, bits=256, unsafe=True, window_seconds=4, poll_seconds=0.1)
    with (
        Devnet.start("anvil", directory=folder / "chain", block_time=1) as devnet,
        Consortium.found(folder, plan, devnet) as consortium,
    ):
        yield consortium


def until(place: Consortium, auditor: Auditor, reached: Callable[[Study], bool]) -> Study:
    end = monotonic() + PATIENCE
    while not reached(auditor.study):
        assert monotonic() < end, "the study stands still"
        failed = {name for name, code in place.ended().items() if code != ExitCode.OK}
        assert not failed, {name: place.last_words(name) for name in failed}
        sleep(0.2)
        auditor.refresh()
    return auditor.study


def by(place: Consortium, name: str) -> tuple[object, ...]:
    return ("--settings", place.directory / name / "node.toml")


def others_vote(place: Consortium, shown: str, *names: str) -> list[str]:
    """They type what the first vote printed."""
    (typed,) = [line for line in shown.splitlines() if line.startswith("  tally roster vote")]
    return [tally("roster", "vote", typed.split()[3], *by(place, name)) for name in names]


def test_a_study_goes_on_without_a_suspended_hospital_and_with_anothers_new_keys(place: Consortium) -> None:
    auditor = Auditor(place)
    for name in (*AGGREGATORS, *(f"hospital-{i}" for i in range(1, 5))):
        place.start(name)
    until(place, auditor, lambda study: bool(study.finished))

    # Two of four are no majority.
    fourth = place.members[3].address
    place.kill("hospital-4")
    begun = tally("roster", "suspend", show_address(fourth), *by(place, "hospital-1"))
    assert "suspend hospital-4" in begun
    assert "1 of the 3 votes that carry it" in begun
    assert "1 votes, until" in tally("roster", "show", *by(place, "hospital-2"))
    between, carried = others_vote(place, begun, "hospital-2", "hospital-3")
    assert "carried." not in between
    assert "carried." in carried
    assert "study 1: the seat of hospital-4" in carried
    study = until(place, auditor, lambda study: fourth in study.idle)
    with pytest.raises(Refused, match="NoVote"):
        tally("roster", "quorum", 3, *by(place, "hospital-4"))

    # hospital-3 has a new account, and its keys as before.
    third, folder = place.members[2].address, place.directory / "hospital-3"
    enrolment = folder / "heir.json"
    printed = tally("node", "renew", *by(place, "hospital-3"), "--out", folder / "identity-2")
    enrolment.write_text(printed)
    heir = read_enrolment(enrolment).address
    place.devnet.fund(heir, ETHER)
    place.kill("hospital-3")
    begun = tally("roster", "replace", show_address(third), enrolment, *by(place, "hospital-1"))
    (carried,) = others_vote(place, begun, "hospital-2")
    assert "study 1: the seat of hospital-3" in carried
    settings = folder / "node.toml"
    settings.write_text(settings.read_text().replace('identity = "identity"', 'identity = "identity-2"'))
    done = len(study.finished)
    place.start("hospital-3")
    study = until(place, auditor, lambda study: study.is_complete)
    assert study.name_of(heir) == third
    later = study.finished[done:]
    assert any(third in round.commits and third in round.reveals for round in later)
    assert all(fourth not in round.commits for round in study.rounds[-1:])
    assert auditor.audit().findings == []

    # Another contract takes over: nothing begins here any more, and what ran is audited as before.
    successor, code = "0x" + "5a" * 20, "5a" * 32
    begun = tally("roster", "supersede", successor, code, *by(place, "hospital-1"))
    (carried,) = others_vote(place, begun, "hospital-2")
    assert f"go on with the contract {successor}" in carried
    with pytest.raises(Refused, match="Superseded"):
        tally("study", "create", "--settings", place.directory / "study.toml")
    assert auditor.audit().findings == []
