"""What the documents say of the code is so: clauses exist, counts are right, files are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from federation.audit.result_checks import ROUND_CHECKS
from federation.audit.study_checks import STUDY_CHECKS

ROOT = Path(__file__).parents[1]
PROTOCOL = (ROOT / "federation" / "PROTOCOL.md").read_text()
README = (ROOT / "README.md").read_text()
SOURCES = sorted(
    path
    for folder in ("federation", "aggregator", "node", "deploy", "contracts")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".sol"}
)


def clauses() -> set[str]:
    """Headings, the numbered claims of the audit, and the numbered decisions."""
    headings = re.findall(r"^#{2,4} (\d+(?:\.\d+){0,2})\.? ", PROTOCOL, re.MULTILINE)
    claims = re.findall(r"^\| §(9\.\d+) ", PROTOCOL, re.MULTILINE)
    decisions = re.findall(r"^\*\*(13\.\d+) ", PROTOCOL, re.MULTILINE)
    return {*headings, *claims, *decisions}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_clause_that_the_code_cites_exists(path: Path) -> None:
    cited = set(re.findall(r"§(\d+(?:\.\d+){0,2})", re.sub(r"RFC \d+ §[\d.]+", "", path.read_text())))
    assert cited <= clauses()


def test_clauses_refer_to_clauses_that_exist() -> None:
    assert (
        set(re.findall(r"§(\d+(?:\.\d+){0,2})", re.sub(r"(RFC \d+|DESIGN) §[\d.]+", "", PROTOCOL)))
        <= clauses()
    )


def test_the_readme_counts_the_claims_right() -> None:
    (counted,) = re.findall(r"(\d+) claims", README)
    assert int(counted) == len(ROUND_CHECKS) + len(STUDY_CHECKS) + 1, "and the contract's build"


@pytest.mark.parametrize("text", [README, PROTOCOL], ids=["README", "PROTOCOL"])
def test_every_file_that_a_document_names_exists(text: str) -> None:
    named = re.findall(r"`((?:federation|aggregator|node|deploy|contracts|tests)/[\w./]+)`", text)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_documents_hold_nothing_left_to_fill_in() -> None:
    for text in (README, PROTOCOL):
        assert not re.search(r"TODO|FIXME|DEMO_OUTPUT|XXX", text)
