"""`tally node`: everything a hospital types (PROTOCOL §10)."""

from __future__ import annotations

import json
import secrets
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from federation.arithmetic import check_float_environment
from federation.dealing import PublicKey, decode_public_key, open_share
from federation.endpoints import load_settings
from federation.errors import Refused, Violation
from federation.events import StudyId
from federation.exits import told_plainly
from federation.identity import create_identity, load_identity, read_file, read_password, sealing_key_hex
from federation.logs import log_to_stderr
from federation.members import Role, show_address
from federation.study import StudySpec
from federation.tasks import TaskSpec

from .daemon import run as run_daemon
from .open import check_part, open_seat, open_study
from .settings import NodeSettings
from .vault import keep_key_share

app = typer.Typer(
    name="node",
    help="A hospital's node: its keys, its part in a study, its daemon.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
out = Console()

SettingsFile = Annotated[Path, typer.Option("--settings", help="The node's TOML file.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.command()
@told_plainly()
def init(settings: SettingsFile) -> None:
    """Make this hospital's Ethereum account and sealing key, locked by its password."""
    node = load_settings(NodeSettings, settings)
    identity = create_identity(node.identity, read_password(node.password_file), secrets.token_bytes)
    out.print(f"account {show_address(identity.address)} in {node.identity}")
    out.print("Next: `tally node keys` prints what the consortium needs to enrol you.")


@app.command()
@told_plainly()
def keys(
    settings: SettingsFile,
    accept: Annotated[Path | None, typer.Option(help="A sealed key share from the dealer.")] = None,
    public_key: Annotated[Path | None, typer.Option(help="The study's public key, beside the share.")] = None,
) -> None:
    """Print the public enrolment as JSON, or check and keep the key share that the dealer made for us."""
    node = load_settings(NodeSettings, settings)
    password = read_password(node.password_file)
    identity = load_identity(node.identity, password)
    if accept is None:
        enrolment = {
            "address": show_address(identity.address),
            "role": Role.INSTITUTION.name.lower(),
            "sealing_key": sealing_key_hex(identity),
            "name": node.name,
        }
        typer.echo(json.dumps(enrolment))
        return
    if public_key is None:
        raise Refused("expected --public-key beside --accept: the share is checked against it")
    public = _read_public_key(public_key)
    box, secret = read_file(accept), identity.sealing_secret
    digest, share = open_share(box, public, member=identity.address, secret=secret)
    path = keep_key_share(node.vault, password, share, key=digest, random=secrets.token_bytes)
    out.print(f"the key proof holds, the share belongs to it; kept in {path}")


def _read_public_key(path: Path) -> PublicKey:
    try:
        return decode_public_key(read_file(path))
    except Violation as error:
        raise Refused(f"{path}: expected the dealer's public key: {error}") from error


@app.command()
@told_plainly()
def join(
    settings: SettingsFile,
    digest: Annotated[str, typer.Option(help="Of the document that people here have agreed to.")] = "",
) -> None:
    """Check a study against protocol, policy and key share; show it, or accept it by its digest."""
    node = load_settings(NodeSettings, settings)
    password = read_password(node.password_file)
    identity = load_identity(node.identity, password)
    desk = open_study(node, identity.account)
    observer, agreement = desk.observer, desk.observer.agreement
    check_part(node, password, identity, agreement)
    found = observer.study.terms.digest.hex()
    if not digest:
        out.print(_terms(agreement.spec, found))
        out.print(f"Sound, and allowed here. To accept this very document: --digest {found}", soft_wrap=True)
        return
    if digest.removeprefix("0x").lower() != found:
        raise Refused(f"study {node.study} is another document: expected {digest}, found {found}")
    if identity.address not in observer.study.accepted:
        desk.ledger.accept_study(StudyId(node.study), observer.study.terms.digest)
        desk.view.refresh()
    accepted = f"{len(observer.study.accepted)} of {len(agreement.spec.members)} members"
    out.print(f"study {node.study} “{agreement.spec.name}” accepted; {accepted} have")


def _terms(spec: StudySpec, digest: str) -> Table:
    task = TaskSpec(name=spec.task, parameters=spec.task_parameters)
    readers = [show_address(reader) for reader, _ in spec.audience.envelopes]
    shown = {
        "name": spec.name,
        "document": digest,
        "task": f"{spec.task} {task.digest.hex()}",
        "suite": spec.suite,
        "members": "\n".join(map(show_address, spec.members)),
        "aggregator": show_address(spec.aggregator),
        "shares that open a sum": str(spec.threshold),
        "least contributors": str(spec.minimum),
        "rounds": str(spec.rounds),
        "windows": ", ".join(f"{name} {value} s" for name, value in spec.windows._asdict().items()),
        "who can read sums and models": "\n".join(readers) or "everybody",
    }
    table = Table(show_header=False)
    for key, value in shown.items():
        table.add_row(key, value)
    return table


@app.command()
@told_plainly()
def run(settings: SettingsFile, as_json: AsJson = False) -> None:
    """Take part until the study is complete; safe to kill and start again at any moment."""
    log_to_stderr(as_json=as_json)
    check_float_environment()
    node = load_settings(NodeSettings, settings)
    seat, view = open_seat(node)
    stop = threading.Event()
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
        "settings": node.effective(),
        "head": view.head.number,
        "accepted": len(study.accepted),
        "members": len(study.terms.members),
        "finished": len(study.finished),
        "rounds": study.terms.rounds,
        "round": current.id.number,
        "phase": type(current.phase(view.now)).__name__,
    }
    if as_json:
        typer.echo(json.dumps(shown))
        return
    table = Table(show_header=False)
    for key, value in shown.items():
        table.add_row(key, json.dumps(value, indent=2) if isinstance(value, dict) else str(value))
    out.print(table)


if __name__ == "__main__":
    app()
