"""Payloads are cut by the study's shape alone, and whatever a peer sends ends in a payload or `Malformed`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation import cbor
from federation.digest import LedgerId, labelled
from federation.errors import Malformed, Violation
from federation.events import RoundId, StudyId
from federation.members import Address
from federation.runs import Held, Run, whole
from federation.wire import (
    HEADER_LIMIT,
    Binding,
    Code,
    Exclusion,
    Payload,
    Shape,
    cut,
    excluded_in,
    opening_header,
    share_header,
    total_header,
    update_header,
)

MEMBER, OTHER = Address(b"\x01" * 20), Address(b"\x02" * 20)
ROOT, MODEL = labelled("root"), labelled("model")
BINDING = Binding(
    ledger=LedgerId(labelled("ledger")),
    round=RoundId(StudyId(3), 7),
    suite="paillier",
    key=labelled("key"),
    shape=labelled("shape"),
    leaves=5,
)
SHAPE = Shape(
    parts=(Run(first=1, count=2, width=8), Run(first=3, count=3, width=4)), tail=6, tail_in_tree=True
)
HEADERS: dict[str, Callable[[Binding], bytes]] = {
    "update": lambda binding: update_header(binding, member=MEMBER, base_model=MODEL),
    "total": lambda binding: total_header(binding, members=[(MEMBER, ROOT)], excluded=[]),
    "share": lambda binding: share_header(binding, member=MEMBER, total=ROOT),
    "opening": lambda binding: opening_header(binding, total=ROOT),
}


def payload(header: bytes = b"header", shape: Shape = SHAPE) -> Payload:
    leaves = Held(bytes(range(shape.leaves_size)))
    return Payload(header=header, leaves=leaves, tail=b"tail!!"[: shape.tail], shape=shape)


def parts_of(found: Payload) -> tuple[bytes, bytes, bytes]:
    return found.header, whole(found.leaves), found.tail


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    leaves = draw(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 20)), max_size=3))
    parts, first = [], 1
    for count, width in leaves:
        parts.append(Run(first=first, count=count, width=width))
        first += count
    return Shape(parts=tuple(parts), tail=draw(st.integers(0, 9)), tail_in_tree=draw(st.booleans()))


@given(shape=shapes(), header=st.binary(max_size=80), data=st.data())
def test_what_is_encoded_is_cut_into_the_same_parts(shape: Shape, header: bytes, data: st.DataObject) -> None:
    size = shape.leaves_size
    made = Payload(
        header=header,
        leaves=Held(data.draw(st.binary(min_size=size, max_size=size))),
        tail=data.draw(st.binary(min_size=shape.tail, max_size=shape.tail)),
        shape=shape,
    )
    assert len(whole(made)) == shape.size(header) <= shape.size_limit
    assert parts_of(cut(Held(whole(made)), shape)) == parts_of(made)


@given(shape=shapes(), data=st.binary(max_size=200))
def test_any_bytes_are_a_payload_of_the_right_size_or_malformed(shape: Shape, data: bytes) -> None:
    with suppress(Malformed):
        found = cut(Held(data), shape)
        assert whole(found) == data
        assert len(whole(found.leaves)) == shape.leaves_size
        assert len(found.tail) == shape.tail


@pytest.mark.parametrize("change", [-1, 1])
def test_one_byte_more_or_less_is_malformed(change: int) -> None:
    data = whole(payload())
    with pytest.raises(Malformed, match="size"):
        cut(Held(data[:change] if change < 0 else data + b"\x00"), SHAPE)


def test_a_header_that_says_it_is_longer_moves_no_leaf() -> None:
    data = whole(payload())
    for length in (0, 5, 7, len(data), HEADER_LIMIT):
        with pytest.raises(Malformed):
            cut(Held(length.to_bytes(4, "big") + data[4:]), SHAPE)


@pytest.mark.parametrize("length", [HEADER_LIMIT + 1, 2**31, 2**32 - 1])
def test_a_header_above_the_limit_is_refused_by_its_length(length: int) -> None:
    with pytest.raises(Malformed, match="header length"):
        cut(Held(length.to_bytes(4, "big") + bytes(100)), SHAPE)


def test_a_header_at_the_limit_is_cut() -> None:
    data = whole(payload(bytes(HEADER_LIMIT)))
    assert len(data) == SHAPE.size_limit
    assert cut(Held(data), SHAPE).header == bytes(HEADER_LIMIT)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_less_than_a_length_is_malformed(size: int) -> None:
    with pytest.raises(Malformed, match="header length"):
        cut(Held(bytes(size)), SHAPE)


def test_an_empty_payload_of_an_empty_shape_is_one() -> None:
    assert cut(Held(bytes(4)), Shape(parts=(), tail=0, tail_in_tree=False)).header == b""


def test_every_byte_but_an_opening_s_witness_counts_in_the_root() -> None:
    data = whole(payload())
    roots = {cut(Held(data), SHAPE).root()}
    for position in range(4, len(data)):
        altered = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        roots.add(cut(Held(altered), SHAPE).root())
    assert len(roots) == len(data) - 4 + 1
    outside = replace(SHAPE, tail_in_tree=False)
    assert cut(Held(data), outside).root() == cut(Held(data[:-1] + b"?"), outside).root()


def test_what_the_proof_is_bound_to_is_all_but_the_proof() -> None:
    one, two = payload(), replace(payload(), tail=b"other!")
    assert one.root() != two.root()
    assert one.root_before_tail() == two.root_before_tail()
    assert one.root_before_tail() != payload(b"another").root_before_tail()


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize(
    "change",
    [
        {"ledger": LedgerId(labelled("another"))},
        {"round": RoundId(StudyId(4), 7)},
        {"round": RoundId(StudyId(3), 8)},
        {"suite": "plain"},
        {"key": labelled("another")},
        {"shape": labelled("another")},
        {"leaves": 6},
    ],
    ids=str,
)
def test_each_field_of_the_binding_is_in_every_header(kind: str, change: dict[str, object]) -> None:
    header = HEADERS[kind]
    assert header(replace(BINDING, **change)) != header(BINDING)


def test_no_header_can_be_taken_for_one_of_another_kind_or_author() -> None:
    headers = [header(BINDING) for header in HEADERS.values()]
    headers.append(update_header(BINDING, member=OTHER, base_model=MODEL))
    headers.append(update_header(BINDING, member=MEMBER, base_model=ROOT))
    headers.append(share_header(BINDING, member=OTHER, total=ROOT))
    headers.append(share_header(BINDING, member=MEMBER, total=MODEL))
    headers.append(opening_header(BINDING, total=MODEL))
    assert len(set(headers)) == len(headers)


def test_the_header_of_the_largest_total_is_within_the_limit() -> None:
    members = [(Address(bytes([i]) * 20), ROOT) for i in range(32)]
    excluded = [
        Exclusion(member=member, code=Code.MALFORMED, leaf=2**32, rule="padding") for member, _ in members
    ]
    assert len(total_header(BINDING, members=members, excluded=[])) <= HEADER_LIMIT
    assert len(total_header(BINDING, members=[], excluded=excluded)) <= HEADER_LIMIT


EXCLUDED = [
    Exclusion(member=MEMBER, code=Code.MALFORMED, leaf=4, rule="unit"),
    Exclusion(member=OTHER, code=Code.NO_REVEAL),
]


def test_exclusions_are_read_as_they_were_written() -> None:
    assert excluded_in(total_header(BINDING, members=[], excluded=EXCLUDED)) == EXCLUDED


@pytest.mark.parametrize("kind", ["update", "share", "opening"])
def test_a_header_of_another_kind_has_no_exclusions(kind: str) -> None:
    with pytest.raises(Malformed, match="header"):
        excluded_in(HEADERS[kind](BINDING))


@pytest.mark.parametrize(
    "line",
    [
        [MEMBER, 0, 0, ""],
        [MEMBER, 7, 0, ""],
        [MEMBER, -1, 0, ""],
        [MEMBER[:-1], 1, 0, ""],
        [MEMBER + b"\x00", 1, 0, ""],
        [MEMBER, 1, 0],
        [MEMBER, 1, 0, "", 0],
        [MEMBER, "1", 0, ""],
        ["member", 1, 0, ""],
        [MEMBER, 1, b"", ""],
        [MEMBER, 1, 0, 0],
        MEMBER,
        1,
    ],
    ids=str,
)
def test_an_exclusion_that_is_none_is_malformed(line: cbor.Value) -> None:
    with pytest.raises(Malformed, match="exclusions"):
        excluded_in(cbor.encode({1: 2, 13: [line]}))


@pytest.mark.parametrize("value", [{}, {1: 2}, {1: 2, 13: 1}, {1: 1, 13: []}, [], 2, b"", "total"], ids=str)
def test_what_is_not_the_header_of_a_total_is_malformed(value: cbor.Value) -> None:
    with pytest.raises(Malformed, match="header"):
        excluded_in(cbor.encode(value))


@given(header=st.binary(max_size=60))
def test_any_bytes_as_a_header_end_in_a_violation_or_a_list(header: bytes) -> None:
    with suppress(Violation):
        assert isinstance(excluded_in(header), list)


def test_a_header_above_the_limit_is_not_even_read() -> None:
    with pytest.raises(Violation, match=f"at most {HEADER_LIMIT} bytes"):
        excluded_in(bytes(HEADER_LIMIT + 1))
