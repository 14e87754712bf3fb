"""A real node among rehearsed parties, honest and others: the studies in which it is killed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

from federation.combination import combine
from federation.digest import sha256
from federation.events import LogPosition, RoundId
from federation.ledger.ledger import Receipt
from federation.rehearsal import AGGREGATOR, Rehearsal
from federation.rounds import Combining, Opening
from federation.store.content import put_bytes
from node.duty import Done
from node.journal import Entry
from node.restored import mark_restored, sit_out_what_began

from ..node.ward import Node, others_act, without
from ..rehearsing import (
    GWEI,
    STAKE,
    WINDOW,
    A,
    altered,
    flip,
    post_total,
    rehearse,
    rehearse_staked,
)
from ..seams import Crash, Fuse, TappedLedger
from .killed import Run, trace_of

OTHERS = without(A)
Others = Callable[[Rehearsal], None]


def honest(stage: Rehearsal) -> None:
    """Everybody does what it should."""
    others_act(stage, OTHERS)


def aggregator_dies_opening(stage: Rehearsal) -> None:
    """The shares are given, and nobody but a member joins them."""
    others_act(stage, OTHERS, finish_at=9)
    if len(stage.round().shares) == 4:
        stage.wait(WINDOW)


def aggregator_dies_once_combining(stage: Rehearsal) -> None:
    """No total in round 1; all is well from round 2 on."""
    round = stage.round()
    if round.id.number == 1 and len(round.reveals) == 4:
        stage.wait(WINDOW)
    else:
        honest(stage)


def aggregator_lies_about_the_result(stage: Rehearsal) -> None:
    """A wrong opening and a wrong model are proposed before anyone proposes the right ones."""
    others_act(stage, OTHERS, finish_at=9)
    round = stage.round()
    if isinstance(round.phase(stage.view.now), Opening) and len(round.shares) == 4:
        cid = put_bytes(stage.store, b"no such thing")
        wrong = sha256(b"wrong opening"), sha256(b"wrong model")
        stage.ledger(AGGREGATOR).finish(round.id, *wrong, opening_cid=cid, model_cid=cid)


def aggregator_lies_about_the_total(stage: Rehearsal) -> None:
    """Every first total is wrong; once that is proven, the other aggregator posts the right one."""
    round = stage.round()
    match round.phase(stage.view.now):
        case Combining() if round.rescinded:
            stage.post_total(round.id)
        case Combining():
            post_wrong_total(stage)
            liar = stage.ledger(round.turns[0])
            liar.deposit_bond(round.id.study, STAKE.gwei * GWEI)  # to stake in the next round
        case Opening() if not round.rescinded:
            pass
        case _:
            honest(stage)


def aggregator_lies_where_nothing_is_judged(stage: Rehearsal) -> None:
    """The first round's total is wrong, of a suite that no contract judges: nobody shares, and it ends."""
    round = stage.round()
    match round.phase(stage.view.now):
        case Combining() if round.id.number == 1:
            post_wrong_total(stage)
        case Opening() if round.id.number == 1:
            stage.wait(WINDOW)
        case _:
            honest(stage)


def post_wrong_total(stage: Rehearsal) -> None:
    round = stage.round()
    right = combine(stage.agreement, round.id, stage.record(round.id).admission)
    post_total(stage, round.id, altered(right, 1, flip))


class Rebuilt(Node):
    """A node whose vault was restored from the backup of its keys, while the others went on."""

    def start(self) -> None:
        super().start()
        study, seat = self.seat.observer.study, self.seat
        try:
            with patch("node.restored.write_secret", self.fuse.write_secret):
                sit_out_what_began(self.folder, study, seat.journal, ledger=seat.ledger.id)
        except Crash:
            self.crashes += 1
            self.restart()


class Forgetful(TappedLedger):
    """A chain that loses our first word on the last model: its block comes, and the call is not in it."""

    lose: Callable[[], Receipt]

    def _call(self, name: str, *arguments: object, **named: object) -> object:
        if name != "confirm_model" or any(call == name for call, _ in self._sent):
            return super()._call(name, *arguments, **named)
        self._sent.append((name, arguments))
        return self._fuse.send(name, self.lose)


class Forked(Node):
    """A node on such a chain."""

    def tapped(self) -> TappedLedger:
        ledger = Forgetful(self.stage.ledger(self.me), self.fuse, self.sent)
        ledger.lose = self.lose
        return ledger

    def lose(self) -> Receipt:
        at = LogPosition(self.stage.ledger(self.me).head().number + 1, 0)
        self.stage.wait(1)  # an empty block is mined
        return Receipt(call="confirmModel", at=at, gas=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeScenario:
    """Our node among rehearsed parties."""

    begin: Callable[[], Rehearsal]
    others: Others = honest
    kind: type[Node] = Node

    def __call__(self, folder: Path, fuse: Fuse) -> Run:
        stage = self.begin()
        if self.kind is Rebuilt:
            folder.mkdir(parents=True)
            mark_restored(folder)
            for other in OTHERS:
                stage.commit(other)
        node = self.kind(stage, A, folder, fuse=fuse)
        for _ in range(60):
            node.works()
            fuse.arrive()
            if isinstance(node.step(), Done):
                kept = _disk(node)
                node.kill()
                return Run(
                    stage=stage,
                    fuse=fuse,
                    crashes=node.crashes,
                    trace=trace_of(stage, kept),
                    attempts=tuple(node.sent),
                )
            before = stage.ledger(A).head().number
            self.others(stage)
            if self.kind is Rebuilt and stage.ledger(A).head().number == before:
                stage.wait(WINDOW)
        raise AssertionError("the study never ends")


def _disk(node: Node) -> tuple[object, ...]:
    """The lines of its journal, and its files byte for byte."""
    rounds = [RoundId(node.stage.study, n + 1) for n in range(len(node.seat.observer.study.rounds) + 1)]
    lines = [(round, entry, node.seat.journal.recall(entry, round)) for round in rounds for entry in Entry]
    found = [path for path in sorted(node.folder.rglob("*")) if path.is_file()]
    files = [path for path in found if not path.name.startswith("journal.")]
    return (*lines, *((str(path.relative_to(node.folder)), path.read_bytes()) for path in files))


NODE: dict[str, NodeScenario] = {
    "honest": NodeScenario(begin=partial(rehearse, "plain", rounds=2)),
    "honest, paillier, sealed": NodeScenario(begin=partial(rehearse, "paillier, sealed", rounds=2)),
    "aggregator dies opening": NodeScenario(
        begin=partial(rehearse, "plain", rounds=2), others=aggregator_dies_opening
    ),
    "aggregator dies once combining": NodeScenario(
        begin=partial(rehearse, "plain", rounds=2), others=aggregator_dies_once_combining
    ),
    "aggregator lies about the result": NodeScenario(
        begin=partial(rehearse, "plain", rounds=2), others=aggregator_lies_about_the_result
    ),
    "aggregator lies about the total": NodeScenario(
        begin=partial(rehearse_staked, "paillier", rounds=2), others=aggregator_lies_about_the_total
    ),
    "aggregator lies about a total that is not judged": NodeScenario(
        begin=partial(rehearse_staked, "plain", rounds=1), others=aggregator_lies_where_nothing_is_judged
    ),
    "restored from the backup of its keys": NodeScenario(
        begin=partial(rehearse, "plain", rounds=2), kind=Rebuilt
    ),
    "a fork takes its last word back": NodeScenario(begin=partial(rehearse, "plain", rounds=1), kind=Forked),
}
