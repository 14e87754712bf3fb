"""A whole study of real daemons, in memory: four nodes and two aggregators, one of whom may cheat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from aggregator.conductor import Conductor
from aggregator.duty import Abandon, Finish, PostTotal
from federation.arithmetic import IntVector, Model, apply, mean
from federation.audit.record import RoundRecord
from federation.errors import Refused, TallyError, Unavailable
from federation.events import RoundAbandoned, RoundId, RoundTainted
from federation.members import Address
from federation.rehearsal import AGGREGATOR, Rehearsal, sealing_secret
from federation.rounds import Round
from node.duty import Done
from node.journal import Entry

from ..node.ward import Node
from ..rehearsing import HOSPITALS, SCALE, STANDBY, A, B, Blame, C, D, audited, faults, quantised, unknowns

NAMES = {A: "A", B: "B", C: "C", D: "D", AGGREGATOR: "aggregator", STANDBY: "standby"}
HALF_A_WINDOW = 31  # seconds: an aggregator waits for bytes until then
TURNS = 120  # far more than any study here takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What came of a study."""

    rounds: tuple[str, ...]  # who is in each, and how it ended
    blamed: frozenset[str]  # by the audit: clause and culprit
    missing: frozenset[str]  # what the audit could not fetch: clause and author
    stopped: frozenset[str]  # whose daemon ended with a refusal at least once, for a person to read
    through: frozenset[str]  # nodes that were done with the study
    right: bool  # whether the last model is what the members' integers come to


@dataclass
class Cast:
    """The parties of one study; whoever is in `away` does nothing of itself."""

    stage: Rehearsal
    folder: Path
    away: set[Address] = field(default_factory=set)
    nodes: dict[Address, Node] = field(init=False)
    conductors: dict[Address, Conductor] = field(init=False)
    refused: dict[Address, TallyError] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)
    turns: int = 0
    asked: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.nodes = {site: Node(self.stage, site, self.folder / NAMES[site]) for site in HOSPITALS}
        accounts = self.stage.agreement.spec.aggregators
        self.conductors = {
            who: Conductor(self.stage.ledger(who), self.stage.store, sealing_secret(who)) for who in accounts
        }

    @property
    def round(self) -> Round:
        """The one under way."""
        return self.stage.round()

    def once(self, what: str) -> bool:
        """Whether this is asked for the first time."""
        new = what not in self.asked
        self.asked.add(what)
        return new

    def put_down(self) -> None:
        """Every file is closed."""
        for node in self.nodes.values():
            node.kill()

    def play(self, deviate: Callable[[Cast], None]) -> Ending:
        """The study to its end: whenever nobody has anything to do, time passes."""
        for _ in range(TURNS):
            before = self._head()
            for site in HOSPITALS:
                self.lets(site)
            deviate(self)
            for account in self.conductors:
                self.serve(account)
            if self._head() == before:
                self.stage.view.refresh()
                if self.stage.observer.study.is_complete:
                    return self._ending()
                self.stage.wait(HALF_A_WINDOW)
        raise AssertionError("the study never ends")

    def lets(self, site: Address, *, anyhow: bool = False) -> None:
        """The node does what it has to, as its daemon's loop would."""
        if site in self.refused or (site in self.away and not anyhow):
            return
        try:
            self.nodes[site].works()
        except Unavailable:
            return
        except Refused as refusal:
            self.refused[site] = refusal
            self.stopped.add(NAMES[site])

    def come_back(self, site: Address) -> None:
        """Somebody has mended what was wrong, and started the node again."""
        self.refused.pop(site, None)
        self.nodes[site].restart()

    def serve(self, account: Address, *, anyhow: bool = False) -> None:
        """The aggregator does what it has to."""
        if account in self.away and not anyhow:
            return
        while isinstance(self.conductors[account].step(), PostTotal | Finish | Abandon):
            pass

    def _head(self) -> int:
        return self.stage.ledger(A).head().number

    def _ending(self) -> Ending:
        report = audited(self.stage)
        return Ending(
            rounds=tuple(map(_told, report.record.rounds)),
            blamed=frozenset(map(_shown, faults(report))),
            missing=frozenset(map(_shown, unknowns(report))),
            stopped=frozenset(self.stopped),
            through=frozenset(NAMES[site] for site in HOSPITALS if self._is_through(site)),
            right=self._is_right(),
        )

    def _is_through(self, site: Address) -> bool:
        try:
            return isinstance(self.nodes[site].step(), Done)
        except Refused:
            return False

    def _is_right(self) -> bool:
        """Whether B, which never cheats, adopted what the contributors' own integers come to."""
        agreement, study = self.stage.agreement, self.stage.observer.study
        model = agreement.task.initial()
        for round in study.finished:
            members = () if round.total is None else round.total.members
            summed = sum(self._values(member, round.id, model) for member in members)
            model = apply(model, mean(np.asarray(summed), members=len(members), scale=SCALE))
        adopted = self.nodes[B].seat.journal.recall(Entry.ADOPTED, study.finished[-1].id)
        return adopted == agreement.model_digest(model)

    def _values(self, member: Address, id: RoundId, base: Model) -> IntVector:
        """What the member encrypted, be it its node or a cheat in its place."""
        vault = self.nodes[member].seat.vault
        return vault.values(id) if vault.has_values(id) else quantised(self.stage, member, id, base)


def _told(record: RoundRecord) -> str:
    """`ABC finished, D NO_REVEAL`, `abandoned NO_SHARES`."""
    round = record.round
    if isinstance(round.end, RoundAbandoned | RoundTainted):
        return f"{type(round.end).__name__.removeprefix('Round').lower()} {round.end.reason.name}"
    members = () if round.total is None else round.total.members
    takers = round.terms.aggregators
    first = takers[(round.id.number - 1) % len(takers)]  # in this round's turns
    by = "" if round.total is None or round.total.sender == first else " by the other"
    left_out = "".join(f", {NAMES[one.member]} {one.code.name}" for one in record.admission.excluded)
    return f"{''.join(NAMES[member] for member in members)} finished{by}{left_out}"


def _shown(blame: Blame) -> str:
    return blame.clause if blame.culprit is None else f"{blame.clause} {NAMES[blame.culprit]}"
