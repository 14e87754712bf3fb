"""`logs`: the events that a daemon has kept, those wanted of them, in the order in which they happened."""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Final, TextIO

from .errors import Refused
from .logs import human_line

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

LOOK_SECONDS: Final = 0.25

Event = Mapping[str, object]  # one line of the file


def _a_moment() -> bool:
    time.sleep(LOOK_SECONDS)
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which events are shown: those that meet all of it."""

    round: str = ""  # its number, or study/number; empty for all
    level: str = "debug"  # and above
    since: datetime | None = None

    def __contains__(self, event: Event) -> bool:
        return self._is_of_round(event) and self._is_grave(event) and self._is_recent(event)

    def _is_of_round(self, event: Event) -> bool:
        said = str(event.get("round", ""))
        return not self.round or said == self.round or said.rpartition("/")[2] == self.round

    def _is_grave(self, event: Event) -> bool:
        return _rank(str(event.get("level", ""))) >= _rank(self.level)

    def _is_recent(self, event: Event) -> bool:
        if self.since is None:
            return True
        try:
            return datetime.fromisoformat(str(event.get("time", ""))) >= self.since
        except (ValueError, TypeError):  # no time, or one without a zone
            return False


def wanted(*, round: str, level: str, since: str, now: datetime) -> Wanted:
    """What a person asked for; raises `Refused`, saying what is expected."""
    if level.lower() not in LEVELS:
        raise Refused(f"--level: expected one of {', '.join(LEVELS)}, found {level!r}")
    if round and not re.fullmatch(r"(\d+/)?\d+", round):
        raise Refused(f"--round: expected a number, or STUDY/NUMBER, found {round!r}")
    return Wanted(round=round, level=level, since=_moment(since, now) if since else None)


def read_events(file: Path, *, newest: bool = True) -> Iterator[Event]:
    """What was kept before `file`, and with `newest` in it, too; raises `Refused` where nothing ever was.

    A line that was cut off by a crash or a full disk is passed over.
    """
    files = _oldest_first(file)
    if not files:
        raise Refused(f"{file}: no events are kept there: has the daemon run with `keep = true` under [log]?")
    for one in files:
        if newest or one != file:
            with _opened(one) as lines:
                yield from _events(lines)


def follow_events(file: Path, pause: Callable[[], bool]) -> Iterator[Event]:
    """What is and will be written to `file`, and to the next one when it is full, while `pause` says so."""
    stream = _opened(file)
    try:
        pending, going = "", True
        while going:
            pending += stream.read()
            *lines, pending = pending.split("\n")
            yield from _events(lines)
            going = pause()
            if file.exists() and file.stat().st_ino != _inode(stream.fileno()):
                yield from _events((pending + stream.read()).split("\n"))
                stream.close()
                stream, pending = _opened(file), ""
    finally:
        stream.close()


def print_events(
    file: Path,
    which: Wanted,
    *,
    follow: bool,
    as_json: bool,
    say: Callable[[str], object],
    pause: Callable[[], bool] = _a_moment,
) -> None:
    """Each event that is wanted was said, in order; with `follow` those to come, while `pause` agrees."""
    events = read_events(file, newest=not follow)
    if follow:
        events = chain(events, follow_events(file, pause))
    for event in events:
        if event in which:
            say(show_event(event, as_json=as_json))


def show_event(event: Event, *, as_json: bool) -> str:
    """The event on one line; a traceback stays in JSON, where it commands no terminal."""
    return json.dumps(event, ensure_ascii=True) if as_json else human_line(event)


def last_trouble(events: Iterable[Event]) -> Event | None:
    """The newest event that is at least a warning."""
    newest = None
    for event in events:
        if event in Wanted(level="warning"):
            newest = event
    return newest


def _events(lines: Iterable[str]) -> Iterator[Event]:
    for line in lines:
        try:
            event: object = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def _opened(file: Path) -> TextIO:
    try:
        return file.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise Refused(f"{file}: cannot be read: {error.strerror}") from error


def _oldest_first(file: Path) -> list[Path]:
    """`node.jsonl.2`, `node.jsonl.1`, `node.jsonl`."""
    numbered = {
        int(number): path
        for path in file.parent.glob(f"{file.name}.*")
        if (number := path.name.removeprefix(f"{file.name}.")).isdecimal()
    }
    older = [numbered[number] for number in sorted(numbered, reverse=True)]
    return [*older, file] if file.exists() else older


def _inode(descriptor: int) -> int:
    return os.fstat(descriptor).st_ino


def _rank(level: str) -> int:
    return logging.getLevelNamesMapping().get(level.upper(), logging.NOTSET)


def _moment(text: str, now: datetime) -> datetime:
    """`90m` before now, or a time of day with its date."""
    ago = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if ago:
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused(f"--since: expected 90s, 30m, 2h, 3d or 2026-01-31T12:00, found {text!r}") from error
    return moment if moment.tzinfo else moment.astimezone()  # as the clock on the wall shows it
