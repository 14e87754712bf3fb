"""A daemon's log: one line an event, for people or for machines, and nothing that nobody may read."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from datetime import datetime

import pytest

from federation.errors import Refused
from federation.logs import LineFormatter, log_to_stderr
from federation.members import Address

LOG = logging.getLogger("node.submit")


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], level = before
    root.setLevel(level)


def line(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr()
    assert said.out == "", "standard output is for results"
    (only,) = said.err.splitlines()
    return only


def test_an_event_is_one_line_with_its_facts_behind_it(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr()
    LOG.info(
        "committed", extra={"round": "1/3", "root": "ab12", "why": "two words", "empty": "", "x": 'a"b=c\nd'}
    )
    time, level, part, event, *facts = line(capsys).split(" ", 4)
    assert datetime.strptime(time, "%Y-%m-%dT%H:%M:%S%z").tzinfo is not None
    assert (level, part, event) == ("INFO", "node.submit", "committed")
    assert facts == [r'round=1/3 root=ab12 why="two words" empty="" x="a\"b=c\nd"']


def test_a_machine_gets_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr(as_json=True)
    LOG.warning("retrying", extra={"why": "no\nanswer", "round": 7, "who": Address(b"\x01" * 20)})
    said = json.loads(line(capsys))
    assert (said["level"], said["part"], said["event"]) == ("WARNING", "node.submit", "retrying")
    assert (said["why"], said["round"]) == ("no\nanswer", 7)
    assert isinstance(said["who"], str)


def test_an_event_of_several_lines_cannot_pass_for_several_events_in_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log_to_stderr(as_json=True)
    LOG.info("%s", "one\n2026-01-01T00:00:00Z ERROR forged")
    assert json.loads(line(capsys))["event"].startswith("one\n")


def test_a_fact_cannot_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr()
    LOG.info("overtaken", extra={"why": "x\n2026-01-01T00:00:00Z ERROR forged"})
    assert "ERROR forged" in line(capsys)


def test_a_traceback_follows_its_line() -> None:
    try:
        raise Refused("on purpose")
    except Refused:
        record = LOG.makeRecord("node", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    first, *rest = LineFormatter(as_json=False).format(record).splitlines()
    assert first.endswith("ERROR node failed")
    assert rest[0].startswith("Traceback")
    assert "on purpose" in rest[-1]


def test_a_peers_words_command_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr()
    LOG.warning("retrying", extra={"why": "a\x1b[2Kb", "who": "c\x9b8m\rd"})
    assert line(capsys).endswith(r'why="a\u001b[2Kb" who="c\u009b8m\rd"')


@pytest.mark.parametrize("name", ["web3", "urllib3", "httpx", "ipfshttpclient"])
def test_libraries_that_log_what_they_send_are_kept_quiet(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log_to_stderr()
    logging.getLogger(f"{name}.connection").info("POST /v3/an-api-key")
    logging.getLogger(f"{name}.connection").debug("POST /v3/an-api-key")
    assert capsys.readouterr().err == ""


def test_debugging_lines_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr()
    LOG.debug("every detail")
    assert capsys.readouterr().err == ""
