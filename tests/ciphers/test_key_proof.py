"""Keys that a dealer might like to hand out, and the rule that refuses each."""

from __future__ import annotations

from dataclasses import replace

import gmpy2
import pytest
from gmpy2 import mpz

from federation import cbor
from federation.ciphers.threshold.key_proof import check_key_proof
from federation.ciphers.threshold.keys import PublicKey, decode_key
from federation.errors import Violation

from .forgery import forge_key
from .keys import dealt, primes


def honest(bits: int = 256) -> PublicKey:
    return decode_key(dealt(bits).public_key)


def prime(bits: int, *, residue: int, of: int = 12) -> mpz:
    """The first prime of `bits` bits from 3·2^(bits-2) on in a residue class."""
    candidate = gmpy2.next_prime((mpz(3) << (bits - 2)) + residue)
    while candidate % of != residue:
        candidate = gmpy2.next_prime(candidate)
    return candidate


def refuse(key: PublicKey, rule: str) -> None:
    with pytest.raises(Violation, match=rule) as caught:
        check_key_proof(key)
    assert caught.value.clause == "§7.3"


def test_honest_keys_pass():
    for bits in (256, 512):
        check_key_proof(honest(bits))
    p, q = primes(256)
    check_key_proof(forge_key(p * q, (p - 1) * (q - 1)))  # the forger's own formulas are right


def test_a_stated_length_that_is_not_the_moduluss_own_is_refused():
    p, q = primes(256)
    refuse(forge_key(p * q, (p - 1) * (q - 1), bits=272), "exactly 272 bits")


@pytest.mark.parametrize(("a", "b"), [(11, 7), (7, 7), (11, 1)])
def test_a_modulus_in_another_class_modulo_12_is_refused(a, b):
    p, q = prime(128, residue=a), prime(128, residue=b, of=12)
    q = q if q != p else gmpy2.next_prime(q)
    while (p * q) % 12 == 1:
        q = gmpy2.next_prime(q)
    refuse(forge_key(p * q, (p - 1) * (q - 1)), "1 mod 12")


def test_a_modulus_that_shares_a_factor_with_its_order_is_refused():
    refuse(forge_key(mpz(23 * 47), mpz(22 * 46), bits=16), "exactly 16 bits")  # the textbook case
    # The same at full length is refused by what its roots show.
    p = prime(100, residue=11)
    k = mpz(15) << 52
    while not (gmpy2.is_prime(k * p + 1) and p * (k * p + 1) % 12 == 1):
        k += 2
    refuse(forge_key(p * (k * p + 1), (p - 1) * k * p), "n-th powers")


def test_a_modulus_with_a_factor_below_the_sieve_is_refused_though_it_has_all_roots():
    p, q = mpz(65519), prime(240, residue=11)  # both prime, 65519 < 2^16
    assert gmpy2.gcd(p * q, (p - 1) * (q - 1)) == 1
    refuse(forge_key(p * q, (p - 1) * (q - 1)), "prime factor below")


def test_a_prime_modulus_is_refused_though_it_has_all_roots():
    n = prime(256, residue=1)
    refuse(forge_key(n, n - 1), "composite")


def test_a_modulus_with_a_square_is_refused():
    p, q = prime(96, residue=11), prime(65, residue=1)
    n = p * p * q
    refuse(forge_key(n, p * (p - 1) * (q - 1)), "n-th powers")


@pytest.mark.parametrize("index", range(8))
def test_every_single_root_counts(index):
    key = honest()
    roots = list(key.roots)
    roots[index] = roots[index] * 2 % key.n
    refuse(replace(key, roots=tuple(roots)), "n-th powers")


def test_roots_are_written_in_one_way_only():
    key = honest()
    roots = tuple(root + key.n for root in key.roots)
    refuse(replace(key, roots=roots), "roots are units in range")
    refuse(replace(key, roots=(mpz(0), *key.roots[1:])), "roots are units in range")


def test_commitments_are_units_in_range():
    key = honest()
    p, _ = primes(256)
    v_0, v_1 = key.commitments
    for wrong in (mpz(0), p, v_1 + key.n):
        refuse(replace(key, commitments=(v_0, wrong)), "commitments are units")
    refuse(replace(key, commitments=(v_0 + key.n, v_1)), "commitments are units")


def test_a_polynomial_that_does_not_start_at_one_over_n_is_refused():
    key = honest()
    v_0, v_1 = key.commitments
    refuse(replace(key, commitments=(v_0 * 4 % key.n, v_1)), "V_0")
    refuse(replace(key, commitments=(v_1, v_0)), "V_0")


@pytest.mark.parametrize("derived", ["h_s", "v"])
def test_a_derived_generator_that_shares_a_factor_with_n_is_refused(derived):
    """A dealer could search for a modulus of which this is so; then every honest leaf is malformed."""
    key = replace(honest())
    vars(key)[derived] = primes(256)[0]  # stands for such a search
    refuse(key, "h_s and v are units")


def field(number: int, value: cbor.Value) -> bytes:
    """The honest key's encoding with one field changed."""
    fields = cbor.decode(dealt(256).public_key, limit=1 << 16)
    assert isinstance(fields, dict)
    return cbor.encode(fields | {number: value})


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "CBOR"),
        (cbor.encode([1, 2]), "fields"),
        (cbor.encode({1: 256}), "fields"),
        (field(1, b"256"), "fields"),
        (field(7, 0), "only one"),
        (dealt(256).public_key + b"\0", "CBOR"),
        (field(1, 250), "bits"),
        (field(1, 112), "bits"),
        (field(1, 4112), "bits"),
        (field(2, bytes(31)), "residue"),
        (field(2, bytes(33)), "residue"),
        (field(3, 1), "threshold"),
        (field(3, 3), "threshold"),
        (field(4, 65), "threshold"),
        (field(5, [bytes(32)]), "commitments and roots"),
        (field(5, [bytes(32), 5]), "residue"),
        (field(6, [bytes(32)] * 7), "commitments and roots"),
        (field(6, [bytes(32)] * 9), "commitments and roots"),
    ],
)
def test_an_encoding_that_is_not_a_keys_is_refused(data, problem):
    with pytest.raises(Violation, match=problem):
        decode_key(data)


def test_a_key_has_one_encoding_and_its_digest_covers_all_of_it():
    key = honest()
    assert decode_key(key.encode()) == key
    others = [
        replace(key, threshold=3),
        replace(key, holders=4),
        replace(key, commitments=key.commitments[::-1]),
        replace(key, roots=key.roots[::-1]),
        honest(512),
    ]
    assert len({other.digest for other in others} | {key.digest}) == 6
