"""`tally node`: everything a hospital types (PROTOCOL §10)."""

from __future__ import annotations

import secrets
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from federation.arithmetic import check_float_environment
from federation.endpoints import load_settings
from federation.enrolment import enrolled, show_enrolment
from federation.executors import open_local_executor
from federation.exits import told_plainly
from federation.identity import create_identity, load_identity, read_password
from federation.logs import log_as_set
from federation.members import Role, show_address
from federation.watching import watched_as_set

from .daemon import run as run_daemon
from .join import join
from .key_commands import SettingsFile, as_typed, backup, keys, restore
from .look import AsJson, logs, status
from .open import open_seat
from .policy_commands import approve, refusals
from .provision import provision
from .rekey import rekey
from .restored import sit_out_what_began
from .settings import NodeSettings

app = typer.Typer(
    name="node",
    help="A hospital's node: its keys, its part in a study, its daemon.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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


for _command in (provision, join, keys, rekey, backup, restore, approve, refusals, status, logs):
    app.command()(_command)


@app.command()
@told_plainly()
def run(settings: SettingsFile, as_json: AsJson = False) -> None:
    """Take part until the study is complete; safe to kill and start again at any moment."""
    node = load_settings(NodeSettings, settings)
    log_as_set(node.log, node.log_file, by_default="json" if as_json else "human")
    check_float_environment()
    stop = threading.Event()
    telemetry = watched_as_set(node.metrics, node.traces, service=f"tally node {node.name}")
    with open_local_executor(node.executor) as executor:
        seat, view = open_seat(node, executor, telemetry)
        sit_out_what_began(node.vault, seat.observer.study, seat.journal, ledger=seat.ledger.id)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        run_daemon(seat, view, lambda: not stop.wait(node.poll_seconds))


if __name__ == "__main__":
    app()
