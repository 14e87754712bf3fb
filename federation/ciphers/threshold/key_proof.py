"""The key proof: what everyone checks of a key once, before trusting any opening under it.

Soundness of openings needs gcd(n, φ(n)) = 1 and no small factor, and takes nobody's word for it: a
dealer with a bad modulus could open one ciphertext to several plaintexts (PROTOCOL §7.3, §12.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

import gmpy2
from gmpy2 import mpz

from ...errors import Violation
from .keys import PublicKey
from .residues import are_units

SIEVE_BOUND: Final = 1 << 16  # n has no prime factor below this
_MILLER_RABIN: Final = 32  # rounds; a prime n never passes as composite, whatever the rounds


def check_key_proof(key: PublicKey) -> None:
    """Raises `Violation`, naming the rule, unless the key proof holds.

    Then x ↦ x^n is a bijection of Z*_n but with probability 2^-128 for each modulus tried, so
    (m, w) ↦ (1+n)^m·w^n is one onto Z*_{n²} (Goldberg, Reyzin, Sagga, Baldimtsi, ASIACRYPT 2019).
    """
    for rule, holds in _rules(key):
        if not holds:
            raise Violation("§7.3", f"the key proof: {rule}")


def _rules(key: PublicKey) -> Iterator[tuple[str, bool]]:
    """Each rule with its verdict, cheapest first; a later one may rely on those before it."""
    n = key.n
    # 1. No other length than the stated one: widths, ranges and the randomiser's length follow from it.
    yield f"n has exactly {key.bits} bits", n.bit_length() == key.bits
    # 2. Every product of two safe primes above 7 is 1 mod 4 and 1 mod 3.
    yield "n is 1 mod 12", n % 12 == 1
    # 3. The roots below catch a common factor of n and φ(n) only where it is large.
    yield "n has no prime factor below 2^16", gmpy2.gcd(n, _primorial()) == 1
    # 4. Of a prime modulus everyone knows φ(n), and so could decrypt alone.
    yield "n is composite", not gmpy2.is_prime(n, _MILLER_RABIN)
    # 5. n-th roots of elements that nobody chose: with p | gcd(n, φ(n)) each exists with chance 1/p only.
    yield "the roots are units in range", are_units(key.roots, n, below=n)
    roots_hold = (gmpy2.powmod(root, n, n) == key.root_target(i) for i, root in enumerate(key.roots))
    yield "the roots' n-th powers are the derived elements", all(roots_hold)
    # 6. What is derived must be invertible, or proofs over it say nothing.
    yield "h_s and v are units", are_units([key.h_s % n, key.v], n, below=n)
    # 7. The polynomial behind the shares has f(0) = 1/n: t shares decrypt, whatever the dealer says.
    yield "the commitments are units in range", are_units(key.commitments, n, below=n)
    yield "V_0^n = v", gmpy2.powmod(key.commitments[0], n, n) == key.v


@cache
def _primorial() -> mpz:
    """The product of all primes below 2^16."""
    return gmpy2.primorial(SIEVE_BOUND)
