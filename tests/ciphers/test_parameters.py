"""The figures that PROTOCOL §12 states about the suite `hybrid`, computed from its parameters."""

from __future__ import annotations

import math
from itertools import count
from pathlib import Path

from federation.ciphers.ring.element import DEGREE, MODULUS
from federation.ciphers.ring.gaussian import SIGMA

PROTOCOL = Path("federation/PROTOCOL.md").read_text(encoding="utf-8")
VALUES_A_BLOCK = 2 * DEGREE


def smallest_block_size(dimension: int, modulus: int, deviation: float) -> int:
    """BKZ block size of the primal attack on LWE: the estimate of Alkim et al. ("New Hope", 2016).

    The secret is found once its projection is shorter than what BKZ-b leaves in the last b places, for
    the best number of samples.
    """

    def is_enough(size: int) -> bool:
        root = (math.log(math.pi * size) / size + math.log(size / (2 * math.pi * math.e))) / (2 * (size - 1))
        short = math.log(deviation) + math.log(size) / 2
        for samples in range(dimension // 2, 3 * dimension, 16):
            width = samples + dimension + 1
            if short <= (2 * size - width - 1) * root + samples / width * math.log(modulus):
                return True
        return False

    low, high = 60, 2 * dimension
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle + 1, high)
    return low


def smoothing_deviation(coordinates: int, slack_bits: int) -> float:
    """Above this standard deviation a discrete Gaussian on Z^k, shifted anywhere, looks the same to within
    2^-slack (Micciancio and Regev 2007, lemma 3.3), as a deviation and not as their s = σ·√(2π)."""
    return math.sqrt(math.log(2 * coordinates * (1 + 2.0**slack_bits)) / math.pi) / math.sqrt(2 * math.pi)


def test_the_lattice_problem_behind_the_mask_costs_what_the_protocol_says():
    size = smallest_block_size(DEGREE, MODULUS, SIGMA / 2)
    assert 0.292 * size > 231  # classical, log2 of the core-SVP cost (Becker et al. 2016)
    assert 0.265 * size > 209  # quantum (Laarhoven 2015)
    assert "2^231" in PROTOCOL
    assert "2^209" in PROTOCOL


def test_the_gaussian_is_wide_enough_for_hints_up_to_fifty_million_values_and_not_much_wider():
    """Kim, Lee, Seo and Song (CRYPTO 2023), theorem 1, with one hint of the same width: σ0 = σ/2 ≥ √2·η."""
    blocks = math.ceil(50_000_000 / VALUES_A_BLOCK)
    least = 2 * math.sqrt(2) * smoothing_deviation(DEGREE * (1 + blocks), 128)
    assert 6.5 < least < 6.6 < SIGMA
    enough = next(
        power for power in count() if 2 * math.sqrt(2) * smoothing_deviation(1 << power, 128) > SIGMA
    )
    assert enough > 80  # bits of the number of coordinates: no model reaches the bound
