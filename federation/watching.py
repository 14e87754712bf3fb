"""Who watches a daemon, by its settings: `[metrics]` and `[traces]`, both off unless set (PROTOCOL §10.8)."""

from __future__ import annotations

from pydantic import Field

from .endpoints import Section, UrlText
from .metrics import Metrics, serve
from .telemetry import SILENT, Telemetry, Together


class MetricsSettings(Section):
    """Where Prometheus finds this daemon's numbers: a port of 127.0.0.1; nothing without one."""

    port: int | None = Field(default=None, ge=1, le=65535)


class TracesSettings(Section):
    """Where spans go: `http://HOST:4318/v1/traces` of an OpenTelemetry collector; nothing without one."""

    url: UrlText | None = None


def watched_as_set(metrics: MetricsSettings, traces: TracesSettings, *, service: str) -> Telemetry:
    """Whoever the settings name listens from now on; raises `Unavailable` for a port that is taken."""
    listeners: list[Telemetry] = []
    if metrics.port is not None:
        counting = Metrics()
        serve(counting, metrics.port)
        listeners.append(counting)
    if traces.url is not None:
        from .traces import Traces, to_collector  # noqa: PLC0415  # an extra, and slow to load

        listeners.append(Traces(to_collector(traces.url), service=service))
    return Together(listeners) if listeners else SILENT
