"""`tally study create`: writes down what a consortium has agreed on, and proposes it on the ledger."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

import typer
from pydantic import Field

from federation.agreement import agree, terms_of
from federation.arithmetic import MILLION, Scale, default_bits
from federation.audience import EVERYBODY, invite
from federation.audit.observer import Observer
from federation.audit.view import LedgerView
from federation.ciphers import choose
from federation.ciphers.suite import CipherSuite
from federation.dealing import PublicKey
from federation.digest import LedgerId
from federation.endpoints import (
    AddressText,
    LedgerSettings,
    Section,
    StoreSettings,
    await_final,
    load_settings,
    open_ledger,
    open_store,
)
from federation.enrolment import read_public_key
from federation.errors import Refused, Unavailable, Violation
from federation.events import Stake, StudyId, StudyTerms, Windows
from federation.exits import told_plainly
from federation.identity import load_identity, read_password
from federation.ledger.ledger import Ledger, Receipt
from federation.members import ADDRESS_BYTES, Address, Member, Role, parse_address, show_address
from federation.model import model_digest
from federation.seal import KEY_BYTES, ContentKey
from federation.store.content import ContentStore, put_bytes
from federation.study import StudySpec
from federation.tasks import TaskSpec, task_for
from federation.tasks.tabular import Feature, LogisticRegression

from .rekey import next_steps, propose_key

app = typer.Typer(
    name="study", help="Studies.", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None
)


class FeatureSettings(Section):
    """A column of the patients' table; the model sees (value - centre) / scale."""

    name: str
    centre: float
    scale: float = Field(gt=0)


class TaskSettings(Section):
    """A logistic regression on a table."""

    kind: Literal["logistic-regression"]
    label: str
    positive: str
    negative: str
    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    l2: float = Field(ge=0)
    features: tuple[FeatureSettings, ...] = Field(min_length=1)

    def spec(self) -> TaskSpec:
        """The task as the study's document holds it: in millionths, so that it has one encoding."""
        features = tuple(
            Feature(name=f.name, centre=_millionths(f.centre), scale=_millionths(f.scale))
            for f in self.features
        )
        return LogisticRegression(
            label=self.label,
            positive=self.positive,
            negative=self.negative,
            features=features,
            epochs=self.epochs,
            batch=self.batch,
            rate=_millionths(self.learning_rate),
            l2=_millionths(self.l2),
        ).spec


class ScaleSettings(Section):
    """The bounds of an update (PROTOCOL §8)."""

    clip: float = Field(gt=0)  # L2 norm
    bound: float = Field(gt=0)  # each coordinate
    weight_cap: int = Field(ge=1)  # patients; two significant digits

    def scale(self, members: int) -> Scale:
        """For sums of up to `members` updates."""
        return Scale(
            clip=_millionths(self.clip),
            bound=_millionths(self.bound),
            weight_cap=self.weight_cap,
            members=members,
            bits=default_bits(members),
        )


class WindowSettings(Section):
    """Seconds of block time for each phase."""

    commit: int = Field(ge=1)
    reveal: int = Field(ge=1)
    combine: int = Field(ge=1)
    open: int = Field(ge=1)


class StakeSettings(Section):
    """What an aggregator must have deposited to post a total, and loses when a fault of it is proven."""

    ether: float = Field(default=0, ge=0, le=2**63 / 10**9)
    lock: int = Field(default=0, ge=0, lt=2**32)  # seconds after a total in which nothing can be withdrawn
    treasury: AddressText | None = None  # who gets it; by default whoever proves the fault

    def stake(self) -> Stake:
        """As the study's document holds it."""
        treasury = Address(bytes(ADDRESS_BYTES)) if self.treasury is None else parse_address(self.treasury)
        return Stake(gwei=round(self.ether * 10**9), lock=self.lock, treasury=treasury)


class StudySettings(Section):
    """What is agreed on before any computer knows it."""

    name: str = Field(min_length=1, max_length=80, pattern=r"^[\x20-\x7e]+$")
    identity: Path  # of any member of the roster: who proposes
    password_file: Path | None = None
    public_key: Path
    aggregators: tuple[AddressText, ...] = ()  # in the order of their turns; by default the roster's only one
    minimum: int = Field(ge=3)  # contributors to a sum
    rounds: int = Field(ge=1)
    sealed: bool = True  # shares, openings and models are for the roster alone
    scale: ScaleSettings
    windows: WindowSettings
    stake: StakeSettings = StakeSettings()
    task: TaskSettings
    ledger: LedgerSettings
    store: StoreSettings


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
    typer.echo(
        f"study {max(numbers)} proposed; its task, for every member's policy: "
        f"{study.task.spec().digest.hex()}"
    )
    typer.echo("Next, at each member: `tally node join --settings node.toml` shows it, and to accept it:")
    typer.echo(f"  tally node join --settings node.toml --digest {digest}")


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


def _millionths(value: float) -> int:
    return round(value * MILLION)
