"""A study under one key after another: each round under its own, and every round verifiable for ever."""

from __future__ import annotations

from dataclasses import replace

import pytest

from federation.agreement import Agreement
from federation.audience import PUBLIC
from federation.ciphers import deal
from federation.ciphers.suite import Dealing
from federation.digest import labelled
from federation.errors import LedgerRejected, Unavailable, Violation
from federation.events import RoundId
from federation.opening import join_shares
from federation.rehearsal import Rehearsal
from federation.rounds import Overdue
from federation.runs import Held
from federation.store.content import put_bytes
from federation.submission import encrypt_update
from federation.wire import Code, Exclusion

from .ciphers.keys import dealt
from .rehearsing import (
    HOSPITALS,
    A,
    B,
    Blame,
    C,
    D,
    audit,
    audited,
    commit_payload,
    faults,
    in_the_clear,
    later_key,
    opened,
    quantised,
    rehearse,
    reveals,
    seen_afresh,
    share_anyway,
    up_to_reveals,
)

SECOND, THIRD = dealt(512, 2, 4), later_key(1)


def after_rekey(suite: str = "paillier", key: Dealing = THIRD) -> Rehearsal:
    """The next round is the first under a later key."""
    rehearsal = rehearse(suite, rounds=6)
    rehearsal.run_round()
    rehearsal.rekey(key)
    rehearsal.run_round()
    return rehearsal


def old(rehearsal: Rehearsal) -> Agreement:
    return rehearsal.agreement


def out_of_time(rehearsal: Rehearsal, id: RoundId) -> None:
    """The round's deadline passes, and it is ended."""
    rehearsal.wait(10_000)
    phase = rehearsal.round(id).phase(rehearsal.view.now)
    assert isinstance(phase, Overdue)
    rehearsal.abandon(id, phase.reason)


@pytest.mark.parametrize("suite", ["paillier", "hybrid"])
def test_rounds_under_three_keys_give_the_same_models_as_plain_integers_and_all_stay_verifiable(
    suite: str,
) -> None:
    rehearsal = rehearse(suite, rounds=6)
    keys = [rehearsal.agreement.suite.key_digest]
    rehearsal.run_round()
    keys.append(rehearsal.rekey(SECOND))
    for _ in range(2):
        rehearsal.run_round()
    keys.append(rehearsal.rekey(THIRD))
    for _ in range(2):
        rehearsal.run_round()
    observer = seen_afresh(rehearsal)
    record = observer.study_record(PUBLIC)
    ruled = [round.agreement.suite.key_digest for round in record.rounds]
    assert ruled == [keys[0], keys[0], keys[1], keys[1], keys[2]]
    model = rehearsal.agreement.task.initial()
    for round in record.rounds:
        model = in_the_clear(rehearsal, round.id, model, HOSPITALS)
        assert round.model_digest == rehearsal.agreement.model_digest(model)
    assert audit(record).findings == []
    assert audit(record).notices == audited(rehearsal).notices


def test_leaves_and_shares_take_the_length_of_the_rounds_key() -> None:
    rehearsal = after_rekey(key=SECOND)
    first, later = old(rehearsal), rehearsal.agreement_of(RoundId(rehearsal.study, 3))
    assert later.update_shape.parts[0].width == 2 * first.update_shape.parts[0].width
    assert later.suite_name.key == SECOND.public_key != first.suite_name.key == first.spec.key
    record = rehearsal.run_round()
    assert record.agreement is later
    assert audited(rehearsal).findings == []


def test_the_ledger_counts_the_ciphertexts_of_each_rounds_key() -> None:
    """By which the court judges that round: a longer key has fewer of them."""
    rehearsal = rehearse("hybrid", rounds=6)
    first = rehearsal.agreement.suite.layout.capsule.count
    rehearsal.rekey(SECOND)
    for _ in range(2):
        rehearsal.run_round()
    study = rehearsal.observer.study
    counted = [study.epoch_of(number).ciphertexts for number in (1, 2, 3)]
    layouts = [rehearsal.agreement_of(RoundId(rehearsal.study, n)).suite.layout for n in (1, 2, 3)]
    assert counted == [layout.capsule.count for layout in layouts]
    assert counted[1] < counted[0] == first


def test_nobody_accepts_a_key_with_another_number_of_ciphertexts_than_the_first_to_accept() -> None:
    rehearsal = rehearse("paillier")
    key, study = labelled("a key"), rehearsal.study
    rehearsal.ledger(A).propose_key(study, key, put_bytes(rehearsal.store, b"its document"))
    rehearsal.ledger(A).accept_key(study, key, 3)
    with pytest.raises(LedgerRejected, match="WrongCiphertexts"):
        rehearsal.ledger(B).accept_key(study, key, 4)
    rehearsal.ledger(B).accept_key(study, key, 3)


@pytest.mark.parametrize("key", [SECOND, THIRD], ids=["another length", "the same length"])
def test_an_update_under_the_old_key_is_left_out_and_its_author_named(key: Dealing) -> None:
    rehearsal = after_rekey(key=key)
    round = rehearsal.round()
    base = rehearsal.base(round)
    stale = encrypt_update(
        old(rehearsal),
        round.id,
        quantised(rehearsal, D, round.id, base),
        member=D,
        base_model=old(rehearsal).model_digest(base),
        seed=rehearsal.hospitals[D].seed,
    )
    commit_payload(rehearsal, D, stale)
    for address in (A, B, C):
        rehearsal.commit(address)
    record = opened(rehearsal, reveals(rehearsal, round.id))
    rule = "size" if key is SECOND else "header"
    assert record.admission.excluded == (Exclusion(member=D, code=Code.MALFORMED, leaf=0, rule=rule),)
    assert faults(audited(rehearsal)) == {Blame("§9.3", D)}


def test_a_share_of_the_old_key_opens_no_new_round_and_its_sender_is_named() -> None:
    rehearsal = after_rekey()
    id = up_to_reveals(rehearsal)
    total = rehearsal.post_total(id)
    for address in (C, D):
        stale = old(rehearsal).suite.share(
            total.first_part,
            member=rehearsal.agreement.index_of(address),
            key_share=rehearsal.hospitals[address].key_share,
            context=rehearsal.agreement.total_context(id, total.root()),
        )
        share_anyway(
            rehearsal, address, id, total, lambda right, wrong=stale: replace(right, leaves=Held(wrong))
        )
    record = rehearsal.record(id)
    shares = {who: (record.round.shares[who].digest, data) for who, data in record.shares.items()}
    with pytest.raises(Unavailable, match="0 right shares of 2"):
        join_shares(record.agreement, id, total, shares)
    assert faults(audited(rehearsal)) == {Blame("§9.9", C), Blame("§9.9", D)}
    for address in (A, B):
        rehearsal.post_share(address, id)
    rehearsal.finish(id)
    assert rehearsal.record(id).model_digest is not None


def test_with_a_share_of_the_old_key_nothing_is_computed_under_the_new_one() -> None:
    rehearsal = after_rekey()
    id = up_to_reveals(rehearsal)
    rehearsal.post_total(id)
    rehearsal.hospitals[C].later_shares.clear()
    with pytest.raises(Violation, match="the key share of member 3 against the key's commitments"):
        rehearsal.post_share(C, id)


def test_another_key_is_no_licence_to_open_another_set_on_the_same_base() -> None:
    rehearsal = after_rekey()
    id = up_to_reveals(rehearsal)
    rehearsal.post_total(id)
    rehearsal.post_share(A, id)
    rehearsal.rekey(SECOND)
    out_of_time(rehearsal, id)
    for _ in range(2):  # the first of them still under the key before
        retry = up_to_reveals(rehearsal, (A, B, C))
        rehearsal.post_total(retry)
        with pytest.raises(Violation, match=r"§9.14 another set of members"):
            rehearsal.post_share(A, retry)
        out_of_time(rehearsal, retry)
    assert rehearsal.agreement_of(retry).key == SECOND.public_key


@pytest.mark.parametrize(
    ("threshold", "holders", "words"),
    [(3, 5, "threshold: expected 2, found 3"), (2, 3, "share-holders: expected 4, found 3")],
)
def test_a_key_that_does_not_fit_the_study_is_none_of_its(threshold: int, holders: int, words: str) -> None:
    with pytest.raises(Violation, match=f"§3.3 a later key's {words}"):
        old(rehearse("paillier")).under(later_key(2, threshold=threshold, members=holders).public_key)


def test_a_key_of_another_suite_cannot_be_read() -> None:
    plain = deal("plain", threshold=2, members=4, random=bytes, unsafe=True)
    with pytest.raises(Violation):
        old(rehearse("paillier")).under(plain.public_key)
