"""The aggregator adds under the key of each round's epoch, and trusts no key that a study's members took."""

from __future__ import annotations

import logging

import pytest

from aggregator.duty import PostTotal, Wait
from federation.ciphers import suite_for
from federation.digest import sha256
from federation.events import RoundId, StudyId
from federation.store.content import put_bytes

from ..ciphers.keys import dealt
from ..rehearsing import HOSPITALS, A, audited, later_key, rehearse
from .stage import conductor, hospitals_reveal, hospitals_share, works

THIRD = RoundId(StudyId(1), 3)


def test_each_round_is_added_and_opened_under_its_own_key() -> None:
    stage = rehearse("paillier", rounds=4)
    aggregator = conductor(stage)
    for key in (dealt(512, 2, 4), None, later_key(1), None):
        id = hospitals_reveal(stage)
        if key is not None:
            stage.rekey(key)
        works(aggregator)
        hospitals_share(stage, id)
        works(aggregator)
    keys = [record.agreement.key for record in stage.study_record().rounds]
    assert len(set(keys)) == 2  # the third key would rule from the fifth round on
    assert audited(stage).findings == []


def test_while_a_keys_document_is_missing_the_aggregator_waits_for_it() -> None:
    stage = rehearse("paillier", rounds=4)
    stage.run_round()
    stage.rekey(later_key(1))
    stage.run_round()
    id = hospitals_reveal(stage)
    (cid,) = stage.observer.study.later_epochs[0].cids
    lost = stage.store._blocks.pop(cid)
    aggregator = conductor(stage)
    assert isinstance(aggregator.step(), Wait)
    assert aggregator.troubles == 1
    stage.store._blocks[cid] = lost
    assert works(aggregator) == [PostTotal(round=id, patient=True)]
    assert id == THIRD


def test_under_a_key_that_is_unsound_nothing_is_added_and_it_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = rehearse("paillier", rounds=4)
    stage.run_round()
    lax = later_key(2, members=5).public_key
    key = suite_for("paillier", lax, values=7).key_digest
    stage.propose_key(A, key, stage.document_of(lax))
    for member in HOSPITALS:
        stage.ledger(member).accept_key(stage.study, key, 1)
    base = stage.run_round().model_digest
    assert base is not None
    cid = put_bytes(stage.store, b"an update")
    for member in HOSPITALS:
        stage.ledger(member).commit_update(THIRD, sha256(b"an update"), base)
    for member in HOSPITALS:
        stage.ledger(member).reveal_update(THIRD, cid)
    aggregator = conductor(stage)
    with caplog.at_level(logging.WARNING):
        works(aggregator)
    assert [record.problem for record in caplog.records if "share-holders" in record.problem]  # type: ignore[attr-defined]
