"""Auditors charge by themselves and anybody by hand, on a real chain; one line says what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from click.testing import Result
from eth_account import Account
from typer.testing import CliRunner

from deploy import audit, dispute
from deploy.contracts import Deployment, deploy
from deploy.devnet import CHAIN_ID, Devnet
from deploy.filing import file_charges
from federation.admission import admit
from federation.combination import combine
from federation.errors import ExitCode
from federation.events import FaultProven, RoundId, StudyId
from federation.identity import create_identity
from federation.ledger.chain import connect
from federation.ledger.ledger import Ledger
from federation.members import Address, Member, Role, SealingKey, parse_address, show_address
from federation.rehearsal import AGGREGATOR, Rehearsal
from federation.store.directory import DirectoryStore

from ..rehearsing import (
    GWEI,
    HOSPITALS,
    STAKE,
    B,
    C,
    altered,
    audited,
    flip,
    hospital,
    post_total,
    rehearse_staked,
    spec_of,
    up_to_reveals,
)

PASSWORD = "a pass phrase that must never be seen"
COST = 1 << 4  # of scrypt: a test has no secrets
FIRST = RoundId(StudyId(1), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Court:
    """A study on a real chain whose first total stands, and the parties' folders."""

    devnet: Devnet
    deployment: Deployment
    folder: Path
    rehearsal: Rehearsal
    aggregators: tuple[Address, ...]
    people: dict[str, Address]  # by the name of their folder

    def file(self, who: str, name: str, *, above: str = "", reader: bool = False, more: str = "") -> Path:
        """A settings file of this party's, under the name that it has there."""
        identity = 'identity = "identity"\npassword_file = "password"\n' + more
        path = self.folder / who / name
        path.write_text(
            above
            + (f"[reader]\n{identity}" if reader else identity)
            + f'[ledger]\nurl = "{self.devnet.url}"\ncontract = "{show_address(self.deployment.address)}"\n'
            + f"chain_id = {CHAIN_ID}\ndeployment_block = {self.deployment.block}\n"
            + f'[store]\ndirectory = "{self.folder / "store"}"\n'
        )
        return path

    @property
    def faults(self) -> list[FaultProven]:
        return self.rehearsal.round(FIRST).faults

    def verify(self, *options: str, more: str = "") -> Result:
        settings = self.file("auditor", "audit.toml", reader=True, more=more)
        return CliRunner().invoke(audit.app, ["verify", "--settings", str(settings), *options])

    def dispute(self, settings: Path, number: int = 1, *options: str) -> Result:
        return CliRunner().invoke(dispute.app, ["round", str(number), "--settings", str(settings), *options])


@pytest.fixture(scope="module")
def devnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with Devnet.start("anvil", directory=tmp_path_factory.mktemp("chain")) as started:
        yield started


def same_bytes(name: str, length: int) -> bytes:
    return name.encode().ljust(length)[:length]


@pytest.fixture
def court(devnet: Devnet, tmp_path: Path) -> Court:
    """Up to the reveals."""
    secrets = {parse_address(Account.from_key(key).address): key for key in devnet.funded[:-1]}
    *members, first, second = sorted(secrets)[:6]
    people = {}
    for name in ("auditor", "penniless"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "password").write_text(PASSWORD)
        random = partial(same_bytes, name)
        people[name] = create_identity(tmp_path / name / "identity", PASSWORD, random, cost=COST).address
    devnet.fund(people["auditor"], 10**18)
    roles = [Role.INSTITUTION] * 4 + [Role.AGGREGATOR] * 2 + [Role.AUDITOR]
    names = ["north", "south", "east", "west", "adder", "standby", "auditor"]
    founders = [
        Member(address=address, role=role, sealing_key=SealingKey(bytes(32)), name=name)
        for address, role, name in zip(
            [*members, first, second, people["auditor"]], roles, names, strict=True
        )
    ]
    deployment = deploy(devnet.url, devnet.funded[-1], founders)

    class OnDevnet:
        def ledger(self, account: Address) -> Ledger:
            return connect(
                devnet.url,
                deployment.address,
                Account.from_key(secrets[account]),
                deployment_block=deployment.block,
                confirmations=0,
            )

    actors = [
        replace(hospital(model, "paillier"), address=address)
        for model, address in zip(HOSPITALS, members, strict=True)
    ]
    spec = replace(spec_of("paillier"), members=tuple(members), aggregators=(first, second), stake=STAKE)
    rehearsal = Rehearsal(spec, actors, chain=OnDevnet(), store=DirectoryStore(tmp_path / "store"))
    for aggregator in (first, second):
        rehearsal.ledger(aggregator).deposit_bond(StudyId(1), STAKE.gwei * GWEI)
    for address in members:
        rehearsal.commit(address)
    for address in members:
        rehearsal.reveal(address, FIRST)
    return Court(
        devnet=devnet,
        deployment=deployment,
        folder=tmp_path,
        rehearsal=rehearsal,
        aggregators=(first, second),
        people=people,
    )


@pytest.fixture
def cheated(court: Court) -> Court:
    """The posted total is wrong in its first leaf."""
    record = court.rehearsal.record(FIRST)
    right = combine(record.agreement, FIRST, record.admission)
    members = court.rehearsal.agreement.spec.members
    post_total(court.rehearsal, FIRST, altered(right, 1, flip), members, by=court.aggregators[0])
    return court


# ---------------------------------------------------------------- auditors


def test_an_audit_that_finds_a_wrong_total_has_it_proven_and_says_so_in_one_line(cheated: Court) -> None:
    ran = cheated.verify("--json")
    assert ran.exit_code == ExitCode.VIOLATION, ran.output
    assert {finding["clause"] for finding in json.loads(ran.stdout)["findings"]} == {"§9.8"}
    (fault,) = cheated.faults
    auditor, adder = cheated.people["auditor"], cheated.aggregators[0]
    assert (fault.sender, fault.aggregator, fault.slashed) == (auditor, adder, STAKE.gwei * GWEI)
    assert ran.stderr == (
        f"round 1/1: auditor ({show_address(auditor)}) proved before the contract's court that leaf 1 of the "
        f"total of adder ({show_address(adder)}) is not the sum of its members' leaves; 5 gwei of the "
        f"stake of adder ({show_address(adder)}) went to auditor ({show_address(auditor)})\n"
    )
    again = cheated.verify("--json")
    assert again.stderr == "", "what is proven is not charged again"
    assert {finding["clause"] for finding in json.loads(again.stdout)["findings"]} == {"§9.17"}


@pytest.mark.parametrize(
    ("options", "more", "why"),
    [
        (["--no-dispute"], "", "--no-dispute"),
        ([], "dispute = false\n", "the settings say `dispute = false`"),
    ],
)
def test_an_auditor_who_is_told_not_to_charges_nobody_and_says_what_could_be_proven(
    cheated: Court, options: list[str], more: str, why: str
) -> None:
    ran = cheated.verify(*options, more=more)
    assert ran.exit_code == ExitCode.VIOLATION, ran.output
    assert "§9.8" in ran.stdout
    assert ran.stderr.startswith("round 1/1: it can be proven before the contract's court that leaf 1 of")
    assert ran.stderr.endswith(f"; not done: {why}\n")
    assert ran.stderr.count("\n") == 1
    assert cheated.faults == []


def test_without_a_reader_there_is_nobody_to_charge_with(cheated: Court) -> None:
    text = cheated.file("auditor", "audit.toml").read_text()
    bare = cheated.folder / "audit.toml"
    bare.write_text(text[text.index("[ledger]") :])
    ran = CliRunner().invoke(audit.app, ["verify", "--settings", str(bare)])
    assert ran.exit_code == ExitCode.VIOLATION
    assert "there is no [reader] in the settings" in ran.stderr
    assert cheated.faults == []


def test_an_account_without_ether_changes_nothing_in_the_report(cheated: Court) -> None:
    text = cheated.file("penniless", "audit.toml", reader=True)
    ran = CliRunner().invoke(audit.app, ["verify", "--settings", str(text), "--json"])
    assert ran.exit_code == ExitCode.VIOLATION
    assert json.loads(ran.stdout)["findings"][0]["clause"] == "§9.8"
    assert f"account {show_address(cheated.people['penniless'])} has no ether: fund it" in ran.stderr
    assert ran.stderr.count("\n") == 1
    assert cheated.faults == []


def test_an_audit_of_a_right_total_sends_nothing(court: Court) -> None:
    court.rehearsal.post_total(FIRST)
    ran = court.verify("--json")
    assert (ran.exit_code, ran.stderr) == (ExitCode.OK, ""), ran.output
    assert court.faults == []


def test_whoever_is_overtaken_says_so() -> None:
    rehearsal = rehearse_staked("paillier")
    id = up_to_reveals(rehearsal)
    record = rehearsal.record(id)
    post_total(rehearsal, id, altered(combine(record.agreement, id, record.admission), 1, flip))
    report = audited(rehearsal)
    (first,) = file_charges(report, rehearsal.ledger(B))
    assert f"0x{B.hex()}) proved before the contract's court" in first
    (late,) = file_charges(report, rehearsal.ledger(C))
    assert late.endswith("not done: somebody else was faster")
    assert f"the total of aggregator (0x{AGGREGATOR.hex()})" in late


# ---------------------------------------------------------------- by hand

FILES = {
    "node.toml": {"above": 'name = "north"\nvault = "vault"\ndata = "patients.csv"\n'},
    "audit.toml": {"reader": True},
    "aggregator.toml": {},
}


@pytest.mark.parametrize("name", FILES)
def test_a_dispute_by_hand_takes_any_partys_settings_and_says_who_paid_whom(
    cheated: Court, name: str
) -> None:
    settings = cheated.file("auditor", name, **FILES[name])
    ran = cheated.dispute(settings)
    assert ran.exit_code == ExitCode.OK, ran.output
    (fault,) = cheated.faults
    assert fault.sender == cheated.people["auditor"]
    (line,) = ran.stdout.splitlines()
    assert line.startswith("round 1/1: auditor (0x")
    assert "is not the sum of its members' leaves" in line
    assert line.endswith("that total is taken back, and none stands now.")
    again = cheated.dispute(settings)
    assert (again.exit_code, again.stdout) == (ExitCode.REFUSED, "")
    assert "round 1/1: no total stands in it" in again.stderr
    court = cheated.rehearsal
    court.post_total(FIRST, cheated.aggregators[1])
    right = cheated.dispute(settings)
    assert right.exit_code == ExitCode.REFUSED
    assert "its total is right, so there is nothing to prove" in right.stderr


def test_a_wrong_total_that_cannot_be_shown_ends_in_exit_code_3_and_names_its_author(court: Court) -> None:
    members = court.rehearsal.agreement.spec.members
    record = court.rehearsal.record(FIRST)
    fewer = replace(record.round, commits={who: record.round.commits[who] for who in members[:3]})
    total = combine(record.agreement, FIRST, admit(record.agreement, fewer, record.updates))
    post_total(court.rehearsal, FIRST, total, members[:3], by=court.aggregators[0])
    ran = court.dispute(court.file("auditor", "audit.toml", reader=True))
    assert ran.exit_code == ExitCode.VIOLATION
    assert (
        "the total's members are not those whose updates pass, which no contract can be shown" in ran.stderr
    )
    assert show_address(court.aggregators[0]) in ran.stderr
    assert court.faults == []


def test_bytes_that_are_gone_end_in_exit_code_5(cheated: Court) -> None:
    for block in (cheated.folder / "store").rglob("*"):
        if block.is_file() and block.stat().st_size > 500:
            block.unlink()
    ran = cheated.dispute(cheated.file("auditor", "audit.toml", reader=True))
    assert ran.exit_code == ExitCode.UNAVAILABLE, ran.output


def test_what_a_dispute_lacks_is_named(cheated: Court) -> None:
    settings = cheated.file("auditor", "audit.toml", reader=True)
    unknown = cheated.dispute(settings, 9)
    assert unknown.exit_code == ExitCode.REFUSED
    assert "NotOpened" in unknown.stderr
    elsewhere = cheated.dispute(settings, 1, "--study", "7")
    assert elsewhere.exit_code == ExitCode.REFUSED
    text = settings.read_text()
    settings.write_text(text[text.index("[ledger]") :])
    nobody = cheated.dispute(settings)
    assert nobody.exit_code == ExitCode.REFUSED
    assert "expected `identity`, or [reader] with one" in nobody.stderr
    settings.write_text(text[: text.index("[store]")])
    nowhere = cheated.dispute(settings)
    assert nowhere.exit_code == ExitCode.REFUSED
    assert "expected [ledger] and [store]" in nowhere.stderr
