"""`tally audit`: whoever is entitled to ask recomputes a whole study from ledger and store (PROTOCOL §9)."""

from __future__ import annotations

import json
import secrets
from concurrent.futures import Executor
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from federation.audience import PUBLIC
from federation.audit.checks import Finding
from federation.audit.observer import Observer
from federation.audit.report import NOT_PROVED, Report, to_json, verify
from federation.audit.view import LedgerView
from federation.digest import Digest
from federation.endpoints import (
    LedgerSettings,
    Section,
    StoreSettings,
    load_settings,
    open_ledger,
    open_store,
)
from federation.enrolment import enrol, show_enrolment
from federation.errors import Violation
from federation.events import StudyId
from federation.executors import open_executor
from federation.exits import printable, told_plainly
from federation.identity import Identity, load_identity, read_password
from federation.ledger.abi import audited_code_digest
from federation.ledger.ledger import Ledger
from federation.members import Role
from federation.runs import HERE
from federation.seal import ContentKey
from federation.store.content import ContentStore

from .filing import file_charges

app = typer.Typer(
    name="audit",
    help="Recompute a study.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_COLOURS = {"holds": "green", "fails": "bold red", "unknown": "yellow", "unchecked": "dim"}


class ReaderSettings(Section):
    """Who reads what is sealed to a study's audience, and disputes; a public study can be read without."""

    identity: Path
    password_file: Path | None = None
    dispute: bool = True  # prove on the ledger what is wrong with a total that stands; costs gas


class AuditSettings(Section):
    """Where the evidence lies."""

    ledger: LedgerSettings
    store: StoreSettings
    executor: str = "here"  # what verifies: "processes", or "dask://host:port"
    reader: ReaderSettings | None = None


@app.callback()
def _group() -> None:
    """Audits of a study."""


@app.command()
@told_plainly()
def init(
    identity: Annotated[Path, typer.Option(help="An empty folder for the keys.")],
    name: Annotated[str, typer.Option(help="For the roster: at most 31 ASCII characters.")],
    password_file: Annotated[Path | None, typer.Option(help="Else the variable TALLY_PASSWORD.")] = None,
) -> None:
    """Make an auditor's keys, and print the enrolment; public studies are audited without any."""
    password = read_password(password_file)
    member = enrol(identity, password, role=Role.AUDITOR, name=name, random=secrets.token_bytes)
    typer.echo(show_enrolment(member))


@app.command("verify")
@told_plainly()
def verify_(
    settings: Annotated[Path, typer.Option("--settings", help="TOML file with [ledger] and [store].")],
    study: Annotated[int, typer.Option(min=1, help="The study's number on the ledger.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
    no_dispute: Annotated[
        bool, typer.Option("--no-dispute", help="Charge nobody, whatever is found.")
    ] = False,
) -> None:
    """Check every claim, and charge who posted a wrong total; exit 0 if all claims hold, 3 if any does not.

    What came of a charge is said in a line on stderr: it changes neither the report nor the exit code.
    """
    evidence = load_settings(AuditSettings, settings)
    reader = _reader(evidence.reader)
    account = None if reader is None else reader.account
    ledger = open_ledger(evidence.ledger, account, only_audited_code=False)
    store = open_store(evidence.store)
    with open_executor(evidence.executor) as executor:
        report = audit(
            ledger,
            store,
            StudyId(study),
            reader=reader,
            audited_code=audited_code_digest(),
            executor=executor,
            retain_rounds=evidence.store.retain_rounds,
        )
        if as_json:
            typer.echo(json.dumps(to_json(report), indent=2))
        else:
            show(report, Console())
        unless = _why_not(evidence.reader, told_not_to=no_dispute, audited=ledger.code_is_audited)
        for line in file_charges(report, ledger, unless=unless):
            typer.echo(printable(line), err=True)
    raise typer.Exit(report.exit_code)


def _why_not(reader: ReaderSettings | None, *, told_not_to: bool, audited: bool) -> str:
    """Why nobody is charged; empty where nothing speaks against it."""
    if told_not_to:
        return "--no-dispute"
    if reader is None:
        return "there is no [reader] in the settings whose account could pay for it"
    if not reader.dispute:
        return "the settings say `dispute = false`"
    return "" if audited else "the contract is not the audited build"


def audit(
    ledger: Ledger,
    store: ContentStore,
    study: StudyId,
    *,
    reader: Identity | None,
    audited_code: Digest,
    executor: Executor = HERE,
    retain_rounds: int | None = None,
) -> Report:
    """Every claim about `study`, up to the ledger's newest final block.

    Without a `reader` of a sealed study, what is sealed stays unknown. `retain_rounds` is for how many rounds
    the consortium keeps updates: older ones that are gone are nobody's fault. Raises `Unavailable` when the
    chain or the study's document cannot be reached, `LedgerRejected` for a study that is not there.
    """
    view = LedgerView(ledger)
    view.read_on()
    observer = Observer(view, ledger, store, study, executor=executor, retain_rounds=retain_rounds)
    return verify(observer.study_record(_content_key(observer, reader)), audited_code=audited_code)


def _content_key(observer: Observer, reader: Identity | None) -> ContentKey:
    """Of a reader; `PUBLIC` too where the document is not the agreed one, which the record then says."""
    try:
        agreement = observer.agreement
    except Violation:
        return PUBLIC
    return PUBLIC if reader is None else agreement.content_key(reader.address, reader.sealing_secret)


def show(report: Report, out: Console) -> None:
    """The claims as a table, then what was found, in the order of the claims."""
    record = report.record
    _line(out, f"study   {record.study.id}, document 0x{record.study.terms.digest.hex()}")
    _line(out, f"ledger  0x{record.ledger.hex()}")
    _line(out, f"up to   block {record.head.number}, 0x{record.head.hash.hex()}")
    table = Table()
    for column in ("clause", "claim", "verdict", "checked on"):
        table.add_column(column)
    for claim in report.claims:
        colour = _COLOURS[claim.verdict]
        verdict = f"[{colour}]{claim.verdict}[/{colour}]"
        table.add_row(claim.clause, claim.name.replace("_", " "), verdict, claim.evidence)
    out.print(table)
    for sentence in report.endings.values():
        _line(out, report.explain(sentence))
    for finding in report.findings:
        _show_finding(report, finding, out)
    for notice in report.notices:
        _show_finding(report, notice, out)
    count = len(report.findings)
    _line(out, f"{count} finding{'s' * (count != 1)}." if count else "Every claim holds.")
    _line(out, NOT_PROVED)


def _show_finding(report: Report, finding: Finding, out: Console) -> None:
    place = "" if finding.round is None else f" round {finding.round}"
    lines = [f"{finding.weight.value.upper()} {finding.clause}{place}: {report.explain(finding.message)}"]
    if finding.culprit is not None:
        lines.append(f"  culprit  {report.explain(finding.culprit)}")
    if finding.expected is not None or finding.found is not None:
        lines.append(f"  expected {report.explain(finding.expected)}")
        lines.append(f"  found    {report.explain(finding.found)}")
    for line in lines:
        _line(out, line)


def _line(out: Console, text: str) -> None:
    """Not wrapped, so that digests can be copied, and never markup: it may hold a peer's words."""
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def _reader(settings: ReaderSettings | None) -> Identity | None:
    if settings is None:
        return None
    return load_identity(settings.identity, read_password(settings.password_file))
