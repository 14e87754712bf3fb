"""Key shares, and the plaintext from t members' powers of a ciphertext (Shoup's form).

f is a polynomial of degree t-1 over Z_{p'q'} with f(0) = 1/n, and member i holds s_i = f(i). With
D = N! a member gives a_i = (c mod n)^(2D·s_i) mod n; t of them interpolate, in the exponent and
without ever dividing there, to w with w^n = (c mod n)^(4D²) (PROTOCOL §7.8, §7.9). Pure integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gmpy2
from gmpy2 import f_divmod, mpz

from .keys import PublicKey
from .residues import inverses, product_of_powers
from .split import nth_power


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
    (witness,) = interpolate_all(key, {member: [partial] for member, partial in partials.items()})
    return witness


def interpolate_all(key: PublicKey, partials: Mapping[int, Sequence[mpz]]) -> list[mpz]:
    """w_k = ∏ a_{i,k}^(2Λ_i) mod n for every ciphertext k, with one inversion for all."""
    members = sorted(partials)
    weights = [2 * lagrange(key.delta, member, members) for member in members]
    above, below = [max(weight, mpz(0)) for weight in weights], [max(-weight, mpz(0)) for weight in weights]
    columns = list(zip(*(partials[member] for member in members), strict=True))
    divisors = inverses([product_of_powers(column, below, key.n) for column in columns], key.n)
    return [
        product_of_powers(column, above, key.n) * divisor % key.n
        for column, divisor in zip(columns, divisors, strict=True)
    ]


def plaintext_of(key: PublicKey, ciphertext: mpz, witness: mpz) -> mpz | None:
    """The m with c^(4D²) = (1+n)^(4D²·m)·w^n mod n², or None where w is not a witness for c."""
    n, exponent = key.n, 4 * key.delta * key.delta
    high, low = f_divmod(gmpy2.powmod(ciphertext, exponent, key.n_squared), n)
    high_of_root, low_of_root = f_divmod(nth_power(witness, n), n)
    if low != low_of_root:
        return None
    # (low + high·n) / (low + high'·n) = 1 + n·(high - high')/low modulo n²
    return (high - high_of_root) * gmpy2.invert(low * exponent, n) % n
