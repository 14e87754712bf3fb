"""The secret that all randomness of one update is drawn from (PROTOCOL §7.5).

Same seed, another update, header or key: another secret. So no crash, fork or restored snapshot can leave
two ciphertexts under the same randomness, whose difference would show that of their plaintexts.
"""

from __future__ import annotations

import hashlib
from typing import Final

from ..digest import Digest, derive, sha256
from .suite import IntVector, Seed

_HASHED: Final = 1 << 16  # values put into bytes at a time


def update_secret(seed: Seed, *, key: Digest, header: bytes, values: IntVector) -> bytes:
    """32 bytes; `values` are within their lanes, and hashed as signed 32-bit little-endian integers."""
    written = hashlib.sha256()
    for start in range(0, len(values), _HASHED):
        written.update(values[start : start + _HASHED].astype("<i4").data)
    return derive(seed, "encrypt", key, sha256(header), written.digest())
