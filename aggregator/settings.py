"""The aggregator's settings file, TOML; unknown keys are refused (see `endpoints.load_settings`)."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from federation.endpoints import LedgerSettings, PollSeconds, Section, StoreSettings


class ServiceSettings(Section):
    """Where the read-only API listens; only this machine by default: put a TLS proxy before it."""

    host: str = "127.0.0.1"
    port: int = Field(default=8420, ge=0, le=65535)
    audit_every_seconds: float = Field(default=60, ge=0)  # an audit is not repeated sooner, whoever asks


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
