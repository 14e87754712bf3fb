"""One line for each event of a daemon: time, level, part, event, then key=value; JSON on request.

Whatever is logged is meant to be read by others: digests, addresses, rounds. Never a key, a
password, a patient's value or a count of patients. What is kept in a file is always JSON, so that it can
be searched (`log_reading`); a disk that takes no more of it stops nobody's work.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final, Literal

from pydantic import Field

from .endpoints import Section
from .errors import Refused
from .identity import make_folder

TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%S%z"
FIXED: Final = ("time", "level", "part", "event")
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",  # uvicorn's second copy of the event
}


class LogSettings(Section):
    """How a daemon's events are written to standard error, and how many are kept for `logs`."""

    form: Literal["human", "json"] | None = None  # to standard error; unset: a node human, an aggregator json
    keep: bool = True  # in files beside the daemon's own
    megabytes: float = Field(default=8, gt=0, le=1000)  # in one file
    files: int = Field(default=4, ge=1, le=100)  # the newest and those before it


class LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00Z INFO node.submit committed round=1/3 root=ab12…`."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__(datefmt=TIME_FORMAT)
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line; a traceback follows on lines of its own, in JSON as one more key."""
        extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        fixed = {
            "time": self.formatTime(record, self.datefmt),
            "level": record.levelname,
            "part": record.name,
            "event": record.getMessage(),
        }
        traceback = self.formatException(record.exc_info) if record.exc_info else ""
        if self._as_json:
            told = {"traceback": traceback} if traceback else {}
            return json.dumps(fixed | extra | told, default=str, ensure_ascii=False)
        line = human_line(fixed | extra)
        return f"{line}\n{traceback}" if traceback else line


def human_line(facts: Mapping[str, object]) -> str:
    """One event for people: what every line has, then key=value."""
    pairs = [f"{key}={_quoted(value)}" for key, value in facts.items() if key not in FIXED]
    return " ".join([*(str(facts.get(key, "-")) for key in FIXED), *pairs])


def log_to_stderr(*, as_json: bool = False) -> None:
    """All logging of this process goes to standard error, a line an event."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(as_json=as_json))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("web3", "urllib3", "httpx", "ipfshttpclient", "uvicorn.access", "opentelemetry"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def log_as_set(settings: LogSettings, kept: Path, *, by_default: Literal["human", "json"]) -> None:
    """Events go to standard error, and to the file `kept` if the settings want them kept.

    A file that cannot be opened is said once, and done without: nobody's work depends on it.
    """
    log_to_stderr(as_json=(settings.form or by_default) == "json")
    if not settings.keep:
        return
    try:
        make_folder(kept.parent)
        most = max(1, round(settings.megabytes * 1_000_000))
        handler = _Kept(kept, maxBytes=most, backupCount=settings.files - 1, encoding="utf-8")
    except (OSError, Refused) as error:
        logging.getLogger(__name__).warning("events are not kept", extra={"why": str(error)})
        return
    handler.setFormatter(LineFormatter(as_json=True))
    logging.getLogger().addHandler(handler)


class _Kept(RotatingFileHandler):
    """A file that its owner alone can read, and whose failures end nothing."""

    _has_failed = False

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(descriptor, "a", encoding=self.encoding)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the name of `logging`
        if not self._has_failed:  # once: a full disk stays full
            self._has_failed = True
            sys.stderr.write(f"events are not kept any more: {sys.exc_info()[1]} ({record.name})\n")


def _quoted(value: object) -> str:
    text = str(value)
    if not text.isprintable():  # a peer's words could hold a terminal's commands
        return json.dumps(text)
    return json.dumps(text, ensure_ascii=False) if not text or any(c in text for c in ' "=') else text
