"""A model of a given shape that nobody trains: to rehearse a study at its true size before there is one.

Everything but `train` works, so a consortium can measure time, traffic and memory of its rounds with the
very tensors of the model it means to train.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from .. import cbor
from ..arithmetic import Model, Vector
from ..digest import Digest
from ..errors import Refused, Violation
from ..model import Tensor, check_size, shape_digest, size_of
from .task import Dataset, Scores, TaskSpec

NAME: Final = "rehearsal/shape"
_SPEC_LIMIT: Final = 1 << 15  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapedModel:
    """Tensors and nothing else (a `Task`)."""

    parameters: tuple[Tensor, ...]

    @classmethod
    def decode(cls, parameters: bytes) -> ShapedModel:
        """The task that `spec.parameters` describes; raises `Violation` for anything else."""
        match cbor.decode(parameters, limit=_SPEC_LIMIT):
            case [_, *_] as tensors:
                task = cls(parameters=tuple(map(_tensor, tensors)))
            case _:
                raise _malformed()
        if task.spec.parameters != parameters or len({t.name for t in task.parameters}) < len(tensors):
            raise _malformed()
        check_size(task.parameters, "§8.8")
        return task

    @property
    def spec(self) -> TaskSpec:
        """What `decode` reads."""
        tensors: list[cbor.Value] = [[t.name, list[cbor.Value](t.shape)] for t in self.parameters]
        return TaskSpec(name=NAME, parameters=cbor.encode(tensors))

    @property
    def size(self) -> int:
        """Parameters."""
        return size_of(self.parameters)

    @property
    def shape_digest(self) -> Digest:
        """Names the flat vector's layout."""
        return shape_digest(self.parameters)

    def describe(self) -> dict[str, str]:
        """Every tensor."""
        tensors = ", ".join(f"{t.name} {'x'.join(map(str, t.shape))}" for t in self.parameters)
        return {"purpose": "a rehearsal: nothing is trained", "tensors": tensors}

    def initial(self) -> Model:
        """Zeros."""
        return np.zeros(self.size, np.float32)

    def load(self, path: Path) -> Dataset:
        """Raises `Refused`: there are no patients in a rehearsal."""
        raise Refused(f"{path}: the task {NAME} takes no data; propose a study with a task that trains")

    def train(self, model: Model, data: Dataset, *, seed: int) -> Vector:  # noqa: ARG002 - as in `Task`
        """Raises `Refused`: whoever rehearses brings the updates."""
        raise Refused(f"the task {NAME} trains nothing; propose a study with a task that does")

    def evaluate(self, model: Model, data: Dataset) -> Scores:  # noqa: ARG002 - as in `Task`
        """Raises `Refused`: there is nothing to score."""
        raise Refused(f"the task {NAME} scores nothing; propose a study with a task that does")


def _tensor(value: cbor.Value) -> Tensor:
    match value:
        case [str() as name, [*dimensions]] if name:
            sizes = tuple(size for size in dimensions if isinstance(size, int) and 0 < size < 1 << 31)
            if len(sizes) == len(dimensions):
                return Tensor(name=name, shape=sizes)
    raise _malformed()


def _malformed() -> Violation:
    expected = "[[name, [dimension, …]], …], names distinct, dimensions in 1 … 2^31 - 1"
    return Violation("§8.8", f"the parameters of {NAME}", expected=expected, found="others")
