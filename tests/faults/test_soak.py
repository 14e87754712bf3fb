"""A short soak: nobody is accused, and what a party holds does not grow with the models of rounds gone by."""

from __future__ import annotations

from pathlib import Path

from ..rehearsing import audited
from .soak import Consort, figures


def test_honest_rounds_raise_no_alarm_and_open_nothing_that_stays_open(folder: Path) -> None:
    """3 s."""
    study = Consort(folder, rounds=20)
    study.goes_on(5)
    before = figures(5)
    study.goes_on(20)
    assert figures(20).descriptors <= before.descriptors
    assert study.ends()
    assert study.alarms == 0
    report = audited(study.stage)
    assert report.findings == []
    assert len(report.record.rounds) == 20


def test_daemons_go_on_without_the_contents_of_old_rounds_and_do_not_hold_them_either(folder: Path) -> None:
    """3 s. A model is the one thing of a round whose size is not fixed by the ledger."""
    study = Consort(folder, rounds=16, keeps=60)
    study.goes_on(16)
    assert study.ends()
    assert study.alarms == 0
    observers = [node.seat.observer for node in study.nodes]
    assert all(
        1 <= len(observer._models) <= 4 for observer in [*observers, *study.conductor._observers.values()]
    )
    paces = [study.conductor._pace, *(node.seat.pace for node in study.nodes)]
    assert all(len(pace._shown_at) <= 1 for pace in paces)
