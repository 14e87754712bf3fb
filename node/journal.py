"""What this node has done, durably: what must never happen twice is written before it leaves the house.

A restart reads it, and so does every step that must never happen twice. Older backups are detected:
the ledger then shows what the journal does not remember, and the node refuses to go on (PROTOCOL §5.4).
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final
from urllib.parse import quote

from federation.digest import Digest, LedgerId, labelled
from federation.errors import Refused
from federation.events import RoundId, TotalPosted
from federation.identity import make_folder

JOURNAL: Final = "journal.sqlite"  # in the vault


class Entry(Enum):
    """What a line records; its value is what the duty was done with."""

    TRAINED = "trained"  # the root of the one update of this round
    SHARED = "shared"  # the root of the one total that we gave our share for
    PUBLISHED = "published"  # the CID of that share's bytes, once they are in the store
    WITHHELD = "withheld"  # the name of the newest total that we refuse to open, see `name_of`
    ADOPTED = "adopted"  # the digest of the model that we recomputed
    PASSED = "passed"  # the round had begun when the vault was restored: we give nothing in it
    DOUBTED = "doubted"  # the next one then: an earlier self may have sent something for it
    UNPROVEN = "unproven"  # the name of the newest such total that the contract cannot be shown a fault of


def name_of(total: TotalPosted) -> Digest:
    """One name for all that was posted, at whatever place a fork leaves it.

    Not its root: whoever posts a lawful root beside a wrong list, or a wrong root that others post after
    him, would decide what becomes of their totals.
    """
    return labelled("withheld total", total.sender, total.root, total.cid, *total.members)


_ADD: Final = "INSERT OR IGNORE INTO entries VALUES (?, ?, ?, ?, ?)"
_OF_ROUND: Final = "SELECT entry FROM entries WHERE ledger = ? AND study = ? AND round = ? ORDER BY entry"
_REPLACE: Final = "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?)"
_READ: Final = "SELECT value FROM entries WHERE ledger = ? AND study = ? AND round = ? AND entry = ?"
_OF_THE_NEWEST: Final = frozenset({Entry.WITHHELD, Entry.UNPROVEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """A look at a journal from outside."""

    in_use: bool  # a node runs with it
    entries: tuple[str, ...]  # of one round; none can be read while it is in use
    problem: str = ""


def glance(path: Path, ledger: LedgerId, round: RoundId) -> Glance:
    """What is known without taking the journal from a node that may want it; changes nothing."""
    if not path.exists():
        return Glance(in_use=False, entries=())
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=0)) as database:
            rows = database.execute(_OF_ROUND, (ledger, *round)).fetchall()
    except sqlite3.Error as error:
        busy = isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_BUSY
        # A node that was killed may have left half a line, which only a writer can take back.
        return Glance(in_use=busy, entries=(), problem="" if busy else _problem(error))
    return Glance(in_use=False, entries=tuple(row[0] for row in rows))


class Journal:
    """A SQLite file; every line is on disk before `remember` returns, and a copy of the file is a backup.

    One process at a time has it open: two nodes on one account would do everything twice.
    """

    def __init__(self, path: Path, ledger: LedgerId) -> None:
        self._ledger = ledger
        self._path = path
        make_folder(path.parent)
        try:
            if not path.exists():  # an open file is never opened beside SQLite: closing it drops its locks
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")  # held until the process ends
            self._database.execute("PRAGMA journal_mode = DELETE")
            self._database.execute("PRAGMA synchronous = EXTRA")  # a power cut forgets no line
            self._database.execute("BEGIN EXCLUSIVE")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS entries (ledger BLOB, study INTEGER, round INTEGER, entry TEXT, "
                "value BLOB NOT NULL, PRIMARY KEY (ledger, study, round, entry)) WITHOUT ROWID"
            )
            self._database.execute("COMMIT")
            # In memory too, since each poll asks for lines of every round: nobody else can change the file.
            self._lines = {
                (study, number, entry): value
                for study, number, entry, value in self._database.execute(
                    "SELECT study, round, entry, value FROM entries WHERE ledger = ?", (ledger,)
                )
            }
        except (sqlite3.Error, OSError) as error:
            raise Refused(f"{path}: {_problem(error)}") from error

    def recall(self, entry: Entry, round: RoundId) -> bytes | None:
        """What was recorded, if anything."""
        return self._lines.get((*round, entry.value))

    def remember(self, entry: Entry, round: RoundId, value: bytes) -> None:
        """The line is durable; raises `Refused` where another value stands already: never twice.

        Only what is said of a round's newest total gives way to what is said of the next one.
        """
        line = (self._ledger, *round, entry.value, value)
        known = self._write(_REPLACE if entry in _OF_THE_NEWEST else _ADD, line)
        if known != value:
            held = "nothing" if known is None else known.hex()
            raise Refused(f"round {round}: the journal holds {entry.value} {held}, not {value.hex()}")

    def _write(self, statement: str, line: tuple[bytes, int, int, str, bytes]) -> bytes | None:
        """What stands there once the statement is on disk."""
        try:
            self._database.execute(statement, line)
            row: tuple[bytes] | None = self._database.execute(_READ, line[:-1]).fetchone()
        except sqlite3.Error as error:
            raise Refused(f"{self._path}: {_problem(error)}") from error
        if row is None:
            return None
        _, study, number, entry, _ = line
        self._lines[study, number, entry] = row[0]
        return row[0]

    def close(self) -> None:
        """The file is released."""
        self._database.close()


def _problem(error: sqlite3.Error | OSError) -> str:
    if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
        return "the journal is in use: is this node running already?"
    if isinstance(error, sqlite3.Error):
        return f"the journal is unusable ({error}): make room, or restore the newest vault"
    return f"the journal cannot be opened: {error.strerror}"
