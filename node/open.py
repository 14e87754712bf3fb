"""Opens the real parts that a node works with: the node's only place that names chain and store."""

from __future__ import annotations

import logging
import secrets
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from eth_account.signers.local import LocalAccount

from federation.agreement import Agreement
from federation.arithmetic import Model
from federation.audit.observer import Observer
from federation.audit.view import LedgerView
from federation.endpoints import open_ledger, open_store
from federation.errors import LedgerRejected, Refused
from federation.events import RoundId, StudyId
from federation.identity import Identity, load_identity, read_password
from federation.ledger.ledger import Ledger
from federation.members import show_address
from federation.retention import Retention
from federation.runs import HERE
from federation.store.content import ContentStore
from federation.store.watched import WatchedStore
from federation.telemetry import SILENT, Telemetry

from .journal import JOURNAL, Entry, Journal
from .key_shares import KeyShares
from .patients import PatientsFile
from .policy import PolicyRefusal
from .rules import Rules, rules_of
from .seat import Seat
from .settings import NodeSettings
from .vault import Vault

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A study's real parts."""

    view: LedgerView
    observer: Observer
    ledger: Ledger
    store: ContentStore


def open_study(
    node: NodeSettings,
    account: LocalAccount | None,
    *,
    memory: Path | None = None,
    telemetry: Telemetry = SILENT,
) -> Desk:
    """The study as the ledger has it now; raises `Refused` where there is none of that number.

    Only the daemon has a `memory` (see `open_ledger`): it alone acts on rounds.
    """
    if node.ledger is None or node.store is None:
        raise Refused(
            "settings: [ledger] and [store] are needed: `tally node join --invitation …` brings both"
        )
    ledger = open_ledger(node.ledger, account, memory=memory, telemetry=telemetry)
    view = LedgerView(ledger)
    view.refresh()
    store = WatchedStore(open_store(node.store), telemetry)
    observer = Observer(view, ledger, store, StudyId(node.study), retain_rounds=node.store.retain_rounds)
    try:
        _ = observer.study
    except LedgerRejected as error:
        known = len(view.history.studies)
        raise Refused(f"study {node.study}: the ledger has {known} studies; set `study` to one") from error
    return Desk(view=view, observer=observer, ledger=ledger, store=store)


def check_joining(
    node: NodeSettings, rules: Rules, shares: KeyShares, identity: Identity, agreement: Agreement
) -> None:
    """Raises `Refused` or `Violation` unless study, rules, key share and patients agree."""
    check_member(node, identity, agreement)
    rules.check_study(agreement)  # sizes among them: `check` makes a model of that size
    check_part(shares, identity, agreement)
    rules.check_patients(PatientsFile(path=node.data, task=agreement.task))


def check_member(node: NodeSettings, identity: Identity, agreement: Agreement) -> None:
    """Raises `Refused` where the study is one of others."""
    if identity.address not in agreement.spec.members:
        account = show_address(identity.address)
        raise Refused(f"{account} is no member of study {node.study}: set `study` to one that it is in")


def check_part(shares: KeyShares, identity: Identity, agreement: Agreement) -> None:
    """Raises `Refused` or `Violation` unless the study is sound, and key share and sealing key are of it."""
    agreement.check()
    check_share(shares, identity, agreement)
    agreement.content_key(identity.address, identity.sealing_secret)  # else we could not read results


def check_key(rules: Rules, shares: KeyShares, identity: Identity, agreement: Agreement) -> None:
    """Raises `Refused` or `Violation` unless our rules take study and key, and our share belongs to it."""
    rules.check_study(agreement)
    check_share(shares, identity, agreement)


def check_share(shares: KeyShares, identity: Identity, agreement: Agreement) -> None:
    """Raises `Refused` or `Violation` unless we hold a share of this key, and it is ours."""
    share = shares.of(agreement.suite.key_digest)
    agreement.suite.check_key_share(agreement.index_of(identity.address), share)


def open_seat(
    node: NodeSettings, executor: Executor = HERE, telemetry: Telemetry = SILENT
) -> tuple[Seat, LedgerView]:
    """Our seat in the study, with study, policy, key share and patients checked once more.

    Where our own rules say no to a study that we have accepted, the seat is taken all the same, to give
    nothing: others count on us to end rounds, prove faults, and publish what we gave. The key is that of the
    round under way or next: shares of past epochs are meant to be destroyed (§3.3).
    """
    password = read_password(node.password_file)
    identity = load_identity(node.identity, password)
    desk = open_study(node, identity.account, memory=node.vault, telemetry=telemetry)
    identity = identity.known_to(desk.observer.study)
    shares = KeyShares(node.vault, password)
    study, rules = desk.observer.study, rules_of(node, desk.ledger.id)
    agreement = desk.observer.agreement_of(study.current().id.number)
    check_member(node, identity, agreement)
    patients = PatientsFile(path=node.data, task=agreement.task)
    try:
        with rules.kept("start", study.id):
            rules.check_study(agreement)
            rules.check_patients(patients)
    except PolicyRefusal as refusal:
        if identity.address not in study.accepted:
            raise
        log.warning("starts, and gives nothing", extra={"why": str(refusal)})
    check_part(shares, identity, agreement)
    vault = Vault(node.vault, identity, desk.ledger.id, secrets.token_bytes)
    journal = Journal(node.vault / JOURNAL, desk.ledger.id)
    recall_models(desk.observer, vault, journal)
    rounds = None if node.store is None else node.store.retain_rounds
    seat = Seat(
        me=identity.address,
        ledger=desk.ledger,
        store=desk.store,
        observer=desk.observer,
        content_key=desk.observer.content_key(identity.address, identity.sealing_secret),
        key_shares=shares,
        vault=vault,
        journal=journal,
        patients=patients,
        rules=rules,
        disputes=node.policy.dispute,
        executor=executor,
        retention=None if rounds is None else Retention(desk.store, rounds=rounds),
        telemetry=telemetry,
    )
    return seat, desk.view


def recall_models(observer: Observer, vault: Vault, journal: Journal) -> None:
    """The models that this node adopted stand; nobody can make it recompute them by withdrawing old bytes."""

    def recall(round: RoundId) -> Model | None:
        model = vault.model(round)
        adopted = journal.recall(Entry.ADOPTED, round)
        return model if model is not None and observer.agreement.model_digest(model) == adopted else None

    observer.recall_from(recall)
