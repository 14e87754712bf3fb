"""`tally aggregator …`, also `python -m aggregator …`: makes the identity, runs the service, asks how it is.

The one place here that names the real chain and the real store.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import Executor
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from federation.ask import Asker, trusting_exactly
from federation.endpoints import effective, load_settings, open_ledger, open_store, place_of
from federation.enrolment import enrol, show_enrolment
from federation.errors import Unavailable
from federation.executors import open_executor
from federation.exits import printable, told_plainly
from federation.identity import load_identity, read_password
from federation.ledger.abi import audited_code_digest
from federation.log_reading import print_events, wanted
from federation.logs import log_as_set
from federation.members import Role
from federation.retention import Retention
from federation.store.watched import WatchedStore
from federation.watching import watched_as_set

from .app import create_app
from .checkup import Auditor, Probe
from .conductor import Conductor
from .door import Door
from .logbook import note
from .server import rates, read_monitor_token, server_of
from .settings import Settings
from .work import Work

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="The aggregator: adds what it cannot read.",
)

SettingsFile = Annotated[Path, typer.Option("--settings", help="The aggregator's TOML file.")]


@app.command()
@told_plainly()
def init(
    identity: Annotated[Path, typer.Option(help="An empty folder for the keys.")],
    name: Annotated[str, typer.Option(help="For the roster: at most 31 ASCII characters.")],
    password_file: Annotated[Path | None, typer.Option(help="Else the variable TALLY_PASSWORD.")] = None,
) -> None:
    """Make an aggregator's keys, and print the enrolment."""
    password = read_password(password_file)
    member = enrol(identity, password, role=Role.AGGREGATOR, name=name, random=os.urandom)
    typer.echo(show_enrolment(member))


@app.command("settings")
@told_plainly()
def show_settings(settings: SettingsFile) -> None:
    """Print the settings that hold after defaults, without secrets."""
    typer.echo(json.dumps(effective(load_settings(Settings, settings)), indent=2))


@app.command()
@told_plainly()
def run(settings: SettingsFile) -> None:
    """Serve all studies that name this aggregator, until SIGTERM or SIGINT."""
    chosen = load_settings(Settings, settings)
    log_as_set(chosen.log, chosen.log_file, by_default="json")
    with open_executor(chosen.executor) as executor:
        _serve(chosen, executor)


def _serve(chosen: Settings, executor: Executor) -> None:
    server, work = _assemble(chosen, executor)
    note("serving", host=chosen.service.host, port=chosen.service.port, account=work.conductor.me)
    try:
        server.run()
    except SystemExit as error:  # uvicorn's word for an address that is taken; it has logged why
        raise Unavailable(f"cannot listen on {chosen.service.host}:{chosen.service.port}") from error
    if work.failure is not None:
        raise work.failure


@app.command()
@told_plainly()
def status(settings: SettingsFile) -> None:
    """Ask the running service how it is, and where its studies stand."""
    chosen = load_settings(Settings, settings)
    service = chosen.service
    context = None if service.certificate is None else trusting_exactly(service.certificate)
    with Asker(service.url, tls=context, proxied=False) as asker:
        typer.echo(printable(asker.ready()))
        keys = load_identity(chosen.identity, read_password(chosen.password_file))
        place = place_of(open_ledger(chosen.ledger, None), chosen.ledger)
        asker.sign_in(place, keys.account, service=service.known_as)
        for path in ("/v1/status", "/v1/studies", "/v1/sessions"):
            typer.echo(printable(asker.get(path)))


@app.command()
@told_plainly()
def logs(
    settings: SettingsFile,
    round: Annotated[str, typer.Option(help="Only of this round: its number, or STUDY/NUMBER.")] = "",
    level: Annotated[str, typer.Option(help="info, warning or error, and above.")] = "debug",
    since: Annotated[str, typer.Option(help="90s, 30m, 2h, 3d ago, or 2026-01-31T12:00.")] = "",
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what is written from now on.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Print the events that the service has kept."""
    chosen = load_settings(Settings, settings)
    which = wanted(round=round, level=level, since=since, now=datetime.now(UTC))
    print_events(chosen.log_file, which, follow=follow, as_json=as_json, say=typer.echo)


def _assemble(settings: Settings, executor: Executor) -> tuple[uvicorn.Server, Work]:
    """The whole service, wired; each of its three threads of work has a ledger and a store of its own."""
    keys = load_identity(settings.identity, read_password(settings.password_file))
    # Only the one that is acted on keeps a bookmark.
    memories = (settings.identity, None, None)
    telemetry = watched_as_set(settings.metrics, settings.traces, service="tally aggregator")
    ledgers = [
        open_ledger(settings.ledger, keys.account, memory=memory, telemetry=telemetry) for memory in memories
    ]
    stores = [WatchedStore(open_store(settings.store), telemetry) for _ in range(3)]
    rounds = settings.store.retain_rounds

    def leave() -> None:
        server.should_exit = True

    work = Work(
        Conductor(
            ledgers[0],
            stores[0],
            keys.sealing_secret,
            executor=executor,
            telemetry=telemetry,
            retention=None if rounds is None else Retention(stores[0], rounds=rounds),
        ),
        poll=settings.conduct.poll_seconds,
        longest=settings.conduct.longest_pause_seconds,
        when_it_ends=leave,
    )
    auditor = Auditor(
        ledgers[1],
        stores[1],
        keys.sealing_secret,
        audited_code=audited_code_digest(),
        every=settings.service.audit_every_seconds,
        executor=executor,
        retain_rounds=rounds,
    )
    door = Door(
        place=place_of(ledgers[0], settings.ledger),
        service=settings.service.known_as,
        me=work.conductor.me,
        role_of=work.role_of,
        monitor_token=read_monitor_token(settings.service),
    )
    accounts, clients = (rates(settings.service) for _ in range(2))
    service = create_app(
        work, Probe(ledgers[2], stores[2]), auditor, door, accounts=accounts, clients=clients
    )
    server = server_of(service, settings.service)
    return server, work


if __name__ == "__main__":
    app()
