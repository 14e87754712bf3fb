"""What is learned from patients, as everybody else sees it: flat vectors in and out (PROTOCOL §8.8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..arithmetic import Model, Vector
from ..digest import Digest, labelled
from ..model import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """Which task, and its parameters as CBOR that it alone reads; both stand in the study's document."""

    name: str
    parameters: bytes

    @property
    def digest(self) -> Digest:
        """What a hospital's policy calls this task, parameters included."""
        return labelled("task", self.name.encode(), self.parameters)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One institution's patients, ready for training. Never printed, never sent."""

    inputs: NDArray[np.float64]  # one row, image … a sample
    labels: NDArray[np.int64]  # one a sample

    @property
    def samples(self) -> int:
        """Rows."""
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Dataset({self.samples} samples)"  # keeps patients out of logs and tracebacks


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How well a model does on samples it was not trained on."""

    accuracy: float  # fraction
    auc: float  # area under the ROC curve, NaN where the samples are of one class
    loss: float  # mean, in nats


class Task(Protocol):
    """Trains a model on local data. A task's spec fixes all of it but the patients and the seed.

    Only `train` may need a training framework; everything else runs where none is installed.
    """

    @property
    def spec(self) -> TaskSpec:
        """What `task_for` built this from."""

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The model's tensors in the order of the flat vector."""

    @property
    def size(self) -> int:
        """Parameters."""

    @property
    def shape_digest(self) -> Digest:
        """Names the flat vector's layout."""

    def describe(self) -> dict[str, str]:
        """All that the spec says, in words for the people who have to allow it."""

    def initial(self) -> Model:
        """The genesis model, a function of the spec alone."""

    def load(self, path: Path) -> Dataset:
        """The patients at `path`; raises `Refused`, naming the place and never a value, for unusable data."""

    def train(self, model: Model, data: Dataset, *, seed: int) -> Vector:
        """New minus old parameters after local training; the same seed gives the same update."""

    def evaluate(self, model: Model, data: Dataset) -> Scores:
        """The model's scores on `data`."""


def named_sizes(tensors: Sequence[Tensor]) -> list[tuple[str, int]]:
    """Names and sizes, as `arithmetic.clip` wants them."""
    return [(tensor.name, tensor.size) for tensor in tensors]
