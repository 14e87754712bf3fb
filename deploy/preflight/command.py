"""`tally preflight --settings node.toml` or `aggregator.toml`: says what would stop the daemon."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from aggregator.settings import Settings as AggregatorSettings
from federation.endpoints import load_settings
from federation.exits import printable, told_plainly
from node.settings import NodeSettings

from .lines import Checks, Line, State
from .plans import of_aggregator, of_node

app = typer.Typer(
    name="preflight",
    help="Check everything that a daemon needs, before it runs.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_COLOURS: Final = {
    State.OK: "green",
    State.WARNING: "yellow",
    State.FAILED: "bold red",
    State.UNCHECKED: "dim",
}


@app.callback(invoke_without_command=True)
@told_plainly()
def preflight(
    settings: Annotated[Path, typer.Option("--settings", help="A node's or an aggregator's TOML file.")],
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Check clock, nodes, contract, store, keys, disk, proxies, Ether, study and policy; exit 0, 4 or 5.

    4: something has to be changed by a person; 5: something did not answer, and nothing else is wrong.
    A file and a small content are written and nothing is sent to the ledger.
    """
    checks = Checks()
    if is_nodes(settings):
        of_node(checks, load_settings(NodeSettings, settings))
    else:
        of_aggregator(checks, load_settings(AggregatorSettings, settings))
    if as_json:
        lines = [line.for_machines() for line in checks.lines]
        typer.echo(json.dumps({"exit": int(checks.exit_code), "checks": lines}, indent=2))
    else:
        show(checks.lines, Console())
    raise typer.Exit(checks.exit_code)


def is_nodes(settings: Path) -> bool:
    """Whose file it is: only a node has a vault."""
    try:
        return "vault" in tomllib.loads(settings.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        return True  # `load_settings` says what is wrong with it


def show(lines: list[Line], out: Console) -> None:
    """For people: a line a check, and below it what to do."""
    for line in lines:
        state = f"[{_COLOURS[line.state]}]{line.state.value:<9}[/]"
        out.print(state, end=" ")
        out.print(printable(f"{line.check:<10} {line.said}"), markup=False, highlight=False, soft_wrap=True)
        if line.todo and line.state in {State.FAILED, State.WARNING}:
            out.print(printable(f"{'':<20} {line.todo}"), markup=False, highlight=False, soft_wrap=True)
