"""`tally study create`: writes down what a consortium has agreed on, and proposes it on the ledger."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from federation.agreement import agree, terms_of
from federation.audience import EVERYBODY, invite
from federation.audit.observer import Observer
from federation.audit.view import LedgerView
from federation.ciphers import choose
from federation.ciphers.suite import CipherSuite
from federation.dealing import PublicKey
from federation.digest import LedgerId
from federation.endpoints import (
    await_final,
    load_settings,
    open_ledger,
    open_store,
)
from federation.enrolment import read_public_key
from federation.errors import Refused, Unavailable, Violation
from federation.events import StudyId, StudyTerms, Windows
from federation.exits import told_plainly
from federation.identity import load_identity, make_folder, read_password, write_secret
from federation.ledger.ledger import Ledger, Receipt
from federation.members import Address, Member, Role, parse_address, show_address
from federation.model import model_digest
from federation.seal import KEY_BYTES, ContentKey
from federation.store.content import ContentStore, put_bytes
from federation.study import StudySpec
from federation.tasks import task_for

from .invite import invitation_file, invitations
from .rekey import next_steps, propose_key
from .study_settings import StudySettings

app = typer.Typer(
    name="study", help="Studies.", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
)


@app.callback()
def _group() -> None:
    """Studies on a ledger."""


@app.command()
@told_plainly()
def create(settings: Annotated[Path, typer.Option("--settings", help="The study's TOML file.")]) -> None:
    """Propose a study; it begins when every member has accepted it."""
    study = load_settings(StudySettings, settings)
    identity = load_identity(study.identity, read_password(study.password_file))
    ledger, store = open_ledger(study.ledger, identity.account), open_store(study.store)
    view = LedgerView(ledger)
    view.refresh()
    spec = write_spec(study, view.history.roster.values(), ledger.id)
    terms, receipt = propose(ledger, store, spec)
    block, digest = receipt.at.block, terms.digest.hex()
    typer.echo(f"sent in block {block}, document {digest}", err=True)  # kept, even if the wait is cut off
    await_final(view, block)
    numbers = [id for id, found in view.history.studies.items() if found.terms == terms]
    if not numbers:
        raise Unavailable(f"block {block} is final without the proposal: a fork took it back; propose again")
    typer.echo(f"study {max(numbers)} proposed")
    number = "" if max(numbers) == 1 else f" --study {max(numbers)}"
    typer.echo("Next, a file for each member, with which `tally node join` shows the study and accepts it:")
    typer.echo(f"  tally study invite --settings {shlex.quote(str(settings))}{number} --ceremony … --out …")
    typer.echo("Or, at a member that has its share and [ledger] and [store] in its settings:")
    typer.echo(f"  tally node approve --settings node.toml --digest {study.task.spec().digest.hex()}")
    typer.echo(f"  tally node join --settings node.toml --digest {digest}")


@app.command("invite")
@told_plainly()
def invite_members(
    settings: Annotated[Path, typer.Option("--settings", help="The study's TOML file.")],
    ceremony: Annotated[
        list[Path], typer.Option(help="Folder with the sealed shares; of two dealers, both.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the invitations.")],
    study: Annotated[int, typer.Option(min=1, help="The study's number on the ledger.")] = 1,
) -> None:
    """Write a file for each member of a proposed study, with all that it needs to look at it and join."""
    agreed = load_settings(StudySettings, settings)
    ledger, store = open_ledger(agreed.ledger, None), open_store(agreed.store)
    view = LedgerView(ledger)
    view.refresh()
    observer = Observer(view, ledger, store, StudyId(study))
    public = read_public_key(agreed.public_key)
    written = invitations(observer, public, ceremony, ledger=agreed.ledger, store=agreed.store)
    make_folder(out)
    for member, invitation in written:
        write_secret(out / invitation_file(member), invitation.encode())
        typer.echo(f"{out / invitation_file(member)}  for {view.history.roster[member].name}")
    typer.echo("Next, at each of them:")
    typer.echo("  tally node join --settings node.toml --invitation FILE")
    typer.echo(
        f"Tell each, by another road than the file takes, the document: {observer.study.terms.digest.hex()}"
    )


@app.command()
@told_plainly()
def rekey(
    settings: Annotated[Path, typer.Option("--settings", help="The study's TOML file.")],
    public_key: Annotated[Path, typer.Option(help="What `tally keys deal` or `join` wrote.")],
    study: Annotated[int, typer.Option(min=1, help="The study's number on the ledger.")] = 1,
    identity: Annotated[Path | None, typer.Option(help="An institution's keys, if not those.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="Of that identity.")] = None,
) -> None:
    """Propose another key for a study's later rounds; it rules them when every member has accepted it."""
    agreed = load_settings(StudySettings, settings)
    document = read_public_key(public_key)
    password = read_password(agreed.password_file if identity is None else password_file)
    proposer = load_identity(agreed.identity if identity is None else identity, password)
    ledger, store = open_ledger(agreed.ledger, proposer.account), open_store(agreed.store)
    view = LedgerView(ledger)
    view.refresh()
    observer = Observer(view, ledger, store, StudyId(study))
    key, receipt = propose_key(ledger, store, observer, document)
    if receipt is not None:
        await_final(view, receipt.at.block)
    for line in next_steps(document, key, view.history.roster, public_key):
        typer.echo(line)


def write_spec(study: StudySettings, roster: Iterable[Member], ledger: LedgerId) -> StudySpec:
    """The study's document, with a fresh content key sealed to every reader on the roster."""
    public, suite = _public_key(study.public_key)
    task = task_for(study.task.spec())
    members = {member.address: member for member in roster}
    strangers = [f"0x{holder.hex()}" for holder in public.members if holder not in members]
    if strangers:
        raise Refused(f"share-holders who are not on the roster: {', '.join(strangers)}")
    readers = {
        member.address: member.sealing_key
        for member in members.values()
        if member.role is not Role.INSTITUTION or member.address in public.members
    }
    key = ContentKey(secrets.token_bytes(KEY_BYTES))
    return StudySpec(
        name=study.name,
        task=task.spec.name,
        task_parameters=task.spec.parameters,
        scale=study.scale.scale(len(public.members)),
        suite=choose(public.suite, values=task.size + 1),
        key=public.key,
        members=public.members,
        aggregators=_aggregators(study, members.values()),
        threshold=suite.threshold,
        minimum=study.minimum,
        rounds=study.rounds,
        windows=Windows(**study.windows.model_dump()),
        genesis=model_digest(task.initial(), task.shape_digest),
        audience=invite(key, readers, ledger, random=secrets.token_bytes) if study.sealed else EVERYBODY,
        stake=study.stake.stake(),
    )


def _public_key(path: Path) -> tuple[PublicKey, CipherSuite]:
    """The dealer's document, which is a file of ours here, and a suite under its key, whose proof holds."""
    public = read_public_key(path)
    try:
        return public, public.resolve()
    except Violation as error:
        raise Refused(f"{path}: expected a key whose proof holds: {error}; ask the dealer") from error


def _aggregators(study: StudySettings, roster: Iterable[Member]) -> tuple[Address, ...]:
    """Those that are named, or the only one; raises `Refused` rather than choose."""
    known = [member.address for member in roster if member.role is Role.AGGREGATOR]
    shown = ", ".join(map(show_address, known)) or "none"
    if not study.aggregators:
        if len(known) != 1:
            hint = 'name yours: aggregators = ["0x…"]' if known else "it has to be enrolled"
            raise Refused(f"expected one aggregator on the roster, found {shown}: {hint}")
        return (known[0],)
    wanted = tuple(map(parse_address, study.aggregators))
    for address in wanted:
        if address not in known:
            raise Refused(
                f"aggregators: expected some of the roster's ({shown}), found {show_address(address)}"
            )
    return wanted


def propose(ledger: Ledger, store: ContentStore, spec: StudySpec) -> tuple[StudyTerms, Receipt]:
    """The document is in the store and its terms on the ledger; first checked as every member checks it."""
    document = spec.encode()
    cid = put_bytes(store, document)
    try:
        terms = terms_of(spec, cid, ledger.id)
        agree(ledger.id, StudyId(1), terms, document).check()
    except Violation as fault:  # not a peer's: what we were about to propose
        raise Refused(f"no member could accept this study: {fault}") from fault
    return terms, ledger.create_study(terms)
