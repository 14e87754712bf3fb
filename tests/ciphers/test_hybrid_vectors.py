"""The committed vectors of `hybrid`: the code makes what is written, and each forgery fails where it says."""

from __future__ import annotations

import json
from functools import cache

import pytest

from ..vectors.hybrid import DEALINGS, PATH, Parts, edited, good_round, make, replay, steps
from ..vectors.steps import first_failure

WRITTEN = json.loads(PATH.read_text())
good = cache(good_round)


def test_the_rounds_come_out_byte_for_byte_as_written():
    assert make() == WRITTEN


@pytest.mark.parametrize("name", DEALINGS)
def test_the_round_passes_every_check_and_opens_to_the_sum(name):
    parts: Parts = good(name)
    assert first_failure(steps(parts)) == {}
    opened = {str(at): value for at, value in enumerate(replay(parts)) if value}
    assert opened == WRITTEN["good"][name]["sum"]
    one, two = WRITTEN["values"]
    places = sorted({*one, *two}, key=int)
    sums = {at: one.get(at, 0) + two.get(at, 0) for at in places}
    assert opened == {at: value for at, value in sums.items() if value}


@pytest.mark.parametrize("bad", WRITTEN["bad"], ids=lambda bad: bad["name"])
def test_each_forgery_is_refused_at_the_step_it_names(bad):
    assert bad["expected"]
    assert first_failure(steps(edited(good(bad["of"]), bad["edits"]))) == bad["expected"]
