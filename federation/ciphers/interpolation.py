"""Key shares, and the plaintext from t members' powers of a ciphertext (Shoup's form).

f is a polynomial of degree t-1 over Z_{p'q'} with f(0) = 1/n, and member i holds s_i = f(i). With
D = N! a member gives a_i = (c mod n)^(2D·s_i) mod n; t of them interpolate, in the exponent and
without ever dividing there, to w with w^n = (c mod n)^(4D²) (PROTOCOL §7.8, §7.9). Pure integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gmpy2
from gmpy2 import mpz

from .keys import PublicKey


def polynomial_at(coefficients: Sequence[mpz], member: int, modulus: mpz) -> mpz:
    """f(member), the constant coefficient first."""
    result = mpz(0)
    for coefficient in reversed(coefficients):
        result = (result * member + coefficient) % modulus
    return result


def partial_opening(key: PublicKey, ciphertext: mpz, share: mpz) -> mpz:
    """a = (c mod n)^(2D·s) mod n, in time that does not depend on s."""
    return gmpy2.powmod_sec(ciphertext % key.n, 2 * key.delta * share, key.n)


def lagrange(delta: mpz, member: int, members: Sequence[int]) -> mpz:
    """D · ∏_{j≠i} j/(j-i): the weight of f(i) in D·f(0); an integer, of either sign."""
    numerator, denominator = delta, mpz(1)
    for other in members:
        if other != member:
            numerator *= other
            denominator *= other - member
    return numerator // denominator


def interpolate(key: PublicKey, partials: Mapping[int, mpz]) -> mpz:
    """w = ∏ a_i^(2Λ_i) mod n over all members of `partials`, which have to be units."""
    members = sorted(partials)
    result = mpz(1)
    for member in members:
        weight = 2 * lagrange(key.delta, member, members)
        result = result * gmpy2.powmod(partials[member], weight, key.n) % key.n
    return result


def plaintext_of(key: PublicKey, ciphertext: mpz, witness: mpz) -> mpz | None:
    """The m with c^(4D²) = (1+n)^(4D²·m)·w^n mod n², or None where w is not a witness for c."""
    n, n_squared = key.n, key.n_squared
    exponent = 4 * key.delta * key.delta
    power = gmpy2.powmod(ciphertext, exponent, n_squared)
    quotient = power * gmpy2.invert(gmpy2.powmod(witness, n, n_squared), n_squared) % n_squared
    whole, rest = divmod(quotient - 1, n)
    return None if rest else whole * gmpy2.invert(exponent, n) % n
