"""The public masks of a round: uniform elements that everybody expands alike, one for each block.

They are drawn as spectra, so that no transform is spent on them. Each round and block has its own:
one key s under the same mask twice would show the difference of two updates (PROTOCOL §7.12.3).
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np

from ...digest import labelled
from ..suite import RoundContext
from .element import DEGREE, PRIMES, Residues
from .kernels import Kernels

_WORD: Final = np.dtype("<u4")
_RATE: Final = 168  # bytes a permutation of SHAKE128 yields
_DRAWN: Final = -(-DEGREE * _WORD.itemsize // _RATE) * _RATE  # 20 words to spare
_CUT: Final = np.uint32((1 << 30) - 1)  # as many bits as both primes have


def masks(context: RoundContext, blocks: range, kernels: Kernels) -> Residues:
    """The spectra of a_j for each j of `blocks`: [block, tower, position]."""
    study, number = context.round
    place = (context.ledger, study.to_bytes(8, "big"), number.to_bytes(8, "big"))
    seeds = [
        labelled("mask", *place, block.to_bytes(8, "big"), bytes([tower]))
        for block in blocks
        for tower in range(len(PRIMES))
    ]
    words = kernels.squeeze(seeds, _DRAWN).view(_WORD)[:, :DEGREE] & _CUT
    spectra = words.astype(np.uint32, copy=False).reshape(len(blocks), len(PRIMES), DEGREE)
    for block, tower in np.argwhere(spectra.max(axis=2) >= PRIMES):  # a word was refused: one in five
        seed = seeds[block * len(PRIMES) + tower]
        spectra[block, tower] = uniform(seed, PRIMES[tower], DEGREE)
    return spectra


def uniform(seed: bytes, q: int, count: int) -> Residues:
    """The first `count` residues below q among the words of SHAKE128 over `seed`.

    Words are 32 bits, little-endian, cut to as many bits as q - 1 has: reduction would not be uniform.
    """
    cut = np.uint32((1 << (q - 1).bit_length()) - 1)
    length = max(_DRAWN, count * _WORD.itemsize)
    while True:
        words = np.frombuffer(hashlib.shake_128(seed).digest(length), dtype=_WORD) & cut
        if int(words[:count].max()) < q:
            return words[:count]
        accepted = words[words < q]
        if len(accepted) >= count:
            return accepted[:count]
        length *= 2
