"""What a daemon has kept is found again: by round, level and time, over full files, while it is written."""

from __future__ import annotations

import json
import logging
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from federation.errors import Refused
from federation.log_reading import follow_events, last_trouble, print_events, read_events, wanted
from federation.logs import LogSettings, log_as_set

LOG = logging.getLogger("node.submit")
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    for handler in set(root.handlers) - set(before[0]):
        with suppress(OSError):  # /dev/full, for the last time
            handler.close()
    root.handlers[:], level = before
    root.setLevel(level)


def event(name: str, *, minutes_ago: int = 0, level: str = "INFO", **facts: object) -> str:
    time = (NOW - timedelta(minutes=minutes_ago)).strftime("%Y-%m-%dT%H:%M:%S%z")
    return json.dumps({"time": time, "level": level, "part": "node", "event": name} | facts) + "\n"


def shown(
    file: Path, *, round: str = "", level: str = "debug", since: str = "", as_json: bool = False
) -> list[str]:
    said: list[str] = []
    which = wanted(round=round, level=level, since=since, now=NOW)
    print_events(file, which, follow=False, as_json=as_json, say=said.append)
    return said if as_json else [line.split(" ")[3] for line in said]


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    file = tmp_path / "node.jsonl"
    file.write_text(
        event("old", minutes_ago=180, round="1/2")
        + event("retrying", minutes_ago=90, level="WARNING", round="1/3", why="no answer")
        + '{"time": "cut off by a cra\n'
        + event("mended", minutes_ago=5, round="1/3")
        + event("another", minutes_ago=1, round="2/3")
    )
    return file


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["old", "retrying", "mended", "another"]),
        ({"round": "3"}, ["retrying", "mended", "another"]),
        ({"round": "1/3"}, ["retrying", "mended"]),
        ({"level": "warning"}, ["retrying"]),
        ({"level": "error"}, []),
        ({"since": "2h"}, ["retrying", "mended", "another"]),
        ({"since": "300s"}, ["mended", "another"]),
        ({"since": "2026-01-31T11:58:00+00:00"}, ["another"]),
        ({"since": "1d", "round": "2"}, ["old"]),
    ],
)
def test_events_are_chosen_by_round_level_and_time(
    kept: Path, asked: dict[str, str], found: list[str]
) -> None:
    assert shown(kept, **asked) == found  # type: ignore[arg-type]  # names are checked at run time


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"round": "three"}, "--round: expected a number"),
        ({"level": "loud"}, "--level: expected one of debug, info"),
        ({"since": "yesterday"}, "--since: expected 90s, 30m"),
    ],
)
def test_a_filter_that_means_nothing_is_refused_by_its_name(
    kept: Path, asked: dict[str, str], word: str
) -> None:
    with pytest.raises(Refused, match=word):
        shown(kept, **asked)  # type: ignore[arg-type]  # names are checked at run time


def test_for_machines_each_event_is_the_object_that_was_kept(kept: Path) -> None:
    (line,) = shown(kept, level="warning", as_json=True)
    assert json.loads(line)["why"] == "no answer"


def test_the_last_trouble_is_the_newest_warning(kept: Path) -> None:
    found = last_trouble(read_events(kept))
    assert found is not None
    assert found["event"] == "retrying"
    assert last_trouble(iter(())) is None


def test_where_nothing_was_kept_a_person_is_told_why(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="keep = true"):
        shown(tmp_path / "node.jsonl")


def test_full_files_are_read_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "log" / "node.jsonl"
    log_as_set(LogSettings(megabytes=0.0005, files=100), file, by_default="human")
    for number in range(40):
        LOG.info("event", extra={"number": number})
    assert len(list(file.parent.iterdir())) > 2
    assert [found["number"] for found in read_events(file)] == list(range(40))


def test_only_so_many_files_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "log" / "node.jsonl"
    log_as_set(LogSettings(megabytes=0.0005, files=3), file, by_default="human")
    for number in range(40):
        LOG.info("event", extra={"number": number})
    assert len(list(file.parent.iterdir())) == 3
    assert [found["number"] for found in read_events(file)][-1] == 39


def test_what_is_kept_is_its_owners_alone_and_json_whatever_stderr_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "log" / "node.jsonl"
    log_as_set(LogSettings(form="human"), file, by_default="json")
    try:
        raise Refused("on purpose")
    except Refused:
        LOG.exception("failed", extra={"round": "1/3"})
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    (found,) = read_events(file)
    assert (found["event"], found["round"]) == ("failed", "1/3")
    assert "on purpose" in str(found["traceback"])
    assert "ERROR node.submit failed round=1/3" in capsys.readouterr().err


def test_settings_may_keep_nothing(tmp_path: Path) -> None:
    log_as_set(LogSettings(keep=False), tmp_path / "log" / "node.jsonl", by_default="human")
    LOG.info("event")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_takes_no_file_is_said_once_and_stops_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log").write_text("a file where the folder should be")
    log_as_set(LogSettings(), tmp_path / "log" / "node.jsonl", by_default="human")
    LOG.info("event")
    first, second = capsys.readouterr().err.splitlines()
    assert "events are not kept" in first
    assert second.endswith("event")


def test_a_disk_that_takes_no_more_is_said_once_and_stops_nobody(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log_as_set(LogSettings(megabytes=1000), Path("/dev/full"), by_default="human")
    for _ in range(3):
        LOG.info("event")
    said = capsys.readouterr().err
    assert said.count("events are not kept any more") == 1
    assert said.count("INFO node.submit event") == 3


def writing(*steps: Callable[[], object]) -> Callable[[], bool]:
    """Does the next step at each pause, then says that it is enough."""
    left = list(steps)

    def pause() -> bool:
        if not left:
            return False
        left.pop(0)()
        return True

    return pause


def test_following_shows_each_event_once_also_over_the_end_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "node.jsonl"
    file.write_text(event("first"))

    def append(text: str) -> Callable[[], object]:
        def write() -> None:
            with file.open("a") as stream:
                stream.write(text)

        return write

    half, rest = event("second")[:20], event("second")[20:]

    def rotate() -> None:
        append(event("last of this file"))()
        file.rename(tmp_path / "node.jsonl.1")
        file.write_text(event("first of the next"))

    pause = writing(append(half), append(rest), rotate, lambda: None)
    found = [line["event"] for line in follow_events(file, pause)]
    assert found == ["first", "second", "last of this file", "first of the next"]
