"""The null suite keeps the books and refuses what it cannot hold; it protects nothing and says so."""

from __future__ import annotations

import numpy as np
import pytest

from federation import cbor
from federation.ciphers.plain import LEAF_BYTES, PlainSuite, deal_plain
from federation.errors import Malformed, Violation

from .one_round import context, encrypt, vector

KEY = deal_plain(2, 3, random=bytes).public_key
SUITE = PlainSuite(KEY, values=100)  # two leaves of 64 values
CONTEXT = context()
WIDE = SUITE.layout.capsule


def leaves(**values: int) -> bytes:
    """Two leaves of zeros, but for the named positions."""
    data = np.zeros(128, dtype=">i8")
    for position, value in values.items():
        data[int(position[1:])] = value
    return data.tobytes()


def test_anyone_reads_an_update():
    values = np.frombuffer(encrypt(SUITE, np.arange(100)).leaves, dtype=">i8")
    assert values[:100].tolist() == list(range(100))
    assert "nothing" in SUITE.weakness


@pytest.mark.parametrize(("position", "leaf"), [("v0", 1), ("v63", 1), ("v64", 2), ("v127", 2)])
@pytest.mark.parametrize("value", [1 << 31, -(1 << 31) - 1, (1 << 63) - 1, -(1 << 63)])
def test_a_value_that_no_sum_reaches_is_malformed(position, leaf, value):
    SUITE.check_run(WIDE, leaves(**{position: (1 << 31) - 1}))
    with pytest.raises(Malformed) as caught:
        SUITE.check_run(WIDE, leaves(**{position: value}))
    assert (caught.value.leaf, caught.value.rule) == (leaf, "range")


@pytest.mark.parametrize("value", [(1 << 63) - 1, -(1 << 63)])
def test_a_sum_never_wraps(value):
    with pytest.raises(Violation, match="64 bits"):
        SUITE.combine(WIDE, [leaves(v5=value), leaves(v5=1 if value > 0 else -1)])


def test_an_opened_sum_outside_its_lane_is_a_fault_of_the_round():
    suite = PlainSuite(KEY, values=1)
    both = suite.combine(suite.layout.capsule, [encrypt(suite, vector(-(1 << 23))).leaves] * 2)
    shares = {
        i: suite.share(both, member=i, key_share=share, context=CONTEXT)
        for i, share in enumerate(deal_plain(2, 3, random=bytes).key_shares, start=1)
    }
    with pytest.raises(Violation, match="opened value"):
        suite.decode(suite.join(both, shares), [], context=CONTEXT, count=1, members=2)


@pytest.mark.parametrize(
    "key",
    [
        cbor.encode({1: 2, 2: 3}),
        cbor.encode({1: 2, 2: 3, 3: bytes(31)}),
        cbor.encode({1: 2, 2: 3, 3: bytes(32), 4: 0}),
        cbor.encode([2, 3]),
    ],
)
def test_an_encoding_that_is_not_a_keys_is_refused(key):
    with pytest.raises(Violation, match="fields"):
        PlainSuite(key, values=1)


@pytest.mark.parametrize(("threshold", "holders"), [(1, 3), (2, 2), (3, 4)])
def test_a_threshold_that_a_minority_meets_fails_the_key_check(threshold, holders):
    key = cbor.encode({1: threshold, 2: holders, 3: bytes(32)})
    with pytest.raises(Violation, match="threshold"):
        PlainSuite(key, values=1).check_key()


def test_a_leaf_holds_64_values():
    assert LEAF_BYTES == 512
    assert [PlainSuite(KEY, values=n).layout.capsule.count for n in (1, 64, 65)] == [1, 1, 2]
