"""A daemon in a process of its own that writes down each durable step, and kills itself at one of them.

What it does to disk is seen from below: Python's audit hooks name every file that is opened for writing,
whatever module does it. Preloaded in a fork server, so that a start costs a fraction of a second.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import torch  # noqa: F401  # loaded once, not with each start

import aggregator.__main__
import node.__main__
from federation.ledger.chain import ChainLedger
from federation.ledger.nodes import Nodes
from federation.pace import Pace

from ..seams import CALLS, Step
from .hardships import HARDSHIPS
from .sockets import cut_off

DAEMONS: Final = {"node": node.__main__.app, "aggregator": aggregator.__main__.app}
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Steps:
    """Each step as a line of `trace`; the process dies at the first that reads as `fatal`."""

    def __init__(self, folder: Path, trace: Path, fatal: str) -> None:
        self._folder = folder
        self._fatal = fatal
        self._trace = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.duty = "start"
        self.blocks: list[str] = []  # written in the duty under way
        self.call = ""  # under way

    def touch(self, what: str, when: str) -> None:
        # The bookmark follows the chain's newest block, whatever duty is under way then.
        line = str(Step("reading" if what == "file bookmark" else self.duty, what, when))
        os.write(self._trace, f"{line}\n".encode())
        if line == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def turn_to(self, due: object) -> None:
        self.duty, self.blocks = type(due).__name__, []

    def is_ours(self, path: object) -> bool:
        """Whether a path leads into the party's folder."""
        known = isinstance(path, str | bytes | os.PathLike)
        return known and Path(os.fsdecode(path)).is_relative_to(self._folder)

    def name_of(self, path: object) -> str:
        """What a file is called here; empty for one that is not the party's."""
        if not self.is_ours(path):
            return ""
        place = Path(os.fsdecode(path))
        if "content" in place.relative_to(self._folder).parts[:1]:
            return self._block(place)
        if place.parent.name == "openings":
            return "file openings"
        return f"file {place.name.partition('-')[0].removesuffix('.partial')}"

    def _block(self, place: Path) -> str:
        block = place.name.removeprefix(".").partition(".")[0]
        if block not in self.blocks:
            self.blocks.append(block)
        return f"block {self.blocks.index(block) + 1}"


def launch(
    daemon: str,
    settings: Path,
    *,
    log: Path,
    trace: Path,
    fatal: str,
    hardship: str,
    outlet: Path | None,
    port: int,
) -> None:
    """`tally node run`, or `tally aggregator run`, under watch; see `processes.Theatre.play`."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whoever measures coverage has a handler of its own
    if hardship:
        HARDSHIPS[hardship](settings.parent)
    if outlet is not None:
        cut_off(outlet, port)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    _watch(Steps(settings.parent, trace, fatal))
    DAEMONS[daemon](["run", "--settings", str(settings)])


def _watch(steps: Steps) -> None:
    _watch_files(steps)
    _watch_journal(steps)
    _watch_calls(steps)
    is_vain = Pace.is_vain

    def telling(self: Pace[object], due: object, head: int) -> bool:
        steps.turn_to(due)
        return is_vain(self, due, head)

    Pace.is_vain = telling


def _watch_files(steps: Steps) -> None:
    def hook(event: str, arguments: tuple[object, ...]) -> None:
        path = arguments[0] if arguments else None
        match event, arguments:
            case "open", (_, _, int() as flags) if flags & _WRITING and (what := steps.name_of(path)):
                steps.touch(what, "before")
            case "os.mkdir", _ if steps.is_ours(path) and not Path(os.fsdecode(path)).exists():
                steps.touch("folder", "before")
            case "os.remove" | "os.truncate", _ if (what := steps.name_of(path)) and Path(
                os.fsdecode(path)
            ).exists():
                steps.touch(f"removal of {what}", "before")

    replace = os.replace

    def replaced(source: object, target: object, **options: object) -> None:
        what = steps.name_of(target)
        if what:
            steps.touch(what, "in the middle of")
        replace(source, target, **options)
        if what:
            steps.touch(what, "after")

    os.replace = replaced
    sys.addaudithook(hook)


def _watch_journal(steps: Steps) -> None:
    class Watched(sqlite3.Connection):
        def execute(self, statement: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:
            if not (
                statement.startswith("INSERT") and " INTO entries " in statement
            ):  # others use SQLite too
                return super().execute(statement, values)
            what = f"line {values[3]}"
            steps.touch(what, "before")
            super().execute("BEGIN IMMEDIATE")
            done = super().execute(statement, values)
            steps.touch(what, "in the middle of")
            super().execute("COMMIT")
            steps.touch(what, "after")
            return done

    sqlite3.connect = partial(sqlite3.connect, factory=Watched)


def _watch_calls(steps: Steps) -> None:
    def watched(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def called(*arguments: object, **named: object) -> object:
            steps.call = name
            steps.touch(name, "before")
            receipt = call(*arguments, **named)
            steps.touch(name, "after")
            return receipt

        return called

    for name in CALLS:
        setattr(ChainLedger, name, watched(name, getattr(ChainLedger, name)))
    send = Nodes.send

    def sent(self: Nodes, raw: bytes) -> None:
        send(self, raw)
        steps.touch(steps.call, "in the middle of")

    Nodes.send = sent
