"""The aggregator's settings file, TOML; unknown keys are refused (see `endpoints.load_settings`)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from federation.endpoints import LedgerSettings, PollSeconds, Section, StoreSettings, UrlText
from federation.logs import LogSettings
from federation.sign_in import is_this_machine, origin_of
from federation.watching import MetricsSettings, TracesSettings


class ServiceSettings(Section):
    """Where and how the service listens, and for whom; only for this machine by default (docs/api.md)."""

    host: str = "127.0.0.1"
    port: int = Field(default=8420, ge=0, le=65535)
    certificate: Path | None = None  # PEM, ours first and then those that it rests on: TLS
    key: Path | None = None  # its private key, PEM
    origin: UrlText | None = None  # as others reach us, where a proxy or another name stands between
    proxies: tuple[IPv4Address | IPv6Address, ...] = ()  # believed about whom they ask for
    in_the_clear: bool = False  # tokens may cross a network unencrypted
    monitor_token_file: Path | None = None  # whose first line opens what is for monitoring
    requests_per_second: float = Field(default=10, gt=0, le=10_000)  # of one account, and of one network
    burst: int = Field(default=60, ge=30, le=100_000)  # requests at once
    audit_every_seconds: float = Field(default=60, ge=0)  # an audit is not repeated sooner, whoever asks

    @model_validator(mode="after")
    def _keeps_tokens_private(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate, key: expected both or neither")
        heard = not (is_this_machine(self.host) or self.certificate or self.proxies or self.in_the_clear)
        if heard:
            raise ValueError(
                f"host: others than this machine reach {self.host}, and would read tokens on their way: "
                "set `certificate` and `key`, or name the `proxies` that bring TLS, or allow it by "
                "`in_the_clear = true`"
            )
        return self

    @property
    def url(self) -> str:
        """Where this machine reaches the service."""
        scheme = "http" if self.certificate is None else "https"
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  # not bound to
        return f"{scheme}://{_bracketed(host)}:{self.port}"

    @property
    def known_as(self) -> str:
        """The origin that those who sign in have asked, and sign."""
        return origin_of(self.url if self.origin is None else self.origin)


def _bracketed(host: str) -> str:
    try:
        return f"[{host}]" if ip_address(host).version == 6 else host
    except ValueError:
        return host


class ConductSettings(Section):
    """How often the ledger is read when nothing is due, and how long to back off when it is silent."""

    poll_seconds: PollSeconds = 2
    longest_pause_seconds: PollSeconds = 60


class Settings(Section):
    """All of it: `identity` is the folder that `aggregator init` made."""

    identity: Path
    password_file: Path | None = None  # else the environment variable TALLY_PASSWORD
    ledger: LedgerSettings
    store: StoreSettings
    service: ServiceSettings = ServiceSettings()
    executor: str = "here"  # what admits and adds: "processes", or "dask://host:port" for a cluster
    conduct: ConductSettings = ConductSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    traces: TracesSettings = TracesSettings()

    @property
    def log_file(self) -> Path:
        """The newest events that are kept, beside the bookmark."""
        return self.identity / "log" / "aggregator.jsonl"
