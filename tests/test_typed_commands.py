"""Whatever the documents, units and containers tell people to type, the program takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer
import yaml
from typer.core import TyperCommand, TyperGroup

from deploy.tally import GROUPS, application

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [
        ROOT / "README.md",
        ROOT / "contracts" / "README.md",
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("deploy/**/*.md"),
    ]
)
UNITS = sorted(ROOT.glob("deploy/systemd/*.service"))
INSTEAD = {"…": "x", "`": ""}  # what stands for what a person fills in
UsageError = typer.BadParameter.__bases__[0]  # Typer brings its own Click, or takes the one that is there

PROGRAM = r"(?:\$ |\$\w+ )?(?:\S+/)?tally"  # whoever it is typed as, wherever it lies
Command = TyperCommand | TyperGroup


def typed(text: str) -> Iterator[str]:
    """The command lines in a document's blocks: everything behind `tally`, continued lines joined."""
    joined = re.sub(r"\\\n\s*", " ", text)
    fenced = "".join(re.findall(r"^\s*```\w*\n(.*?)^\s*```", joined, re.MULTILINE | re.DOTALL))
    blocks = "\n".join([*re.findall(r"^ {4,}\S.*$", joined, re.MULTILINE), fenced])
    for line in blocks.splitlines():
        if found := re.match(rf"\s*(?:{PROGRAM}|docker compose run --rm (?!ipfs)\S+) (?=[a-z])(.+)", line):
            yield found[1]


def mentioned(text: str) -> Iterator[str]:
    """What is named in a sentence: `tally node backup`, `tally bench capacity --model resnet18`."""
    prose = re.sub(r"^\s*```\w*\n.*?^\s*```", "", text, flags=re.MULTILINE | re.DOTALL)
    for found in re.findall(r"`tally ([a-z][^`]*)`", prose):
        yield found.replace("\n", " ")


def words(line: str) -> list[str]:
    """As a shell hands them over: without comments, redirections and placeholders."""
    for mark, other in INSTEAD.items():
        line = line.replace(mark, other)
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    kept = []
    for word in lexer:
        if word[0] in "|&;<>":
            break
        kept.append(word)
    return kept


@cache
def group(name: str) -> Command:
    return typer.main.get_command(application(name)).commands[name]


def command(line: list[str]) -> tuple[Command, list[str]]:
    """The command that is meant, and its arguments; fails for a name that there is not."""
    name, *rest = line
    assert name in GROUPS, f"`tally` has no {name!r}"
    found = group(name)
    while isinstance(found, TyperGroup) and rest and not rest[0].startswith("-"):
        assert rest[0] in found.commands, f"`tally {name}` has no {rest[0]!r}"
        found, rest = found.commands[rest[0]], rest[1:]
    return found, rest


def parse(line: str) -> None:
    """Raises `UsageError` for what the program would refuse to read."""
    found, rest = command(words(line))
    found.make_context(str(found.name), rest, resilient_parsing=False).close()


def collected() -> list[tuple[str, str]]:
    lines = [(path, line) for path in DOCUMENTS for line in typed(path.read_text())]
    return sorted({(path.relative_to(ROOT).as_posix(), line) for path, line in lines})


@pytest.mark.parametrize(("document", "line"), collected(), ids=lambda value: value[:60])
def test_every_command_line_in_a_document_parses(document: str, line: str) -> None:
    parse(line)


def test_the_documents_hold_command_lines() -> None:
    """Else the extraction is at fault."""
    per = [document for document, _ in collected()]
    assert per.count("README.md") > 30
    assert per.count("deploy/RUNBOOK.md") > 20
    assert per.count("deploy/README.md") > 3


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_that_a_sentence_names_exists_with_its_options(path: Path) -> None:
    for mention in mentioned(path.read_text()):
        found, rest = command(words(mention))
        known = {option for parameter in found.params for option in parameter.opts}
        asked = {word.partition("=")[0] for word in rest if word.startswith("--") and word != "--help"}
        assert asked <= known, mention


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_what_a_unit_starts_parses(unit: Path) -> None:
    (line,) = re.findall(r"^ExecStart=/opt/tally/bin/tally (.+)$", unit.read_text(), re.MULTILINE)
    parse(line)


def test_what_containers_start_and_are_asked_parses() -> None:
    services = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
    ours = [service["command"] for service in services.values() if service["image"].startswith("tallystick-")]
    assert len(ours) == 6
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    asked = re.findall(r'^\s*CMD \[(?:"tally", )?(.+)\]$', dockerfile, re.MULTILINE)
    assert len(asked) == 4, "a command and a health check of each image"
    for line in [*(shlex.join(one) for one in ours), *(one.replace(",", "") for one in asked)]:
        parse(line)


@pytest.mark.parametrize(
    "line",
    [
        "node joyn --settings node.toml",
        "nodes join --settings node.toml",
        "node join",
        "node join --settings node.toml --invite FILE",
        "node join --settings node.toml surplus",
        "dispute round four --settings node.toml",
        "keys deal --threshold 2 --out ceremony",
    ],
)
def test_a_line_that_the_program_refuses_is_found(line: str) -> None:
    with pytest.raises((UsageError, AssertionError)):
        parse(line)
