"""Where a party touches what outlives it: ledger, store, vault, journal. There it can be killed.

The seams are the Protocols themselves: `CALLS` is every call of `Ledger` that gives a receipt, a vault's file
and a journal's line are whatever is written through them. A write that is new is a new step of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar, get_type_hints

from federation.digest import Cid
from federation.errors import LedgerRejected, Unavailable
from federation.events import RoundId
from federation.identity import write_secret
from federation.law import History
from federation.ledger.ledger import Block, Ledger, Receipt
from federation.members import Address
from federation.pace import Pace
from federation.store.content import Absent, ContentStore
from node.journal import Entry, Journal
from node.openings import Openings
from node.vault import Vault

CALLS = frozenset(
    name
    for name, method in vars(Ledger).items()
    if callable(method) and not name.startswith("_") and get_type_hints(method).get("return") is Receipt
)
Due = TypeVar("Due", bound=Hashable)


class Crash(BaseException):
    """The process is killed here: nothing of ours may catch it."""


class Step(NamedTuple):
    """One moment at which a party can be killed."""

    duty: str  # under way; "start" before the first
    what: str  # is written, or sent
    when: str

    def __str__(self) -> str:
        return f"{self.duty}: {self.when} {self.what}"


@dataclass
class Fuse:
    """Kills the process at the n-th step; writes all of them down."""

    left: int = 1_000_000
    touched: list[Step] = field(default_factory=list)
    duty: str = "start"
    duties: set[str] = field(default_factory=set)
    puts: int = 0  # in the duty under way
    on_its_way: list[Callable[[], Receipt]] = field(default_factory=list)  # sent by a process that is gone

    def touch(self, what: str, when: str) -> None:
        self.touched.append(Step(self.duty, what, when))
        self.left -= 1
        if self.left == -1:
            raise Crash(str(self.touched[-1]))

    def send(self, what: str, call: Callable[[], Receipt]) -> Receipt:
        """Killed in the middle, the process is gone while the call waits to be mined, which it is later."""
        self.touch(what, "before")
        try:
            self.touch(what, "in the middle of")
        except Crash:
            self.on_its_way.append(call)
            raise
        receipt = call()
        self.touch(what, "after")
        return receipt

    def arrive(self) -> None:
        """What a killed process had sent is mined now, if the law still takes it."""
        while self.on_its_way:
            try:
                self.on_its_way.pop()()
            except LedgerRejected:
                continue

    def write_secret(self, path: Path, data: bytes) -> None:
        """`identity.write_secret`, for a file that no vault writes."""
        what = f"file {path.name}"
        self.touch(what, "before")
        write_partial(path, data)
        self.touch(what, "in the middle of")
        write_secret(path, data)
        self.touch(what, "after")


class Told(Pace[Due]):
    """Tells the fuse which duty is under way."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self._fuse = fuse

    def is_vain(self, due: Due, head: int) -> bool:
        self._fuse.duty, self._fuse.puts = type(due).__name__, 0
        self._fuse.duties.add(self._fuse.duty)
        return super().is_vain(due, head)


class TappedLedger:
    """Every sent call is written down; before, while and after it is mined the process may be killed."""

    def __init__(self, inner: Ledger, fuse: Fuse, sent: list[tuple[str, tuple[object, ...]]]) -> None:
        self._inner = inner
        self._fuse = fuse
        self._sent = sent
        self.final: Block | None = None  # the newest block that is shown, where it is not the newest

    def head(self) -> Block:
        return self.final or self._inner.head()

    def __getattr__(self, name: str) -> object:
        if name in CALLS:
            return partial(self._call, name)
        return getattr(self._inner, name)

    def _call(self, name: str, *arguments: object, **named: object) -> object:
        self._sent.append((name, (*arguments, *named.values())))
        self._fuse.arrive()
        return self._fuse.send(name, partial(getattr(self._inner, name), *arguments, **named))


class TappedStore:
    """Before, during and after each write the process may be killed; content may be lost, all be silent."""

    def __init__(self, inner: ContentStore, fuse: Fuse, written: list[Cid]) -> None:
        self._inner = inner
        self._fuse = fuse
        self.lost: set[Cid] = set()
        self.lost_behind: set[Cid] = set()  # served as a whole, and then never again from the middle
        self.silent = False
        self.written = written
        self.read = 0

    def put(self, chunks: Iterable[bytes]) -> Cid:
        self._answer()
        self._fuse.puts += 1
        what = f"put {self._fuse.puts}"
        self._fuse.touch(what, "before")
        cid = self._inner.put(self._interrupted(what, chunks))
        self.written.append(cid)
        self._fuse.touch(what, "after")
        return cid

    def get(self, cid: Cid, *, size: int, start: int = 0) -> Iterator[bytes]:
        self._answer()
        self.read += 1
        if cid in self.lost or (start and cid in self.lost_behind):
            raise Absent("lost")
        return self._inner.get(cid, size=size, start=start)

    def has(self, cid: Cid) -> bool:
        self._answer()
        return self._inner.has(cid)

    def _answer(self) -> None:
        if self.silent:
            raise Unavailable("the store is silent")

    def _interrupted(self, what: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for number, chunk in enumerate(chunks):
            yield chunk
            if number == 0:
                self._fuse.touch(what, "in the middle of")


class FusedVault(Vault):
    """Before, in the middle of and after each write the process may be killed."""

    fuse: Fuse

    def _write(self, path: Path, secret: bytes | memoryview) -> None:
        what = f"file {path.name.partition('-')[0]}"
        self.fuse.touch(what, "before")
        write_partial(path, secret)
        self.fuse.touch(what, "in the middle of")
        super()._write(path, secret)
        self.fuse.touch(what, "after")


class FusedJournal(Journal):
    """Before, within and after the transaction of each line the process may be killed."""

    fuse: Fuse

    def remember(self, entry: Entry, round: RoundId, value: bytes) -> None:
        what = f"line {entry.value}"
        self.fuse.touch(what, "before")
        self._database.execute("BEGIN IMMEDIATE")  # closed in it, as by a kill, the file goes back
        try:
            super().remember(entry, round, value)
        finally:
            self.fuse.touch(what, "in the middle of")
            self._database.execute("COMMIT")
        self.fuse.touch(what, "after")


class FusedOpenings(Openings):
    """Before, in the middle of and after each note the process may be killed."""

    fuse: Fuse

    def note(self, history: History, me: Address, round: RoundId) -> None:
        what = "file openings"
        self.fuse.touch(what, "before")
        write_partial(self._directory / "openings" / f"{self._ledger.hex()}-{round.study}.json", b"{}")
        self.fuse.touch(what, "in the middle of")
        super().note(history, me, round)
        self.fuse.touch(what, "after")


def write_partial(path: Path, data: bytes | memoryview) -> None:
    """What a process leaves that is killed while it writes a secret; on a full disk, less."""
    with suppress(OSError):
        path.with_name(path.name + ".partial").write_bytes(data[:7])
