"""The journal: durable lines, one value each, one process at a time, and old copies found out."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from federation.digest import LedgerId, labelled, sha256
from federation.errors import Refused
from federation.events import RoundId, StudyId
from federation.rehearsal import Rehearsal
from node.journal import Entry, Glance, Journal, glance

from ..rehearsing import A, rehearse
from .ward import Node, others_act, without

HERE, THERE = LedgerId(labelled("here")), LedgerId(labelled("there"))
FIRST, SECOND = RoundId(StudyId(1), 1), RoundId(StudyId(1), 2)


def test_a_line_is_there_for_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "vault" / "journal.sqlite"
    first = Journal(path, HERE)
    first.remember(Entry.TRAINED, FIRST, sha256(b"root"))
    first.close()
    assert Journal(path, HERE).recall(Entry.TRAINED, FIRST) == sha256(b"root")


def test_a_line_survives_the_death_of_its_process(tmp_path: Path) -> None:
    program = """
import os, signal, sys
from pathlib import Path
from federation.events import RoundId, StudyId
from node.journal import Entry, Glance, Journal, glance
journal = Journal(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]))
journal.remember(Entry.SHARED, RoundId(StudyId(1), 1), b"total")
os.kill(os.getpid(), signal.SIGKILL)
"""
    path = tmp_path / "journal.sqlite"
    ran = subprocess.run([sys.executable, "-c", program, str(path), HERE.hex()], check=False)
    assert ran.returncode < 0
    assert Journal(path, HERE).recall(Entry.SHARED, FIRST) == b"total"


def test_rounds_studies_ledgers_and_kinds_of_line_do_not_mix(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", HERE)
    journal.remember(Entry.TRAINED, FIRST, b"one")
    journal.remember(Entry.TRAINED, SECOND, b"two")
    journal.remember(Entry.TRAINED, RoundId(StudyId(2), 1), b"three")
    journal.remember(Entry.SHARED, FIRST, b"four")
    journal.close()
    elsewhere = Journal(tmp_path / "journal.sqlite", THERE)
    assert elsewhere.recall(Entry.TRAINED, FIRST) is None
    elsewhere.remember(Entry.TRAINED, FIRST, b"five")
    elsewhere.close()
    again = Journal(tmp_path / "journal.sqlite", HERE)
    assert [again.recall(Entry.TRAINED, round) for round in (FIRST, SECOND)] == [b"one", b"two"]
    assert again.recall(Entry.TRAINED, RoundId(StudyId(2), 1)) == b"three"
    assert again.recall(Entry.SHARED, FIRST) == b"four"
    assert again.recall(Entry.ADOPTED, FIRST) is None


OF_THE_NEWEST = (Entry.WITHHELD, Entry.UNPROVEN)


@pytest.mark.parametrize("entry", [entry for entry in Entry if entry not in OF_THE_NEWEST])
def test_the_same_value_again_is_fine_and_another_one_is_refused(tmp_path: Path, entry: Entry) -> None:
    journal = Journal(tmp_path / "journal.sqlite", HERE)
    journal.remember(entry, FIRST, b"\x01")
    journal.remember(entry, FIRST, b"\x01")
    with pytest.raises(Refused, match=rf"the journal holds {entry.value} 01, not 02"):
        journal.remember(entry, FIRST, b"\x02")
    assert journal.recall(entry, FIRST) == b"\x01"


@pytest.mark.parametrize("entry", OF_THE_NEWEST)
def test_what_is_said_of_a_total_gives_way_to_what_is_said_of_the_next(tmp_path: Path, entry: Entry) -> None:
    journal = Journal(tmp_path / "journal.sqlite", HERE)
    for root in (b"\x01", b"\x01", b"\x02"):
        journal.remember(entry, FIRST, root)
        assert journal.recall(entry, FIRST) == root
    assert journal.recall(entry, SECOND) is None


def test_a_second_process_is_told_that_one_is_running(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    first = Journal(path, HERE)
    with pytest.raises(Refused, match="is this node running already"):
        Journal(path, HERE)
    program = """
import sys
from pathlib import Path
from node.journal import Journal
Journal(Path(sys.argv[1]), bytes(32))
"""
    other = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert "is this node running already" in other.stderr
    first.remember(Entry.TRAINED, FIRST, b"still here")
    first.close()
    assert Journal(path, HERE).recall(Entry.TRAINED, FIRST) == b"still here"


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        journal = Journal(tmp_path / "vault" / "journal.sqlite", HERE)
        journal.remember(Entry.TRAINED, FIRST, b"root")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "vault" / "journal.sqlite").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "vault").stat().st_mode) == 0o700


def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_bytes(b"not a database, but a long enough text that SQLite looks at it " * 40)
    held = path.read_bytes()
    with pytest.raises(Refused, match="the journal is unusable"):
        Journal(path, HERE)
    assert path.read_bytes() == held


def test_a_place_where_no_journal_can_be_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Refused, match=r"file: expected a folder"):
        Journal(tmp_path / "file" / "journal.sqlite", HERE)
    (tmp_path / "journal.sqlite").mkdir()
    with pytest.raises(Refused, match=r"journal\.sqlite: the journal is unusable"):
        Journal(tmp_path / "journal.sqlite", HERE)


def test_a_journal_that_was_damaged_while_open_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    first = Journal(path, HERE)
    first.remember(Entry.TRAINED, FIRST, b"root")
    first.close()
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE entries")
        database.execute("CREATE TABLE entries (something INTEGER)")
    database.close()
    with pytest.raises(Refused, match="the journal is unusable"):
        Journal(path, HERE).recall(Entry.TRAINED, FIRST)


def up_to(stage: Rehearsal, node: Node, call: str) -> None:
    """The node has sent this call; the others have done their part."""
    while not node.calls(call):
        node.works()
        others_act(stage, without(A))


@pytest.mark.parametrize("call", ["commit_update", "post_share"])
def test_a_backup_copied_back_is_found_out_by_what_the_ledger_shows(tmp_path: Path, call: str) -> None:
    stage = rehearse("plain", rounds=2)
    node = Node(stage, A, tmp_path / "vault")
    if call == "post_share":
        up_to(stage, node, "reveal_update")
    node.kill()
    shutil.copytree(tmp_path / "vault", tmp_path / "backup")
    node.start()
    up_to(stage, node, call)
    node.kill()
    shutil.rmtree(tmp_path / "vault")
    shutil.copytree(tmp_path / "backup", tmp_path / "vault")
    node.start()
    what = {"commit_update": "a commitment", "post_share": "a share"}[call]
    with pytest.raises(Refused, match=f"{what} of ours that our journal does not remember"):
        node.step()
    others_act(stage, without(A), finish_at=3)
    with pytest.raises(Refused, match="does not remember"):
        node.step()


def test_a_glance_shows_a_rounds_lines_and_takes_the_journal_from_nobody(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    ledger, round = HERE, RoundId(StudyId(1), 3)
    assert glance(path, ledger, round) == Glance(in_use=False, entries=())
    journal = Journal(path, ledger)
    journal.remember(Entry.TRAINED, round, b"root")
    assert glance(path, ledger, round) == Glance(in_use=True, entries=())
    journal.remember(Entry.SHARED, round, b"total")
    journal.close()
    assert glance(path, ledger, round) == Glance(in_use=False, entries=("shared", "trained"))
    assert glance(path, ledger, RoundId(StudyId(1), 4)).entries == ()


def test_a_glance_at_another_file_says_that_it_is_none(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    path.write_text("not a database at all, but long enough to be looked at as one" * 20)
    seen = glance(path, HERE, RoundId(StudyId(1), 3))
    assert not seen.in_use
    assert "unusable" in seen.problem
