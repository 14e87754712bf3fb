"""What the contract's README names is there: files, tests, errors, invariants and figures."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

from federation.ledger.abi import by_hash
from tests.contract.gas import SNAPSHOT

ROOT = Path(__file__).parents[2]
README = (ROOT / "contracts" / "README.md").read_text()
SOURCES = {path.name: path.read_text() for path in (ROOT / "contracts").glob("*.sol")}
TESTS = [path for room in ("contract", "laws") for path in (ROOT / "tests" / room).glob("*.py")]
TESTS.append(ROOT / "tests" / "test_rounds.py")


def test_every_test_that_it_names_exists():
    known = {
        node.name
        for path in TESTS
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    named = set(re.findall(r"`(test_\w+)`", README))
    assert len(named) > 20
    assert named <= known


def test_every_source_has_its_line_and_every_line_its_source():
    assert set(re.findall(r"`(\w+\.sol)`", README)) == SOURCES.keys()


def test_every_refusal_that_it_names_is_an_error_of_the_contract():
    errors = {signature.name for signature in by_hash("error", 4).values()}
    lists = re.findall(r"refusals? ((?:`\w+`(?:, )?)+)", README)
    named = {word for words in lists for word in words.split("`")[1::2]}
    assert len(named) > 5
    assert named <= errors


def test_its_invariants_are_those_of_the_sources():
    claimed = {mark for text in SOURCES.values() for mark in re.findall(r"INVARIANT ([IJ]\d+)", text)}
    assert set(re.findall(r"^\| ([IJ]\d+) \|", README, re.MULTILINE)) == claimed


def test_its_figures_of_gas_are_the_snapshots():
    by_members = json.loads(SNAPSHOT.read_text())["prague"]["1000000"]
    rows = dict(re.findall(r"^\| ([`\w, ]+) \| ((?:[\d,]+ \| ){4})", README, re.MULTILINE))
    assert len(rows) == 4
    for call, cells in rows.items():
        shown = [int(cell.replace(",", "")) for cell in cells.split("|")[:4]]
        assert shown == [figures[call.replace("`", "")] for figures in by_members.values()]
