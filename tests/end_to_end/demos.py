"""Demos as a visitor runs them: one process each, with all that it starts; several at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from deploy.audit import AuditSettings
from deploy.command import Ended, run
from deploy.devnet import Devnet, Kind
from federation.audit.view import LedgerView
from federation.endpoints import load_settings, open_ledger
from federation.errors import ExitCode
from federation.events import StudyId
from federation.law import History
from federation.rounds import Study

# Short keys, since nothing here depends on their strength; windows long enough for a busy machine.
QUICK = ("--bits", "512", "--unsafe", "--window", "60")
ARGUMENTS = {
    "honest on anvil": ("--rounds", "3"),
    "honest on ganache": ("--rounds", "2", "--chain", "ganache", "--hospitals", "3"),
    "payload": ("--rounds", "2", "--tamper", "payload"),
    "total": ("--rounds", "2", "--tamper", "total"),
    "opening": ("--rounds", "2", "--tamper", "opening", "--hospitals", "3"),
    "model": ("--rounds", "2", "--tamper", "model", "--hospitals", "3"),
}
TOGETHER = 2  # each of them waits for blocks half of the time
MOST_SECONDS = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """A demo that has ended, and the folder that it leaves."""

    folder: Path
    code: int
    out: str
    err: str
    study: Study  # as the ledger holds it
    audited: Ended  # `tally audit verify --json`, afterwards

    @property
    def summary(self) -> dict[str, object]:
        return json.loads((self.folder / "summary.json").read_text())

    @property
    def report(self) -> dict[str, object]:
        """The audit as the demo saw it."""
        return json.loads((self.folder / "audit.json").read_text())

    def log(self, party: str) -> str:
        return (self.folder / party / "log").read_text()

    def address(self, party: str) -> str:
        return json.loads((self.folder / party / "enrolment.json").read_text())["address"]


def look_again(folder: Path, kind: Kind) -> tuple[History, Ended]:
    """What the ledger holds, and what an audit says, from the chain started again where it ended.

    It has to be where all settings look for it.
    """
    file = folder / "auditor" / "audit.toml"
    ledger = load_settings(AuditSettings, file).ledger
    port = urlsplit(ledger.url).port or 0
    with Devnet.start(kind, directory=folder / "chain", port=port):
        audited = run("audit", "verify", "--settings", file, "--json")
        view = LedgerView(open_ledger(ledger, None))
        view.refresh()
        return view.history, audited


@dataclass(slots=True)
class Demos:
    """Demos under way; a context manager that ends what still runs."""

    folder: Path
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(TOGETHER))
    _running: list[subprocess.Popen[str]] = field(default_factory=list)
    _demos: dict[str, Future[Demo]] = field(default_factory=dict)

    def begin(self, names: Sequence[str]) -> None:
        for name in names:
            self._demos[name] = self._pool.submit(self._run, name)

    def ended(self, name: str) -> Demo:
        return self._demos[name].result(MOST_SECONDS)

    def __enter__(self) -> Demos:
        return self

    def __exit__(self, *exc: object) -> None:
        for waiting in self._demos.values():
            waiting.cancel()
        for process in self._running:
            process.terminate()  # a demo ends all that it started
        self._pool.shutdown()

    def _run(self, name: str) -> Demo:
        folder = self.folder / name.replace(" ", "-")
        command = [sys.executable, "-m", "deploy.tally", "demo", *QUICK, *ARGUMENTS[name]]
        process = subprocess.Popen(
            [*command, "--out", str(folder)],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._running.append(process)
        out, err = process.communicate()
        assert process.returncode in (ExitCode.OK, ExitCode.VIOLATION), out + err
        held, audited = look_again(folder, "ganache" if "ganache" in name else "anvil")
        return Demo(
            folder=folder,
            code=process.returncode,
            out=out,
            err=err,
            study=held.study(StudyId(1)),
            audited=audited,
        )
