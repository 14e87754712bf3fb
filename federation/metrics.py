"""A daemon's numbers for Prometheus, on a port of this machine alone; every name of theirs stands here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    start_http_server,
)

from .errors import Unavailable
from .events import RoundId, Timestamp
from .rounds import (
    Abandoned,
    Combining,
    Committing,
    Finished,
    Opening,
    Overdue,
    Revealing,
    Study,
    Tainted,
)
from .telemetry import Attempt

HOST: Final = "127.0.0.1"  # never beyond this machine: whoever collects runs beside the daemon
SECONDS: Final = (0.05, 0.2, 1, 5, 20, 60, 300, 1200)  # upper bounds for a duty
PHASES: Final = (Committing, Revealing, Combining, Opening, Overdue)
ENDS: Final = (Finished, Abandoned, Tainted)


class Metrics:
    """A `Telemetry` that counts; `wall` tells the time of day in seconds since 1970."""

    def __init__(self, *, wall: Callable[[], float] = time.time) -> None:
        self.registry: Final = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # memory, descriptors, processor time
        self._wall = wall
        self._head = -1
        self._duties = self._counter("duties", "Duties done, by how they ended", "kind", "outcome")
        self._seconds = Histogram(
            "tally_duty_seconds",
            "Seconds that a duty took",
            ["kind"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._rpc = self._counter("rpc_answers", "Answers of each Ethereum node", "node", "outcome")
        self._store = self._counter("store_answers", "Answers of the content store", "operation", "outcome")
        self._gas = self._counter("gas", "Gas used by our calls", "call")
        self._calls = self._counter("calls", "Calls of ours that were mined", "call")
        self._block = self._gauge("ledger_head", "Number of the newest final block")
        self._answered = self._gauge(
            "ledger_answer_time_seconds", "When the ledger was read last, since 1970"
        )
        self._time = self._gauge(
            "ledger_head_time_seconds", "Block time of the newest final block, since 1970"
        )
        self._skew = self._gauge(
            "clock_skew_seconds", "This machine's clock less block time, when the newest block was first seen"
        )
        lag = self._gauge("ledger_lag_seconds", "This machine's clock less the newest final block's, now")
        lag.set_function(lambda: self._wall() - self._newest if self._head >= 0 else 0.0)
        self._newest = 0
        self._round = self._gauge("round", "Number of the round under way or next", "study")
        self._phase = self._gauge("round_phase", "1 for the phase of that round", "study", "phase")
        self._ended = self._gauge("rounds_ended", "Rounds of the study, by how they ended", "study", "end")
        self._faults = self._gauge("faults_proven", "Totals of the study proven wrong", "study")
        self._objections = self._gauge("objections", "Objections to results of the study", "study")

    @contextmanager
    def duty(self, kind: str, round: RoundId) -> Iterator[Attempt]:
        """Counted by kind and outcome, and timed."""
        attempt, began = Attempt(), time.monotonic()
        try:
            yield attempt
        except BaseException as error:
            attempt.end(error)
            raise
        finally:
            self._duties.labels(kind, attempt.outcome.value).inc()
            self._seconds.labels(kind).observe(time.monotonic() - began)

    @contextmanager
    def asking_node(self, shown: str) -> Iterator[Attempt]:
        """Counted by node and outcome."""
        with _counted(self._rpc, shown) as attempt:
            yield attempt

    @contextmanager
    def asking_store(self, operation: str) -> Iterator[Attempt]:
        """Counted by operation and outcome."""
        with _counted(self._store, operation) as attempt:
            yield attempt

    def paid(self, call: str, gas: int) -> None:
        """Added to what the function has cost."""
        self._gas.labels(call).inc(gas)
        self._calls.labels(call).inc()

    def read_ledger(self, number: int, time: Timestamp) -> None:
        """The head, and how our clock stands to it."""
        now = self._wall()
        if number > self._head:
            self._skew.set(now - time)
        self._head, self._newest = number, time
        self._block.set(number)
        self._time.set(time)
        self._answered.set(now)

    def stands(self, study: Study, now: Timestamp) -> None:
        """The round under way, and how those before it ended."""
        label, current = str(study.id), study.current()
        self._round.labels(label).set(current.id.number)
        phase = current.phase(now)
        for kind in PHASES:
            self._phase.labels(label, kind.__name__.lower()).set(isinstance(phase, kind))
        ends = [type(round.phase(now)) for round in study.rounds]
        for end in ENDS:
            self._ended.labels(label, end.__name__.lower()).set(ends.count(end))
        self._faults.labels(label).set(sum(len(round.faults) for round in study.rounds))
        self._objections.labels(label).set(sum(len(round.objections) for round in study.rounds))

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"tally_{name}", what, labels, registry=self.registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(f"tally_{name}", what, labels, registry=self.registry)


def serve(metrics: Metrics, port: int) -> WSGIServer:
    """`http://127.0.0.1:PORT/metrics` answers, in a thread of its own; raises `Unavailable` if taken."""
    try:
        server, _ = start_http_server(port, addr=HOST, registry=metrics.registry)
    except OSError as error:
        raise Unavailable(f"[metrics]: cannot listen on {HOST}:{port}: {error.strerror}") from error
    return server


@contextmanager
def _counted(counter: Counter, label: str) -> Iterator[Attempt]:
    attempt = Attempt()
    try:
        yield attempt
    except BaseException as error:
        attempt.end(error)
        raise
    finally:
        counter.labels(label, attempt.outcome.value).inc()
