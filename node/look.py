"""`tally node status` and `logs`: what a person sees of a node without stopping it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer

from federation.audit.view import LedgerView
from federation.bonds import WEI_PER_GWEI, show_ether
from federation.endings import called_by
from federation.endpoints import effective, load_settings
from federation.errors import Refused
from federation.exits import printable, told_plainly
from federation.identity import read_address
from federation.log_reading import last_trouble, print_events, read_events, show_event, wanted
from federation.members import Address
from federation.outlook import last_ending, outlook
from federation.rounds import Study

from .journal import JOURNAL, glance
from .key_commands import SettingsFile
from .open import Desk, open_study
from .openings import Openings
from .policy_commands import told
from .refusals import refusals_in
from .settings import NodeSettings
from .vault import held_key_shares

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@told_plainly()
def status(settings: SettingsFile, as_json: AsJson = False) -> None:
    """Show where the study stands, what it waits for, how the last round ended, and how this node is."""
    node = load_settings(NodeSettings, settings)
    shown = standing(node, open_study(node, None))
    if as_json:
        typer.echo(json.dumps({"settings": effective(node)} | asdict(shown)))
        return
    for heading, line in for_people(shown, wall=time.time()):
        typer.echo(printable(f"{heading:<8}  {line}"))
    typer.echo(f"settings  {json.dumps(effective(node))}")


@told_plainly()
def logs(
    settings: SettingsFile,
    round: Annotated[str, typer.Option(help="Only of this round: its number, or STUDY/NUMBER.")] = "",
    level: Annotated[str, typer.Option(help="info, warning or error, and above.")] = "debug",
    since: Annotated[str, typer.Option(help="90s, 30m, 2h, 3d ago, or 2026-01-31T12:00.")] = "",
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what is written from now on.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the events that the daemon has kept."""
    node = load_settings(NodeSettings, settings)
    which = wanted(round=round, level=level, since=since, now=datetime.now(UTC))
    print_events(node.log_file, which, follow=follow, as_json=as_json, say=typer.echo)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a study and this node's part in it stand; times are seconds since 1970 of block time."""

    study: int
    ledger: str
    head: int
    head_time: int
    accepted: int
    members: int
    finished: int
    rounds: int
    round: int
    phase: str
    awaits: str
    until: int | None
    last_ending: str | None
    bonds: dict[str, str]
    key: str
    holds_key_share: bool
    running: bool
    journal: list[str]  # what it holds of this round
    trouble: str | None
    openings: int  # sums that our patients are in, or may be, of all studies
    refusals: int
    refused: str | None  # the newest of them


def standing(node: NodeSettings, desk: Desk) -> Standing:
    """As ledger, vault and kept events show it; the daemon may be at work meanwhile."""
    view, study, ledger = desk.view, desk.observer.study, desk.ledger.id
    current, call = study.current(), called_by(view.history.roster)
    awaited = outlook(study, view.now, call)
    key = study.key_of(current.id.number)
    openings, refused = Openings(node.vault, ledger), refusals_in(node.vault)
    counted = len(openings.here(view.history, read_address(node.identity))) + openings.elsewhere()
    seen = glance(node.vault / JOURNAL, ledger, current.id)
    return Standing(
        study=study.id,
        ledger=ledger.hex(),
        head=view.head.number,
        head_time=view.now,
        accepted=len(study.accepted),
        members=len(study.terms.members),
        finished=len(study.finished),
        rounds=study.terms.rounds,
        round=current.id.number,
        phase=type(current.phase(view.now)).__name__,
        awaits=awaited.awaited,
        until=awaited.until,
        last_ending=last_ending(study, call) or None,
        bonds={call(who): _bond(view, study, who) for who in study.terms.aggregators},
        key=key.hex(),
        holds_key_share=any(held.key == key for held in held_key_shares(node.vault)),
        running=seen.in_use,
        journal=[seen.problem] if seen.problem else list(seen.entries),
        trouble=_trouble(node),
        openings=counted + node.policy.other_openings,
        refusals=len(refused),
        refused=told(refused[-1]) if refused else None,
    )


def for_people(shown: Standing, *, wall: float) -> Iterator[tuple[str, str]]:
    """A heading and a line each, the most wanted first."""
    late = max(0, int(wall) - shown.head_time)
    progress = f"{shown.finished} of {shown.rounds} rounds finished"
    yield "study", f"{shown.study}: {progress}; accepted by {shown.accepted} of {shown.members} members"
    yield "round", f"{shown.round}: {shown.phase}"
    yield "awaits", shown.awaits + ("" if shown.until is None else f", until {_day(shown.until)}")
    if shown.last_ending is not None:
        yield "before", shown.last_ending
    yield "node", "running" if shown.running else "not running: `tally node run`"
    if not shown.running:
        yield "journal", ", ".join(shown.journal) or "nothing of this round"
    yield "trouble", shown.trouble or "none was kept"
    yield (
        "policy",
        f"refusals: {shown.refusals}" + ("" if shown.refused is None else f", the last: {shown.refused}"),
    )
    yield "sums", f"{shown.openings} with our patients in them, of all studies"
    held = "held" if shown.holds_key_share else "NOT HELD: `tally node keys --accept`"
    yield "share", f"of key {shown.key[:16]}: {held}"
    for name, bond in shown.bonds.items():
        yield "bond", f"{name}: {bond}"
    yield "ledger", f"block {shown.head} of {_day(shown.head_time)}, {late} s old; 0x{shown.ledger}"


def _bond(view: LedgerView, study: Study, aggregator: Address) -> str:
    bond, needed = study.bonds.of(aggregator), study.terms.stake.gwei * WEI_PER_GWEI
    short = "" if bond.amount >= needed else f", of {show_ether(needed)} that a total needs"
    locked = "" if bond.locked_until < view.now else f", locked until {_day(bond.locked_until)}"
    return f"{show_ether(bond.amount)}{short}{locked}"


def _trouble(node: NodeSettings) -> str | None:
    try:
        event = last_trouble(read_events(node.log_file))
    except Refused:  # nothing was ever kept
        return None
    return None if event is None else show_event(event, as_json=False)


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
