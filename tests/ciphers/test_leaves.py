"""Leaves of a Paillier payload that no honest member sends, each named by its index and rule."""

from __future__ import annotations

import numpy as np
import pytest
from gmpy2 import mpz

from federation.ciphers import suite_for
from federation.ciphers.paillier import PaillierSuite
from federation.ciphers.threshold.residues import are_units, first_non_unit, pack, unpack
from federation.errors import Malformed, Refused
from federation.runs import Run

from .keys import dealt, primes
from .one_round import context, encrypt, shares_of

P, Q = primes(256)
N = P * Q
SUITE = PaillierSuite(dealt(256).public_key, values=60)  # seven leaves
LEAVES = unpack(encrypt(SUITE, np.arange(60)).leaves, 64)
BAD = {
    "zero": [mpz(0)],
    "range": [N * N, N * N + 1, (mpz(1) << 512) - 1],
    "unit": [N, 5 * N, P, Q * 7, N * N - N],
}
bad_leaves = [(rule, value) for rule, values in BAD.items() for value in values]


def check(leaves: list[mpz], *, first: int = 1) -> None:
    SUITE.check_run(Run(first=first, count=len(leaves), width=64), pack(leaves, 64))


def test_honest_leaves_pass():
    check(LEAVES)
    check([mpz(1), N * N - 1])


@pytest.mark.parametrize(("rule", "value"), bad_leaves)
@pytest.mark.parametrize("position", [0, 3, 6])
def test_a_malformed_leaf_is_named_by_its_index_in_the_tree_and_its_rule(rule, value, position):
    leaves = [*LEAVES[:position], value, *LEAVES[position + 1 :]]
    with pytest.raises(Malformed) as caught:
        check(leaves, first=10)
    assert (caught.value.leaf, caught.value.rule) == (10 + position, rule)


@pytest.mark.parametrize(("early_rule", "early"), bad_leaves)
@pytest.mark.parametrize(("late_rule", "late"), bad_leaves)
def test_of_two_malformed_leaves_the_first_is_named(early_rule, early, late_rule, late):
    with pytest.raises(Malformed) as caught:
        check([LEAVES[0], early, LEAVES[2], late])
    assert (caught.value.leaf, caught.value.rule) == (2, early_rule)


def test_leaves_of_another_width_are_malformed():
    with pytest.raises(Malformed, match="width"):
        SUITE.check_run(Run(first=1, count=2, width=32), bytes(64))


@pytest.mark.parametrize(("rule", "value"), bad_leaves)
def test_no_share_is_given_of_a_malformed_total(rule, value):
    capsule = pack([*LEAVES[:-1], value], 64)
    with pytest.raises(Malformed):
        shares_of(SUITE, capsule, dealt(256).key_shares, [1], context())


@pytest.mark.parametrize("size", [0, 64 * 6, 64 * 7 - 1, 64 * 8])
def test_a_capsule_of_another_length_is_malformed(size):
    with pytest.raises(Malformed):
        SUITE.check_proof(bytes(size), b"", header=b"", root=context().root)


def test_leaves_outside_the_capsule_are_never_made():
    made = SUITE.encrypt(np.arange(60), seed=bytes(32), header=b"", context=context())
    for first, count in ((0, 1), (7, 2), (8, 1)):
        with pytest.raises(Refused):
            made.run(Run(first=first, count=count, width=64))


def test_an_unknown_suite_is_refused_by_naming_the_known_ones():
    with pytest.raises(Refused, match="paillier, plain"):
        suite_for("rot13", b"", values=1)


@pytest.mark.parametrize("name", ["paillier", "plain"])
def test_a_vector_without_values_is_refused(name):
    with pytest.raises(Refused):
        suite_for(name, dealt(256).public_key, values=0)


def test_capsules_hold_as_many_leaves_as_the_lanes_need():
    for values, count in ((1, 1), (9, 1), (10, 2), (18, 2), (19, 3)):
        assert PaillierSuite(dealt(256).public_key, values=values).layout.capsule.count == count


def test_units_are_told_from_the_rest():
    assert first_non_unit([mpz(1), mpz(2), P, mpz(3), Q], N) == 2
    assert first_non_unit([], N) is None
    assert are_units([mpz(1), N - 1], N, below=N)
    for wrong in (mpz(0), -mpz(1), N, N + 1, P):
        assert not are_units([mpz(1), wrong], N, below=N)
