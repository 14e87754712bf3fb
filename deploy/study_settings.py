"""A study as its proposer writes it down: `study.toml`, in units that people use."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from federation.arithmetic import MILLION, Scale, default_bits
from federation.endpoints import AddressText, LedgerSettings, Section, StoreSettings
from federation.events import Stake
from federation.members import ADDRESS_BYTES, Address, parse_address
from federation.tasks import TaskSpec
from federation.tasks.tabular import Feature, LogisticRegression


class FeatureSettings(Section):
    """A column of the patients' table; the model sees (value - centre) / scale."""

    name: str
    centre: float
    scale: float = Field(gt=0)


class TaskSettings(Section):
    """A logistic regression on a table."""

    kind: Literal["logistic-regression"]
    label: str
    positive: str
    negative: str
    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    l2: float = Field(ge=0)
    features: tuple[FeatureSettings, ...] = Field(min_length=1)

    def spec(self) -> TaskSpec:
        """The task as the study's document holds it: in millionths, so that it has one encoding."""
        features = tuple(
            Feature(name=f.name, centre=_millionths(f.centre), scale=_millionths(f.scale))
            for f in self.features
        )
        return LogisticRegression(
            label=self.label,
            positive=self.positive,
            negative=self.negative,
            features=features,
            epochs=self.epochs,
            batch=self.batch,
            rate=_millionths(self.learning_rate),
            l2=_millionths(self.l2),
        ).spec


class ScaleSettings(Section):
    """The bounds of an update (PROTOCOL §8)."""

    clip: float = Field(gt=0)  # L2 norm
    bound: float = Field(gt=0)  # each coordinate
    weight_cap: int = Field(ge=1)  # patients; two significant digits

    def scale(self, members: int) -> Scale:
        """For sums of up to `members` updates."""
        return Scale(
            clip=_millionths(self.clip),
            bound=_millionths(self.bound),
            weight_cap=self.weight_cap,
            members=members,
            bits=default_bits(members),
        )


class WindowSettings(Section):
    """Seconds of block time for each phase."""

    commit: int = Field(ge=1)
    reveal: int = Field(ge=1)
    combine: int = Field(ge=1)
    open: int = Field(ge=1)


class StakeSettings(Section):
    """What an aggregator must have deposited to post a total, and loses when a fault of it is proven."""

    ether: float = Field(default=0, ge=0, le=2**63 / 10**9)
    lock: int = Field(default=0, ge=0, lt=2**32)  # seconds after a total in which nothing can be withdrawn
    treasury: AddressText | None = None  # who gets it; by default whoever proves the fault

    def stake(self) -> Stake:
        """As the study's document holds it."""
        treasury = Address(bytes(ADDRESS_BYTES)) if self.treasury is None else parse_address(self.treasury)
        return Stake(gwei=round(self.ether * 10**9), lock=self.lock, treasury=treasury)


class StudySettings(Section):
    """What is agreed on before any computer knows it."""

    name: str = Field(min_length=1, max_length=80, pattern=r"^[\x20-\x7e]+$")
    identity: Path  # of any member of the roster: who proposes
    password_file: Path | None = None
    public_key: Path
    aggregators: tuple[AddressText, ...] = ()  # in the order of their turns in round 1; else the only one
    minimum: int = Field(ge=3)  # contributors to a sum
    rounds: int = Field(ge=1)
    sealed: bool = True  # shares, openings and models are for the roster alone
    scale: ScaleSettings
    windows: WindowSettings
    stake: StakeSettings = StakeSettings()
    task: TaskSettings
    ledger: LedgerSettings
    store: StoreSettings


def _millionths(value: float) -> int:
    return round(value * MILLION)
