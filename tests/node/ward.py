"""One real node, made of disk and daemon, among rehearsed hospitals; and what can break around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from eth_account import Account

from federation.agreement import Agreement
from federation.audit.observer import Observer
from federation.audit.view import LedgerView
from federation.ciphers.suite import KeyShare
from federation.digest import Cid, Digest, derive
from federation.errors import LedgerRejected, Refused, Violation
from federation.identity import Identity
from federation.members import Address
from federation.races import is_lost_race
from federation.rehearsal import Hospital, Rehearsal, sealing_secret
from federation.rounds import Combining, Committing, Opening, Revealing
from federation.tasks.task import Dataset
from node.approvals import Approvals
from node.daemon import step
from node.duty import Done, Duty, Fetch, Wait
from node.openings import Openings
from node.refusals import Refusals
from node.rules import Rules
from node.seat import Seat
from node.settings import PolicySettings

from ..rehearsing import HOSPITALS, SAMPLES
from ..seams import Crash, Fuse, FusedJournal, FusedOpenings, FusedVault, TappedLedger, TappedStore, Told

LENIENT = PolicySettings(accept_weak_keys=True, accept_public_results=True)


@dataclass(frozen=True)
class Still:
    """Patients that never change."""

    dataset: Dataset

    def read(self) -> Dataset:
        return self.dataset


@dataclass
class Held:
    """A hospital's shares as its vault would have them: the first, and those dealt later."""

    hospital: Hospital
    first: Digest

    def __contains__(self, key: object) -> bool:
        return key == self.first or key in self.hospital.later_shares

    def of(self, key: Digest) -> KeyShare:
        if key not in self:
            raise Refused(f"no share of key {key.hex()[:16]}")
        return self.hospital.share_of(key)


@dataclass
class Node:
    """One hospital's node: its folder stays, everything else is new after each start."""

    stage: Rehearsal
    me: Address
    folder: Path
    fuse: Fuse = field(default_factory=Fuse)
    sent: list[tuple[str, tuple[object, ...]]] = field(default_factory=list)
    written: list[Cid] = field(default_factory=list)
    disputes: bool = True
    policy: PolicySettings = LENIENT
    crashes: int = 0
    accusations: int = 0
    seat: Seat = field(init=False)
    view: LedgerView = field(init=False)
    ledger: TappedLedger = field(init=False)
    store: TappedStore = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A new process on the same disk."""
        stage, me = self.stage, self.me
        self.ledger = self.tapped()
        self.store = TappedStore(stage.store, self.fuse, self.written)
        self.view = LedgerView(self.ledger)
        self.view.refresh()
        observer = Observer(self.view, self.ledger, self.store, stage.study)
        vault = FusedVault(self.folder, identity(me), self.ledger.id, repeatable(me))
        journal = FusedJournal(self.folder / "journal.sqlite", self.ledger.id)
        vault.fuse = journal.fuse = self.fuse
        self.seat = Seat(
            me=me,
            ledger=self.ledger,
            store=self.store,
            observer=observer,
            content_key=observer.content_key(me, sealing_secret(me)),
            key_shares=Held(stage.hospitals[me], stage.agreement.suite.key_digest),
            vault=vault,
            journal=journal,
            patients=Still(patients(me)),
            rules=self.rules(),
            disputes=self.disputes,
            pace=Told(self.fuse),
        )

    def rules(self) -> Rules:
        """What its people allow; the process may be killed around each opening's note."""
        rules = lenient_rules(self.folder, self.stage.agreement)
        openings = FusedOpenings(self.folder, self.ledger.id)
        openings.fuse = self.fuse
        return replace(rules, policy=self.policy, openings=openings)

    def tapped(self) -> TappedLedger:
        """The ledger as a new process sees it."""
        return TappedLedger(self.stage.ledger(self.me), self.fuse, self.sent)

    def kill(self) -> None:
        """The process is gone; the operating system has taken its locks away."""
        self.seat.journal.close()

    def restart(self) -> None:
        self.kill()
        self.start()

    def step(self) -> Duty:
        return step(self.seat, self.view)

    def works(self) -> list[Duty]:
        """What it does until it has to wait; killed and started again wherever the fuse says so."""
        done: list[Duty] = []
        while True:
            try:
                duty = self.step()
            except Crash:
                self.crashes += 1
                self.restart()
                continue
            except LedgerRejected as rejection:  # what an earlier process sent has arrived meanwhile
                if not is_lost_race(rejection):
                    raise
                continue
            except Violation:  # said once, and gone on from, as the daemon's loop does
                self.accusations += 1
                assert self.accusations < 10, "the node repeats itself"
                continue
            if isinstance(duty, Wait | Fetch | Done):
                return done
            done.append(duty)
            assert len(done) < 10, "the node repeats itself"

    def calls(self, name: str) -> list[tuple[object, ...]]:
        """The arguments of each attempt to send this call."""
        return [arguments for call, arguments in self.sent if call == name]


def lenient_rules(folder: Path, agreement: Agreement) -> Rules:
    """Everything that is rehearsed is allowed; its task is approved once."""
    approvals, ledger = Approvals(folder), agreement.ledger
    if not approvals.decisions():
        approvals.approve(agreement, by="a test", at="then")
    return Rules(
        policy=LENIENT,
        approvals=approvals,
        openings=Openings(folder, ledger),
        refusals=Refusals(folder, ledger, lambda: "now"),
    )


def patients(site: Address) -> Dataset:
    """Patients with five markers, of which two matter."""
    random = np.random.default_rng(site[0])
    inputs = random.normal(size=(SAMPLES[site], 5))
    labels = (inputs[:, 0] - inputs[:, 1] + random.normal(size=SAMPLES[site]) > 0).astype(np.int64)
    return Dataset(inputs=inputs, labels=labels)


def identity(site: Address) -> Identity:
    """Its sealing secret is the rehearsal's; its account signs nothing in memory."""
    return Identity(
        account=Account.from_key(derive(b"account", "test", site)), sealing_secret=sealing_secret(site)
    )


def repeatable(site: Address) -> Callable[[int], bytes]:
    """The same bytes each time, so that two runs can be compared: no randomness at all."""
    return lambda length: derive(b"not random", "test", site)[:length]


def others_act(stage: Rehearsal, who: Iterable[Address], *, finish_at: int = 4) -> None:
    """What rehearsed hospitals and aggregator do in the present phase, if they have not."""
    round = stage.round()
    match round.phase(stage.view.now):
        case Committing() if not stage.observer.study.is_complete:
            for address in [site for site in who if site not in round.commits]:
                stage.commit(address)
        case Revealing():
            for address in [site for site in who if site in round.commits and site not in round.reveals]:
                stage.reveal(address, round.id)
        case Combining():
            stage.post_total(round.id)
        case Opening():
            for address in [site for site in who if site not in round.shares]:
                stage.post_share(address, round.id)
            if len(stage.round(round.id).shares) >= finish_at:
                stage.finish(round.id, stage.agreement.spec.aggregators[0])
        case _:
            pass


def without(*sites: Address) -> tuple[Address, ...]:
    return tuple(address for address in HOSPITALS if address not in sites)
