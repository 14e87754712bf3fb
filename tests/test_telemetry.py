"""Whoever watches a daemon hears of each duty, answer and round, once, under public names alone."""

from __future__ import annotations

import http.server
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from aggregator.conductor import Conductor
from federation.errors import LedgerRejected, Refused, Unavailable, Violation
from federation.events import Reason, RoundId, StudyId, Timestamp
from federation.in_memory import InMemoryStore
from federation.ledger.chain import connect
from federation.members import Address
from federation.metrics import Metrics, serve
from federation.rehearsal import AGGREGATOR, sealing_secret
from federation.store.content import get_bytes, put_bytes
from federation.store.watched import WatchedStore
from federation.telemetry import SILENT, Outcome, Together
from federation.traces import Traces, to_collector
from federation.watching import MetricsSettings, TracesSettings, watched_as_set
from node.daemon import step

from .aggregator.stage import works
from .node.ward import Node, others_act, without
from .rehearsing import SAMPLES, A, rehearse
from .worlds import cid, in_memory

ROUND = RoundId(StudyId(1), 3)


def number(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"tally_{name}", labels)


@pytest.fixture
def spans() -> Iterator[tuple[Traces, InMemorySpanExporter]]:
    exporter = InMemorySpanExporter()
    traces = Traces(SimpleSpanProcessor(exporter), service="tally test")
    yield traces, exporter
    traces.close()


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (Unavailable("away"), Outcome.UNAVAILABLE),
        (Violation("§9.8", "not the sum", found=b"a secret"), Outcome.VIOLATION),
        (LedgerRejected("AlreadyCommitted"), Outcome.OVERTAKEN),
        (LedgerRejected("NotOnRoster"), Outcome.REFUSED),
        (Refused("never"), Outcome.REFUSED),
        (ZeroDivisionError(), Outcome.DEFECT),
        (KeyboardInterrupt(), Outcome.DONE),
    ],
)
def test_how_a_duty_ends_is_told_by_the_family_of_its_error(
    error: BaseException, outcome: Outcome, spans: tuple[Traces, InMemorySpanExporter]
) -> None:
    metrics, (traces, exporter) = Metrics(), spans
    with pytest.raises(type(error)), Together([metrics, traces]).duty("share", ROUND):
        raise error
    assert number(metrics, "duties_total", kind="share", outcome=outcome.value) == 1
    assert number(metrics, "duty_seconds_count", kind="share") == 1
    (span,) = exporter.get_finished_spans()
    assert span.attributes is not None
    assert dict(span.attributes) == {
        "tally.study": 1,
        "tally.round": 3,
        "tally.duty": "share",
        "tally.outcome": outcome.value,
        "error.type": type(error).__name__,
    }
    assert span.events == (), "a message may quote what nobody may read"
    assert "secret" not in span.to_json()


def test_whoever_makes_an_attempt_may_know_better_how_it_ended(
    spans: tuple[Traces, InMemorySpanExporter],
) -> None:
    metrics, (traces, exporter) = Metrics(), spans
    with Together([metrics, traces]).duty("finish", ROUND) as attempt:
        attempt.outcome = Outcome.OVERTAKEN
    assert number(metrics, "duties_total", kind="finish", outcome="overtaken") == 1
    (span,) = exporter.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["tally.outcome"] == "overtaken"


def test_each_answer_of_a_store_is_counted_also_one_that_is_left_half_read() -> None:
    metrics = Metrics()
    store = WatchedStore(InMemoryStore(), metrics)
    kept = put_bytes(store, b"content")
    assert get_bytes(store, kept, size=100) == b"content"
    next(store.get(kept, size=100))
    assert store.has(kept)
    assert not store.has(cid("nowhere"))
    with pytest.raises(Unavailable):
        get_bytes(store, cid("nowhere"), size=100)
    with pytest.raises(Violation):
        get_bytes(store, kept, size=1)

    def answers(operation: str, outcome: str) -> float | None:
        return number(metrics, "store_answers_total", operation=operation, outcome=outcome)

    assert answers("put", "done") == 1
    assert answers("get", "done") == 2
    assert answers("has", "done") == 2
    assert answers("get", "unavailable") == 1
    assert answers("get", "violation") == 1


def test_the_ledgers_age_is_told_at_the_moment_of_asking_and_skew_when_a_block_was_new() -> None:
    wall = [1000.0]
    metrics = Metrics(wall=lambda: wall[0])
    assert number(metrics, "ledger_lag_seconds") == 0
    metrics.read_ledger(7, Timestamp(1004))
    assert number(metrics, "clock_skew_seconds") == -4
    wall[0] = 1060
    metrics.read_ledger(7, Timestamp(1004))
    assert number(metrics, "clock_skew_seconds") == -4, "an old block says nothing of the clock"
    wall[0] = 1066
    assert number(metrics, "ledger_lag_seconds") == 62
    assert number(metrics, "ledger_answer_time_seconds") == 1060
    assert number(metrics, "ledger_head") == 7


def test_where_a_study_stands_follows_from_the_ledger() -> None:
    metrics, play = Metrics(), in_memory().start(3, rounds=9)

    def look() -> None:
        history = play.world.catch_up()
        metrics.stands(history.study(play.study), play.world.ledger(play.world.auditor).head().time)

    play.commit(0).late().abandon(play.aggregator, Reason.TOO_FEW_COMMITS).next.finished().object(1)
    play.next.next.commit(0, 1, 2)
    look()
    assert number(metrics, "round", study="1") == 3
    phases = {
        phase: number(metrics, "round_phase", study="1", phase=phase)
        for phase in ("committing", "revealing", "combining", "opening", "overdue")
    }
    assert phases == {"committing": 0, "revealing": 1, "combining": 0, "opening": 0, "overdue": 0}
    ends = [
        number(metrics, "rounds_ended", study="1", end=end) for end in ("finished", "abandoned", "tainted")
    ]
    assert ends == [1, 1, 0]
    assert number(metrics, "objections", study="1") == 1
    assert number(metrics, "faults_proven", study="1") == 0


def test_a_real_nodes_duties_are_told_and_nothing_of_its_patients(tmp_path: Path) -> None:
    stage, metrics = rehearse("plain", rounds=1), Metrics()
    node = Node(stage, A, tmp_path / "vault")
    node.seat = replace(node.seat, telemetry=metrics)
    node.works()
    others_act(stage, without(A))
    node.works()
    others_act(stage, without(A))
    others_act(stage, without(A))
    node.store.silent = True
    with pytest.raises(Unavailable):
        step(node.seat, node.view)
    node.store.silent = False
    node.works()
    done = {
        kind: number(metrics, "duties_total", kind=kind, outcome="done")
        for kind in ("submit", "reveal", "share", "publish")
    }
    assert done == {"submit": 1, "reveal": 1, "share": 1, "publish": 1}
    assert number(metrics, "duties_total", kind="share", outcome="unavailable") == 1
    labels = [
        label for family in metrics.registry.collect() for s in family.samples for label in s.labels.values()
    ]
    assert str(SAMPLES[A]) not in labels


def test_each_question_to_a_node_is_counted_by_its_address_without_what_may_be_a_key() -> None:
    metrics, url = Metrics(), f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unavailable):
        connect(
            f"{url}/v3/an-api-key", Address(bytes(20)), deployment_block=1, confirmations=0, telemetry=metrics
        )
    assert number(metrics, "rpc_answers_total", node=url, outcome="unavailable") == 1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_numbers_are_served_to_this_machine_alone() -> None:
    metrics, port = Metrics(), free_port()
    metrics.paid("commitUpdate", 44_000)
    metrics.paid("commitUpdate", 45_000)
    server = serve(metrics, port)
    try:
        assert server.server_address[0] == "127.0.0.1"
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30).read().decode()
        with pytest.raises(Unavailable, match=str(port)):
            serve(Metrics(), port)
    finally:
        server.shutdown()
        server.server_close()
    assert 'tally_gas_total{call="commitUpdate"} 89000.0' in text
    assert 'tally_calls_total{call="commitUpdate"} 2.0' in text
    assert "process_resident_memory_bytes" in text
    assert "process_open_fds" in text


def test_spans_reach_a_collector_over_http() -> None:
    got: list[tuple[str, bytes]] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        traces = Traces(
            to_collector(f"http://127.0.0.1:{server.server_port}/v1/traces"), service="tally test"
        )
        with traces.duty("submit", ROUND):
            pass
        traces.close()
        server.shutdown()
    ((path, body),) = got
    assert path == "/v1/traces"
    assert b"tally.round" in body
    assert b"submit" in body


def test_unless_asked_nobody_watches_and_no_tracing_is_loaded() -> None:
    assert watched_as_set(MetricsSettings(), TracesSettings(), service="x") is SILENT
    program = "import sys, node.settings, aggregator.settings; print('opentelemetry' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


def test_without_its_extra_tracing_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from federation.exits import told_plainly\n"
        "from federation.watching import *\n"
        "with told_plainly():\n"
        "    watched_as_set(MetricsSettings(), TracesSettings(url='http://h:4318/v1/traces'), service='x')\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "pip install 'tallystick[otel]'" in ran.stderr


def test_a_conductors_duties_are_told_too() -> None:
    stage, metrics = rehearse("plain", rounds=1), Metrics()
    one = Conductor(stage.ledger(AGGREGATOR), stage.store, sealing_secret(AGGREGATOR), telemetry=metrics)
    id = stage.round().id
    for site in stage.hospitals:
        stage.commit(site)
    for site in stage.hospitals:
        stage.reveal(site, id)
    works(one)
    assert number(metrics, "duties_total", kind="posttotal", outcome="done") == 1
    assert number(metrics, "round_phase", study="1", phase="opening") == 1
