"""Which code does the ring's heavy work: NumPy everywhere, compiled where Numba is installed; the same bytes.

`TALLY_KERNELS=numpy` in the environment keeps to NumPy.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from ..suite import IntVector
from .element import Integers, Residues
from .matrices import NumpyKernels

SETTING: Final = "TALLY_KERNELS"
_PAYS_FROM: Final = 64  # blocks of a body, half a million values; loading compiled code takes half a second


class Kernels(Protocol):
    """Arrays of residues are [block, tower, coefficient], spectra [tower, position] (see `element`)."""

    def masked(self, masks: Residues, spectrum: Residues, message: Integers) -> Residues:
        """mask·s + message for each block, s given by its spectrum; |message| < 2^60."""

    def opened(self, masks: Residues, spectrum: Residues, body: Residues) -> tuple[IntVector, int, int]:
        """`element.unfold` of body - mask·s, centred modulo q."""

    def squeeze(self, seeds: Sequence[bytes], length: int) -> NDArray[np.uint8]:
        """`element.squeeze`; 32 bytes a seed, `length` a multiple of 168."""

    def add(self, parts: Sequence[Residues], first_leaf: int) -> Residues:
        """`element.add`."""


def kernels_for(blocks: int) -> Kernels:
    """The quickest for a body of so many blocks."""
    if blocks < _PAYS_FROM or os.environ.get(SETTING) == "numpy":
        return numpy_kernels()
    return compiled_kernels() or numpy_kernels()


@cache
def numpy_kernels() -> Kernels:
    """NumPy's."""
    return NumpyKernels()


@cache
def compiled_kernels() -> Kernels | None:
    """Numba's, or None where it cannot be imported."""
    try:
        from .compiled import CompiledKernels  # noqa: PLC0415 (optional, and half a second to load)
    except ImportError:
        return None
    return CompiledKernels()
