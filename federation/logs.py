"""One line for each event of a daemon: time, level, part, event, then key=value; JSON on request.

Whatever is logged is meant to be read by others: digests, addresses, rounds. Never a key, a
password, a patient's value or a count of patients.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Final

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",  # uvicorn's second copy of the event
}


class LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00Z INFO node.submit committed round=1/3 root=ab12…`."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%S%z")
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line; a traceback follows on lines of its own."""
        extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        fixed = {
            "time": self.formatTime(record, self.datefmt),
            "level": record.levelname,
            "part": record.name,
            "event": record.getMessage(),
        }
        if self._as_json:
            line = json.dumps(fixed | extra, default=str, ensure_ascii=False)
        else:
            pairs = [f"{key}={_quoted(value)}" for key, value in extra.items()]
            line = " ".join([*fixed.values(), *pairs])
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def log_to_stderr(*, as_json: bool = False) -> None:
    """All logging of this process goes to standard error, a line an event."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(as_json=as_json))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("web3", "urllib3", "httpx", "ipfshttpclient", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _quoted(value: object) -> str:
    text = str(value)
    if not text.isprintable():  # a peer's words could hold a terminal's commands
        return json.dumps(text)
    return json.dumps(text, ensure_ascii=False) if not text or any(c in text for c in ' "=') else text
