"""A real conductor among rehearsed parties: the studies in which it is killed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from aggregator.conductor import Conductor
from aggregator.duty import Abandon, Finish, PostTotal
from federation.members import Address
from federation.rehearsal import AGGREGATOR, Rehearsal, sealing_secret
from federation.rounds import Combining, Opening, Revealing
from federation.store.content import put_bytes

from ..aggregator.stage import sealed_with_us
from ..node.ward import others_act
from ..rehearsing import (
    HOSPITALS,
    STANDBY,
    WINDOW,
    A,
    rehearse,
    rehearse_staked,
)
from ..seams import Crash, Fuse, TappedLedger, TappedStore, Told
from .killed import Run, trace_of

Others = Callable[[Rehearsal], None]


@dataclass
class Service:
    """One aggregator's conductor: a restart remembers nothing."""

    stage: Rehearsal
    account: Address
    fuse: Fuse
    sent: list[tuple[str, tuple[object, ...]]] = field(default_factory=list)
    crashes: int = 0
    conductor: Conductor = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        ledger = TappedLedger(self.stage.ledger(self.account), self.fuse, self.sent)
        store = TappedStore(self.stage.store, self.fuse, [])
        self.conductor = Conductor(ledger, store, sealing_secret(self.account))
        self.conductor._pace = Told(self.fuse)

    def works(self) -> None:
        """What it does until it has to wait; killed and started again wherever the fuse says so."""
        for _ in range(10):
            try:
                due = self.conductor.step()
            except Crash:
                self.crashes += 1
                self.start()
                continue
            self.fuse.duties.add(type(due).__name__)
            if not isinstance(due, PostTotal | Finish | Abandon):
                return
        raise AssertionError("the aggregator repeats itself")


def hospitals_act(stage: Rehearsal) -> None:
    """Every hospital does its part."""
    round = stage.round()
    if not isinstance(round.phase(stage.view.now), Combining):
        others_act(stage, HOSPITALS, finish_at=9)


def one_hospital_commits(stage: Rehearsal) -> None:
    """Nobody but one comes to the first round."""
    round = stage.round()
    if round.id.number > 1:
        hospitals_act(stage)
    elif not round.commits:
        stage.commit(A)
    else:
        stage.wait(WINDOW)


def one_hospital_shares(stage: Rehearsal) -> None:
    """Only one gives its share in the first round, which is tainted by it."""
    round = stage.round()
    if round.id.number > 1 or not isinstance(round.phase(stage.view.now), Opening):
        hospitals_act(stage)
    elif not round.shares:
        stage.post_share(A, round.id)
    else:
        stage.wait(WINDOW)


def first_aggregator_is_gone(stage: Rehearsal) -> None:
    """Whose turn is first never comes."""
    if isinstance(stage.round().phase(stage.view.now), Combining):
        stage.wait(WINDOW)
    else:
        hospitals_act(stage)


def a_hospital_reveals_junk(stage: Rehearsal) -> None:
    """One of four is left out."""
    round = stage.round()
    if isinstance(round.phase(stage.view.now), Revealing) and A not in round.reveals:
        stage.ledger(A).reveal_update(round.id, put_bytes(stage.store, b"junk"))
    else:
        hospitals_act(stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregatorScenario:
    """A real conductor among rehearsed parties."""

    begin: Callable[[], Rehearsal]
    others: Others = hospitals_act
    account: Address = AGGREGATOR

    def __call__(self, folder: Path, fuse: Fuse) -> Run:  # noqa: ARG002  # it keeps nothing on a disk
        stage = self.begin()
        service = Service(stage, self.account, fuse)
        for _ in range(40):
            service.works()
            fuse.arrive()
            stage.round()
            if stage.observer.study.is_complete:
                return Run(
                    stage=stage,
                    fuse=fuse,
                    crashes=service.crashes,
                    trace=trace_of(stage, ()),
                    attempts=tuple(service.sent),
                )
            self.others(stage)
        raise AssertionError("the study never ends")


AGGREGATORS: dict[str, AggregatorScenario] = {
    "honest": AggregatorScenario(begin=partial(rehearse, "plain", rounds=2)),
    "honest, paillier": AggregatorScenario(begin=partial(rehearse, "paillier", rounds=1)),
    "honest, sealed": AggregatorScenario(begin=partial(sealed_with_us, 1)),
    "too few commit": AggregatorScenario(
        begin=partial(rehearse, "plain", rounds=1), others=one_hospital_commits
    ),
    "too few share": AggregatorScenario(
        begin=partial(rehearse, "plain", rounds=1), others=one_hospital_shares
    ),
    "one update is junk": AggregatorScenario(
        begin=partial(rehearse, "plain", rounds=1), others=a_hospital_reveals_junk
    ),
    "the standby's turn": AggregatorScenario(
        begin=partial(rehearse_staked, "plain", rounds=1), others=first_aggregator_is_gone, account=STANDBY
    ),
}
