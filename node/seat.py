"""A member's seat in one study: everything that its duties need, opened once at start."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Literal, Protocol

from federation.agreement import Agreement
from federation.audit.observer import Observer
from federation.audit.record import RoundRecord
from federation.ciphers.suite import KeyShare
from federation.digest import Digest
from federation.endings import Endings
from federation.errors import Refused
from federation.events import RoundId
from federation.ledger.ledger import Ledger
from federation.members import Address
from federation.pace import Pace
from federation.retention import Retention
from federation.rounds import Round
from federation.runs import HERE
from federation.seal import ContentKey
from federation.store.content import ContentStore
from federation.tasks.task import Dataset
from federation.telemetry import SILENT, Telemetry

from .duty import Duty
from .journal import Journal
from .patients import Patients
from .rules import Rules
from .vault import Vault


class HeldShares(Protocol):
    """Our shares of the keys of all epochs, as far as we hold them."""

    def __contains__(self, key: object, /) -> bool: ...

    def of(self, key: Digest, /) -> KeyShare:
        """Our share of this key; raises `Refused`, naming key and command, where we hold none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One institution in one study."""

    me: Address
    ledger: Ledger
    store: ContentStore
    observer: Observer
    content_key: ContentKey
    key_shares: HeldShares
    vault: Vault
    journal: Journal
    patients: Patients
    rules: Rules
    disputes: bool = True  # whether we charge those who post wrong totals
    executor: Executor = HERE  # of this machine: it is handed secrets
    retention: Retention | None = None  # None: our store keeps all updates
    endings: Endings = field(default_factory=Endings)  # told so far
    telemetry: Telemetry = SILENT  # hears what is done
    pace: Pace[Duty] = field(default_factory=Pace)
    held: set[tuple[RoundId, Address]] = field(default_factory=set)  # updates fetched before their total

    @property
    def agreement(self) -> Agreement:
        """What everybody agreed on, under the first epoch's key."""
        return self.observer.agreement

    def agreement_of(self, id: RoundId) -> Agreement:
        """The same under the key of the round's epoch."""
        return self.observer.agreement_of(id.number)

    def key_share_of(self, id: RoundId) -> KeyShare:
        """Our share of the round's key; raises `Refused`, naming key and command, where we hold none.

        Or where the key was adopted while our seat was idle, and nobody here has accepted it since.
        """
        study = self.observer.study
        key = study.key_of(id.number)
        if not study.has_agreed(self.me, key):
            wanted = f"the key {key.hex()} was adopted while we were suspended"
            raise Refused(f"{wanted}: accept it by `tally node rekey`, or leave the study")
        return self.key_shares.of(key)

    def can_open(self, id: RoundId) -> bool:
        """Whether we agreed to the round's key and hold our share: that of a past epoch may be destroyed."""
        study = self.observer.study
        key = study.key_of(id.number)
        return study.has_agreed(self.me, key) and key in self.key_shares

    def may_commit(self, id: RoundId) -> Dataset:
        """The patients to train on for this round; raises `PolicyRefusal`, recorded, where rules forbid."""
        agreement, history = self.agreement_of(id), self.observer.history
        return self.rules.check_commit(agreement, id, history, me=self.me, patients=self.patients)

    def may_give(self, act: Literal["reveal", "share"], id: RoundId) -> None:
        """Raises `PolicyRefusal`, recorded, where our rules forbid that what we committed to is opened."""
        self.rules.check_giving(act, self.agreement_of(id), id, self.observer.history, me=self.me)

    def round(self, id: RoundId) -> Round:
        """A round as the ledger has it, or the one that the next commit opens."""
        current = self.observer.study.current()
        return current if current.id == id else self.observer.study.rounds[id.number - 1]

    def record(self, id: RoundId, *, results: bool = True) -> RoundRecord:
        """All that ledger and store hold of a round, with the base model that we recomputed ourselves.

        Without `results`, shares, openings and models are not waited for.
        """
        round = self.round(id)
        base = self.observer.base_of(round, self.content_key)
        return self.observer.record(round, self.content_key, base, held=self._held(id), results=results)

    def fetch_updates(self, id: RoundId) -> None:
        """Whatever has been revealed by now and can be fetched is known to have been here before a total.

        Forgotten with the process: then an aggregator that calls a member unavailable is believed.
        """
        fetched = self.observer.updates_of(self.round(id), besides=self._held(id))
        self.held.update((id, member) for member in fetched)

    def _held(self, id: RoundId) -> frozenset[Address]:
        return frozenset(member for round, member in self.held if round == id)
