"""A chain takes back its newest blocks in every phase of a study; for whoever waits, nothing changes.

Real nodes and a real aggregator, each with its own folder, on a real chain. Where the newest two blocks hold
a call of a kind that was not taken back yet, they are replaced by empty ones, and the party that sent it is
killed and started again. The same study is played undisturbed from the same block: the outcomes are equal.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from eth_account import Account

from aggregator.conductor import Conductor
from aggregator.duty import Abandon, Finish, PostTotal
from deploy.contracts import Deployment, deploy
from deploy.devnet import CHAIN_ID, Devnet
from federation.audit.observer import Observer
from federation.audit.view import LedgerView
from federation.bookmarks import BookmarkFile, bookmark_file
from federation.errors import Refused
from federation.events import (
    Event,
    ModelConfirmed,
    ResultProposed,
    RoundId,
    SharePosted,
    StudyId,
    TotalPosted,
    UpdateCommitted,
    UpdateRevealed,
)
from federation.ledger.chain import ChainLedger, connect
from federation.members import Address, Member, Role, SealingKey, parse_address
from federation.rehearsal import Rehearsal, sealing_secret
from federation.rounds import Study
from federation.store.directory import DirectoryStore
from node.daemon import run
from node.journal import Entry, Journal
from node.seat import Seat
from node.vault import Vault

from ..node.ward import Held, Still, identity, lenient_rules, patients, repeatable
from ..rehearsing import HOSPITALS, hospital, spec_of
from ..worlds import timeless

DEPTH = 2  # confirmations, and how many blocks are taken back
ROUNDS = 2
KINDS = (UpdateCommitted, UpdateRevealed, TotalPosted, SharePosted, ResultProposed, ModelConfirmed)
SWEEPS = 60  # of all parties; a study takes about 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A chain with a contract and a study that all have accepted, final for everybody."""

    devnet: Devnet
    deployment: Deployment
    secrets: dict[Address, bytes]
    rehearsal: Rehearsal
    store: Path

    def open(
        self, account: Address, confirmations: int = DEPTH, bookmark: BookmarkFile | None = None
    ) -> ChainLedger:
        return connect(
            self.devnet.url,
            self.deployment.address,
            Account.from_key(self.secrets[account]),
            deployment_block=self.deployment.block,
            confirmations=confirmations,
            **({} if bookmark is None else {"bookmark": bookmark}),
        )

    def ledger(self, account: Address) -> ChainLedger:
        """What the rehearsal sets the study up with."""
        return self.open(account, 0)

    def newest(self) -> list[Event]:
        """What stands in the blocks that may still be taken back."""
        ledger = self.ledger(self.aggregator)
        head = ledger.head().number
        return list(ledger.events(head - DEPTH, head))

    @property
    def aggregator(self) -> Address:
        return max(self.secrets)

    @property
    def hospitals(self) -> list[Address]:
        return sorted(self.secrets)[:-1]


class Party:
    """A daemon and its folder; it works until it has to wait."""

    def __init__(self, ground: Ground, me: Address, folder: Path, store: Path) -> None:
        self.ground = ground
        self.me = me
        self.folder = folder
        self.store = DirectoryStore(store)
        self.start()

    @property
    def bookmark(self) -> BookmarkFile:
        contract = self.ground.deployment.address
        return bookmark_file(self.folder, chain_id=CHAIN_ID, contract=contract)

    def start(self) -> None:
        raise NotImplementedError

    def work(self) -> None:
        raise NotImplementedError

    def kill(self) -> None:
        """Nothing is left but the folder."""


class Aggregator(Party):
    def start(self) -> None:
        self.conductor = Conductor(
            self.ground.open(self.me, bookmark=self.bookmark), self.store, sealing_secret(self.me)
        )

    def work(self) -> None:
        while isinstance(self.conductor.step(), PostTotal | Finish | Abandon):
            pass


class Node(Party):
    def start(self) -> None:
        model = HOSPITALS[self.ground.hospitals.index(self.me)]
        ledger = self.ground.open(self.me, bookmark=self.bookmark)
        self.view = LedgerView(ledger)
        self.view.refresh()
        observer = Observer(self.view, ledger, self.store, StudyId(1))
        rehearsal = self.ground.rehearsal
        self.seat = Seat(
            me=self.me,
            ledger=ledger,
            store=self.store,
            observer=observer,
            content_key=rehearsal.content_key,
            key_shares=Held(rehearsal.hospitals[self.me], rehearsal.agreement.suite.key_digest),
            vault=Vault(self.folder, identity(model), ledger.id, repeatable(model)),
            journal=Journal(self.folder / "journal.sqlite", ledger.id),
            patients=Still(patients(model)),
            rules=lenient_rules(self.folder, observer.agreement),
        )

    def work(self) -> None:
        run(self.seat, self.view, lambda: False)

    def kill(self) -> None:
        self.seat.journal.close()

    @property
    def adopted(self) -> list[bytes | None]:
        rounds = [RoundId(StudyId(1), number) for number in range(1, ROUNDS + 1)]
        return [self.seat.journal.recall(Entry.ADOPTED, round) for round in rounds]


@dataclass
class Course:
    """One way through the study, from accepted to settled."""

    ground: Ground
    folder: Path
    disturbed: bool
    taken_back: list[tuple[int, type[Event]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        store = self.folder / "store"
        shutil.copytree(self.ground.store, store)
        self.nodes = [Node(self.ground, me, self.folder / me.hex(), store) for me in self.ground.hospitals]
        self.aggregator = Aggregator(self.ground, self.ground.aggregator, self.folder / "aggregator", store)
        for _ in range(SWEEPS):
            for party in (*self.nodes, self.aggregator):
                party.work()
                if self.disturbed and self._take_back():
                    party.kill()
                    party.start()
            self.ground.devnet.advance(1)
            if self._is_over:
                break
        self.events = self._events()
        self.adopted = [node.adopted for node in self.nodes]

    def close(self) -> None:
        for node in self.nodes:
            node.kill()

    def _take_back(self) -> bool:
        """Whether the newest blocks were replaced, since they held a call of a new kind in its round."""
        fresh = {
            (event.round.number, type(event)) for event in self.ground.newest() if isinstance(event, KINDS)
        } - set(self.taken_back)
        if not fresh:
            return False
        self.ground.devnet.rpc("anvil_reorg", DEPTH, [])
        assert self.ground.newest() == [], "the calls are gone"
        self.taken_back += sorted(fresh, key=lambda one: (one[0], KINDS.index(one[1])))
        return True

    @property
    def study(self) -> Study:
        return self.nodes[0].seat.observer.study

    @property
    def _is_over(self) -> bool:
        studies = [node.seat.observer.study for node in self.nodes]
        return all(s.is_complete and len(s.finished[-1].confirmations) == len(self.nodes) for s in studies)

    def _events(self) -> list[Event]:
        ledger = self.ground.open(self.ground.aggregator)
        return list(ledger.events(-1, ledger.head().number))


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("ground")
    with Devnet.start("anvil", directory=folder / "chain") as devnet:
        secrets = {parse_address(Account.from_key(key).address): key for key in devnet.funded[:5]}
        ground = _settle(devnet, secrets, folder / "store")
        yield ground


def _settle(devnet: Devnet, secrets: dict[Address, bytes], store: Path) -> Ground:
    *members, aggregator = sorted(secrets)
    roles = dict.fromkeys(members, Role.INSTITUTION) | {aggregator: Role.AGGREGATOR}
    founders = [
        Member(address=who, role=role, sealing_key=SealingKey(bytes(32)), name=role.name.lower())
        for who, role in roles.items()
    ]
    deployment = deploy(devnet.url, devnet.funded[-1], founders)
    spec = replace(spec_of("paillier", rounds=ROUNDS), members=tuple(members), aggregators=(aggregator,))
    hospitals = [
        replace(hospital(model, "paillier"), address=address)
        for model, address in zip(HOSPITALS, members, strict=True)
    ]
    chain = Ground(devnet=devnet, deployment=deployment, secrets=secrets, rehearsal=None, store=store)
    rehearsal = Rehearsal(spec, hospitals, chain=chain, store=DirectoryStore(store))
    for _ in range(DEPTH):
        devnet.advance(1)
    return replace(chain, rehearsal=rehearsal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Courses:
    calm: Course
    disturbed: Course


@pytest.fixture(scope="module")
def courses(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Courses]:
    snapshot = ground.devnet.rpc("evm_snapshot")
    calm = Course(ground, tmp_path_factory.mktemp("calm"), disturbed=False)
    calm.close()
    ground.devnet.rpc("evm_revert", snapshot)
    disturbed = Course(ground, tmp_path_factory.mktemp("disturbed"), disturbed=True)
    yield Courses(calm=calm, disturbed=disturbed)
    disturbed.close()


def test_a_call_of_every_kind_was_taken_back_in_every_round(courses: Courses) -> None:
    expected = {(number, kind) for number in range(1, ROUNDS + 1) for kind in KINDS}
    expected.remove((1, ModelConfirmed))  # the next round's commits say it
    assert set(courses.disturbed.taken_back) == expected


def test_everybody_ends_where_an_undisturbed_run_ends(courses: Courses) -> None:
    calm, disturbed = courses.calm, courses.disturbed
    assert disturbed.adopted == calm.adopted
    (models,) = {tuple(adopted) for adopted in disturbed.adopted}
    assert None not in models
    assert [[p.model for p in round.proposals] for round in disturbed.study.rounds] == [[m] for m in models]


def test_the_ledger_holds_the_same_facts_in_other_places(courses: Courses) -> None:
    calm, disturbed = (set(map(repr, timeless(c.events))) for c in (courses.calm, courses.disturbed))
    assert disturbed == calm
    assert len(courses.disturbed.events) == len(courses.calm.events)
    assert courses.disturbed.events != courses.calm.events


def test_deeper_than_everybodys_depth_all_stop_and_a_restart_changes_nothing(courses: Courses) -> None:
    """The last test on this chain: nobody goes on afterwards."""
    ground, parties = courses.disturbed.ground, [*courses.disturbed.nodes, courses.disturbed.aggregator]
    marks = [party.bookmark.recall() for party in parties]
    depth = ground.ledger(ground.aggregator).head().number - min(mark.number for mark in marks if mark) + 1
    ground.devnet.rpc("anvil_reorg", depth, [])
    for party in parties:
        with pytest.raises(Refused, match=f"reorganised deeper than {DEPTH} confirmations"):
            party.work()
        party.kill()
        with pytest.raises(Refused, match=r"Ask the other institutions.*remove .*bookmark-31337-"):
            _start_and_work(party)


def _start_and_work(party: Party) -> None:
    party.start()
    party.work()
