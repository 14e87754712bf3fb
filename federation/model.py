"""A model's names, shapes and bytes: one digest for its shape, one for its parameters (PROTOCOL §8.7).

Digests are over raw values in the task's order. The safetensors file is how a model travels and
is kept: anything else that such a file may hold is refused, so two readers see one model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from . import cbor
from .arithmetic import Model, is_finite
from .digest import Digest, labelled
from .errors import Refused, Violation

MAX_SIZE: Final = 1 << 28  # parameters: 1 GiB of float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One named array of a model, laid out row by row."""

    name: str  # ASCII, unique within the model
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Values."""
        return math.prod(self.shape)


def check_size(tensors: Sequence[Tensor], clause: str) -> None:
    """Raises `Violation` for a model that nobody could hold: before anything of its size is made."""
    size = size_of(tensors)
    if size > MAX_SIZE:
        raise Violation(clause, "a model's parameters", expected=f"at most {MAX_SIZE}", found=size)


def size_of(tensors: Sequence[Tensor]) -> int:
    """Values of the whole model."""
    return sum(tensor.size for tensor in tensors)


def shape_digest(tensors: Sequence[Tensor]) -> Digest:
    """Names what the flat vector's positions mean: names and shapes, in order."""
    lines: list[cbor.Value] = [[tensor.name, list[cbor.Value](tensor.shape)] for tensor in tensors]
    return labelled("shape", cbor.encode(lines))


def model_digest(model: Model, shape: Digest) -> Digest:
    """Names a model: its shape, then every parameter as little-endian float32."""
    if model.dtype != np.float32 or model.ndim != 1:
        raise Refused(f"expected a flat float32 model, found {model.dtype} of shape {model.shape}")
    parameters = np.ascontiguousarray(model, "<f4").view(np.uint8)  # the same memory, where it can be
    return labelled("model", shape, parameters.data)


def to_safetensors(model: Model, tensors: Sequence[Tensor]) -> bytes:
    """The model as a safetensors file with one float32 array for each tensor."""
    if model.dtype != np.float32 or model.shape != (size_of(tensors),):
        expected = f"a float32 model of {size_of(tensors)} parameters"
        raise Refused(f"expected {expected}, found {model.dtype} of shape {model.shape}")
    parts = np.split(model, np.cumsum([tensor.size for tensor in tensors])[:-1])
    named = {
        tensor.name: np.ascontiguousarray(part).reshape(tensor.shape)
        for tensor, part in zip(tensors, parts, strict=True)
    }
    return save(named)


def from_safetensors(data: bytes, tensors: Sequence[Tensor]) -> Model:
    """The inverse; raises `Violation` unless `data` holds exactly these tensors, finite and in float32.

    The length is checked before anything is parsed: the file comes from the content store, which may lie.
    """
    _require(len(data) <= size_limit(tensors), f"at most {size_limit(tensors)} bytes", f"{len(data)} bytes")
    try:
        found = load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise Violation("§8.7", "a model's file", expected="safetensors", found="no such file") from error
    names = [tensor.name for tensor in tensors]
    _require(set(found) == set(names), f"tensors {sorted(names)}", sorted(found))
    for tensor in tensors:
        part = found[tensor.name]
        expected = f"{tensor.name}: float32 of shape {tensor.shape}"
        _require(
            part.dtype == np.float32 and part.shape == tensor.shape,
            expected,
            f"{part.dtype} of shape {part.shape}",
        )
        _require(is_finite(part.reshape(-1)), f"{tensor.name}: finite values", "NaN or infinite ones")
    flat, first = np.empty(size_of(tensors), np.float32), 0
    for tensor in tensors:
        flat[first : first + tensor.size] = found.pop(tensor.name).reshape(-1)  # and the part is let go
        first += tensor.size
    return flat


def size_limit(tensors: Sequence[Tensor]) -> int:
    """The most bytes that `to_safetensors` can need: checked before a file is fetched."""
    header = 64 + sum(128 + 6 * len(tensor.name) + 20 * len(tensor.shape) for tensor in tensors)
    return header + 4 * size_of(tensors)


def _require(holds: bool, expected: str, found: object) -> None:
    if not holds:
        raise Violation("§8.7", "a model's file", expected=expected, found=found)
