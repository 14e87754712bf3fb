"""Deterministic CBOR: one encoding for each value, everything else refused while it is read."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.cbor import MAX_DEPTH, decode, encode
from federation.errors import Refused, Violation

LIMIT = 1 << 16
leaves = st.one_of(
    st.integers(-(1 << 64), (1 << 64) - 1),
    st.binary(max_size=300),
    st.text(st.characters(max_codepoint=127), max_size=300),
)
keys = st.integers(0, (1 << 64) - 1)


def nested(depth: int) -> st.SearchStrategy:
    """Values of at most `depth` nested arrays and maps."""
    if depth == 0:
        return leaves
    inner = nested(depth - 1)
    return st.one_of(leaves, st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4))


@given(nested(MAX_DEPTH))
def test_an_independent_encoder_writes_the_same_bytes_and_reads_the_same_value(value):
    data = encode(value)
    assert data == cbor2.dumps(value, canonical=True)
    assert cbor2.loads(data) == value
    assert decode(data, limit=LIMIT) == value


@given(st.binary(max_size=40))
def test_whatever_is_accepted_is_the_one_encoding_of_its_value(data):
    try:
        value = decode(data, limit=LIMIT)
    except Violation:
        return
    assert encode(value) == data


@given(nested(2), st.data())
def test_a_truncated_encoding_is_refused_at_every_length(value, data):
    whole = encode(value)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(Violation):
        decode(whole[:cut], limit=LIMIT)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("1817", "shortest"),  # 23 in two bytes
        ("1900ff", "shortest"),
        ("1a0000ffff", "shortest"),
        ("1b00000000ffffffff", "shortest"),
        ("3817", "shortest"),  # -24
        ("5801ff", "shortest"),  # one byte, its length in two
        ("780161", "shortest"),
        ("980101", "shortest"),
        ("b8010101", "shortest"),
        ("a201010102", "key above 1"),  # duplicate
        ("a202010101", "key above 2"),  # unsorted
        ("a12001", "key above"),  # a negative key
        ("a1410001", "key above"),  # a string for a key
        ("a1800001", "key above"),  # an array for a key
        ("5f41ff41ffff", "definite"),
        ("7f6161ff", "definite"),
        ("9f01ff", "definite"),
        ("bf0101ff", "definite"),
        ("c100", "major type 6"),  # tag
        ("c24101", "major type 6"),  # bignum
        ("f4", "major type 7"),  # false
        ("f6", "major type 7"),  # null
        ("f93c00", "major type 7"),  # 1.0 in three lengths
        ("fa3f800000", "major type 7"),
        ("fb3ff0000000000000", "major type 7"),
        ("f90000", "shortest"),  # 0.0 fails even sooner
        ("1c", "definite"),  # reserved additional information
        ("ff", "definite"),
        ("62c3a4", "ASCII"),
        ("0000", "trailing"),
        ("8000", "trailing"),
        ("", "one more item"),
        ("81", "one more item"),
        ("a101", "one more item"),
        ("4201", "2 bytes"),
    ],
)
def test_every_other_form_is_refused(data, problem):
    with pytest.raises(Violation, match=problem) as caught:
        decode(bytes.fromhex(data), limit=LIMIT)
    assert caught.value.clause == "§2.3"


def test_depth_is_bounded_before_anything_is_built():
    deepest = b"\x81" * MAX_DEPTH + b"\x00"
    assert encode([[[[0]]]]) == deepest
    assert decode(deepest, limit=LIMIT) == [[[[0]]]]
    for bomb in (b"\x81" * (MAX_DEPTH + 1) + b"\x00", b"\x81" * 60_000, b"\xa1\x00" * 30_000):
        with pytest.raises(Violation, match="levels"):
            decode(bomb, limit=LIMIT)


@pytest.mark.parametrize("head", ["9a", "ba", "5a", "7a"])
def test_a_declared_size_allocates_nothing(head):
    with pytest.raises(Violation):
        decode(bytes.fromhex(head + "ffffffff"), limit=LIMIT)


def test_size_is_bounded_first():
    assert decode(b"\x43abc", limit=4) == b"abc"
    with pytest.raises(Violation, match="at most 3 bytes"):
        decode(b"\x43abc", limit=3)


@pytest.mark.parametrize("value", [True, None, 1.0, 1 << 64, -(1 << 64) - 1, "ä", (1, 2), [None]])
def test_what_our_formats_cannot_hold_is_never_written(value):
    with pytest.raises(Refused, match="CBOR"):
        encode(value)


@pytest.mark.parametrize("keys", [{"a": 1}, {-1: 1}, {b"a": 1}, {1: 1, "b": 2}])
def test_only_unsigned_keys_can_be_encoded(keys):
    with pytest.raises(Refused, match="unsigned keys"):
        encode(keys)
