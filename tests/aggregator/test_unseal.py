"""A store that fails between two passes over a payload delays a result, and is nobody's breach."""

from __future__ import annotations

import pytest

from aggregator.unseal import open_total
from federation.audience import PUBLIC
from federation.audit.observer import Observer
from federation.errors import Unavailable, Violation
from federation.events import RoundId

from ..test_piecework import finished


class Forgetful:
    """A content store that answers no more once told so."""

    def __init__(self, store):
        self.store, self.silent = store, False

    def put(self, chunks):
        return self.store.put(chunks)

    def has(self, cid):
        return self.store.has(cid)

    def get(self, cid, *, size, start=0):
        for piece in self.store.get(cid, size=size, start=start):
            if self.silent:
                raise Unavailable("the store fell silent")
            yield piece


@pytest.mark.parametrize("known", ["nothing", "the total", "the opening"])
def test_a_store_that_fails_while_the_result_is_computed_is_waited_for(known):
    rehearsal = finished()
    store = Forgetful(rehearsal.store)
    observer = Observer(rehearsal.view, rehearsal.ledger(rehearsal.agreement.spec.aggregators[0]), store, 1)
    done = rehearsal.round(RoundId(rehearsal.study, 1))
    record = observer.record(done, PUBLIC, rehearsal.agreement.task.initial())
    if known == "the total":
        assert record.recomputed_total is not None
    if known == "the opening":
        assert record.opening is not None
    store.silent = True

    def accuse(fault: Violation) -> None:
        raise AssertionError(fault)

    with pytest.raises(Unavailable, match=r"fell silent|cannot be recomputed yet"):
        open_total(record, accuse)
    store.silent = False
    assert open_total(record, accuse).opening.root() == done.proposals[0].opening
