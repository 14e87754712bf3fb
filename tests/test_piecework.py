"""Where the work on runs is done changes nothing: in this process, in two more, or on a Dask cluster."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import distributed
import numpy as np
import pytest

from federation.admission import admit
from federation.arithmetic import Model, Vector
from federation.audience import PUBLIC
from federation.audit.observer import Observer
from federation.audit.report import verify
from federation.combination import combine
from federation.digest import sha256
from federation.events import RoundId
from federation.executors import open_executor
from federation.in_memory import CODE
from federation.model import Tensor, model_digest
from federation.piecework import examine
from federation.rehearsal import Rehearsal
from federation.runs import HERE, RUN_BYTES, Held, whole
from federation.store.content import ContentStore
from federation.store.directory import DirectoryStore
from federation.tasks.shaped import ShapedModel
from federation.wire import cut

from .rehearsing import HOSPITALS, hospital, spec_of

SIZE = 600_000  # parameters: a body of three runs, the last not full


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A scheduler and two workers, each a process of its own, on loopback."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as found:
        yield found.scheduler_address.replace("tcp://", "dask://")


@pytest.fixture(params=["here", "processes:2", "dask"])
def setting(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("cluster") if request.param == "dask" else request.param


def agreed(size: int, store: ContentStore | None = None) -> Rehearsal:
    """A study under `hybrid` of a model of so many parameters, worked on in this process."""

    def train(model: Model, round: RoundId) -> Vector:
        return np.random.default_rng(round.number).normal(size=model.size) / 1000

    task = ShapedModel(parameters=(Tensor(name="weight", shape=(size // 100, 100)),))
    spec = replace(
        spec_of("hybrid"),
        task=task.spec.name,
        task_parameters=task.spec.parameters,
        genesis=model_digest(task.initial(), task.shape_digest),
    )
    hospitals = [replace(hospital(address, "hybrid"), train=train) for address in HOSPITALS]
    return Rehearsal(spec, hospitals, store=store)


@cache
def finished() -> Rehearsal:
    """A finished round."""
    rehearsal = agreed(SIZE)
    rehearsal.run_round()
    return rehearsal


def test_admitting_combining_and_verifying_come_out_the_same_wherever_they_are_done(setting):
    rehearsal = finished()
    expected = rehearsal.record(RoundId(rehearsal.study, 1))
    with open_executor(setting) as executor:
        observer = Observer(
            rehearsal.view,
            rehearsal.ledger(HOSPITALS[0]),
            rehearsal.store,
            rehearsal.study,
            executor=executor,
        )
        record = observer.record(expected.round, PUBLIC, expected.base)
        assert record.admission.roots == expected.admission.roots
        assert record.admission.excluded == ()
        assert record.recomputed_total.root() == expected.round.total.root
        assert sha256(whole(record.recomputed_total)) == sha256(whole(expected.total))
        assert np.array_equal(record.model, expected.model)
        assert verify(observer.study_record(PUBLIC), audited_code=CODE).findings == []


def test_a_bad_residue_in_a_late_run_is_found_by_its_leaf_wherever_it_is_looked_for(setting):
    rehearsal = finished()
    record = rehearsal.record(RoundId(rehearsal.study, 1))
    agreement = rehearsal.agreement
    body = agreement.suite.layout.body
    content = bytearray(whole(record.updates[HOSPITALS[2]]))
    start = len(content) - agreement.suite.layout.proof_bytes - body.size
    at = 2 * RUN_BYTES + 5 * body.width  # in the third run
    content[start + at : start + at + 4] = b"\xff" * 4
    content[start + at + body.width : start + at + body.width + 4] = b"\xff" * 4  # a later one is not named
    bad = cut(Held(bytes(content)), agreement.update_shape)
    with open_executor(setting) as executor:
        examined = examine(agreement.suite_name, bad, executor)
    assert (examined.fault.leaf, examined.fault.rule) == (body.first + at // body.width, "range")
    bad.know_trunk(examined.trunk)
    honest = cut(Held(bytes(content)), agreement.update_shape)
    assert bad.root() == honest.root()
    assert vars(examine(agreement.suite_name, honest, HERE).fault) == vars(examined.fault)


def test_who_admits_and_adds_stored_updates_holds_runs_of_them_and_not_one_whole(tmp_path):
    rehearsal = agreed(4 * SIZE, DirectoryStore(tmp_path))
    for address in HOSPITALS:
        rehearsal.commit(address)
    round = rehearsal.round()
    for address in HOSPITALS:
        rehearsal.reveal(address, round.id)
        rehearsal.hospitals[address].payloads.clear()
    agreement, round = rehearsal.agreement, rehearsal.round()
    updates = rehearsal.observer.updates_of(round, besides=frozenset())
    tracemalloc.start()
    try:
        admission = admit(agreement, round, updates)
        combine(agreement, round.id, admission).root()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (len(admission.admitted), admission.excluded) == (len(HOSPITALS), ())
    most = 5 * RUN_BYTES * len(HOSPITALS)  # of the nine runs that each update has
    assert peak < most
