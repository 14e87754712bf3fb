"""Each fault ends as the protocol says, its author is named and nobody else; nothing honest is lost."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from .matrix import PLAYED, SHOWN_ELSEWHERE

ROOT = Path(__file__).parents[2]
ROWS = {f"{party}: {row.fault}": row for party, rows in PLAYED.items() for row in rows}


@pytest.mark.parametrize("name", ROWS)
def test_a_fault_ends_as_it_must_and_names_nobody_but_its_author(name: str, folder: Path) -> None:
    row = ROWS[name]
    ending = row.play(folder)
    assert ending == row.expected


def test_what_is_said_to_be_shown_elsewhere_is_there() -> None:
    named = {test for row in ROWS.values() for test in row.shown}
    named |= {test for tests in SHOWN_ELSEWHERE.values() for test in tests}
    for test in named:
        file, _, function = test.partition("::")
        tree = ast.parse((ROOT / file).read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test
