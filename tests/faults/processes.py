"""Real processes on a real chain, killed by the operating system at a step of their own, in one round.

Chain and folders go back to the same moment before each run, so every run is of the same ledger and the
same secrets, and what two of them leave can be compared byte for byte.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit

from eth_account import Account
from typer.testing import CliRunner

from deploy.devnet import Devnet
from federation.errors import ExitCode
from federation.events import RoundId, StudyId
from federation.identity import ACCOUNT_FILE, SEALING_FILE, lock
from federation.members import Address
from federation.rehearsal import Hospital, sealing_secret, seeded
from federation.rounds import Combining
from node.__main__ import app
from node.journal import Entry, Journal
from node.vault import Vault

from ..node.hospital import COST, DEALING, PASSWORD, OnChain, Place, found, settle
from ..node.ward import others_act
from ..rehearsing import training
from ..seams import Step
from .killed import Killed, told
from .launched import launch

PATIENCE = 120  # seconds for one round, on a busy machine
# Of a process that ended while, or after, it wrote: nothing reads it, or finds anything in it.
_LEFTOVER = re.compile(r"\.partial$|\.json\.\d+$|\.sqlite-journal$")
FIRST = RoundId(StudyId(1), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What a run has left on ledger, store and disk."""

    told: dict[Address, list[object]]
    stored: frozenset[str]
    kept: tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """One round, with one party in a process of its own."""

    kills: int
    refusals: int
    code: int | None  # with which the party ended
    steps: tuple[Step, ...]
    left: Left
    words: str


@dataclass(kw_only=True)
class Theatre:
    """A chain, a hospital and an aggregator at the moment before the first round."""

    devnet: Devnet
    place: Place
    folder: Path
    snapshot: object = field(init=False)
    runs: int = 0

    def __post_init__(self) -> None:
        shutil.copytree(self.place.folder, self.folder / "before")
        self.snapshot = self.devnet.rpc("evm_snapshot")

    @property
    def trace(self) -> Path:
        """The steps of the newest run, a line each."""
        return self.folder / f"trace-{self.runs}"

    def play(
        self,
        daemon: str,
        *,
        fatal: str = "",
        hardship: str = "",
        outlet: Path | None = None,
        watch: Callable[[int], None] = lambda _: None,
    ) -> Played:
        """The round, in which `daemon` kills itself at the step that reads so, and is then started again.

        A daemon that refuses to go on in its `hardship` is started again too, without it.
        `watch` is called with the daemon's process id again and again; with an `outlet` the daemon
        has no other way to the chain, and none leads to it (see `sockets.cut_off`).
        """
        stage = self._begin(daemon)
        self.trace.touch()
        log, trace = self.folder / f"log-{self.runs}", self.trace
        start = partial(self._start, daemon, log=log, trace=trace, outlet=outlet)
        process, kills, refusals = start(fatal=fatal, hardship=hardship), 0, 0
        deadline = time.monotonic() + PATIENCE
        again = {-signal.SIGKILL, ExitCode.REFUSED} if hardship else {-signal.SIGKILL}
        while (code := process.exitcode) is None or code in again:
            if code is not None:
                kills += code == -signal.SIGKILL
                refusals += code == ExitCode.REFUSED
                process, hardship = start(fatal="", hardship=""), ""
            assert time.monotonic() < deadline, log.read_text()
            with suppress(FileNotFoundError):  # it has ended just now
                watch(process.pid or 0)
            if daemon == "node":
                others_act(stage, self.place.others, finish_at=3)
            else:
                self._hospitals_act(stage)
                if stage.observer.study.is_complete:
                    process.terminate()
                    process.join(PATIENCE)
            time.sleep(0.01)
        return Played(
            kills=kills,
            refusals=refusals,
            code=code,
            steps=tuple(_read(line) for line in trace.read_text().splitlines()),
            left=self._left(),
            words=log.read_text(),
        )

    def _begin(self, daemon: str) -> OnChain:
        self.runs += 1
        self.devnet.rpc("evm_revert", self.snapshot)
        self.snapshot = self.devnet.rpc("evm_snapshot")
        shutil.rmtree(self.place.folder)
        shutil.copytree(self.folder / "before", self.place.folder)
        self.place.ledgers.clear()
        stage = OnChain(self.place)
        if daemon == "aggregator":
            stage.hospitals[self.place.me] = _rehearsed(self.place, self.place.me)
        return stage

    def _start(
        self, daemon: str, *, log: Path, trace: Path, fatal: str, hardship: str, outlet: Path | None
    ) -> BaseProcess:
        settings, port = self.place.folder / f"{daemon}.toml", urlsplit(self.devnet.url).port
        process = _PROCESSES.Process(
            target=launch,
            args=(daemon, settings),
            kwargs={
                "log": log,
                "trace": trace,
                "fatal": fatal,
                "hardship": hardship,
                "outlet": outlet,
                "port": port,
            },
        )
        process.start()
        return process

    def _hospitals_act(self, stage: OnChain) -> None:
        if not isinstance(stage.round().phase(stage.view.now), Combining):
            others_act(stage, self.place.members, finish_at=9)

    def _left(self) -> Left:
        ledger, folder = self.place.ledger(self.place.aggregator), self.place.folder
        blocks = [path.name for path in (folder / "content").rglob("*") if path.is_file()]
        journal = Journal(folder / "vault" / "journal.sqlite", ledger.id)
        lines = tuple(journal.recall(entry, FIRST) for entry in Entry)
        journal.close()
        files = sorted(path.name for path in (folder / "vault").rglob("*") if not _LEFTOVER.search(path.name))
        return Left(
            told=told(ledger.events(0, ledger.head().number)),
            stored=frozenset(name for name in blocks if not name.startswith(".")),
            kept=(*lines, *files),
        )


_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.faults.launched"])


@contextmanager
def theatre(folder: Path) -> Iterator[Theatre]:
    """On Anvil, which can go back to a moment."""
    with Devnet.start("anvil", directory=folder / "chain") as devnet:
        place = settle(devnet, folder / "hospital")
        found(place, rounds=1)
        _join(place)
        ledger = place.ledger(place.aggregator).id
        # Its seed is there before any run, so that two runs encrypt alike.
        Vault(place.folder / "vault", place.identity, ledger, os.urandom).seed()
        _settle_aggregator(place)
        yield Theatre(devnet=devnet, place=place, folder=folder)


def killed_at(stage: Theatre, daemon: str, undisturbed: Played, step: Step) -> Killed:
    """The same round, in which the daemon is killed when it first comes to `step`."""
    played = stage.play(daemon, fatal=str(step))
    return Killed(step=step, wrong=_difference(undisturbed, played))


def _difference(undisturbed: Played, played: Played) -> str:
    if played.kills != 1:
        return f"killed {played.kills} times: {played.words[-500:]}"
    if played.code != undisturbed.code:
        return f"ended with {played.code}: {played.words[-500:]}"
    if played.left.told != undisturbed.left.told:
        return "the ledger tells another story"
    if played.left.stored != undisturbed.left.stored:
        return "the store holds other blocks"
    return "" if played.left.kept == undisturbed.left.kept else "the disk holds other files"


def _read(line: str) -> Step:
    duty, _, rest = line.partition(": ")
    when = next(when for when in ("before", "in the middle of", "after") if rest.startswith(when))
    return Step(duty, rest.removeprefix(when).strip(), when)


def _join(place: Place) -> None:
    """As people of the hospital do: they take their share of the key, and accept the study."""
    settings = ["--settings", str(place.settings)]
    share, key = place.folder / f"{place.me.hex()}.sealed", place.folder / "public.key"
    digest = OnChain(place).observer.study.terms.digest.hex()
    with patch("node.vault.lock", partial(lock, cost=COST)):
        for command in (
            ["keys", *settings, "--accept", str(share), "--public-key", str(key)],
            ["join", *settings, "--digest", digest],
        ):
            done = CliRunner().invoke(app, command)
            assert done.exit_code == ExitCode.OK, done.output


def _settle_aggregator(place: Place) -> None:
    """Its identity is that of the account which the study names."""
    folder = place.folder / "service"
    folder.mkdir()
    key = place.accounts[place.aggregator]
    keystore = Account.encrypt(key, PASSWORD, kdf="scrypt", iterations=COST)
    (folder / ACCOUNT_FILE).write_text(json.dumps(keystore))
    sealing = sealing_secret(place.aggregator)
    locked = lock(sealing, PASSWORD, context=b"sealing", random=os.urandom, cost=COST)
    (folder / SEALING_FILE).write_bytes(locked)
    tables = place.settings.read_text()
    ledger = tables[tables.index("[ledger]") :]
    heading = 'identity = "service"\npassword_file = "password"\n[service]\nport = 0\n'
    (place.folder / "aggregator.toml").write_text(f"{heading}[conduct]\npoll_seconds = 0.05\n{ledger}")


def _rehearsed(place: Place, member: Address) -> Hospital:
    place.accounts[member] = bytes(place.identity.account.key)
    return Hospital(
        address=member,
        key_share=DEALING.key_shares[place.members.index(member)],
        seed=seeded(b"a secret of tests", member),
        samples=50,
        train=training(member),
    )
