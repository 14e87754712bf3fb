"""`tally node approve`, `refusals`: what people decide on tasks, and what our rules refused (PROTOCOL §10.4).

Both work while the daemon runs: it reads decisions before each act, and adds refusals as it meets them.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from typing import Annotated

import typer

from federation.digest import DIGEST_BYTES, Digest
from federation.endpoints import load_settings
from federation.errors import Refused
from federation.exits import printable, told_plainly

from .approvals import Approvals, Decision
from .key_commands import SettingsFile, as_typed
from .open import open_study
from .refusals import Refusal, refusals_in
from .rules import utc_now
from .settings import NodeSettings
from .terms import terms

_SHORT = 16  # digits of a digest, where people only have to tell two apart


@told_plainly()
def approve(
    settings: SettingsFile,
    digest: Annotated[str, typer.Option(help="Of the task that people here have read: all of it.")] = "",
    by: Annotated[str, typer.Option(help="Who decides; else the name of this machine's user.")] = "",
    show_decisions: Annotated[bool, typer.Option("--list", help="Every decision so far.")] = False,
    revoke: Annotated[str, typer.Option(help="Allow the task of this digest no more.")] = "",
) -> None:
    """Show the study's task and terms; approve the task by its digest; or list decisions, or revoke one."""
    if sum(map(bool, (digest, show_decisions, revoke))) > 1:
        raise Refused("expected one of --digest, --list and --revoke, found several: one at a time")
    node = load_settings(NodeSettings, settings)
    approvals = Approvals(node.vault)
    if show_decisions:
        for decision in approvals.decisions():
            typer.echo(_line(decision))
        return
    if revoke:
        task = _digest("--revoke", revoke)
        if approvals.of(task) is None:
            raise Refused(f"--revoke: no approval of task {task.hex()} stands: see --list")
        typer.echo(_line(approvals.revoke(task, by=who_decides(by), at=utc_now())))
        typer.echo("A node that runs gives nothing more for it, from its next act on, and starts no more.")
        return
    desk = open_study(node, None)
    agreement = desk.observer.agreement_of(desk.observer.study.current().id.number)
    found = agreement.task.spec.digest
    if not digest:
        for line in terms(agreement, desk.view.history.roster):
            typer.echo(line)
        typer.echo("Approving allows this task for as many rounds, with as many contributors, and as public")
        typer.echo("as above, in this study and in others; and nothing that [policy] forbids. To approve it:")
        typer.echo(f"  {as_typed('approve', settings)} --digest {found.hex()} --by 'Your name'")
        return
    if _digest("--digest", digest) != found:
        raise Refused(
            f"--digest: study {node.study} has another task: expected {found.hex()}, found {digest!a}"
        )
    typer.echo(_line(approvals.approve(agreement, by=who_decides(by), at=utc_now())))
    typer.echo(f"Next:\n  {as_typed('join', settings)}")


@told_plainly()
def refusals(
    settings: SettingsFile, as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False
) -> None:
    """Show what this hospital's own rules have refused, the oldest first."""
    found = refusals_in(load_settings(NodeSettings, settings).vault)
    if as_json:
        typer.echo(json.dumps([one.model_dump() for one in found]))
        return
    for one in found:
        typer.echo(told(one))


def told(refusal: Refusal) -> str:
    """One line for people."""
    where = f"study {refusal.study}" if refusal.round is None else f"round {refusal.study}/{refusal.round}"
    what = f"{refusal.rule}: expected {refusal.expected}, found {refusal.found}"
    return printable(f"{refusal.at}  {where}, {refusal.act}: {what}")


def _line(decision: Decision) -> str:
    """One line for people; a peer chose the study's name."""
    return printable("  ".join((decision.at, decision.decision, decision.task, *_details(decision))))


def _details(decision: Decision) -> Iterator[str]:
    yield f"by {decision.by}"
    limits = decision.limits
    if limits is not None and decision.study is not None:
        readers = "everybody" if limits.public else "its audience"
        yield f"for {limits.rounds} rounds, {limits.contributors} contributors, read by {readers}"
        yield f"over the terms of {decision.name!r} ({decision.study[:_SHORT]})"


def who_decides(typed: str) -> str:
    """The name that an approval bears; raises `Refused` where there is none."""
    if typed:
        return typed
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:  # a container's user may have no name
        raise Refused("expected --by with a name: this machine's user has none") from error


def _digest(option: str, text: str) -> Digest:
    try:
        found = bytes.fromhex(text.removeprefix("0x"))
    except ValueError as error:
        raise Refused(f"{option}: expected a task's digest in hexadecimal digits, found {text!a}") from error
    if len(found) != DIGEST_BYTES:
        raise Refused(f"{option}: expected a digest of {2 * DIGEST_BYTES} digits, found {text!a}")
    return Digest(found)
