"""Keys are dealt from secret bytes that are passed in, and from nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable

import gmpy2
import pytest
from gmpy2 import mpz

from federation import cbor
from federation.ciphers import HYBRID_FROM, choose, deal, suite_for
from federation.ciphers.ceremony import DEFAULT_BITS, deal_from_primes
from federation.ciphers.hybrid.keys import dealers_of, join_keys
from federation.ciphers.threshold.keys import SAFE_BITS, decode_key
from federation.ciphers.threshold.safe_primes import safe_prime, safe_primes
from federation.digest import sha256
from federation.errors import Refused, Violation

from .keys import dealt, primes


def source(name: bytes) -> Callable[[int], bytes]:
    """A reproducible stand-in for the system's randomness."""
    drawn = 0

    def random(size: int) -> bytes:
        nonlocal drawn
        drawn += 1
        return sha256(name + bytes([drawn]))[:size]

    return random


def deal_small(name: bytes, **changes: int):
    arguments = {"bits": 256, "threshold": 2, "members": 3, "processes": 1} | changes
    return deal("paillier", random=source(name), unsafe=True, **arguments)


def test_a_dealt_key_passes_every_check():
    dealing = deal_small(b"one", threshold=3, members=5)
    suite = suite_for("paillier", dealing.public_key, values=1)
    suite.check_key()
    assert (suite.threshold, suite.holders, len(dealing.key_shares)) == (3, 5, 5)
    for member, key_share in enumerate(dealing.key_shares, start=1):
        suite.check_key_share(member, key_share)


def test_the_same_randomness_deals_the_same_key_in_one_process_or_two():
    assert deal_small(b"one") == deal_small(b"one", processes=2)
    assert deal_small(b"one").public_key != deal_small(b"two").public_key


def test_key_shares_are_all_different_and_change_with_the_seed():
    p, q = primes(256)
    first, second = (deal_from_primes(p, q, threshold=2, members=3, seed=bytes([i]) * 32) for i in (1, 2))
    assert len({*first.key_shares, *second.key_shares}) == 6
    assert decode_key(first.public_key).commitments[0] == decode_key(second.public_key).commitments[0]


@pytest.mark.parametrize("bits", [64, 128, 200])
def test_a_safe_prime_is_one_and_two_make_a_product_of_full_length(bits):
    p, q = safe_primes(bits, [b"one", b"two"], processes=1)
    for prime in (p, q):
        assert gmpy2.is_prime(prime)
        assert gmpy2.is_prime((prime - 1) // 2)
        assert prime % 12 == 11
        assert prime.bit_length() == bits
    assert (p * q).bit_length() == 2 * bits
    assert safe_prime(bits, b"one") == p


def test_committed_test_primes_are_what_their_seeds_lead_to():
    for bits in (256, 512):
        found = tuple(
            safe_prime(bits // 2, sha256(b"tallystick test-only key %d" % number)) for number in (1, 2)
        )
        assert found == primes(bits)


def test_short_keys_have_to_be_asked_for_as_unsafe():
    for bits in (256, 1024, SAFE_BITS - 16):
        with pytest.raises(Refused, match="at least 2048 bits"):
            deal("paillier", threshold=2, members=3, random=source(b""), bits=bits)
    with pytest.raises(Refused, match="unsafe"):
        deal("plain", threshold=2, members=3, random=source(b""))
    assert DEFAULT_BITS == 3072


@pytest.mark.parametrize("bits", [112, 260, 4112])
def test_lengths_that_the_encoding_cannot_hold_are_refused(bits):
    with pytest.raises(Refused, match="multiple of 16"):
        deal_small(b"", bits=bits)


@pytest.mark.parametrize("name", ["paillier", "plain"])
@pytest.mark.parametrize(("threshold", "members"), [(1, 3), (2, 2), (3, 4), (0, 0)])
def test_thresholds_that_a_minority_could_meet_are_refused(name, threshold, members):
    with pytest.raises(Refused, match="2t - 1"):
        deal(
            name,
            threshold=threshold,
            members=members,
            random=source(b""),
            bits=256,
            unsafe=True,
            processes=1,
        )


def test_more_holders_than_a_key_may_have_are_refused():
    with pytest.raises(Refused, match="64"):
        deal_small(b"", members=65)


def test_a_source_of_randomness_that_repeats_itself_is_noticed():
    with pytest.raises(Refused, match="repeats"):
        deal("paillier", threshold=2, members=3, random=bytes, bits=256, unsafe=True, processes=1)


def test_a_dealer_notices_before_it_forgets_that_a_key_does_not_open():
    p, _ = primes(256)
    composite = p - 12 + 6  # of the right length and class, but no prime
    while gmpy2.is_prime(composite) or gmpy2.gcd(p * composite, (composite - 1) // 2 * (p - 1)) != 1:
        composite += 12
    with pytest.raises(Refused, match="does not open"):
        deal_from_primes(p, mpz(composite), threshold=2, members=3, seed=bytes(32))


def test_an_unknown_suite_cannot_be_dealt():
    with pytest.raises(Refused, match=r"one of the suites .*paillier, plain"):
        deal("rot13", threshold=2, members=3, random=source(b""))


def test_a_key_of_full_size_has_no_weakness_and_a_shorter_one_says_so():
    for bits, weak in ((256, True), (512, True), (2048, False), (3072, False)):
        suite = suite_for("paillier", dealt(bits).public_key, values=1)
        assert bool(suite.weakness) is weak
    dealing = deal("plain", threshold=2, members=3, random=source(b""), unsafe=True)
    assert suite_for("plain", dealing.public_key, values=1).weakness


def test_auto_is_paillier_until_hybrid_costs_less_and_any_other_name_stands():
    assert choose("auto", values=HYBRID_FROM - 1) == "paillier"
    assert choose("auto", values=HYBRID_FROM) == "hybrid"
    assert choose("paillier", values=HYBRID_FROM) == "paillier"
    assert choose("hybrid", values=HYBRID_FROM - 1) == "hybrid"
    with pytest.raises(Refused, match="'rot13'"):
        choose("rot13", values=1)


def test_two_dealers_keys_are_kept_as_they_are_and_in_order():
    one, two = (deal_small(name).public_key for name in (b"one", b"two"))
    joined = join_keys(one, two)
    assert joined == cbor.encode({1: [one, two]})
    assert dealers_of(joined) == (one, two)
    assert dealers_of(join_keys(two, one)) == (two, one)
    assert join_keys(two, one) != joined


@pytest.mark.parametrize("suite", ["paillier", "plain"])
def test_one_dealers_key_is_itself(suite):
    dealing = deal(suite, threshold=2, members=3, random=source(b"one"), bits=256, unsafe=True, processes=1)
    assert dealers_of(dealing.public_key) == (dealing.public_key,)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"bits": 272}, "found (272, 2, 3)"),
        ({"members": 4}, "found (256, 2, 4)"),
        ({"threshold": 3, "members": 5}, "found (256, 3, 5)"),
    ],
)
def test_keys_that_differ_are_not_joined_and_a_joined_one_is_not_read(changes, what):
    one, other = deal_small(b"one").public_key, deal_small(b"two", **changes).public_key
    expected = re.escape(f"bits, t and N: expected (256, 2, 3), {what}")
    with pytest.raises(Refused, match=f"{expected}; deal one of them again"):
        join_keys(one, other)
    with pytest.raises(Violation, match=expected):
        dealers_of(cbor.encode({1: [one, other]}))


def test_one_key_given_twice_is_not_two_dealers():
    one = deal_small(b"one").public_key
    p, q = primes(256)
    shared = safe_prime(128, b"another prime")
    half, other = (
        deal_from_primes(p, second, threshold=2, members=3, seed=bytes(32)).public_key
        for second in (q, shared)
    )
    with pytest.raises(Refused, match="no common factor"):
        join_keys(one, one)
    with pytest.raises(Refused, match="no common factor"):
        join_keys(half, other)


def test_one_key_or_three_are_no_joined_key():
    one, two = (deal_small(name).public_key for name in (b"one", b"two"))
    for keys in ([], [one], [one, two, one], [one, 7]):
        with pytest.raises(Violation, match="the key's fields"):
            dealers_of(cbor.encode({1: keys}))
    with pytest.raises(Violation, match="the key's fields"):
        dealers_of(cbor.encode({1: [b"\x01", two]}))
