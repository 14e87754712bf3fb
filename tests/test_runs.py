"""Leaves come in runs, in order, whatever pieces they arrive in and wherever the work on them is done."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.runs import HERE, RUN_BYTES, Held, Run, in_order, in_runs, regroup, whole


@given(pieces=st.lists(st.binary(max_size=20)), sizes=st.lists(st.integers(0, 30)))
def test_regrouped_bytes_are_the_same_bytes(pieces, sizes):
    data = b"".join(pieces)
    groups = list(regroup(pieces, sizes))
    assert b"".join(groups) == data[: sum(len(group) for group in groups)]
    assert [len(group) for group in groups] == sizes[: len(groups)]
    short = len(groups) < len(sizes)
    assert not short or sum(sizes[: len(groups) + 1]) > len(data) or not sizes[len(groups)]


def test_a_piece_of_the_right_size_is_handed_on_as_it_is():
    piece = b"run"
    assert next(regroup([piece], [3])) is piece


def test_what_follows_the_last_group_is_not_read():
    def pieces():
        yield b"abc"
        raise AssertionError("read on")

    assert list(regroup(pieces(), [1, 2])) == [b"a", b"bc"]


def test_a_content_is_read_from_any_place_as_often_as_needed():
    content = Held(b"content")
    assert whole(content) == whole(content) == b"content"
    assert b"".join(content.read_from(3)) == b"tent"
    assert content.size == 7


@given(
    parts=st.lists(st.tuples(st.integers(0, 5000), st.sampled_from([0, 1, 512, 768, RUN_BYTES]))),
    most=st.integers(1, 6000),
)
def test_runs_cover_every_leaf_once_in_order_and_none_crosses_a_part(parts, most):
    first, given_parts = 1, []
    for count, width in parts:
        given_parts.append(Run(first=first, count=count, width=width))
        first += count
    runs = list(in_runs(given_parts, most=most))
    assert [leaf for run in runs for leaf in range(run.first, run.first + run.count)] == [*range(1, first)]
    assert all(run.size <= RUN_BYTES and run.count <= most for run in runs)
    for run in runs:
        assert any(
            part.first <= run.first and run.first + run.count <= part.first + part.count
            for part in given_parts
        )


def test_results_come_in_the_order_of_the_calls_however_long_each_takes():
    late = threading.Event()

    def work(number):
        if number == 0:
            assert late.wait(10)
        if number == 3:
            late.set()
        return number * number

    with ThreadPoolExecutor(4) as pool:
        assert list(in_order(pool, work, ((n,) for n in range(40)))) == [n * n for n in range(40)]


def test_only_a_bounded_number_of_calls_is_under_way():
    asked = []

    def calls():
        for number in range(1000):
            asked.append(number)
            yield (number,)

    with ThreadPoolExecutor(2) as pool:
        results = in_order(pool, str, calls())
        assert next(results) == "0"
        assert len(asked) < 20
        results.close()
    assert len(asked) < 20


def test_here_nothing_is_done_ahead():
    done = []
    results = in_order(HERE, done.append, ((n,) for n in range(9)))
    next(results)
    assert done == [0]


def test_what_a_piece_of_work_raises_comes_out_where_its_result_is_asked_for():
    def work(number):
        if number == 2:
            raise ValueError("the third")
        return number

    results = in_order(HERE, work, ((n,) for n in range(5)))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(results)
