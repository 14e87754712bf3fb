"""Numba's compiler, as the kernels use it; importing this module fails where Numba is not installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

_P = ParamSpec("_P")
_R = TypeVar("_R")


def compiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compiled on its first call; kept on disk unless the installation and the user's cache are read-only."""
    try:
        kept: Callable[_P, _R] = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # Numba finds no place for its cache
        kept = numba.njit(nogil=True)(function)
    return kept
