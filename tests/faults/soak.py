"""`make soak`: honest rounds by the hundred. Nobody is accused, the audit holds, only the ledger grows.

Real daemon loops of four nodes and an aggregator in one process, over a ledger in memory and a store on disk;
then real processes over Anvil.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aggregator.conductor import Conductor
from deploy.consortium import Consortium, Plan
from deploy.devnet import Devnet
from deploy.outcome import Auditor
from federation.digest import Cid
from federation.rehearsal import AGGREGATOR, Rehearsal, sealing_secret
from federation.store.content import ContentStore
from federation.store.directory import DirectoryStore
from node.duty import Done
from node.open import recall_models

from ..node.ward import Node
from ..rehearsing import HOSPITALS, audited, hospital, spec_of
from .cast import HALF_A_WINDOW
from .conftest import in_memory

ROUNDS = 1000
ROUNDS_ON_ANVIL = 40
PATIENCE = 1800  # seconds for the rounds on Anvil


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a process held after so many rounds."""

    rounds: int
    resident: int  # bytes
    descriptors: int

    def __str__(self) -> str:
        return f"{self.rounds} rounds: {self.resident / 2**20:.1f} MiB, {self.descriptors} descriptors"


@dataclass
class Forgetful:
    """A store that keeps the newest contents alone, as a daemon does that collects what is past retention."""

    inner: DirectoryStore
    folder: Path
    keeps: int
    newest: deque[Cid] = field(default_factory=deque)

    def put(self, chunks: Iterable[bytes]) -> Cid:
        cid = self.inner.put(chunks)
        self.newest.append(cid)
        if len(self.newest) > self.keeps:
            old = self.newest.popleft()
            if old not in self.newest:
                self.inner._place(old).unlink(missing_ok=True)
        return cid

    def get(self, cid: Cid, *, size: int, start: int = 0) -> Iterator[bytes]:
        return self.inner.get(cid, size=size, start=start)

    def has(self, cid: Cid) -> bool:
        return self.inner.has(cid)


class Consort:
    """A study of real daemons that goes on for as long as it is asked to."""

    def __init__(self, folder: Path, *, rounds: int, keeps: int | None = None) -> None:
        directory = DirectoryStore(folder / "content")
        store: ContentStore = directory
        spec = spec_of("plain", rounds=rounds)
        self.stage = Rehearsal(spec, [hospital(site, "plain") for site in HOSPITALS], store=store)
        if keeps is not None:
            self.stage.store = Forgetful(directory, folder / "content", keeps)
        self.nodes = [Node(self.stage, site, folder / site.hex()) for site in HOSPITALS]
        for node in self.nodes:
            recall_models(node.seat.observer, node.seat.vault, node.seat.journal)
        secret = sealing_secret(AGGREGATOR)
        self.conductor = Conductor(self.stage.ledger(AGGREGATOR), self.stage.store, secret)
        self.alarms = 0  # accusations, troubles, and waits of a whole window: an honest study has none

    def goes_on(self, until: int) -> None:
        """So many rounds have finished."""
        study = self.nodes[0].seat.observer.study
        while len(study.finished) < until:
            before = self.stage.ledger(AGGREGATOR).head().number
            for node in self.nodes:
                node.works()
            self.conductor.step()
            if self.stage.ledger(AGGREGATOR).head().number == before:
                self.alarms += 1
                self.stage.wait(HALF_A_WINDOW)
        self.alarms += sum(node.accusations for node in self.nodes) + self.conductor.troubles

    def ends(self) -> bool:
        """Whether every node is through with it."""
        for _ in range(3):
            for node in self.nodes:
                node.works()
        return all(isinstance(node.step(), Done) for node in self.nodes)


def figures(rounds: int, pid: int | str = "self") -> Figures:
    """Of a process, as the kernel has them."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    resident = pages * os.sysconf("SC_PAGE_SIZE")
    return Figures(rounds=rounds, resident=resident, descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())))


def soak(rounds: int, folder: Path) -> Iterator[str]:
    """Lines as it goes on; raises `AssertionError` at the first alarm."""
    study, began, before = Consort(folder, rounds=rounds), time.monotonic(), None
    for mark in range(rounds // 10, rounds + 1, rounds // 10):
        study.goes_on(mark)
        now = figures(mark)
        assert not study.alarms, f"{study.alarms} false alarms by round {mark}"
        assert before is None or now.descriptors == before.descriptors, f"{before}; {now}"
        yield f"{now}, {(time.monotonic() - began) / mark:.2f} s a round"
        before = now
    assert study.ends()
    report = audited(study.stage)
    assert report.findings == []
    assert not report.notices
    yield f"the audit of {len(report.record.rounds)} rounds holds: every claim, no finding"


def soak_on_anvil(rounds: int, folder: Path) -> Iterator[str]:
    """The same with a process for each party, on a chain with a block every second."""
    plan = Plan(rounds=rounds, bits=512, unsafe=True, window_seconds=300, poll_seconds=0.1)
    with (
        Devnet.start("anvil", directory=folder / "chain", block_time=1) as devnet,
        Consortium.found(folder, plan, devnet) as consortium,
    ):
        parties = ["aggregator", *(f"hospital-{i}" for i in range(1, plan.hospitals + 1))]
        for party in parties:
            consortium.start(party)
        pids = {party: consortium._processes[party].pid for party in parties}
        auditor, deadline = Auditor(consortium), time.monotonic() + PATIENCE
        for mark in (max(2, rounds // 10), rounds - 1):
            while len(auditor.study.finished) < mark:
                assert time.monotonic() < deadline, [consortium.last_words(party) for party in parties]
                time.sleep(0.5)
                auditor.refresh()
            for party, pid in pids.items():
                yield f"{party}: {figures(mark, pid)}"
        while not auditor.is_over:
            assert time.monotonic() < deadline
            time.sleep(0.5)
            auditor.refresh()
        report = auditor.audit()
        assert report.findings == []
        yield f"the audit of {len(report.record.rounds)} rounds on Anvil holds: every claim, no finding"


def main() -> int:
    """0 if nothing was wrong."""
    logging.disable()
    with in_memory() as folder:
        for line in soak(ROUNDS, folder):
            print(line, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for line in soak_on_anvil(ROUNDS_ON_ANVIL, Path(folder)):
            print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
