"""`tally audit verify` on a real chain and a folder of content; and the report that it prints."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from eth_account import Account
from rich.console import Console
from typer.testing import CliRunner

from deploy.audit import app, audit, show
from deploy.contracts import deploy
from deploy.devnet import Devnet
from federation.audit.checks import Finding
from federation.audit.report import Claim, Report, to_json
from federation.digest import sha256
from federation.errors import ExitCode, LedgerRejected, Violation
from federation.events import StudyId
from federation.identity import Identity
from federation.ledger.chain import connect
from federation.members import Member, Role, SealingKey, parse_address, show_address
from federation.rehearsal import AGGREGATOR, AUDITOR, Rehearsal
from federation.seal import SealingSecret
from federation.store.directory import DirectoryStore

from ..rehearsing import HOSPITALS, Blame, D, audited, faults, hospital, rehearse, spec_of, unknowns

KEYS = [
    "study",
    "document",
    "ledger",
    "code",
    "head",
    "endings",
    "claims",
    "findings",
    "notices",
    "not_proved",
]
CLAIM_KEYS = ["clause", "name", "statement", "verdict", "checked", "evidence", "findings"]
FINDING_KEYS = ["clause", "weight", "round", "message", "culprit", "culprit_name", "expected", "found"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A study on a real chain, and the settings that lead an auditor to it."""

    settings: Path
    blocks: Path  # the store's folder
    rehearsal: Rehearsal


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("audited")
    with Devnet.start("anvil", directory=folder / "chain") as devnet:
        yield _played(devnet, folder)


def _played(devnet: Devnet, folder: Path) -> Place:
    """Two rounds on this chain, between accounts that it funds."""
    secrets = {parse_address(Account.from_key(key).address): key for key in devnet.funded[:-1]}
    *members, aggregator = sorted(secrets)[:5]
    roles = [Role.INSTITUTION] * 4 + [Role.AGGREGATOR]
    founders = [
        Member(address=address, role=role, sealing_key=SealingKey(bytes(32)), name=f"site {number}")
        for number, (address, role) in enumerate(zip([*members, aggregator], roles, strict=True), start=1)
    ]
    deployment = deploy(devnet.url, devnet.funded[-1], founders)

    class OnDevnet:
        def ledger(self, account):
            return connect(
                devnet.url,
                deployment.address,
                Account.from_key(secrets[account]),
                deployment_block=deployment.block,
                confirmations=0,
            )

    actors = [
        replace(hospital(model, "plain"), address=address)
        for model, address in zip(HOSPITALS, members, strict=True)
    ]
    spec = replace(spec_of(rounds=2), members=tuple(members), aggregators=(aggregator,))
    rehearsal = Rehearsal(spec, actors, chain=OnDevnet(), store=DirectoryStore(folder / "store"))
    for _ in range(2):
        record = rehearsal.run_round()
    for address in members[:2]:
        rehearsal.confirm(address, record.id)
    settings = folder / "audit.toml"
    settings.write_text(
        f'[ledger]\nurl = "{devnet.url}"\ncontract = "{show_address(deployment.address)}"\n'
        f"chain_id = 31337\ndeployment_block = {deployment.block}\n"
        '[store]\ndirectory = "store"\n'
    )
    return Place(settings=settings, blocks=folder / "store", rehearsal=rehearsal)


def _run(place: Place, *options: str):
    return CliRunner().invoke(app, ["verify", "--settings", str(place.settings), *options])


def test_an_honest_study_is_verified_with_exit_code_0(place: Place) -> None:
    result = _run(place)
    assert result.exit_code == ExitCode.OK, result.output
    assert "Every claim holds." in result.output
    assert "Not proved: that a hospital trained" in result.output


def test_the_json_form_has_its_keys_and_every_claim_with_its_evidence(place: Place) -> None:
    result = _run(place, "--json")
    assert result.exit_code == ExitCode.OK, result.output
    document = json.loads(result.stdout)
    assert list(document) == KEYS
    assert {tuple(claim) for claim in document["claims"]} == {tuple(CLAIM_KEYS)}
    assert {claim["verdict"] for claim in document["claims"]} == {"holds"}
    evidence = {claim["name"]: claim["evidence"] for claim in document["claims"]}
    assert evidence["submission_proofs_hold"] == "8 updates, 2 rounds"
    assert evidence["statements_are_right"] == "2 statements, 1 round"


def test_a_lost_payload_ends_in_exit_code_3_and_names_its_author(place: Place) -> None:
    record = place.rehearsal.record(place.rehearsal.observer.study.rounds[0].id)
    reveal = record.round.reveals[place.rehearsal.agreement.spec.members[1]]
    (block,) = [path for path in place.blocks.rglob("*") if path.is_file() and _holds(path, reveal.cid[4:])]
    kept = block.read_bytes()
    block.unlink()
    try:
        result = _run(place)
        document = json.loads(_run(place, "--json").stdout)
    finally:
        block.write_bytes(kept)
    assert result.exit_code == ExitCode.VIOLATION
    assert f"culprit  {show_address(reveal.sender)} (site 2)" in result.output
    assert document["findings"][0]["culprit_name"] == "site 2"


def _holds(path: Path, digest: bytes) -> bool:
    return sha256(path.read_bytes()) == digest


def test_a_study_that_is_not_there_and_a_chain_that_is_gone_are_told_in_one_line(
    place: Place, tmp_path: Path
) -> None:
    absent = _run(place, "--study", "9")
    assert absent.exit_code == ExitCode.REFUSED
    assert absent.stderr.count("\n") == 1
    gone = tmp_path / "audit.toml"
    text = place.settings.read_text()
    gone.write_text(
        text.replace('directory = "store"', f'directory = "{tmp_path}"').replace("127.0.0.1", "127.0.0.2")
    )
    result = CliRunner().invoke(app, ["verify", "--settings", str(gone)])
    assert result.exit_code == ExitCode.UNAVAILABLE
    assert result.stderr.count("\n") == 1


def test_settings_with_an_unknown_key_are_refused_by_its_name(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "audit.toml"
    path.write_text(place.settings.read_text() + "[leger]\n")
    result = CliRunner().invoke(app, ["verify", "--settings", str(path)])
    assert result.exit_code == ExitCode.REFUSED
    assert "leger" in result.stderr


# ---------------------------------------------------------------- the same without a chain


def _stranger() -> Identity:
    return Identity(account=Account.from_key(b"\x07" * 32), sealing_secret=SealingSecret(b"\x08" * 32))


def test_whoever_is_not_of_the_audience_is_told_so() -> None:
    rehearsal = rehearse("plain, sealed")
    rehearsal.run_round()
    ledger = rehearsal.ledger(AUDITOR)
    stranger = _stranger()
    with pytest.raises(Violation, match="not among the study's readers") as caught:
        audit(ledger, rehearsal.store, StudyId(1), reader=stranger, audited_code=ledger.code_digest)
    assert caught.value.culprit == stranger.address


def test_without_a_reader_a_sealed_study_is_audited_as_far_as_it_can_be_seen() -> None:
    rehearsal = rehearse("plain, sealed")
    rehearsal.run_round()
    ledger = rehearsal.ledger(AUDITOR)
    report = audit(ledger, rehearsal.store, StudyId(1), reader=None, audited_code=ledger.code_digest)
    assert faults(report) == set()
    assert Blame("§9.1", None) in unknowns(report)


def test_a_study_nobody_proposed_is_refused() -> None:
    rehearsal = rehearse()
    ledger = rehearsal.ledger(AUDITOR)
    with pytest.raises(LedgerRejected, match="UnknownStudy"):
        audit(ledger, rehearsal.store, StudyId(2), reader=None, audited_code=ledger.code_digest)


def test_a_finding_shows_culprit_by_name_and_what_was_expected_and_found() -> None:
    rehearsal = rehearse()
    record = rehearsal.run_round()
    rehearsal.ledger(D).confirm_model(record.id, sha256(b"another"))
    report = audited(rehearsal)
    out = io.StringIO()
    show(report, Console(file=out, width=200))
    shown = out.getvalue()
    assert f"culprit  {show_address(D)} (institution)" in shown
    assert f"found    0x{sha256(b'another').hex()}" in shown
    document = to_json(report)
    (finding,) = document["findings"]
    assert list(finding) == FINDING_KEYS
    assert (finding["clause"], finding["weight"], finding["round"]) == ("§9.13", "fault", 1)
    assert finding["culprit_name"] == "institution"
    assert json.loads(json.dumps(document)) == document


def test_a_peers_words_cannot_command_a_terminal() -> None:
    rehearsal = rehearse()
    rehearsal.run_round()
    words = "\x1b[2Jall claims hold [green]✓[/green]"
    finding = Finding(clause="§9.6", message=words, culprit=AGGREGATOR)
    claim = Claim(clause="§9.6", name="x", statement="y", checked=1, evidence="z", findings=(finding,))
    report = Report(record=rehearsal.study_record(), claims=(claim,))
    out = io.StringIO()
    show(report, Console(file=out, width=200, force_terminal=True))
    assert "\x1b[2J" not in out.getvalue()
    assert "[green]✓[/green]" in out.getvalue()
