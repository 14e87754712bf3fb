"""A node, the aggregator, its API and an audit say the same of a round that has ended, each once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from aggregator.portray import round_answer
from federation.audit.report import to_json
from federation.events import Reason, RoundId, StudyId
from federation.rehearsal import Rehearsal
from federation.store.content import put_bytes

from .aggregator.stage import conductor, hospitals_share, works
from .node.ward import Node
from .rehearsing import WINDOW, A, B, C, D, audited, rehearse

FIRST = RoundId(StudyId(1), 1)
EVENT = "a round has ended"


def told(caplog: pytest.LogCaptureFixture) -> dict[str, list[tuple[str, str]]]:
    """By part: level and sentence of each line that tells an end."""
    found: dict[str, list[tuple[str, str]]] = {}
    for record in caplog.records:
        if record.message == EVENT:
            found.setdefault(record.name, []).append((record.levelname, vars(record)["why"]))
    return found


def answered(stage: Rehearsal) -> str | None:
    stage.view.refresh()
    return round_answer(stage.view.history, stage.round(FIRST), stage.view.now).ending


def in_the_audit(stage: Rehearsal) -> object:
    return to_json(audited(stage))["endings"]


def test_who_let_a_round_fail_stands_in_every_log_in_the_answer_and_in_the_audit(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = rehearse("plain", rounds=1)
    node, aggregator = Node(stage, A, tmp_path / "vault"), conductor(stage)
    works(aggregator)  # else it would find an end that is older than its first look
    node.works()
    stage.commit(B)
    stage.wait(WINDOW)
    overdue = answered(stage)
    with caplog.at_level(logging.INFO):
        node.works()
        for _ in range(3):
            node.step()
            works(aggregator)
    sentence = answered(stage)
    assert sentence == (
        "round 1 was abandoned: 2 of at least 3 hospitals committed in time; "
        f"institution (0x{C.hex()}) and institution (0x{D.hex()}) did not commit"
    )
    assert overdue == sentence.replace("was abandoned", "is overdue")
    assert told(caplog) == {
        "node.daemon": [("WARNING", sentence)],
        "aggregator": [("WARNING", sentence)],
    }
    assert in_the_audit(stage) == [{"round": 1, "ending": sentence}]
    end = stage.round(FIRST).end
    assert end is not None
    assert end.reason is Reason.TOO_FEW_COMMITS


def test_a_member_that_is_left_out_is_told_with_its_code(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = rehearse("plain", rounds=1)
    node, aggregator = Node(stage, A, tmp_path / "vault"), conductor(stage)
    node.works()
    for site in (B, C, D):
        stage.commit(site)
    node.works()
    for site in (B, C):
        stage.reveal(site, FIRST)
    stage.ledger(D).reveal_update(FIRST, put_bytes(stage.store, b"another update"))
    with caplog.at_level(logging.INFO):
        works(aggregator)
        node.works()
        hospitals_share(stage, FIRST, (B, C))
        works(aggregator)
        node.works()
        aggregator.step()
    for part in ("node.daemon", "aggregator"):
        ((level, sentence),) = told(caplog)[part]
        assert level == "INFO"
        assert sentence.startswith("round 1 finished: 3 of 4 hospitals are in its total; ")
        assert sentence.endswith("was left out (MALFORMED, leaf 0: header length)")
    (line,) = in_the_audit(stage)  # type: ignore[misc]  # a list of one object
    assert line["ending"] == sentence
    without_code = sentence.removesuffix(" (MALFORMED, leaf 0: header length)")
    assert answered(stage) == without_code, "the API waits for no store"
