"""A hospital node's one settings file (TOML); unknown keys are refused, paths start at its folder."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from federation.endpoints import LedgerSettings, PollSeconds, Section, StoreSettings


class PolicySettings(Section):
    """The hospital's own rules. No study can override them (PROTOCOL §10.4)."""

    tasks: tuple[str, ...] = ()  # digests of the tasks that people here have reviewed
    minimum_rows: int = Field(default=20, ge=1)  # patients; fewer are never trained on
    minimum_contributors: int = Field(default=3, ge=3)  # to any sum that we help to open
    most_rounds: int = Field(default=1000, ge=1)  # sums of one study that we help to open
    dispute: bool = True  # prove on chain what is wrong with a total that we refuse to open; costs gas
    accept_public_results: bool = False  # studies whose sums and models anybody may read
    accept_weak_keys: bool = False  # test studies only: keys below 2048 bits, suites that hide nothing


class NodeSettings(Section):
    """What a node needs to know; secrets stay in the files that it names."""

    name: str = Field(min_length=1, max_length=31, pattern=r"^[\x20-\x7e]+$")
    identity: Path  # folder with account.json and sealing.json
    password_file: Path | None = None  # else the environment variable TALLY_PASSWORD
    vault: Path  # folder for the key share, the seed, the journal and our own updates
    data: Path  # the patients, in the task's format
    study: int = Field(default=1, ge=1)
    executor: str = "here"  # what encrypts: "processes" leaves one processor to others
    poll_seconds: PollSeconds = 2.0
    ledger: LedgerSettings | None = None  # not known before the contract is deployed
    store: StoreSettings | None = None
    policy: PolicySettings = PolicySettings()
