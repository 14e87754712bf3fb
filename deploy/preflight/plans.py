"""Which checks a node and an aggregator take, in the order in which they rest on one another."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Final

from aggregator.settings import Settings as AggregatorSettings
from federation.agreement import Agreement
from federation.audit.observer import Observer
from federation.audit.view import LedgerView
from federation.endpoints import LedgerSettings, StoreSettings, open_ledger, open_store
from federation.events import StudyId
from federation.identity import Identity, load_identity, read_password
from federation.ledger.ledger import Ledger
from federation.ledger.rpc import Rpc
from federation.members import Role, parse_address
from federation.store.content import ContentStore
from node.rules import Rules, rules_of
from node.settings import NodeSettings
from node.vault import read_key_share

from . import machine, network, party
from .lines import Checks

_ON_CHAIN: Final = ("node", "clock", "witnesses", "ledger", "roster", "ether")
_OF_STUDY: Final = ("study", "document", "key share", "policy", "patients")
_EVENTS: Final = (
    "the node has to have the logs since the deployment; ask the other institutions what they have"
)
_STORE: Final = "set exactly one of `directory` and `ipfs` under [store]; a folder has to be writable"
_NO_PROXY: Final = "set NO_PROXY, or unset the variable of the proxy"


def of_node(checks: Checks, node: NodeSettings) -> None:
    """All that `tally node run` rests on."""
    identity = of_machine(checks, node.identity, node.password_file, node.vault)
    if node.ledger is None or node.store is None:
        because = "settings: [ledger] and [store] are needed: ask the consortium for what goes there"
        checks.leave_out(*_ON_CHAIN, "store", *_OF_STUDY, because=because)
        return
    rpc, ledger = of_ledger(checks, node.ledger, node.vault)
    store = of_store(checks, node.store)
    if ledger is None or rpc is None or identity is None:
        checks.leave_out("roster", "ether", *_OF_STUDY, because="needs the ledger and our keys")
        return
    view = LedgerView(ledger)
    if checks.ask("events", lambda: _read(view), todo=_EVENTS) is None:
        checks.leave_out("roster", "ether", *_OF_STUDY, because="needs the ledger's events")
        return
    _on_roster(checks, view, identity, Role.INSTITUTION)
    study = checks.ask(
        "study",
        lambda: party.in_study(view.history, node.study, identity),
        lambda found: (
            f"study {found.id} names us, {len(found.accepted)} of {len(found.terms.members)} accepted"
        ),
        todo="set `study` to one that names this hospital",
    )
    left = 1 if study is None else max(1, study.terms.rounds - len(study.finished))
    _ether(checks, rpc, identity, rounds=left, gas=network.NODE_GAS)
    if study is None or store is None:
        checks.leave_out(*_OF_STUDY[1:], because="needs the study and the store")
        return
    observer = Observer(view, ledger, store, StudyId(node.study))
    of_study(checks, node, observer, identity.known_to(study), rules_of(node, ledger.id))


def of_aggregator(checks: Checks, settings: AggregatorSettings) -> None:
    """All that `tally aggregator run` rests on."""
    identity = of_machine(checks, settings.identity, settings.password_file, None)
    host, port = settings.service.host, settings.service.port
    checks.ask("address", lambda: party.listens(host, port), todo="set another `port` under [service]")
    rpc, ledger = of_ledger(checks, settings.ledger, settings.identity)
    of_store(checks, settings.store)
    if ledger is None or rpc is None or identity is None:
        checks.leave_out("roster", "ether", "studies", "bond", because="needs the ledger and our keys")
        return
    view = LedgerView(ledger)
    if checks.ask("events", lambda: _read(view), todo=_EVENTS) is None:
        checks.leave_out("roster", "ether", "studies", "bond", because="needs the ledger's events")
        return
    _on_roster(checks, view, identity, Role.AGGREGATOR)
    studies = checks.ask(
        "studies",
        lambda: party.served(view.history, identity.address),
        lambda found: f"{len(found)} studies name this aggregator",
        todo="ask for one to be created with this aggregator in it",
    )
    rounds = sum(max(0, study.terms.rounds - len(study.finished)) for study in studies or ())
    _ether(checks, rpc, identity, rounds=max(1, rounds), gas=network.AGGREGATOR_GAS)
    if studies is None:
        checks.leave_out("bond", because="needs a study")
        return
    checks.ask(
        "bond",
        lambda: party.staked(identity.address, studies),
        todo="`tally bond --study … --deposit …`",
    )


def of_machine(
    checks: Checks, folder: Path, password_file: Path | None, vault: Path | None
) -> Identity | None:
    """What needs no network; the identity, if it opens."""
    checks.ask(
        "floats",
        machine.floats,
        todo="start it without flush-to-zero: look at LD_PRELOAD and at what is embedded",
    )
    checks.ask(
        "files",
        lambda: machine.permissions(party.secret_files(folder, password_file, vault)),
        todo="chmod 600 the files and 700 the folders, as the user that the daemon runs as",
    )
    checks.ask("space", lambda: machine.space(vault or folder), todo="make room, or move it to a larger disk")
    checks.ask(
        "disk",
        lambda: machine.writes(vault if vault and vault.is_dir() else folder),
        todo="mount it writable, for the user that the daemon runs as",
    )
    return checks.ask(
        "keys",
        lambda: load_identity(folder, read_password(password_file)),
        lambda found: f"{found.account.address} opens",
        todo="set `identity` and `password_file`; `tally … init` makes new ones",
    )


def of_ledger(checks: Checks, settings: LedgerSettings, memory: Path) -> tuple[Rpc | None, Ledger | None]:
    """Each node by itself, then all together as the daemon will ask them."""
    found: dict[str, network.Served] = {}
    for rpc in network.nodes_of(settings):
        checks.ask("proxy", partial(machine.proxy, rpc.shown), todo=_NO_PROXY)
        one = checks.ask(
            "node",
            partial(network.serves, rpc, settings),
            todo="start it, or correct url, chain_id, contract and deployment_block under [ledger]",
        )
        if one is not None:
            found[rpc.shown] = one
    if not found:
        checks.leave_out("clock", "witnesses", "ledger", because="needs a node that answers")
        return None, None
    times = {shown: one.newest for shown, one in found.items()}
    places = {shown: one.place for shown, one in found.items()}
    checks.ask("clock", lambda: machine.clock(time.time(), times), todo="let the clock be set by NTP")
    checks.ask(
        "witnesses", lambda: network.one_chain(places), todo="remove the node that is wrong from the settings"
    )
    ledger = checks.ask(
        "ledger",
        lambda: _opened(settings, memory),
        lambda found: f"0x{found.id.hex()}, final up to block {found.head().number}",
        todo="look at `also` and `agreeing` under [ledger]",
    )
    return next(iter(found.values())).rpc, ledger


def of_store(checks: Checks, settings: StoreSettings) -> ContentStore | None:
    """The store, if it keeps what it takes."""
    store = checks.ask(
        "store settings", lambda: open_store(settings), lambda _: "one store is set", todo=_STORE
    )
    if store is None:
        checks.leave_out("store", because="needs settings")
        return None
    if settings.directory is not None:
        checks.ask("store disk", partial(machine.space, settings.directory), todo="make room, or move it")
    kept = checks.ask("store", lambda: network.keeps(store), todo="start the daemon, or correct [store]")
    return None if kept is None else store


def of_study(
    checks: Checks, node: NodeSettings, observer: Observer, identity: Identity, rules: Rules
) -> None:
    """The study as people here agreed to it, and our part in it."""
    number = observer.study.current().id.number
    agreement = checks.ask(
        "document",
        lambda: _sound(observer, number),
        lambda found: f"{found.spec.name!r}: suite {found.spec.suite}, task {found.spec.task}",
        todo="ask whoever created the study; its bytes have to be in the store",
    )
    if agreement is None:
        checks.leave_out(*_OF_STUDY[2:], because="needs the study's document")
        return
    checks.ask(
        "key share",
        lambda: _holds(node, agreement, identity),
        todo="`tally node keys --accept` the share that the dealer sent",
    )
    checks.ask("policy", lambda: _allowed(rules, agreement), todo="review it: `tally node approve`")
    checks.ask(
        "patients",
        lambda: party.enough_patients(node.policy, agreement, node.data),
        todo="correct `data`, or the file",
    )


def _read(view: LedgerView) -> str:
    view.refresh()
    return f"read to block {view.head.number}; {len(view.history.roster)} on the roster"


def _opened(settings: LedgerSettings, memory: Path) -> Ledger:
    """As the daemon opens it: with its bookmark, where there is one to compare with."""
    ledger = open_ledger(settings, None, memory=memory if memory.is_dir() else None)
    ledger.head()
    return ledger


def _on_roster(checks: Checks, view: LedgerView, identity: Identity, role: Role) -> None:
    checks.ask(
        "roster",
        lambda: party.on_roster(view.history.consortium, identity, role),
        todo="give the consortium the enrolment of these keys: `tally roster`",
    )


def _ether(checks: Checks, rpc: Rpc, identity: Identity, *, rounds: int, gas: int) -> None:
    # Who pays is the account itself, whatever name a study has for it.
    payer = parse_address(identity.account.address)
    checks.ask(
        "ether", lambda: network.ether(rpc, payer, rounds=rounds, gas=gas), todo="send Ether to the account"
    )


def _sound(observer: Observer, number: int) -> Agreement:
    agreement = observer.agreement_of(number)
    agreement.check()
    return agreement


def _holds(node: NodeSettings, agreement: Agreement, identity: Identity) -> str:
    password, key = read_password(node.password_file), agreement.suite.key_digest
    share = read_key_share(node.vault, password, key=key)
    agreement.suite.check_key_share(agreement.index_of(identity.address), share)
    agreement.content_key(identity.address, identity.sealing_secret)
    index = agreement.index_of(identity.address)
    return f"share {index} of key {key.hex()[:16]} verifies, and results are ours to read"


def _allowed(rules: Rules, agreement: Agreement) -> str:
    rules.check_study(agreement)
    return "the study is within this hospital's policy, and its task approved"
