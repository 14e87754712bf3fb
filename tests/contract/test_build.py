"""The shipped build is what the sources compile to, and what runs on a chain."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy import contract_commands, contracts
from deploy.contracts import SOLC, SOURCES, built, compile_contracts, deploy, difference
from deploy.node_runtime import project_root
from federation.errors import ExitCode, Refused, Unavailable
from federation.members import Role
from tests.contract.conftest import account, founder

CODE_BYTES = 24_576  # EIP-170


@pytest.fixture(scope="session")
def recompiled():
    return compile_contracts()


def test_the_sources_lead_to_the_shipped_build_byte_for_byte(recompiled):
    assert difference(built(), recompiled) is None


def test_the_deployed_code_equals_the_shipped_build_byte_for_byte(consortium):
    code = consortium.devnet.rpc("eth_getCode", consortium.address, "latest")
    assert code == built()["deployedBytecode"]
    assert len(code) // 2 - 1 <= CODE_BYTES


def test_an_edited_source_is_named(recompiled):
    shipped = built()
    edited = shipped | {"sources": shipped["sources"] | {"contracts/Roster.sol": "00" * 32}}
    assert "sources" in difference(edited, recompiled)


def test_the_check_ends_with_the_code_of_a_violation_and_one_line(tmp_path: Path, monkeypatch, recompiled):
    altered = tmp_path / "RoundLedger.json"
    altered.write_text(json.dumps(recompiled | {"deployedBytecode": "0x00"}))
    monkeypatch.setattr(contracts, "BUILT", altered)
    checked = CliRunner().invoke(contract_commands.app, ["check"])
    assert checked.exit_code == ExitCode.VIOLATION
    (line,) = checked.stderr.splitlines()
    assert "deployedBytecode" in line
    assert "tally contract build" in line


def test_building_writes_what_the_sources_compile_to(tmp_path: Path, monkeypatch, recompiled):
    monkeypatch.setattr(contracts, "BUILT", tmp_path / "RoundLedger.json")
    assert CliRunner().invoke(contract_commands.app, ["build"]).exit_code == ExitCode.OK
    assert json.loads((tmp_path / "RoundLedger.json").read_text()) == recompiled


def test_without_the_sources_there_is_nothing_to_compile(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(contracts, "_ROOT", tmp_path)
    with pytest.raises(Refused, match="in a checkout of the project"):
        compile_contracts()


def test_sources_and_package_pin_one_compiler():
    root = project_root()
    for name in SOURCES:
        assert re.findall(r"pragma solidity (.+);", (root / "contracts" / name).read_text()) == [SOLC]
    pins = json.loads((root / "deploy" / "package.json").read_text())
    assert pins["dependencies"]["solc"] == SOLC
    assert built()["compiler"].startswith(SOLC)


def test_no_path_and_no_immutable_enters_the_build(recompiled):
    assert str(project_root()) not in json.dumps(recompiled)
    assert set(recompiled["sources"]) == {f"contracts/{name}" for name in SOURCES}


def test_a_refused_roster_deploys_nothing(devnet):
    twice = [founder(account("x"), Role.INSTITUTION, "X")] * 2
    with pytest.raises(Refused, match="DuplicateMember"):
        deploy(devnet.url, devnet.funded[0], twice)


@pytest.mark.parametrize("name", ["Zürich", "a name of far more than 31 letters"])
def test_a_name_that_does_not_fit_is_refused_before_anything_is_sent(name):
    with pytest.raises(Refused, match="name"):
        deploy("http://127.0.0.1:9", bytes(31) + b"\1", [founder(account("x"), Role.INSTITUTION, name)])


def test_a_silent_chain_is_unavailable_and_its_message_quotes_no_more_than_the_host():
    with pytest.raises(Unavailable, match="does not answer") as caught:
        deploy(
            "http://someone:secret@127.0.0.1:9/secret",
            bytes(31) + b"\1",
            [founder(account("x"), Role.INSTITUTION, "X")],
        )
    assert "http://127.0.0.1:9" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_payer_without_ether_is_told_to_fund_the_account(devnet):
    payer = account("a payer without ether")
    with pytest.raises(Refused, match=f"account {payer.address.lower()} has no ether: fund it"):
        deploy(devnet.url, bytes(payer.key), [founder(account("x"), Role.INSTITUTION, "X")])
