"""Logistic regression on a CSV table: one row a patient, one numeric column a feature.

The scaling of each feature is part of the spec, agreed beforehand from public knowledge: computing
it from all patients would be one more statistic to protect.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .. import cbor
from ..arithmetic import MILLION, Model, Vector
from ..digest import Digest
from ..errors import Violation
from ..model import Tensor, shape_digest, size_of
from .table import read_table
from .task import Dataset, Scores, TaskSpec

NAME: Final = "tabular/logistic-regression"
_SPEC_LIMIT: Final = 1 << 15  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A column, entering the model as (cell - centre) / scale."""

    name: str
    centre: int  # in millionths
    scale: int  # in millionths, positive


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticRegression:
    """P(positive) = 1 / (1 + exp(-(weight·x + bias))), by mini-batch gradient descent (a `Task`)."""

    label: str  # the column that holds `positive` or `negative`
    positive: str
    negative: str
    features: tuple[Feature, ...]
    epochs: int  # passes over the local patients in one round
    batch: int  # rows
    rate: int  # learning rate, in millionths
    l2: int  # penalty λ/2·|weight|², in millionths

    @classmethod
    def decode(cls, parameters: bytes) -> LogisticRegression:
        """The task that `spec.parameters` describes; raises `Violation` for anything else."""
        match cbor.decode(parameters, limit=_SPEC_LIMIT):
            case {
                1: str() as label,
                2: str() as positive,
                3: str() as negative,
                4: [_, *_] as features,
                5: int() as epochs,
                6: int() as batch,
                7: int() as rate,
                8: int() as l2,
            } if min(epochs, batch, rate) > 0 <= l2 and positive != negative:
                columns = tuple(map(_feature, features))
            case _:
                raise _malformed("its 8 fields in range", "others")
        if len({label, *(column.name for column in columns)}) != len(columns) + 1:
            raise _malformed("distinct columns", "a repeated name")
        task = cls(
            label=label,
            positive=positive,
            negative=negative,
            features=columns,
            epochs=epochs,
            batch=batch,
            rate=rate,
            l2=l2,
        )
        if task.spec.parameters != parameters:
            raise _malformed("no further fields", "more")
        return task

    @property
    def spec(self) -> TaskSpec:
        """What `decode` reads."""
        features: list[cbor.Value] = [[f.name, f.centre, f.scale] for f in self.features]
        fields: dict[int, cbor.Value] = {1: self.label, 2: self.positive, 3: self.negative, 4: features}
        fields |= {5: self.epochs, 6: self.batch, 7: self.rate, 8: self.l2}
        return TaskSpec(name=NAME, parameters=cbor.encode(fields))

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """One weight a feature, then the bias."""
        return Tensor(name="weight", shape=(len(self.features),)), Tensor(name="bias", shape=(1,))

    @property
    def size(self) -> int:
        """Parameters."""
        return size_of(self.parameters)

    @property
    def shape_digest(self) -> Digest:
        """Names the flat vector's layout."""
        return shape_digest(self.parameters)

    def describe(self) -> dict[str, str]:
        """Every field of the spec, millionths written as decimal fractions."""
        features = (
            f"{f.name} (centre {_decimal(f.centre)}, scale {_decimal(f.scale)})" for f in self.features
        )
        return {
            "label": self.label,
            "positive": self.positive,
            "negative": self.negative,
            "features": ", ".join(features),
            "epochs": str(self.epochs),
            "batch": str(self.batch),
            "learning rate": _decimal(self.rate),
            "l2": _decimal(self.l2),
        }

    def initial(self) -> Model:
        """Zeros: the loss is convex, so no better start is needed."""
        return np.zeros(self.size, np.float32)

    def load(self, path: Path) -> Dataset:
        """The patients of a CSV file with a header line; columns that the spec does not name are ignored."""
        inputs, labels = read_table(
            path,
            columns=[feature.name for feature in self.features],
            label=self.label,
            classes=[self.negative, self.positive],
        )
        centres = np.array([feature.centre / MILLION for feature in self.features])
        scales = np.array([feature.scale / MILLION for feature in self.features])
        return Dataset(inputs=(inputs - centres) / scales, labels=labels)

    def train(self, model: Model, data: Dataset, *, seed: int) -> Vector:
        """New minus old parameters after `epochs` passes; batches are drawn from a generator under `seed`."""
        import torch  # noqa: PLC0415 - an aggregator or auditor builds tasks on machines without torch

        start = torch.from_numpy(model.astype(np.float64))
        inputs, labels = torch.from_numpy(data.inputs), torch.from_numpy(data.labels.astype(np.float64))
        generator = torch.Generator().manual_seed(seed)
        weights = start.clone().requires_grad_()
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # the order of a sum, and so its last bit, depends on how it is split
        try:
            for _ in range(self.epochs):
                order = torch.randperm(data.samples, generator=generator)
                for first in range(0, data.samples, self.batch):
                    rows = order[first : first + self.batch]
                    logits = inputs[rows] @ weights[:-1] + weights[-1]
                    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels[rows])
                    loss = loss + self.l2 / MILLION / 2 * weights[:-1].square().sum()
                    (gradient,) = torch.autograd.grad(loss, weights)
                    with torch.no_grad():
                        weights -= self.rate / MILLION * gradient
        finally:
            torch.set_num_threads(threads)
        update: Vector = (weights.detach() - start).numpy()
        return update

    def evaluate(self, model: Model, data: Dataset) -> Scores:
        """Accuracy at probability one half, AUC with ties counted half, mean cross-entropy."""
        weights = model.astype(np.float64)
        logits = data.inputs @ weights[:-1] + weights[-1]
        positive = data.labels == 1
        loss = np.logaddexp(0, np.where(positive, -logits, logits)).mean()
        accuracy = np.mean((logits > 0) == positive)
        return Scores(accuracy=float(accuracy), auc=_auc(logits, positive), loss=float(loss))


def _decimal(millionths: int) -> str:
    """Exactly this number: two specs never look the same."""
    whole, rest = divmod(abs(millionths), MILLION)
    fraction = f".{rest:06}".rstrip("0") if rest else ""
    return f"{'-' * (millionths < 0)}{whole}{fraction}"


def _auc(scores: Vector, positive: NDArray[np.bool_]) -> float:
    """The chance that a positive sample scores above a negative one, ties counted half (Mann-Whitney)."""
    high, low = scores[positive], np.sort(scores[~positive])
    if not high.size or not low.size:
        return math.nan
    wins = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
    return float(wins.sum() / 2 / (high.size * low.size))


def _feature(value: cbor.Value) -> Feature:
    match value:
        case [str() as name, int() as centre, int() as scale] if scale > 0:
            return Feature(name=name, centre=centre, scale=scale)
        case _:
            raise _malformed("features [name, centre, positive scale]", "others")


def _malformed(expected: str, found: str) -> Violation:
    return Violation("§8.8", f"the parameters of {NAME}", expected=expected, found=found)
