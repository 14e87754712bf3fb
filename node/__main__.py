"""`tally node`: everything a hospital types (PROTOCOL §10)."""

from __future__ import annotations

import json
import secrets
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from federation.arithmetic import check_float_environment
from federation.endpoints import await_final, effective, load_settings
from federation.enrolment import enrolled, show_enrolment
from federation.errors import LedgerRejected, Refused
from federation.events import StudyId
from federation.executors import open_local_executor
from federation.exits import told_plainly
from federation.identity import create_identity, load_identity, read_password
from federation.logs import log_to_stderr
from federation.members import Role, show_address

from .daemon import run as run_daemon
from .key_commands import SettingsFile, as_typed, backup, keys, restore
from .key_shares import KeyShares
from .open import Desk, check_part, open_seat, open_study
from .rekey import rekey
from .restored import sit_out_what_began
from .settings import NodeSettings
from .terms import terms

app = typer.Typer(
    name="node",
    help="A hospital's node: its keys, its part in a study, its daemon.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.command()
@told_plainly()
def init(settings: SettingsFile) -> None:
    """Make this hospital's Ethereum account and sealing key, locked by its password."""
    node = load_settings(NodeSettings, settings)
    identity = create_identity(node.identity, read_password(node.password_file), secrets.token_bytes)
    typer.echo(f"account {show_address(identity.address)} in {node.identity}")
    typer.echo("Next, for the consortium, which needs this file to enrol you:")
    typer.echo(f"  {as_typed('keys', settings)} > enrolment.json")


@app.command()
@told_plainly()
def renew(
    settings: SettingsFile, out: Annotated[Path, typer.Option(help="An empty folder for the new keys.")]
) -> None:
    """Make a new Ethereum account for this hospital; print the enrolment that the others vote on."""
    node = load_settings(NodeSettings, settings)
    password = read_password(node.password_file)
    before = load_identity(node.identity, password)
    heir = create_identity(out, password, secrets.token_bytes, heir_of=before)
    typer.echo(show_enrolment(enrolled(heir, Role.INSTITUTION, node.name)))
    typer.echo(
        f"Next, each of as many hospitals as it takes types: tally roster replace "
        f"{show_address(before.address)} FILE, with the lines above as FILE; then set `identity` to {out}.",
        err=True,
    )


for _command in (keys, rekey, backup, restore):
    app.command()(_command)


@app.command()
@told_plainly()
def join(
    settings: SettingsFile,
    digest: Annotated[str, typer.Option(help="Of the document that people here have agreed to.")] = "",
) -> None:
    """Show a study, then check it against protocol, policy and key share; accept it by its digest."""
    node = load_settings(NodeSettings, settings)
    password = read_password(node.password_file)
    identity = load_identity(node.identity, password)
    desk = open_study(node, identity.account)
    study = desk.observer.study
    identity = identity.known_to(study)
    agreement = desk.observer.agreement_of(study.current().id.number)
    found = study.terms.digest.hex()
    if not digest:
        # Before our rules are asked: people can only allow what they have read.
        for line in terms(agreement, desk.view.history.roster):
            typer.echo(line)
    check_part(node, KeyShares(node.vault, password), identity, agreement)
    if not digest:
        typer.echo("Sound, and allowed here. To accept this very document:")
        typer.echo(f"  {as_typed('join', settings)} --digest {found}")
        return
    if digest.removeprefix("0x").lower() != found:
        raise Refused(f"study {node.study} is another document: expected {digest}, found {found}")
    while identity.address not in desk.observer.study.accepted:
        _accept(desk, StudyId(node.study))
    accepted = f"{len(desk.observer.study.accepted)} of {len(agreement.spec.members)} members"
    typer.echo(f"study {node.study} accepted; {accepted} have")
    typer.echo(f"Next, and for as long as the study lasts:\n  {as_typed('run', settings)}")


def _accept(desk: Desk, study: StudyId) -> None:
    """Our acceptance is final, or a reorganisation has taken it back."""
    try:
        block = desk.ledger.accept_study(study, desk.observer.study.terms.digest).at.block
    except LedgerRejected as rejected:
        if rejected.rule != "AlreadyAccepted":
            raise
        block = desk.view.head.number + 1  # by an earlier run whose call is not final yet
    await_final(desk.view, block)


@app.command()
@told_plainly()
def run(settings: SettingsFile, as_json: AsJson = False) -> None:
    """Take part until the study is complete; safe to kill and start again at any moment."""
    log_to_stderr(as_json=as_json)
    check_float_environment()
    node = load_settings(NodeSettings, settings)
    stop = threading.Event()
    with open_local_executor(node.executor) as executor:
        seat, view = open_seat(node, executor)
        sit_out_what_began(node.vault, seat.observer.study, seat.journal, ledger=seat.ledger.id)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        run_daemon(seat, view, lambda: not stop.wait(node.poll_seconds))


@app.command()
@told_plainly()
def status(settings: SettingsFile, as_json: AsJson = False) -> None:
    """Show the settings in force and where the study stands."""
    node = load_settings(NodeSettings, settings)
    desk = open_study(node, None)
    view, study = desk.view, desk.observer.study
    current = study.current()
    shown = {
        "settings": effective(node),
        "head": view.head.number,
        "accepted": len(study.accepted),
        "members": len(study.terms.members),
        "finished": len(study.finished),
        "rounds": study.terms.rounds,
        "round": current.id.number,
        "key": study.key_of(current.id.number).hex(),
        "phase": type(current.phase(view.now)).__name__,
    }
    if as_json:
        typer.echo(json.dumps(shown))
        return
    for key, value in shown.items():
        text = json.dumps(value, indent=2) if isinstance(value, dict) else str(value)
        typer.echo(f"{key:<8}  {text}")


if __name__ == "__main__":
    app()
