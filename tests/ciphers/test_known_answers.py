"""The toy key of the security statement, by hand: p = 59, q = 83, N = 3, t = 2, f = 877 + 100·X."""

from __future__ import annotations

from itertools import combinations
from math import comb, factorial

import gmpy2
import pytest
from gmpy2 import mpz

from federation.ciphers.threshold.interpolation import (
    interpolate,
    lagrange,
    partial_opening,
    plaintext_of,
    polynomial_at,
)
from federation.ciphers.threshold.keys import PublicKey

TOY = PublicKey(bits=16, n=mpz(4897), threshold=2, holders=3, commitments=(), roots=())
SHARES = {1: mpz(977), 2: mpz(1077), 3: mpz(1177)}
ANSWERS = [
    # m, r, c, Jacobi symbol of c mod n, partial openings, w
    (1234, 777, 15038630, -1, (256, 3703, 3656), 1646),
    (4896, 2, 18345294, 1, (1379, 4088, 1405), 4159),
    (1, 3, 15648798, 1, (1156, 3274, 4240), 4386),
    (0, 1, 1, 1, (1, 1, 1), 1),
]


def test_the_toy_key_is_the_one_written_down():
    assert TOY.n_squared == 23980609
    assert TOY.delta == 6
    assert gmpy2.invert(4897, 1189) == 877
    assert {i: polynomial_at([mpz(877), mpz(100)], i, mpz(1189)) for i in (1, 2, 3)} == SHARES


@pytest.mark.parametrize(("m", "r", "c", "jacobi", "partials", "w"), ANSWERS)
def test_the_toy_key_opens_as_written_down(m, r, c, jacobi, partials, w):
    assert (1 + m * TOY.n) * gmpy2.powmod(r, TOY.n, TOY.n_squared) % TOY.n_squared == c
    assert gmpy2.jacobi(c % TOY.n, TOY.n) == jacobi
    given = {i: partial_opening(TOY, mpz(c), share) for i, share in SHARES.items()}
    assert tuple(given.values()) == partials
    for pair in combinations((1, 2, 3), 2):
        assert interpolate(TOY, {i: given[i] for i in pair}) == w
    assert plaintext_of(TOY, mpz(c), mpz(w)) == m


@pytest.mark.parametrize(("m", "r", "c", "jacobi", "partials", "w"), ANSWERS[:3])
def test_the_negative_ciphertext_opens_alike(m, r, c, jacobi, partials, w):
    given = {i: partial_opening(TOY, TOY.n_squared - c, share) for i, share in SHARES.items()}
    assert interpolate(TOY, given) == w
    assert plaintext_of(TOY, TOY.n_squared - c, mpz(w)) == m


@pytest.mark.parametrize(("m", "r", "c", "jacobi", "partials", "w"), ANSWERS[:3])
def test_one_share_of_two_is_no_witness(m, r, c, jacobi, partials, w):
    for i, share in SHARES.items():
        alone = interpolate(TOY, {i: partial_opening(TOY, mpz(c), share)})
        assert plaintext_of(TOY, mpz(c), alone) is None


def test_there_is_exactly_one_witness_for_a_ciphertext_among_all_residues():
    m, _, c, _, _, w = ANSWERS[0]
    opened = {y: plaintext_of(TOY, mpz(c), mpz(y)) for y in range(1, 4897) if gmpy2.gcd(y, 4897) == 1}
    assert {y: m for y, m in opened.items() if m is not None} == {w: m}


@pytest.mark.parametrize("holders", [3, 5, 9])
def test_lagrange_weights_are_integers_that_reproduce_any_polynomial_at_zero(holders):
    delta = mpz(factorial(holders))
    for members in combinations(range(1, holders + 1), 3):
        weights = {i: lagrange(delta, i, members) for i in members}
        for values in ((1, 1, 1), tuple(members), tuple(comb(i, 2) for i in members)):
            at_zero = {(1, 1, 1): 1}.get(values, 0)  # 1, X and X(X-1)/2
            assert (
                sum(weights[i] * value for i, value in zip(members, values, strict=True)) == delta * at_zero
            )
