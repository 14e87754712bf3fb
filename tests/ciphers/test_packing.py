"""Lanes: signed digits that add without touching each other."""

from __future__ import annotations

import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given
from hypothesis import strategies as st

from federation.ciphers.packing import (
    GUARD_BITS,
    HALF,
    check_lanes,
    lanes_of,
    pack_lanes,
    unpack_lanes,
    unpack_vector,
)
from federation.errors import Refused, Violation

from .keys import primes

P, Q = primes(256)
N = P * Q
LANES = lanes_of(256)
extreme = st.one_of(st.integers(-HALF, HALF - 1), st.sampled_from([-HALF, -1, 0, 1, HALF - 1]))
vectors = st.lists(extreme, min_size=LANES, max_size=LANES)


@given(vectors)
def test_packing_is_the_sum_of_signed_digits_and_unpacking_its_inverse(values):
    packed = pack_lanes(np.array(values, dtype=np.int64))
    assert packed == sum(value * (1 << 24 * i) for i, value in enumerate(values))
    assert unpack_lanes(packed % N, N, LANES).tolist() == values


@given(vectors, vectors)
def test_sums_of_plaintexts_are_sums_of_lanes(left, right):
    half = [np.array(values, dtype=np.int64) // 2 for values in (left, right)]
    total = sum(pack_lanes(values) for values in half) % N
    assert unpack_lanes(total, N, LANES).tolist() == (half[0] + half[1]).tolist()


@pytest.mark.parametrize("bits", [256, 512, 2048, 3072, 4096])
def test_no_lawful_plaintext_reaches_half_the_modulus_even_summed_65536_times(bits):
    most = np.full(lanes_of(bits), -HALF, dtype=np.int64)
    assert abs(pack_lanes(most)) << GUARD_BITS < mpz(1) << (bits - 2)  # n/2 is at least 2^(bits - 2)


def test_the_number_of_lanes_is_written_down():
    assert {bits: lanes_of(bits) for bits in (256, 512, 2048, 3072)} == {256: 9, 512: 20, 2048: 84, 3072: 127}


@pytest.mark.parametrize("top", [HALF, -HALF - 1])
def test_a_top_lane_that_overflows_is_a_fault_and_not_a_wrap(top):
    too_much = mpz(top) << 24 * (LANES - 1)
    with pytest.raises(Violation, match="opened plaintext") as caught:
        unpack_lanes(too_much % N, N, LANES)
    assert caught.value.culprit is None


@pytest.mark.parametrize("plaintext", [N // 2, N // 2 + 1])
def test_a_plaintext_far_from_zero_is_a_fault(plaintext):
    with pytest.raises(Violation, match="opened plaintext"):
        unpack_lanes(plaintext, N, LANES)


@pytest.mark.parametrize("position", [LANES + 1, 2 * LANES - 1])
def test_unused_lanes_have_to_be_zero(position):
    values = np.zeros(2 * LANES, dtype=np.int64)
    values[LANES] = 7
    plaintexts = [pack_lanes(row) % N for row in values.reshape(2, LANES)]
    assert unpack_vector(plaintexts, N, lanes=LANES, count=LANES + 1)[-1] == 7
    values[position] = -1
    plaintexts = [pack_lanes(row) % N for row in values.reshape(2, LANES)]
    with pytest.raises(Violation, match="unused lanes"):
        unpack_vector(plaintexts, N, lanes=LANES, count=LANES + 1)


def test_the_refusal_of_a_value_names_its_place():
    check_lanes(np.array([-HALF, HALF - 1]))
    with pytest.raises(Refused, match=r"value 2: .* found 8388608"):
        check_lanes(np.array([0, 0, HALF]))
