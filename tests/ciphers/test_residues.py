"""Arithmetic modulo n and n²: every quick way gives what the slow one does."""

from __future__ import annotations

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import given
from hypothesis import strategies as st

from federation.ciphers.threshold.comb import FixedBase, Shape, shape_for
from federation.ciphers.threshold.residues import inverses, pack, product_of_powers, unpack
from federation.ciphers.threshold.split import nth_power, power_product, split, unsplit
from federation.errors import Refused

from .keys import primes

P, Q = primes(256)
N = P * Q
SQUARE = N * N
BASE = mpz(0xC0FFEE) ** 40 % SQUARE
residues = st.integers(1, int(N) - 1).map(mpz)  # below 2^128: units
units = st.tuples(residues, residues).map(lambda pair: pair[0] + pair[1] * N)
exponents = st.integers(0, (1 << 128) - 1).map(mpz)
EDGES = [mpz(0), mpz(1), (mpz(1) << 128) - 1, mpz(1) << 127]


def by_hand(pairs: list[tuple[mpz, mpz]], modulus: mpz) -> mpz:
    result = mpz(1)
    for base, exponent in pairs:
        result = result * pow(base, exponent, modulus) % modulus
    return result


@given(st.lists(st.tuples(residues, exponents), max_size=20))
def test_products_of_powers_are_what_they_say(pairs):
    assert product_of_powers([b for b, _ in pairs], [e for _, e in pairs], N) == by_hand(pairs, N)


@pytest.mark.parametrize("count", [1, 2, 79, 80, 81, 300])  # few go by tables, many by buckets
@pytest.mark.parametrize("bits", [1, 16, 128])
def test_products_of_powers_are_the_same_whichever_way_is_quicker(count, bits):
    pairs = [(mpz(3 + k) ** 70 % SQUARE, mpz(7 + k) ** 50 % (mpz(1) << bits)) for k in range(count)]
    assert product_of_powers([b for b, _ in pairs], [e for _, e in pairs], SQUARE) == by_hand(pairs, SQUARE)


@given(st.lists(units, max_size=10))
def test_units_come_back_from_their_parts(values):
    parts = split(values, N)
    assert [unsplit(v, s, N) for v, s in zip(parts.values, parts.slopes, strict=True)] == values
    assert all(0 < value < N for value in parts.values)


@given(st.lists(st.tuples(units, exponents), max_size=12))
def test_split_products_of_powers_are_what_they_say(pairs):
    assert power_product(split([c for c, _ in pairs], N), [e for _, e in pairs], N) == by_hand(pairs, SQUARE)


@given(st.lists(units, max_size=10))
def test_inverses_in_a_batch_are_those_taken_one_by_one(values):
    assert inverses(values, SQUARE) == [gmpy2.invert(value, SQUARE) for value in values]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_batch_that_holds_no_unit_has_no_inverses(position):
    values = [mpz(2), mpz(3)]
    values.insert(position, P)
    with pytest.raises(ZeroDivisionError):
        inverses(values, N)


@given(units)
def test_the_nth_power_is_that_of_the_residue_modulo_n(x):
    assert nth_power(x % N, N) == pow(x, N, SQUARE)


@pytest.mark.parametrize("n", [mpz(4897), mpz(15), P * 7, P * Q * 3])
def test_the_nth_power_is_right_for_moduli_of_every_length(n):
    for x in (mpz(0), mpz(1), mpz(2), n - 1):
        assert nth_power(x, n) == pow(x, n, n * n)


SHAPES = [
    Shape(rows=8, tables=16, columns=1),
    Shape(rows=1, tables=1, columns=128),
    Shape(rows=5, tables=3, columns=9),  # 135 bits: the last places stay empty
    Shape(rows=11, tables=2, columns=6),
    shape_for(128, 20),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_comb_of_any_shape_gives_the_powers_of_its_base(shape):
    table = FixedBase(BASE, N, shape)
    tried = [*EDGES, *(pow(mpz(3), k, mpz(1) << 128) for k in range(90, 120))]
    assert [unsplit(*power, N) for power in table.powers(tried)] == [pow(BASE, e, SQUARE) for e in tried]
    assert list(table.powers([])) == []


@given(exponents)
def test_the_comb_for_many_gives_every_power(exponent):
    ((value, slope),) = MANY.powers([exponent])
    assert unsplit(value, slope, N) == pow(BASE, exponent, SQUARE)


MANY = FixedBase(BASE, N, shape_for(128, 5000))


@pytest.mark.parametrize("bits", [64, 128, 1024, 1536, 1825, 2048])
def test_a_comb_has_room_for_the_exponent_and_stays_within_its_memory(bits):
    for count in (1, 2, 19, 64, 1000, 10**4, 10**6):
        shape = shape_for(bits, count)
        assert bits <= shape.bits < bits + shape.rows * shape.tables
        assert shape.tables << shape.rows <= 1 << 16


def test_an_exponent_beyond_the_comb_is_refused_and_never_cut_off():
    table = FixedBase(BASE, N, Shape(rows=5, tables=3, columns=9))
    ((value, slope),) = table.powers([(mpz(1) << 135) - 1])
    assert unsplit(value, slope, N) == pow(BASE, (mpz(1) << 135) - 1, SQUARE)
    with pytest.raises(Refused):
        list(table.powers([mpz(1) << 135]))


def test_more_exponents_never_get_a_costlier_comb_each():
    costs = [shape_for(1536, count).cost(count) / count for count in (1, 10, 100, 1000, 10**4)]
    assert costs == sorted(costs, reverse=True)


@given(st.lists(residues, max_size=5))
def test_residues_come_back_from_their_bytes(values):
    assert unpack(pack(values, 32), 32) == values
