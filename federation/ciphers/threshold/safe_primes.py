"""Safe primes p = 2p' + 1 for the key ceremony, found from a secret seed and nothing else.

A window of candidates is sieved for p' and 2p' + 1 at once, so that only one candidate in some
four hundred costs an exponentiation. The seed fixes the prime: a ceremony has test vectors.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from typing import Final

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from ...digest import secret_stream

SIEVE_BOUND: Final = 1 << 20  # both p' and p are free of smaller prime factors
WINDOW: Final = 1 << 18  # candidates of p' sieved at once, in steps of 6
ROUNDS: Final = 40  # of Miller-Rabin beyond the first test


def safe_primes(bits: int, seeds: list[bytes], *, processes: int) -> list[mpz]:
    """One safe prime of exactly `bits` bits for each 32-byte secret seed, searched side by side."""
    if processes <= 1:
        return [safe_prime(bits, seed) for seed in seeds]
    # "spawn": a forked child would share the parent's locks, and a service's parent has threads.
    with ProcessPoolExecutor(min(processes, len(seeds)), mp_context=get_context("spawn")) as pool:
        return list(pool.map(safe_prime, [bits] * len(seeds), seeds))


def safe_prime(bits: int, seed: bytes) -> mpz:
    """The first safe prime that `seed` leads to; its two top bits are set: two make a full-length n."""
    attempt = 0
    while True:
        position = bits.to_bytes(8, "big") + attempt.to_bytes(8, "big")
        raw = secret_stream(seed, "safe prime", bits // 8 + 16, position)  # 128 bits to spare: no bias
        top = mpz(3) << (bits - 3)  # of p', which has bits - 1 bits
        start = mpz.from_bytes(raw, "big") % (top // 3) + top
        start += 5 - start % 6  # p' = 5 mod 6: p' and 2p' + 1 are odd and no multiple of 3
        for offset in _survivors(start):
            half = start + 6 * int(offset)
            whole = 2 * half + 1
            if whole.bit_length() == bits and _probably_prime(half, whole):
                return whole
        attempt += 1


def _probably_prime(half: mpz, whole: mpz) -> bool:
    """Whether both are prime; the cheap test of each comes before the thorough test of either."""
    cheap = gmpy2.is_fermat_prp(half, 2) and gmpy2.is_fermat_prp(whole, 2)
    return bool(cheap and gmpy2.is_prime(half, ROUNDS) and gmpy2.is_prime(whole, ROUNDS))


def _survivors(start: mpz) -> NDArray[np.intp]:
    """Which k leave neither start + 6k nor 2(start + 6k) + 1 with a factor up to the bound.

    A candidate that *is* such a prime is struck too: this is for numbers above the bound.
    """
    alive = np.ones(WINDOW, dtype=np.bool_)
    for prime in _small_primes(min(SIEVE_BOUND, 1 << (start.bit_length() // 2))):
        residue = int(start % prime)
        sixth = pow(6, -1, prime)
        alive[-residue * sixth % prime :: prime] = False  # start + 6k = 0
        alive[((prime - 1) // 2 - residue) * sixth % prime :: prime] = False  # start + 6k = (prime - 1)/2
    return np.flatnonzero(alive)


@cache
def _small_primes(bound: int) -> list[int]:
    """The primes from 5 up to `bound`."""
    alive = np.ones(bound + 1, dtype=np.bool_)
    for factor in range(2, int(bound**0.5) + 1):
        if alive[factor]:
            alive[factor * factor :: factor] = False
    return [int(prime) for prime in np.flatnonzero(alive) if prime >= 5]
