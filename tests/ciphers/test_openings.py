"""Wrong openings, each refused; those that only a weaker check would let pass are shown to pass it."""

from __future__ import annotations

from collections.abc import Sequence

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz

from federation.ciphers.paillier import PaillierSuite
from federation.ciphers.suite import Opening, TotalContext
from federation.ciphers.threshold.key_proof import SIEVE_BOUND, check_key_proof
from federation.ciphers.threshold.opening import DIGIT_BITS, EQUATIONS, check_opening_proof
from federation.ciphers.threshold.residues import pack, unpack, words
from federation.digest import sha256
from federation.errors import ProofFailed

from .forgery import forge_key
from .keys import dealt, primes
from .one_round import context, encrypt, shares_of

P, Q = primes(256)
N = P * Q
SUITE = PaillierSuite(dealt(256).public_key, values=90)  # ten leaves
KEY = SUITE.key
TOTAL = encrypt(SUITE, np.arange(90)).leaves
HONEST = SUITE.join(TOTAL, shares_of(SUITE, TOTAL, dealt(256).key_shares, (1, 2), context()))
C, M, W = unpack(TOTAL, 64), unpack(HONEST.plaintexts, 32), unpack(HONEST.witnesses, 32)


def exponents(key, opening: Opening, count: int, where: TotalContext) -> list[mpz]:
    """The 128-bit words of the batch, written down a second time."""
    study, number = (part.to_bytes(8, "big") for part in where.round)
    hashes = (sha256(opening.plaintexts), sha256(opening.witnesses))
    return words("opening batch", count, key.digest, where.ledger, study, number, where.root, *hashes)


def equation_holds(key, c: Sequence[mpz], m: Sequence[mpz], w: Sequence[mpz], rho: Sequence[mpz]) -> bool:
    """One batch equation for any exponents, by plain powers."""
    n, square, d = key.n, key.n_squared, 4 * key.delta**2
    left, root, total = mpz(1), mpz(1), mpz(0)
    for c_k, m_k, w_k, rho_k in zip(c, m, w, rho, strict=True):
        left, root = left * pow(c_k, rho_k * d, square) % square, root * pow(w_k, rho_k, n) % n
        total += d * rho_k * m_k
    return left == (1 + total * n) * pow(root, n, square) % square


def opening(m: Sequence[mpz], w: Sequence[mpz]) -> Opening:
    return Opening(plaintexts=pack(m, 32), witnesses=pack(w, 32))


def refuse(m: Sequence[mpz], w: Sequence[mpz], reason: str, *, capsule: bytes = TOTAL) -> None:
    with pytest.raises(ProofFailed, match=reason):
        SUITE.check_opening(capsule, opening(m, w), context())


def test_the_true_opening_satisfies_every_equation_one_by_one():
    SUITE.check_opening(TOTAL, HONEST, context())
    for k in range(10):
        assert equation_holds(KEY, [C[k]], [M[k]], [W[k]], [mpz(1)])


@pytest.mark.parametrize("position", range(10))
def test_one_wrong_plaintext_or_witness_is_refused(position):
    wrong = [value + (k == position) for k, value in enumerate(M)]
    refuse(wrong, W, "equation")
    refuse(M, [value * 4 % N if k == position else value for k, value in enumerate(W)], "equation")


def test_swapped_plaintexts_are_refused():
    refuse([M[1], M[0], *M[2:]], W, "equation")
    refuse([M[1], M[0], *M[2:]], [W[1], W[0], *W[2:]], "equation")


def test_a_plaintext_written_as_m_plus_n_is_refused_though_it_satisfies_the_equation():
    capsule = encrypt(SUITE, np.zeros(90, dtype=np.int64)).leaves
    shares = shares_of(SUITE, capsule, dealt(256).key_shares, (1, 2), context())
    honest = SUITE.join(capsule, shares)
    m, w = unpack(honest.plaintexts, 32), unpack(honest.witnesses, 32)
    assert equation_holds(KEY, unpack(capsule, 64)[:1], [m[0] + N], w[:1], [mpz(1)])
    refuse([m[0] + N, *m[1:]], w, "plaintexts: expected below n", capsule=capsule)


def test_a_witness_written_as_w_plus_n_is_refused_though_it_satisfies_the_equation():
    k = next(k for k, value in enumerate(W) if value + N < mpz(1) << 256)
    assert equation_holds(KEY, C[k : k + 1], M[k : k + 1], [W[k] + N], [mpz(1)])
    refuse(M, [value + N if i == k else value for i, value in enumerate(W)], "witnesses: expected units")


def test_one_zero_on_both_sides_cannot_make_wrong_plaintexts_pass():
    c, w, m = [mpz(0), *C[1:]], [mpz(0), *W[1:]], [value + 1 for value in M]
    assert equation_holds(KEY, c, m, w, [mpz(1)] * 10)
    refuse(m, w, "ciphertexts: expected units", capsule=pack(c, 64))
    refuse(M, w, "witnesses: expected units")


@pytest.mark.parametrize("value", [mpz(0), N, 3 * N, P, N * N, N * N + 1])
def test_a_ciphertext_that_is_no_unit_below_n_squared_is_refused(value):
    refuse(M, W, "ciphertexts: expected units", capsule=pack([value, *C[1:]], 64))


@pytest.mark.parametrize("value", [mpz(0), N, P, Q])
def test_a_witness_that_is_no_unit_below_n_is_refused(value):
    refuse(M, [value, *W[1:]], "witnesses: expected units")


@pytest.mark.parametrize("other", [context(number=2), context(study=2), context(root=b"x")])
def test_the_exponents_depend_on_where_the_total_stands(other):
    mine, theirs = (exponents(KEY, HONEST, 10, where) for where in (context(), other))
    assert mine != theirs


def test_plaintexts_chosen_after_the_exponents_are_refused():
    """Ten unknowns against eight equations: whoever knew the exponents first could shift the sum."""
    rho = exponents(KEY, HONEST, 10, context())
    digits = [[word >> 16 * (7 - j) & 0xFFFF for word in rho] for j in range(8)]
    shift = kernel(digits, N)
    forged = [(m + delta) % N for m, delta in zip(M, shift, strict=True)]
    assert forged != M
    for row in digits:
        assert equation_holds(KEY, C, forged, W, row)
    refuse(forged, W, "equation 1 of 8")


def test_the_equations_use_the_whole_word_in_digits_below_every_factor_of_n():
    assert EQUATIONS * DIGIT_BITS == 128
    assert 1 << DIGIT_BITS <= SIEVE_BOUND


def test_a_dealer_with_a_factor_just_above_the_sieve_still_cannot_open_wrongly():
    """Why there are eight equations: n = P·Q with P = 65,537 passes the key proof, and rightly so.

    Shifting one plaintext by n/P satisfies an equation over 128-bit exponents whenever P divides
    that plaintext's exponent, which some choice of signs of the witnesses soon achieves.
    """
    small, large = mpz(65537), gmpy2.next_prime(mpz(1) << 239)
    while small * large % 12 != 1 or (small * large).bit_length() != 256:
        large = gmpy2.next_prime(large)
    n = small * large
    key = forge_key(n, (small - 1) * (large - 1))
    check_key_proof(key)
    d = 4 * key.delta**2
    m = [mpz(7 + k) for k in range(20)]
    r = [mpz(1000 + k) for k in range(20)]
    c = [(1 + m_k * n) * pow(r_k, n, n * n) % (n * n) for m_k, r_k in zip(m, r, strict=True)]
    w = [pow(r_k, d, n) for r_k in r]
    check_opening_proof(key, c, opening(m, w), context())
    wrong = [(m[0] + n // small) % n, *m[1:]]
    for signs in range(
        1 << 19
    ):  # an even number of flips among 20 witnesses, or an odd one: 2^20 tries in all
        tried = [n - w_k if signs >> k & 1 else w_k for k, w_k in enumerate(w)]
        rho = exponents(key, opening(wrong, tried), 20, context())
        odd = sum(rho_k for k, rho_k in enumerate(rho) if signs >> k & 1) % 2
        if rho[0] % small == 0 and not odd:
            break
    assert equation_holds(key, c, wrong, tried, rho)  # one batch of 128-bit exponents is deceived
    with pytest.raises(ProofFailed, match="equation"):
        check_opening_proof(key, c, opening(wrong, tried), context())


def kernel(rows: list[list[mpz]], modulus: mpz) -> list[mpz]:
    """A non-zero vector orthogonal to every row, modulo a number whose factors do not get in the way."""
    rows = [list(row) for row in rows]
    count = len(rows[0])
    for i in range(len(rows)):
        inverse = gmpy2.invert(rows[i][i], modulus)
        rows[i] = [value * inverse % modulus for value in rows[i]]
        for j in range(len(rows)):
            if j != i:
                rows[j] = [(a - rows[j][i] * b) % modulus for a, b in zip(rows[j], rows[i], strict=True)]
    free = mpz(1)
    solved = [-row[len(rows)] * free % modulus for row in rows]
    return [*solved, free, *([mpz(0)] * (count - len(rows) - 1))]
