"""CAR files: one order, and every alteration of one is found."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import Refused, Violation
from federation.in_memory import InMemoryStore
from federation.store.car import car_of, put_car
from federation.store.content import put_bytes
from federation.store.unixfs import CHUNK_BYTES, cut

CONTENT = b"".join(bytes([i]) * CHUNK_BYTES for i in (1, 2, 1)) + b"the last leaf"
STORE = InMemoryStore()
CID = put_bytes(STORE, CONTENT)
CAR = b"".join(car_of(STORE, CID, size=len(CONTENT)))


def put(car):
    return put_car(InMemoryStore(), BytesIO(car), size=len(CONTENT))


def test_a_car_is_what_the_format_says_byte_for_byte():
    leaf = put_bytes(STORE, b"hello")
    header = b"\x3a" + bytes.fromhex("a265726f6f747381d82a582500") + leaf + b"gversion\x01"
    assert b"".join(car_of(STORE, leaf, size=5)) == header + bytes([36 + 5]) + leaf + b"hello"


def test_blocks_stand_once_and_parents_come_first():
    *leaves, root = cut([CONTENT])
    places = [CAR.index(leaf.cid + leaf.data) for leaf in (root, leaves[0], leaves[1], leaves[3])]
    assert places == sorted(places)
    assert CAR.count(leaves[0].data) == 1  # the first and the third are equal
    assert put(CAR) == CID


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, len(CAR) - 1) | st.integers(0, 600), mask=st.integers(1, 255))
def test_one_altered_byte_is_found(place, mask):
    altered = bytearray(CAR)
    altered[place] ^= mask
    store = InMemoryStore()
    with pytest.raises((Refused, Violation)):
        put_car(store, BytesIO(altered), size=len(CONTENT))
    assert not store.has(CID)


@settings(max_examples=60, deadline=None)
@given(length=st.integers(0, len(CAR) - 1) | st.integers(0, 600))
def test_a_car_that_is_cut_off_is_refused(length):
    with pytest.raises(Refused, match=r"cut off|expected"):
        put(CAR[:length])


def test_what_follows_the_content_is_refused_and_leaves_no_root():
    store = InMemoryStore()
    with pytest.raises(Refused, match="expected the end of the CAR"):
        put_car(store, BytesIO(CAR + b"\x00"), size=len(CONTENT))
    assert not store.has(CID)


def test_another_order_is_refused():
    _, second, *_ = cut([CONTENT])
    place = CAR.index(second.cid + second.data) - 3  # bytes of its length
    end = place + 3 + len(second.cid) + CHUNK_BYTES
    with pytest.raises(Refused, match="expected the block"):
        put(CAR[:place] + CAR[end:])


def test_a_content_larger_than_allowed_is_its_authors_fault():
    with pytest.raises(Violation, match="larger than allowed"):
        put_car(InMemoryStore(), BytesIO(CAR), size=len(CONTENT) - 1)
    with pytest.raises(Violation, match="larger than allowed"):
        next(car_of(STORE, CID, size=len(CONTENT) - 1))


@pytest.mark.parametrize("length", [b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff\xff", b"\x00"])
def test_a_length_that_no_block_has_is_refused_before_it_is_read(length):
    with pytest.raises(Refused, match="found a length of"):
        put(CAR[:59] + length + bytes(100))


def test_a_tree_of_two_levels_with_repeated_nodes_comes_through() -> None:
    content = bytes(2 * 174 * CHUNK_BYTES + 1)  # two equal nodes of equal leaves, and a third
    there, here = InMemoryStore(), InMemoryStore()
    cid = put_bytes(here, content)
    car = b"".join(car_of(here, cid, size=len(content)))
    assert len(car) < 2 * CHUNK_BYTES
    assert put_car(there, BytesIO(car), size=len(content)) == cid
    assert there.has(cid)
