"""`tally` commands as a person types them, each in a process of its own.

Importing what a command needs takes longer than its work. So a server process imports once, and each
command runs in a fork of it: the same program and arguments, the same exit code, nothing shared.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from federation.errors import ExitCode, Refused

from . import tally as program

PARALLEL: Final = 4  # commands at a time: about half of its time a command waits for a block
IMPORTED: Final = (
    "node.__main__",
    "aggregator.__main__",
    "deploy.audit",
    "deploy.contract_commands",
    "deploy.dispute",
    "deploy.keys",
    "deploy.study",
)

_FORKS: Final = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(list(IMPORTED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def run(*arguments: object) -> Ended:
    """`tally` with these arguments has ended."""
    with TemporaryDirectory() as folder:
        words = [str(argument) for argument in arguments]
        process = _FORKS.Process(target=_main, args=(words, folder))
        process.start()
        process.join()
        out, err, code = (_read(Path(folder) / name) for name in ("out", "err", "code"))
        return Ended(code=int(code or ExitCode.INTERNAL), out=out, err=err)


def tally(*arguments: object) -> str:
    """What the command printed; raises `Refused` with its words when it fails."""
    ended = run(*arguments)
    if ended.code != ExitCode.OK:
        words = ended.err.strip() or ended.out.strip()
        raise Refused(f"`tally {' '.join(map(str, arguments[:2]))}` ended with {ended.code}: {words}")
    return ended.out


def side_by_side(parties: Sequence[Sequence[tuple[object, ...]]]) -> list[list[str]]:
    """What each party's commands printed: its own run in order, the parties at the same time."""

    def one(commands: Sequence[tuple[object, ...]]) -> list[str]:
        return [tally(*command) for command in commands]

    with ThreadPoolExecutor(PARALLEL) as pool:
        return list(pool.map(one, parties))


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _main(words: list[str], folder: str) -> None:
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(Path(folder) / name, os.O_WRONLY | os.O_CREAT, 0o600), descriptor)
    sys.argv = ["tally", *words]
    try:
        program.main()
    except SystemExit as end:
        # By a file: two threads that start and await processes can take an exit code from each other.
        (Path(folder) / "code").write_text(str(end.code or 0))
        raise
