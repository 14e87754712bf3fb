"""The tensors of well-known models, from their architecture: names and shapes as torchvision has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from federation.model import Tensor

_WIDTHS: Final = (64, 128, 256, 512)  # channels of the four stages
_BLOCKS: Final = 2  # a stage, each of two 3×3 convolutions
_CLASSES: Final = 1000


def resnet18() -> tuple[Tensor, ...]:
    """He, Zhang, Ren, Sun, CVPR 2016: 62 tensors of 11,689,512 parameters; running statistics are none."""
    return tuple(_resnet18())


def flat(parameters: int) -> tuple[Tensor, ...]:
    """So many parameters in one tensor."""
    return (Tensor(name="parameters", shape=(parameters,)),)


MODELS: Final[Mapping[str, Callable[[], tuple[Tensor, ...]]]] = MappingProxyType({"resnet18": resnet18})


def _resnet18() -> Iterator[Tensor]:
    yield Tensor(name="conv1.weight", shape=(_WIDTHS[0], 3, 7, 7))
    yield from _norm("bn1", _WIDTHS[0])
    inputs = _WIDTHS[0]
    for stage, width in enumerate(_WIDTHS, start=1):
        for block in range(_BLOCKS):
            yield from _block(f"layer{stage}.{block}", inputs, width)
            inputs = width
    yield Tensor(name="fc.weight", shape=(_CLASSES, inputs))
    yield Tensor(name="fc.bias", shape=(_CLASSES,))


def _block(name: str, inputs: int, width: int) -> Iterator[Tensor]:
    yield Tensor(name=f"{name}.conv1.weight", shape=(width, inputs, 3, 3))
    yield from _norm(f"{name}.bn1", width)
    yield Tensor(name=f"{name}.conv2.weight", shape=(width, width, 3, 3))
    yield from _norm(f"{name}.bn2", width)
    if inputs != width:  # the shortcut has to change width too
        yield Tensor(name=f"{name}.downsample.0.weight", shape=(width, inputs, 1, 1))
        yield from _norm(f"{name}.downsample.1", width)


def _norm(name: str, width: int) -> Iterator[Tensor]:
    yield Tensor(name=f"{name}.weight", shape=(width,))
    yield Tensor(name=f"{name}.bias", shape=(width,))
