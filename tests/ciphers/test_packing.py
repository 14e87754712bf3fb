"""Lanes: signed digits that add without touching each other."""

from __future__ import annotations

import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given
from hypothesis import strategies as st

from federation.ciphers.threshold.packing import (
    GUARD_BITS,
    HALF,
    check_lanes,
    lanes_of,
    pack_lanes,
    pack_vector,
    unpack_lanes,
    unpack_vector,
)
from federation.errors import Refused, Violation

from .keys import primes

P, Q = primes(256)
N = P * Q
LANES = lanes_of(256)
WIDTHS = (24, 14)  # of `paillier`, and of a capsule for short keys
each_width = pytest.mark.parametrize("lane_bits", WIDTHS)


def digits(lane_bits: int) -> st.SearchStrategy[int]:
    half = 1 << (lane_bits - 1)
    return st.one_of(st.integers(-half, half - 1), st.sampled_from([-half, -1, 0, 1, half - 1]))


@each_width
@given(data=st.data())
def test_packing_is_the_sum_of_signed_digits_and_unpacking_its_inverse(lane_bits, data):
    lanes = lanes_of(256, lane_bits)
    values = data.draw(st.lists(digits(lane_bits), min_size=lanes, max_size=lanes))
    packed = pack_lanes(np.array(values, dtype=np.int64), lane_bits)
    assert packed == sum(value * (1 << lane_bits * i) for i, value in enumerate(values))
    assert unpack_lanes(packed % N, N, lanes, lane_bits).tolist() == values


@each_width
@given(data=st.data())
def test_a_vector_fills_one_plaintext_after_another(lane_bits, data):
    lanes = data.draw(st.integers(1, lanes_of(256, lane_bits)))
    values = data.draw(st.lists(digits(lane_bits), min_size=1, max_size=3 * lanes))
    packed = pack_vector(np.array(values, dtype=np.int64), lanes=lanes, lane_bits=lane_bits)
    rows = [values[at : at + lanes] for at in range(0, len(values), lanes)]
    assert list(packed) == [sum(v << lane_bits * i for i, v in enumerate(row)) for row in rows]
    assert len(packed) == len(rows)
    opened = [plaintext % N for plaintext in packed]
    found = unpack_vector(opened, N, lanes=lanes, count=len(values), lane_bits=lane_bits)
    assert found.tolist() == values


@each_width
@given(data=st.data())
def test_sums_of_plaintexts_are_sums_of_lanes(lane_bits, data):
    lanes = lanes_of(256, lane_bits)
    vectors = st.lists(digits(lane_bits), min_size=lanes, max_size=lanes)
    half = [np.array(data.draw(vectors), dtype=np.int64) // 2 for _ in range(2)]
    total = sum(pack_lanes(values, lane_bits) for values in half) % N
    assert unpack_lanes(total, N, lanes, lane_bits).tolist() == (half[0] + half[1]).tolist()


@each_width
@pytest.mark.parametrize("bits", [256, 512, 2048, 3072, 4096])
def test_no_lawful_plaintext_reaches_half_the_modulus_even_summed_65536_times(bits, lane_bits):
    most = np.full(lanes_of(bits, lane_bits), -(1 << (lane_bits - 1)), dtype=np.int64)
    assert abs(pack_lanes(most, lane_bits)) << GUARD_BITS < mpz(1) << (
        bits - 2
    )  # n/2 is at least 2^(bits - 2)


def test_the_number_of_lanes_is_written_down():
    assert {bits: lanes_of(bits) for bits in (256, 512, 2048, 3072)} == {256: 9, 512: 20, 2048: 84, 3072: 127}
    assert {bits: lanes_of(bits, 14) for bits in (256, 512, 2048, 3072)} == {
        256: 17,
        512: 35,
        2048: 145,
        3072: 218,
    }


@each_width
def test_a_plaintext_past_either_end_of_its_lanes_is_a_fault_and_the_last_before_it_is_not(lane_bits):
    lanes = lanes_of(256, lane_bits)
    most = pack_lanes(np.full(lanes, (1 << (lane_bits - 1)) - 1), lane_bits)
    least = pack_lanes(np.full(lanes, -(1 << (lane_bits - 1))), lane_bits)
    for end, beyond in ((most, most + 1), (least, least - 1)):
        assert len(set(unpack_lanes(end % N, N, lanes, lane_bits).tolist())) == 1
        with pytest.raises(Violation, match=f"lanes of {lane_bits} bits"):
            unpack_lanes(beyond % N, N, lanes, lane_bits)


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
    with pytest.raises(Refused, match=r"value 2: expected one in \[-2\^23, 2\^23\), found another"):
        check_lanes(np.array([0, 0, HALF]))
    check_lanes(np.array([-8192, 8191]), 14)
    with pytest.raises(Refused, match=r"value 1: expected one in \[-2\^13, 2\^13\), found another"):
        check_lanes(np.array([0, -8193, 8192]), 14)
