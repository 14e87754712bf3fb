"""A span for each duty, sent to an OpenTelemetry collector over HTTP (extra `otel`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode

from .events import RoundId, Timestamp
from .rounds import Study
from .telemetry import Attempt, Outcome


class Traces:
    """A `Telemetry` of duties alone; `service` is what the collector calls this daemon."""

    def __init__(self, processor: SpanProcessor, *, service: str) -> None:
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": service}), shutdown_on_exit=True
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("tallystick")

    @contextmanager
    def duty(self, kind: str, round: RoundId) -> Iterator[Attempt]:
        """One span; an error leaves its family and type there, never its message, which may quote a value."""
        attempt = Attempt()
        attributes: dict[str, str | int] = {
            "tally.study": round.study,
            "tally.round": round.number,
            "tally.duty": kind,
        }
        with self._tracer.start_as_current_span(
            kind, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield attempt
            except BaseException as error:
                attempt.end(error)
                span.set_attribute("error.type", type(error).__name__)
                raise
            finally:
                span.set_attribute("tally.outcome", attempt.outcome.value)
                if attempt.outcome is not Outcome.DONE:
                    span.set_status(Status(StatusCode.ERROR, attempt.outcome.value))

    def asking_node(self, shown: str) -> nullcontext[Attempt]:
        """Not traced."""
        return nullcontext(Attempt())

    def asking_store(self, operation: str) -> nullcontext[Attempt]:
        """Not traced."""
        return nullcontext(Attempt())

    def paid(self, call: str, gas: int) -> None:
        """Not traced."""

    def read_ledger(self, number: int, time: Timestamp) -> None:
        """Not traced."""

    def stands(self, study: Study, now: Timestamp) -> None:
        """Not traced."""

    def close(self) -> None:
        """What was not sent yet has been, or is lost."""
        self._provider.shutdown()


def to_collector(url: str) -> SpanProcessor:
    """Spans go to this URL in batches; a collector that is away costs them and nothing else."""
    return BatchSpanProcessor(OTLPSpanExporter(endpoint=url))
