"""The shipped build is what the sources compile to, and what runs on a chain."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from deploy import contracts
from deploy.contracts import SOLC, SOURCES, built, compile_contracts, deploy, difference, main
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


def test_the_check_ends_with_the_code_of_a_violation_and_one_line(
    tmp_path: Path, monkeypatch, capsys, recompiled
):
    altered = tmp_path / "RoundLedger.json"
    altered.write_text(json.dumps(recompiled | {"deployedBytecode": "0x00"}))
    monkeypatch.setattr(contracts, "BUILT", altered)
    assert main(["check"]) == ExitCode.VIOLATION
    (line,) = capsys.readouterr().err.splitlines()
    assert "deployedBytecode" in line


def test_an_unknown_command_is_a_usage_error(capsys):
    assert main(["bild"]) == ExitCode.USAGE
    assert "build|check" in capsys.readouterr().err


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


def test_a_silent_chain_is_unavailable():
    with pytest.raises(Unavailable, match="does not answer"):
        deploy("http://127.0.0.1:9", bytes(31) + b"\1", [founder(account("x"), Role.INSTITUTION, "X")])
