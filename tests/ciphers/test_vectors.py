"""The committed vectors: the code makes what is written down, and each forgery fails where it says."""

from __future__ import annotations

import json

import pytest

from ..vectors.paillier import PATH, changed, make, replay, steps
from ..vectors.steps import first_failure

WRITTEN = json.loads(PATH.read_text())


def test_the_round_comes_out_byte_for_byte_as_written():
    assert make() == WRITTEN


def test_the_written_round_passes_every_check_and_opens_to_the_sum():
    assert first_failure(steps(WRITTEN["good"])) == {}
    assert replay(WRITTEN["good"]) == WRITTEN["good"]["sum"]


@pytest.mark.parametrize("bad", WRITTEN["bad"], ids=lambda bad: bad["name"])
def test_each_forgery_is_refused_at_the_step_it_names(bad):
    assert bad["expected"]
    assert first_failure(steps(changed(WRITTEN["good"], bad["change"]))) == bad["expected"]
