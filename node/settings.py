"""A hospital node's one settings file (TOML); unknown keys are refused, paths start at its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from federation.endpoints import LedgerSettings, PollSeconds, Section, StoreSettings
from federation.logs import LogSettings
from federation.watching import MetricsSettings, TracesSettings

PHASES: Final = ("commit", "reveal", "combine", "open")
MONTH: Final = 30 * 24 * 3600  # seconds

Seconds = Annotated[int, Field(ge=1)]


class LeastSeconds(Section):
    """Windows that we can keep: within each our node has to notice, work and be mined."""

    commit: Seconds = 10
    reveal: Seconds = 10
    combine: Seconds = 10
    open: Seconds = 10


class MostSeconds(Section):
    """Windows that we are willing to wait through where somebody is missing."""

    commit: Seconds = MONTH
    reveal: Seconds = MONTH
    combine: Seconds = MONTH
    open: Seconds = MONTH


class PolicySettings(Section):
    """The hospital's own rules. No study can override them (PROTOCOL §10.4)."""

    minimum_rows: int = Field(default=20, ge=1)  # patients; fewer are never trained on
    minimum_contributors: int = Field(default=3, ge=3)  # to any sum that we help to open
    most_rounds: int = Field(default=1000, ge=1)  # sums of one study that we help to open
    most_openings: int = Field(default=1000, ge=1)  # sums, of all studies, that our patients may be part of
    other_openings: int = Field(default=0, ge=0)  # of these, what vault and ledger cannot know
    least_seconds: LeastSeconds = LeastSeconds()  # of each window
    most_seconds: MostSeconds = MostSeconds()
    most_payload_bytes: int = Field(default=1 << 30, ge=1)  # of one update, total, share or opening
    most_parameters: int = Field(default=100_000_000, ge=1)  # of a model
    dispute: bool = True  # prove on chain what is wrong with a total that we refuse to open; costs gas
    accept_public_results: bool = False  # studies whose sums and models anybody may read
    accept_weak_keys: bool = False  # test studies only: keys below 2048 bits, suites that hide nothing

    @model_validator(mode="after")
    def _leaves_windows_a_length(self) -> Self:
        for phase in PHASES:
            least, most = getattr(self.least_seconds, phase), getattr(self.most_seconds, phase)
            if least > most:
                expected = f"at most most_seconds.{phase} ({most})"
                raise ValueError(f"least_seconds.{phase}: expected {expected}, found {least}")
        return self


class NodeSettings(Section):
    """What a node needs to know; secrets stay in the files that it names."""

    name: str = Field(min_length=1, max_length=31, pattern=r"^[\x20-\x7e]+$")
    identity: Path  # folder with account.json and sealing.json
    password_file: Path | None = None  # else the environment variable TALLY_PASSWORD
    vault: Path  # folder for the key share, the seed, the journal, our own updates, and what people decided
    data: Path  # the patients, in the task's format
    study: int = Field(default=1, ge=1)
    executor: str = "here"  # what encrypts: "processes" leaves one processor to others
    poll_seconds: PollSeconds = 2.0
    ledger: LedgerSettings | None = None  # not known before the contract is deployed
    store: StoreSettings | None = None
    policy: PolicySettings = PolicySettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    traces: TracesSettings = TracesSettings()

    @property
    def log_file(self) -> Path:
        """The newest events that are kept."""
        return self.vault / "log" / "node.jsonl"
