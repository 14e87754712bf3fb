"""A study whose key is changed while it runs, by the commands that people type; real processes on a chain."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.ceremony_record import PUBLIC_KEY_FILE
from deploy.command import run, side_by_side, tally
from deploy.consortium import AGGREGATORS, Consortium, Plan
from deploy.devnet import Devnet
from deploy.outcome import Auditor
from federation.audit.record import StudyRecord
from federation.digest import Digest
from federation.errors import ExitCode
from federation.rounds import Study

HOSPITALS = ("hospital-1", "hospital-2", "hospital-3")
ROUNDS = 5
PATIENCE = 120.0  # seconds until something that must happen counts as failed


@dataclass(frozen=True, kw_only=True)
class Changed:
    """What is left of the study, and what was printed on the way."""

    folder: Path
    record: StudyRecord
    keys: tuple[Digest, Digest]
    proposed: str
    accepted: list[str]
    shown: str  # to a hospital, once the second key ruled
    audited: dict[str, object]
    exit_code: int


def until(consortium: Consortium, auditor: Auditor, reached: Callable[[Study], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached(auditor.study):
        ended = {name: code for name, code in consortium.ended().items() if code != ExitCode.OK}
        assert not ended, {name: consortium.last_words(name) for name in ended}
        assert time.monotonic() < deadline, {name: consortium.last_words(name) for name in HOSPITALS}
        time.sleep(0.1)
        auditor.refresh()


def settings(folder: Path, hospital: str) -> tuple[object, ...]:
    return ("--settings", folder / hospital / "node.toml")


def typed(lines: str, folder: Path, hospital: str) -> list[tuple[object, ...]]:
    """What the proposal tells this hospital to type, where its files lie."""
    told = lines.partition(f"Next, at {hospital}, ")[2].splitlines()[1:3]
    for name in ("share-", PUBLIC_KEY_FILE):
        told = [line.replace(f" {name}", f" {folder / 'later' / name}") for line in told]
    told = [line.replace("node.toml", str(folder / hospital / "node.toml")) for line in told]
    return [tuple(line.split()[1:]) for line in told]


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Changed]:
    """Rounds under one key; another is dealt, proposed and accepted; rounds under that one."""
    folder = tmp_path_factory.mktemp("rekeyed")
    plan = Plan(hospitals=3, rounds=ROUNDS, bits=256, unsafe=True, window_seconds=600, poll_seconds=0.1)
    with (
        Devnet.start("anvil", directory=folder / "chain") as devnet,
        Consortium.found(folder, plan, devnet) as consortium,
    ):
        auditor = Auditor(consortium)
        for party in (*AGGREGATORS, *HOSPITALS):
            consortium.start(party)
        until(consortium, auditor, lambda study: bool(study.finished))
        consortium.kill("hospital-3")  # its people are at work, and no round ends without it
        enrolments = [folder / name / "enrolment.json" for name in HOSPITALS]
        tally(
            "keys",
            "deal",
            *enrolments,
            "--out",
            folder / "later",
            "--threshold",
            2,
            "--bits",
            272,
            "--unsafe",
        )
        by = (
            "--identity",
            folder / "hospital-2" / "identity",
            "--password-file",
            folder / "hospital-2" / "password",
        )
        propose = ("study", "rekey", "--settings", folder / "study.toml", "--public-key")
        proposed = tally(*propose, folder / "later" / PUBLIC_KEY_FILE, *by)
        assert tally(*propose, folder / "later" / PUBLIC_KEY_FILE, *by) == proposed  # again, as after a crash
        printed = side_by_side([typed(proposed, folder, name) for name in HOSPITALS])
        auditor.refresh()
        first, later = (epoch.key for epoch in auditor.study.epochs)
        consortium.start("hospital-3")
        ruled = auditor.study.later_epochs[0].first
        until(consortium, auditor, lambda study: any(r.id.number >= ruled for r in study.finished))
        consortium.kill("hospital-3")
        tally("node", "keys", *settings(folder, "hospital-3"), "--forget", first.hex())
        shown = tally("node", "rekey", *settings(folder, "hospital-3"))
        consortium.start("hospital-3")
        until(consortium, auditor, lambda _: auditor.is_over)
        audited = run("audit", "verify", "--settings", consortium.auditor, "--json")
        yield Changed(
            folder=folder,
            record=auditor.record(),
            keys=(first, later),
            proposed=proposed,
            accepted=[lines[1] for lines in printed],
            shown=shown,
            audited=json.loads(audited.out),
            exit_code=audited.code,
        )


def test_each_round_is_under_the_key_of_its_epoch_and_later_ones_under_the_second(changed: Changed) -> None:
    first, later = changed.keys
    rounds = [record for record in changed.record.rounds if record.round.proposals]
    ruled = changed.record.study.later_epochs[0].first
    assert len(rounds) == ROUNDS
    assert {record.id.number: record.agreement.suite.key_digest for record in rounds} == {
        record.id.number: later if record.id.number >= ruled else first for record in rounds
    }
    assert {record.agreement.suite.key_digest for record in rounds} == {first, later}
    assert rounds[0].agreement.suite.weakness.startswith("a modulus of 256 bits")
    assert rounds[-1].agreement.suite.weakness.startswith("a modulus of 272 bits")


def test_the_audit_of_rounds_under_both_keys_is_clean(changed: Changed) -> None:
    assert changed.exit_code == ExitCode.OK, changed.audited["findings"]
    claims = {claim["clause"]: claim["verdict"] for claim in changed.audited["claims"]}
    assert set(claims.values()) == {"holds"}
    assert "§9.25" in claims


def test_the_commands_say_what_was_done_and_what_comes_next(changed: Changed) -> None:
    first, later = (key.hex() for key in changed.keys)
    for name in HOSPITALS:
        assert f"Next, at {name}, with its sealed share of this key:" in changed.proposed
    assert changed.proposed.count(f"tally node rekey --settings node.toml --digest {later}") == 3
    for words in changed.accepted:
        assert "all agree" in words
        assert f"key {later}" in words
    assert any("is adopted: it rules from round" in words for words in changed.accepted)
    assert f"key {first}\n  rules rounds 1 to" in changed.shown
    assert "we hold no share of it" in changed.shown.partition(later)[0]
    assert "our share is in the vault" in changed.shown.partition(later)[2]


@pytest.mark.parametrize("party", [*AGGREGATORS, *HOSPITALS])
def test_nobodys_log_has_a_violation(changed: Changed, party: str) -> None:
    log = (changed.folder / party / "log").read_text()
    assert "violation" not in log.lower()
    assert "Traceback" not in log
