"""Every claim has a forgery that it must name: the clause, the culprit, and nobody else.

`faults(report) == {…}` is the whole of it in each test: what the audit says of anybody, and no more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.admission import Admission, admit
from federation.agreement import Agreement
from federation.audience import PUBLIC
from federation.audit.charges import find_charge
from federation.audit.checks import (
    Weight,
    contributors_reach_the_minimum,
    nobody_is_called_unavailable_lightly,
)
from federation.audit.observer import Observer
from federation.audit.record import RoundRecord
from federation.audit.report import verify
from federation.audit.study_checks import everyone_accepted
from federation.ciphers.paillier import PaillierSuite
from federation.ciphers.plain import _marker_proof  # anyone can compute it: that suite protects nothing
from federation.ciphers.ring.element import PRIMES
from federation.ciphers.threshold.keys import decode_key
from federation.ciphers.threshold.packing import unpack_lanes
from federation.combination import combine
from federation.digest import Digest, LedgerId, sha256
from federation.errors import LedgerRejected, Unavailable, Violation
from federation.events import Reason, RoundId, StudyId
from federation.model import to_safetensors
from federation.opening import check_opening
from federation.rehearsal import AGGREGATOR, Rehearsal
from federation.runs import Held, whole
from federation.store.content import get_bytes, put_bytes
from federation.store.unixfs import cid_of
from federation.wire import Code, Exclusion, Kind, Payload, update_header

from ..rehearsing import (
    HOSPITALS,
    WINDOW,
    A,
    B,
    Blame,
    C,
    D,
    audited,
    commit_payload,
    faults,
    flip,
    honest_payload,
    opened,
    post_total,
    quantised,
    rehearse,
    reveals,
    share_anyway,
    unknowns,
    up_to_reveals,
)

SUITES = pytest.mark.parametrize("suite", ["plain", "paillier"])
ZEROS = np.zeros(7, np.int64)  # six parameters and the weight


# ---------------------------------------------------------------- §9.1 what the store has


def _update(record: RoundRecord) -> bytes:
    return record.round.reveals[C].cid


def _total(record: RoundRecord) -> bytes:
    assert record.round.total is not None
    return record.round.total.cid


CONTENTS: dict[str, tuple[Callable[[RoundRecord], bytes], bytes]] = {
    "update": (_update, C),
    "total": (_total, AGGREGATOR),
    "share": (lambda record: record.round.shares[B].cid, B),
    "opening": (lambda record: record.round.proposals[0].opening_cid, AGGREGATOR),
    "model": (lambda record: record.round.proposals[0].model_cid, AGGREGATOR),
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("fate", ["gone", "other bytes", "truncated"])
def test_content_that_a_store_lost_is_unknown_and_its_author_named(content: str, fate: str) -> None:
    rehearsal = rehearse()
    record = rehearsal.run_round()
    where, author = CONTENTS[content]
    blocks = rehearsal.store._blocks  # what a store does behind everybody's back
    lost = blocks.pop(where(record))
    if fate != "gone":
        blocks[where(record)] = flip(lost) if fate == "other bytes" else lost[:-1]
    report = audited(rehearsal)
    assert faults(report) == set()
    assert Blame("§9.1", author) in unknowns(report)
    assert report.exit_code != 0


def test_without_one_update_nothing_that_rests_on_the_sum_is_claimed_to_hold() -> None:
    rehearsal = rehearse()
    record = rehearsal.run_round()
    del rehearsal.store._blocks[_update(record)]
    report = audited(rehearsal)
    verdicts = {claim.name: claim.verdict for claim in report.claims}
    assert {name for name, verdict in verdicts.items() if verdict == "unknown"} == {
        "contents_are_retrievable",
        "exclusions_are_justified",
        "total_is_the_sum",
        "shares_are_right",
        "openings_are_right",
        "sum_is_within_bounds",
        "models_follow_from_openings",
    }


def test_a_lost_total_is_still_recomputed_and_found_right() -> None:
    rehearsal = rehearse()
    del rehearsal.store._blocks[_total(rehearsal.run_round())]
    verdicts = {claim.name: claim.verdict for claim in audited(rehearsal).claims}
    assert verdicts["total_is_the_sum"] == "holds"
    assert verdicts["models_follow_from_openings"] == "holds"


def test_an_update_larger_than_any_lawful_one_is_its_authors_fault_and_never_fetched_whole() -> None:
    rehearsal = rehearse()
    for address in HOSPITALS:
        id = rehearsal.commit(address)
    for address in (A, B, C):
        rehearsal.reveal(address, id)
    rehearsal.ledger(D).reveal_update(id, put_bytes(rehearsal.store, bytes(1 << 20)))
    opened(rehearsal, id)
    assert rehearsal.record(id).admission.excluded == (
        Exclusion(member=D, code=Code.MALFORMED, leaf=0, rule="content"),
    )
    assert faults(audited(rehearsal)) == {Blame("§9.1", D), Blame("§9.3", D)}


def test_an_auditor_who_lacks_a_bad_update_does_not_blame_who_left_it_out() -> None:
    rehearsal = rehearse()
    record = opened(rehearsal, _with_bad_update(rehearsal, _with_tail_bit))
    assert record.admission.excluded == (Exclusion(member=D, code=Code.PROOF_FAILED),)
    del rehearsal.store._blocks[record.round.reveals[D].cid]
    report = audited(rehearsal)
    assert faults(report) == set()
    assert {Blame("§9.1", D), Blame("§9.6", None), Blame("§9.8", None)} <= unknowns(report)


# ---------------------------------------------------------------- §9.2 … §9.5 updates


def _with_bad_update(rehearsal: Rehearsal, alter: Callable[[Payload], Payload]) -> RoundId:
    """D commits to an altered update and reveals it; the others are honest."""
    for address in (A, B, C):
        rehearsal.commit(address)
    id = commit_payload(rehearsal, D, alter(honest_payload(rehearsal, D)))
    return reveals(rehearsal, id)


def _with_tail_bit(payload: Payload) -> Payload:
    return replace(payload, tail=flip(payload.tail))


@SUITES
def test_another_payload_than_the_committed_one_is_its_authors(suite: str) -> None:
    rehearsal = rehearse(suite)
    for address in HOSPITALS:
        id = rehearsal.commit(address)
    other = rehearsal.hospitals[D].payloads[id]
    rehearsal.hospitals[D].payloads[id] = replace(other, leaves=Held(flip(whole(other.leaves))))
    opened(rehearsal, reveals(rehearsal, id))
    report = audited(rehearsal)
    assert faults(report) == {Blame("§9.2", D)}
    (finding,) = report.findings
    assert finding.expected == other.root()
    assert finding.found == rehearsal.hospitals[D].payloads[id].root()


@settings(max_examples=40, deadline=None)
@given(position=st.integers(0), mask=st.integers(1, 255))
def test_one_altered_byte_is_found_and_blamed_on_its_author(position: int, mask: int) -> None:
    rehearsal = rehearse()
    for address in HOSPITALS:
        id = rehearsal.commit(address)
    for address in (A, B, C):
        rehearsal.reveal(address, id)
    data = bytearray(whole(rehearsal.hospitals[D].payloads[id]))
    data[position % len(data)] ^= mask
    rehearsal.ledger(D).reveal_update(id, put_bytes(rehearsal.store, bytes(data)))
    opened(rehearsal, id)
    (blame,) = faults(audited(rehearsal))
    assert blame.culprit == D
    assert blame.clause in {"§9.2", "§9.3"}  # the latter where a header's length no longer fits


def _bound_to(rehearsal: Rehearsal, **changes: object) -> Callable[[Payload], Payload]:
    """The update with a header for another place, and a proof for that header."""
    agreement, round = rehearsal.agreement, rehearsal.round()
    binding = replace(agreement.binding(round.id), **changes)
    base = agreement.model_digest(rehearsal.base(round))

    def alter(payload: Payload) -> Payload:
        header = update_header(binding, member=D, base_model=base)
        return _proven(rehearsal, ZEROS, header)

    return alter


def _proven(rehearsal: Rehearsal, values: np.ndarray, header: bytes) -> Payload:
    agreement, round = rehearsal.agreement, rehearsal.round()
    context = agreement.round_context(round.id)
    encryption = agreement.suite.encrypt(
        values, seed=rehearsal.hospitals[D].seed, header=header, context=context
    )
    leaves = b"".join(encryption.run(run) for run in agreement.suite.layout.runs())
    bare = Payload(header=header, leaves=Held(leaves), tail=b"", shape=agreement.update_shape)
    return bare.with_tail(encryption.prove(bare.root_before_tail()))


ELSEWHERE: dict[str, object] = {
    "ledger": LedgerId(bytes(32)),
    "round": RoundId(StudyId(1), 7),
    "suite": "another",
    "key": Digest(bytes(32)),
    "shape": Digest(bytes(32)),
    "leaves": 99,
}


@SUITES
@pytest.mark.parametrize("what", ELSEWHERE)
def test_an_update_for_another_place_is_malformed_however_well_it_is_proven(suite: str, what: str) -> None:
    rehearsal = rehearse(suite)
    opened(rehearsal, _with_bad_update(rehearsal, _bound_to(rehearsal, **{what: ELSEWHERE[what]})))
    assert faults(audited(rehearsal)) == {Blame("§9.3", D)}


@SUITES
def test_another_members_update_under_ones_own_name_is_malformed(suite: str) -> None:
    rehearsal = rehearse(suite)
    stolen = honest_payload(rehearsal, A)
    opened(rehearsal, _with_bad_update(rehearsal, lambda _: stolen))
    assert faults(audited(rehearsal)) == {Blame("§9.3", D)}


@SUITES
def test_an_update_of_an_earlier_round_is_malformed(suite: str) -> None:
    rehearsal = rehearse(suite)
    first = rehearsal.run_round()
    old = rehearsal.hospitals[D].payloads[first.id]
    opened(rehearsal, _with_bad_update(rehearsal, lambda _: old))
    assert faults(audited(rehearsal)) == {Blame("§9.3", D)}


@pytest.mark.parametrize("leaf", ["zero", "n", "n²", "-1"])
def test_a_ciphertext_that_is_no_canonical_unit_is_malformed(leaf: str) -> None:
    rehearsal = rehearse("paillier")
    key = _key(rehearsal.agreement)
    value = {"zero": mpz(0), "n": key.n, "n²": key.n_squared, "-1": mpz((1 << 512) - 1)}[leaf]
    bad = value.to_bytes(64, "big")
    opened(rehearsal, _with_bad_update(rehearsal, lambda payload: replace(payload, leaves=Held(bad))))
    assert faults(audited(rehearsal)) == {Blame("§9.3", D)}


@SUITES
def test_a_submission_proof_that_fails_is_its_senders(suite: str) -> None:
    rehearsal = rehearse(suite)
    opened(rehearsal, _with_bad_update(rehearsal, _with_tail_bit))
    assert faults(audited(rehearsal)) == {Blame("§9.4", D)}


@pytest.mark.parametrize("how", ["as it is", "re-randomised", "inverted", "scaled by 128"])
def test_a_copy_of_anothers_ciphertext_fails_its_proof(how: str) -> None:
    """A rushing cheat: it has seen A's update of this very round, which it can maul but not open."""
    rehearsal = rehearse("paillier")
    key = _key(rehearsal.agreement)
    unit = gmpy2.powmod(key.h_s, 12345, key.n_squared)
    victim = mpz.from_bytes(honest_payload(rehearsal, A).first_part, "big")
    mauled = {
        "as it is": victim,
        "re-randomised": victim * unit,
        "inverted": gmpy2.invert(victim, key.n_squared) * unit,
        "scaled by 128": gmpy2.powmod(victim, 128, key.n_squared) * unit,
    }[how] % key.n_squared
    leaves = mauled.to_bytes(64, "big")
    opened(rehearsal, _with_bad_update(rehearsal, lambda payload: replace(payload, leaves=Held(leaves))))
    assert faults(audited(rehearsal)) == {Blame("§9.4", D)}


def test_an_earlier_leaf_of_another_in_ones_own_padding_is_refused_before_any_share() -> None:
    """SECURITY, test 3b. Without the proof one opening shows the victim's old values, one by one."""
    rehearsal = rehearse("paillier", features=10)  # 11 values and the weight: 9 lanes and 3
    first = rehearsal.run_round()
    key, width = _key(rehearsal.agreement), 64
    victim = rehearsal.hospitals[A].payloads[first.id].first_part[:width]
    blind = gmpy2.powmod(key.h_s, 98765, key.n_squared)
    stolen = (mpz.from_bytes(victim, "big") * blind % key.n_squared).to_bytes(width, "big")
    for address in (A, B, C):
        id = rehearsal.commit(address)
    nothing = honest_payload(rehearsal, D, np.zeros(12, np.int64))
    commit_payload(rehearsal, D, replace(nothing, leaves=Held(nothing.first_part[:width] + stolen)))
    reveals(rehearsal, id)

    # What the proof prevents: two shares of a sum that takes D in would read A's values of round 1.
    agreement = rehearsal.agreement
    payloads = {member: rehearsal.hospitals[member].payloads[id] for member in HOSPITALS}
    roots = {member: payload.root() for member, payload in payloads.items()}
    naive = combine(agreement, id, Admission(admitted=payloads, roots=roots, excluded=()))
    context = agreement.total_context(id, naive.root())
    shares = {
        number: agreement.suite.share(
            naive.first_part,
            member=number,
            key_share=rehearsal.hospitals[member].key_share,
            context=context,
        )
        for number, member in enumerate((A, B), start=1)
    }
    plaintext = agreement.suite.join(naive.first_part, shares).plaintexts[key.width :]
    seen = unpack_lanes(mpz.from_bytes(plaintext, "big"), key.n, 9)
    assert first.base is not None
    assert seen[3:].tolist() == quantised(rehearsal, A, first.id, first.base)[3:9].tolist()

    # What happens instead.
    rehearsal.post_total(id)
    record = rehearsal.record(id)
    assert record.admission.excluded == (Exclusion(member=D, code=Code.PROOF_FAILED),)
    assert not record.round.opened
    for address in (A, B):
        rehearsal.post_share(address, id)
    rehearsal.finish(id)
    assert faults(audited(rehearsal)) == {Blame("§9.4", D)}


def test_an_earlier_capsule_amplified_under_an_own_body_is_refused_before_any_share() -> None:
    """SECURITY, test 3a; what it would read without the proof, `tests/ciphers/test_hybrid.py` shows."""
    rehearsal = rehearse("hybrid")
    first = rehearsal.run_round()
    capsule = rehearsal.agreement.suite.layout.capsule
    key = decode_key(rehearsal.agreement.spec.key)
    old = rehearsal.hospitals[A].payloads[first.id].first_part
    amplified = b"".join(
        int(gmpy2.powmod(mpz.from_bytes(old[at : at + capsule.width], "big"), 128, key.n_squared)).to_bytes(
            capsule.width, "big"
        )
        for at in range(0, capsule.size, capsule.width)
    )
    for address in (A, B, C):
        id = rehearsal.commit(address)
    own = honest_payload(rehearsal, D)
    body = whole(own.leaves)[capsule.size :]
    commit_payload(rehearsal, D, replace(own, leaves=Held(amplified + body)))
    reveals(rehearsal, id)
    rehearsal.post_total(id)
    record = rehearsal.record(id)
    assert record.admission.excluded == (Exclusion(member=D, code=Code.PROOF_FAILED),)
    assert not record.round.opened
    for address in (A, B):
        rehearsal.post_share(address, id)
    rehearsal.finish(id)
    assert faults(audited(rehearsal)) == {Blame("§9.4", D)}


@pytest.mark.parametrize("residue", ["q", "2^32-1"])
def test_a_residue_of_q_or_more_is_malformed_wherever_it_stands(residue: str) -> None:
    rehearsal = rehearse("hybrid")
    body = rehearsal.agreement.suite.layout.body
    word = {"q": PRIMES[1], "2^32-1": (1 << 32) - 1}[residue].to_bytes(4, "little")

    def altered(payload: Payload) -> Payload:
        return replace(payload, leaves=Held(whole(payload.leaves)[:-4] + word))

    id = _with_bad_update(rehearsal, altered)
    last = body.first + body.count - 1
    excluded = rehearsal.record(id).admission.excluded
    assert excluded == (Exclusion(member=D, code=Code.MALFORMED, leaf=last, rule="range"),)
    opened(rehearsal, id)
    assert faults(audited(rehearsal)) == {Blame("§9.3", D)}


def test_a_garbled_body_spoils_the_round_and_names_nobody() -> None:
    """SECURITY, test 7: with noise out of bound no model follows, and anyone can have caused it."""
    rehearsal = rehearse("hybrid")

    def garbled(payload: Payload) -> Payload:
        leaves = bytearray(whole(payload.leaves))
        leaves[-2] ^= 4  # 2^18 in the last coefficient of the second tower
        return replace(payload, leaves=Held(bytes(leaves)))

    for address in (A, B, C):
        rehearsal.commit(address)
    id = commit_payload(rehearsal, D, _proven_again(rehearsal, garbled(honest_payload(rehearsal, D))))
    reveals(rehearsal, id)
    rehearsal.post_total(id)
    for address in (A, B):
        rehearsal.post_share(address, id)
    fault = rehearsal.record(id).model
    assert isinstance(fault, Violation)
    assert fault.culprit is None
    rehearsal.wait(3 * WINDOW)
    rehearsal.abandon(id, Reason.NO_RESULT)
    assert {(f.clause, f.culprit) for f in audited(rehearsal).findings} == {("§9.11", None)}


def _proven_again(rehearsal: Rehearsal, payload: Payload) -> Payload:
    """D's own capsule, and a proof over whatever body it now has."""
    agreement, hospital = rehearsal.agreement, rehearsal.hospitals[D]
    round = rehearsal.round()
    base = rehearsal.base(round)
    encryption = agreement.suite.encrypt(
        quantised(rehearsal, D, round.id, base),
        seed=hospital.seed,
        header=payload.header,
        context=agreement.round_context(round.id),
    )
    return replace(payload, tail=encryption.prove(payload.root_before_tail()))


@SUITES
def test_training_from_an_old_model_is_named_and_left_out(suite: str) -> None:
    rehearsal = rehearse(suite)
    rehearsal.run_round()
    for address in (A, B, C):
        id = rehearsal.commit(address)
    agreement, stale = rehearsal.agreement, rehearsal.agreement.spec.genesis
    header = update_header(agreement.binding(id), member=D, base_model=stale)
    payload = _proven(rehearsal, ZEROS, header)
    rehearsal.hospitals[D].payloads[id] = payload
    rehearsal.ledger(D).commit_update(id, payload.root(), stale)
    record = opened(rehearsal, reveals(rehearsal, id))
    assert record.admission.excluded == (Exclusion(member=D, code=Code.WRONG_BASE),)
    assert faults(audited(rehearsal)) == {Blame("§9.5", D)}


# ---------------------------------------------------------------- §9.6 … §9.8, §9.16 the aggregator


def _admission(record: RoundRecord, *members: bytes, code: Code | None = None) -> Admission:
    """What an aggregator claims that takes these alone, and says `code` of the rest."""
    kept = {m: update for m, update in record.admission.admitted.items() if m in members}
    roots = {m: record.round.commits[m].root for m in kept}
    rest = [m for m in sorted(record.round.commits) if m not in members]
    lies = () if code is None else tuple(Exclusion(member=m, code=code) for m in rest)
    return Admission(admitted=kept, roots=roots, excluded=lies)


LIES = [None, Code.NO_REVEAL, Code.ROOT_MISMATCH, Code.PROOF_FAILED, Code.UNAVAILABLE, Code.WRONG_BASE]


@SUITES
@pytest.mark.parametrize("code", LIES)
def test_dropping_an_honest_update_is_the_aggregators_fault(suite: str, code: Code | None) -> None:
    rehearsal = rehearse(suite)
    id = up_to_reveals(rehearsal)
    total = combine(rehearsal.agreement, id, _admission(rehearsal.record(id), A, B, C, code=code))
    post_total(rehearsal, id, total, (A, B, C))
    _nobody_shares(rehearsal, id)
    unavailable = code is Code.UNAVAILABLE
    clauses = {"§9.16"} if unavailable else {"§9.6", "§9.8"}
    expected = {Blame(clause, AGGREGATOR) for clause in clauses}
    assert faults(audited(rehearsal)) == expected


def test_an_update_that_comes_back_after_the_opening_is_noted_and_nobody_blamed() -> None:
    rehearsal = rehearse()
    id = up_to_reveals(rehearsal)
    cid = rehearsal.round(id).reveals[D].cid
    away = rehearsal.store._blocks.pop(cid)
    rehearsal.wait(30)  # half of the combine window
    opened(rehearsal, id)
    rehearsal.store._blocks[cid] = away
    report = audited(rehearsal)
    assert report.findings == []
    assert [notice.clause for notice in report.notices] == ["§9.15", "§9.16"]


@SUITES
def test_taking_in_an_update_that_fails_its_proof_is_the_aggregators_fault(suite: str) -> None:
    rehearsal = rehearse(suite)
    id = _with_bad_update(rehearsal, _with_tail_bit)
    payloads = {member: rehearsal.hospitals[member].payloads[id] for member in HOSPITALS}
    roots = {member: payload.root() for member, payload in payloads.items()}
    total = combine(rehearsal.agreement, id, Admission(admitted=payloads, roots=roots, excluded=()))
    post_total(rehearsal, id, total)
    _nobody_shares(rehearsal, id)
    assert faults(audited(rehearsal)) == {
        Blame("§9.4", D),
        Blame("§9.6", AGGREGATOR),
        Blame("§9.8", AGGREGATOR),
    }


def _duplicated(rehearsal: Rehearsal, id: RoundId) -> Payload:
    """The right header over a sum in which A counts twice."""
    return _swapped(rehearsal, id, (A, A, B, C, D))


def _replaced(rehearsal: Rehearsal, id: RoundId) -> Payload:
    """The right header over a sum in which A stands for D."""
    return _swapped(rehearsal, id, (A, A, B, C))


def _swapped(rehearsal: Rehearsal, id: RoundId, summed: tuple[bytes, ...]) -> Payload:
    record, agreement = rehearsal.record(id), rehearsal.agreement
    right = combine(agreement, id, record.admission)
    run = agreement.suite.layout.capsule
    leaves = agreement.suite.combine(run, [record.admission.admitted[m].first_part for m in summed])
    return replace(right, leaves=Held(leaves))


def _one_bit(rehearsal: Rehearsal, id: RoundId) -> Payload:
    right = combine(rehearsal.agreement, id, rehearsal.record(id).admission)
    return replace(right, leaves=Held(flip(whole(right.leaves), 3)))


def _earlier(rehearsal: Rehearsal, id: RoundId) -> Payload:
    """The total of the round before, byte for byte."""
    total = rehearsal.record(RoundId(id.study, id.number - 1)).recomputed_total
    assert total is not None
    return total


@SUITES
@pytest.mark.parametrize("forge", [_duplicated, _replaced, _one_bit, _earlier])
def test_any_other_total_is_the_aggregators_fault_and_nobody_shares(
    suite: str, forge: Callable[[Rehearsal, RoundId], Payload]
) -> None:
    rehearsal = rehearse(suite)
    rehearsal.run_round()
    id = up_to_reveals(rehearsal)
    post_total(rehearsal, id, forge(rehearsal, id))
    _nobody_shares(rehearsal, id)
    assert faults(audited(rehearsal)) == {Blame("§9.8", AGGREGATOR)}


def test_a_total_whose_stored_bytes_are_others_is_the_aggregators_fault() -> None:
    rehearsal = rehearse()
    id = up_to_reveals(rehearsal)
    right = combine(rehearsal.agreement, id, rehearsal.record(id).admission)
    cid = rehearsal.store.put(replace(right, leaves=Held(flip(whole(right.leaves), 3))).read())
    rehearsal.ledger(AGGREGATOR).post_total(id, HOSPITALS, right.root(), cid)
    _nobody_shares(rehearsal, id)
    assert faults(audited(rehearsal)) == {Blame("§9.8", AGGREGATOR)}


def test_a_stored_total_that_cannot_be_read_is_the_aggregators_fault() -> None:
    rehearsal = rehearse()
    id = up_to_reveals(rehearsal)
    right = combine(rehearsal.agreement, id, rehearsal.record(id).admission)
    cid = rehearsal.store.put(replace(right, header=flip(right.header, 0)).read())
    rehearsal.ledger(AGGREGATOR).post_total(id, HOSPITALS, right.root(), cid)
    _nobody_shares(rehearsal, id)
    assert faults(audited(rehearsal)) == {Blame("§9.8", AGGREGATOR)}


def test_a_total_whose_root_covers_an_unreadable_header_is_the_aggregators_fault() -> None:
    rehearsal = rehearse()
    id = up_to_reveals(rehearsal)
    right = combine(rehearsal.agreement, id, rehearsal.record(id).admission)
    post_total(rehearsal, id, replace(right, header=flip(right.header, 0)))
    _nobody_shares(rehearsal, id)
    assert faults(audited(rehearsal)) == {Blame("§9.6", AGGREGATOR), Blame("§9.8", AGGREGATOR)}


def test_other_bytes_behind_the_totals_cid_blame_the_aggregator_and_nobody_else() -> None:
    """The right root, and behind its CID, once all have shared, a header that calls C unavailable."""
    rehearsal = rehearse()
    id = up_to_reveals(rehearsal)
    record = rehearsal.record(id)
    right = combine(rehearsal.agreement, id, record.admission)
    other = combine(rehearsal.agreement, id, _admission(record, A, B, D, code=Code.UNAVAILABLE))
    cid = rehearsal.store.put(other.read())
    away = rehearsal.store._blocks.pop(cid)
    rehearsal.ledger(AGGREGATOR).post_total(id, HOSPITALS, right.root(), cid)
    for address in (A, B):
        rehearsal.post_share(address, id)
    rehearsal.finish(id)
    rehearsal.store._blocks[cid] = away
    assert faults(audited(rehearsal)) == {Blame("§9.8", AGGREGATOR)}
    assert rehearsal.record(id).model is not None


def test_calling_a_member_unavailable_at_once_is_the_aggregators_fault() -> None:
    rehearsal = rehearse()
    id = up_to_reveals(rehearsal)
    total = combine(rehearsal.agreement, id, _admission(rehearsal.record(id), A, B, C, code=Code.UNAVAILABLE))
    post_total(rehearsal, id, total, (A, B, C))
    _nobody_shares(rehearsal, id)
    assert faults(audited(rehearsal)) == {Blame("§9.16", AGGREGATOR)}


def test_an_update_that_was_here_before_the_total_keeps_a_share_back_and_blames_nobody() -> None:
    rehearsal = rehearse()
    id = up_to_reveals(rehearsal)
    total = combine(rehearsal.agreement, id, _admission(rehearsal.record(id), A, B, C, code=Code.UNAVAILABLE))
    rehearsal.wait(30)
    post_total(rehearsal, id, total, (A, B, C))
    record = rehearsal.record(id)
    assert [f.weight for f in nobody_is_called_unavailable_lightly(record)] == [Weight.NOTICE]
    (finding,) = nobody_is_called_unavailable_lightly(replace(record, held=frozenset({D})))
    assert (finding.clause, finding.weight, finding.culprit) == ("§9.16", Weight.FAULT, None)


def test_a_second_total_and_a_member_twice_are_impossible_on_the_ledger() -> None:
    rehearsal = rehearse()
    id = up_to_reveals(rehearsal)
    right = combine(rehearsal.agreement, id, rehearsal.record(id).admission)
    with pytest.raises(LedgerRejected, match="MembersNotIncreasing"):
        post_total(rehearsal, id, right, (A, A, B, C))
    rehearsal.post_total(id)
    with pytest.raises(LedgerRejected, match="TotalAlreadyPosted"):
        post_total(rehearsal, id, _one_bit(rehearsal, id))


def test_a_total_of_too_few_is_the_aggregators_fault_even_where_a_ledger_took_it() -> None:
    record = rehearse().run_round()
    assert record.round.total is not None
    record.round.total = replace(record.round.total, members=(A, B))
    (finding,) = contributors_reach_the_minimum(record)
    assert (finding.clause, finding.culprit) == ("§9.7", AGGREGATOR)


def _nobody_shares(rehearsal: Rehearsal, id: RoundId) -> None:
    for address in HOSPITALS:
        with pytest.raises(Violation) as caught:
            rehearsal.post_share(address, id)
        assert caught.value.culprit == AGGREGATOR


@SUITES
def test_a_false_reason_for_leaving_out_a_bad_update_is_the_aggregators_fault(suite: str) -> None:
    rehearsal = rehearse(suite)
    id = _with_bad_update(rehearsal, _with_tail_bit)
    total = combine(
        rehearsal.agreement, id, _admission(rehearsal.record(id), A, B, C, code=Code.ROOT_MISMATCH)
    )
    post_total(rehearsal, id, total, (A, B, C))
    _nobody_shares(rehearsal, id)
    expected = {Blame("§9.4", D), Blame("§9.6", AGGREGATOR), Blame("§9.8", AGGREGATOR)}
    assert faults(audited(rehearsal)) == expected


def test_what_a_lost_total_said_of_a_member_is_told_by_its_root() -> None:
    """D could not be fetched; later it can, and the bytes that said so are gone."""
    rehearsal = rehearse()
    id = up_to_reveals(rehearsal)
    cid = rehearsal.round(id).reveals[D].cid
    away = rehearsal.store._blocks.pop(cid)
    rehearsal.wait(30)
    record = opened(rehearsal, id)
    rehearsal.store._blocks[cid] = away
    del rehearsal.store._blocks[_total(record)]
    report = audited(rehearsal)
    assert faults(report) == set()
    assert unknowns(report) == {Blame("§9.1", AGGREGATOR)}


def test_a_lost_total_that_may_have_called_a_bad_update_unavailable_is_unknown() -> None:
    rehearsal = rehearse()
    id = _with_bad_update(rehearsal, _with_tail_bit)
    total = combine(rehearsal.agreement, id, _admission(rehearsal.record(id), A, B, C, code=Code.UNAVAILABLE))
    post_total(rehearsal, id, total, (A, B, C))
    del rehearsal.store._blocks[_total(rehearsal.record(id))]
    report = audited(rehearsal)
    assert faults(report) == {Blame("§9.4", D)}
    assert unknowns(report) == {Blame("§9.1", AGGREGATOR), Blame("§9.8", AGGREGATOR)}


def test_losing_its_bytes_does_not_save_a_forged_total() -> None:
    rehearsal = rehearse()
    id = up_to_reveals(rehearsal)
    post_total(rehearsal, id, _duplicated(rehearsal, id))
    del rehearsal.store._blocks[_total(rehearsal.record(id))]
    assert faults(audited(rehearsal)) == {Blame("§9.8", AGGREGATOR)}


# ---------------------------------------------------------------- §9.9 … §9.13 results


SHARES: dict[str, Callable[[Payload], Payload]] = {
    "a partial opening": lambda share: replace(share, leaves=Held(flip(whole(share.leaves), 3))),
    "its proof": lambda share: replace(share, leaves=Held(flip(whole(share.leaves)))),
    "its header": lambda share: replace(share, header=flip(share.header)),
}


@SUITES
@pytest.mark.parametrize("what", SHARES)
def test_a_share_altered_anywhere_is_its_senders_fault(suite: str, what: str) -> None:
    rehearsal = rehearse(suite)
    id = up_to_reveals(rehearsal)
    rehearsal.post_total(id)
    total = rehearsal.record(id).recomputed_total
    assert total is not None
    share_anyway(rehearsal, C, id, total, alter=SHARES[what])
    for address in (A, B):
        rehearsal.post_share(address, id)
    rehearsal.finish(id)
    assert faults(audited(rehearsal)) == {Blame("§9.9", C)}


def test_anothers_share_under_ones_own_name_is_its_senders_fault() -> None:
    rehearsal = rehearse("paillier")
    record = _shared(rehearsal)
    copied = record.round.shares[A]
    rehearsal.ledger(C).post_share(record.id, copied.digest, copied.cid, total=copied.total)
    assert faults(audited(rehearsal)) == {Blame("§9.9", C)}


@SUITES
def test_members_who_share_in_a_forged_total_are_named_with_whoever_forged_it(suite: str) -> None:
    rehearsal = rehearse(suite)
    id = up_to_reveals(rehearsal)
    forged = _duplicated(rehearsal, id)
    post_total(rehearsal, id, forged)
    for address in (C, D):
        share_anyway(rehearsal, address, id, forged)
    report = audited(rehearsal)
    assert faults(report) == {Blame("§9.8", AGGREGATOR), Blame("§9.9", C), Blame("§9.9", D)}


def test_members_who_share_where_too_few_updates_pass_are_named() -> None:
    rehearsal = rehearse()
    for address in (A, B):
        id = rehearsal.commit(address)
    for address in (C, D):
        commit_payload(rehearsal, address, _with_tail_bit(honest_payload(rehearsal, address)))
    reveals(rehearsal, id)
    payloads = {member: rehearsal.hospitals[member].payloads[id] for member in (A, B, C)}
    roots = {member: payload.root() for member, payload in payloads.items()}
    forged = combine(rehearsal.agreement, id, Admission(admitted=payloads, roots=roots, excluded=()))
    post_total(rehearsal, id, forged, (A, B, C))
    for address in (C, D):
        share_anyway(rehearsal, address, id, forged)
    cid = put_bytes(rehearsal.store, b"")
    rehearsal.ledger(C).finish(id, sha256(b"sum"), sha256(b"model"), opening_cid=cid, model_cid=cid)
    report = audited(rehearsal)
    assert faults(report) == {
        Blame("§9.4", C),
        Blame("§9.4", D),
        Blame("§9.6", AGGREGATOR),
        Blame("§9.8", AGGREGATOR),
        Blame("§9.9", C),
        Blame("§9.9", D),
        Blame("§9.10", C),
    }
    assert unknowns(report) == {Blame("§9.11", None), Blame("§9.12", None)}


def test_a_share_sealed_to_nobody_is_its_senders_fault() -> None:
    rehearsal = rehearse("paillier, sealed")
    record = rehearsal.run_round()
    boxed = get_bytes(rehearsal.store, record.round.shares[A].cid, size=1 << 12)
    id = up_to_reveals(rehearsal)
    root = rehearsal.post_total(id).root()
    place = put_bytes(rehearsal.store, boxed)
    rehearsal.ledger(C).post_share(id, record.round.shares[A].digest, place, total=root)
    for address in (A, B):
        rehearsal.post_share(address, id)
    rehearsal.finish(id)
    assert faults(audited(rehearsal)) == {Blame("§9.1", C)}


def test_what_follows_from_lost_bytes_is_waited_for_and_not_guessed() -> None:
    rehearsal = rehearse()
    record = rehearsal.run_round()
    fresh = Observer(rehearsal.view, rehearsal.ledger(A), rehearsal.store, rehearsal.study)
    away = {cid: rehearsal.store._blocks.pop(cid) for cid in (_update(record), _total(record))}
    with pytest.raises(Unavailable, match="the update of"):
        fresh.base_of(rehearsal.round(), PUBLIC)
    rehearsal.store._blocks.update(away)
    assert record.model_digest == rehearsal.agreement.model_digest(fresh.base_of(rehearsal.round(), PUBLIC))


def _shared(rehearsal: Rehearsal) -> RoundRecord:
    """A round with two shares and no result."""
    id = up_to_reveals(rehearsal)
    rehearsal.post_total(id)
    for address in (A, B):
        rehearsal.post_share(address, id)
    return rehearsal.record(id)


def _propose(
    rehearsal: Rehearsal, record: RoundRecord, *, opening: Payload | None = None, model: float = 0
) -> None:
    """B proposes the round's result, but for an opening or a model of its own."""
    right = record.opening
    assert right is not None
    assert isinstance(record.model, np.ndarray)
    proposed = record.model + np.float32(model)
    file = to_safetensors(proposed, rehearsal.agreement.task.parameters)
    rehearsal.ledger(B).finish(
        record.id,
        (opening or right).root(),
        rehearsal.agreement.model_digest(proposed),
        opening_cid=rehearsal.put(Kind.OPENING, record.id, whole(opening or right)),
        model_cid=rehearsal.put(Kind.MODEL, record.id, file),
    )


OPENINGS: dict[str, Callable[[Payload], Payload]] = {
    "leaves": lambda opening: replace(opening, leaves=Held(flip(whole(opening.leaves)))),
    "tail": lambda opening: replace(opening, tail=flip(opening.tail)),
    "header": lambda opening: replace(opening, header=flip(opening.header)),
}


@SUITES
@pytest.mark.parametrize("part", OPENINGS)
def test_a_wrong_opening_is_its_proposers_fault(suite: str, part: str) -> None:
    rehearsal = rehearse(suite)
    record = _shared(rehearsal)
    right = record.opening
    assert right is not None
    _propose(rehearsal, record, opening=OPENINGS[part](right))
    assert faults(audited(rehearsal)) == {Blame("§9.10", B)}
    # The round is not lost: the shares still lead to the right result.
    if part != "tail":  # outside the digest, so the right result is already the proposed one
        rehearsal.finish(record.id, proposer=C)
    assert faults(audited(rehearsal)) == {Blame("§9.10", B)}


def test_a_right_opening_that_was_posted_under_another_digest_is_its_proposers_fault() -> None:
    rehearsal = rehearse()
    record = _shared(rehearsal)
    assert record.opening is not None
    assert record.model_digest is not None
    rehearsal.ledger(B).finish(
        record.id,
        sha256(b"another"),
        record.model_digest,
        opening_cid=rehearsal.put(Kind.OPENING, record.id, whole(record.opening)),
        model_cid=put_bytes(rehearsal.store, b""),
    )
    assert faults(audited(rehearsal)) == {Blame("§9.10", B), Blame("§9.12", B)}


def test_padding_that_opens_to_other_than_zero_is_a_fault_of_the_round_and_of_nobody() -> None:
    rehearsal = rehearse()
    id = rehearsal.round().id
    payload = honest_payload(rehearsal, D)
    lanes = payload.first_part[:-8] + (5).to_bytes(8, "big")  # the last lane of the leaf carries no value
    opening = replace(payload, leaves=Held(lanes), tail=b"")
    tail = _marker_proof(rehearsal.agreement.spec.key, lanes, payload.header, opening.root_before_tail())
    commit_payload(rehearsal, D, replace(opening, tail=tail))
    for address in (A, B, C):
        rehearsal.commit(address)
    reveals(rehearsal, id)
    rehearsal.post_total(id)
    for address in (A, B):
        rehearsal.post_share(address, id)
    assert rehearsal.record(id).admission.excluded == ()
    assert faults(audited(rehearsal)) == {Blame("§9.11", None)}


def test_a_wrong_model_is_its_proposers_fault() -> None:
    rehearsal = rehearse()
    _propose(rehearsal, _shared(rehearsal), model=1)
    report = audited(rehearsal)
    assert faults(report) == {Blame("§9.12", B)}
    (finding,) = report.findings
    assert finding.expected == rehearsal.record(RoundId(StudyId(1), 1)).model_digest


def test_a_stored_model_that_is_not_the_proposed_one_is_its_proposers_fault() -> None:
    rehearsal = rehearse()
    record = _shared(rehearsal)
    assert record.opening is not None
    assert record.model_digest is not None
    assert record.base is not None
    file = to_safetensors(record.base, rehearsal.agreement.task.parameters)
    rehearsal.ledger(B).finish(
        record.id,
        record.opening.root(),
        record.model_digest,
        opening_cid=rehearsal.put(Kind.OPENING, record.id, whole(record.opening)),
        model_cid=rehearsal.put(Kind.MODEL, record.id, file),
    )
    assert faults(audited(rehearsal)) == {Blame("§9.12", B)}


def test_a_wrong_confirmation_is_its_senders_fault() -> None:
    rehearsal = rehearse()
    record = rehearsal.run_round()
    rehearsal.confirm(C, record.id)
    rehearsal.ledger(D).confirm_model(record.id, sha256(b"another model"))
    assert faults(audited(rehearsal)) == {Blame("§9.13", D)}


def test_a_false_objection_is_its_senders_fault_and_a_right_one_nobodys() -> None:
    rehearsal = rehearse()
    record = _shared(rehearsal)
    _propose(rehearsal, record, model=1)
    rehearsal.finish(record.id)
    assert record.opening is not None
    wrong, right = rehearsal.round(record.id).proposals
    follows, nothing = right.model, sha256(b"whatever")
    for sender, proposed, found in ((C, wrong.model, follows), (D, right.model, nothing)):
        rehearsal.ledger(sender).object_to_result(
            record.id,
            proposed_opening=right.opening,
            proposed_model=proposed,
            found_opening=record.opening.root(),
            found_model=found,
        )
    assert faults(audited(rehearsal)) == {Blame("§9.12", B), Blame("§9.13", D)}


@pytest.mark.parametrize("says", ["never proposed", "another finding"])
def test_an_objection_that_says_what_is_not_so_is_its_senders_fault(says: str) -> None:
    rehearsal = rehearse()
    record = _shared(rehearsal)
    _propose(rehearsal, record, model=1)
    rehearsal.finish(record.id)
    wrong, right = rehearsal.round(record.id).proposals
    nothing = sha256(b"nothing")
    rehearsal.ledger(D).object_to_result(
        record.id,
        proposed_opening=wrong.opening,
        proposed_model=nothing if says == "never proposed" else wrong.model,
        found_opening=right.opening,
        found_model=nothing if says == "another finding" else right.model,
    )
    assert faults(audited(rehearsal)) == {Blame("§9.12", B), Blame("§9.13", D)}


def test_an_opening_for_one_round_does_not_open_another() -> None:
    rehearsal = rehearse("paillier")
    first, second = rehearsal.run_round(), rehearsal.run_round()
    assert second.recomputed_total is not None
    with pytest.raises(Violation):
        check_opening(rehearsal.agreement, second.id, second.recomputed_total, first.openings[AGGREGATOR])


# ---------------------------------------------------------------- §9.20 … §9.24 the study


def test_another_contract_than_the_audited_build_is_found() -> None:
    rehearsal = rehearse()
    rehearsal.run_round()
    report = verify(rehearsal.study_record(), audited_code=sha256(b"the audited build"))
    assert faults(report) == {Blame("§9.20", None)}


def test_rounds_without_a_members_consent_are_found_even_where_a_ledger_allowed_them() -> None:
    rehearsal = rehearse()
    rehearsal.run_round()
    record = rehearsal.study_record()
    del record.study.accepted[C]
    assert [(f.clause, f.culprit) for f in everyone_accepted(record)] == [("§9.23", C)]


def test_two_opened_sets_that_differ_by_one_member_are_reported() -> None:
    rehearsal = rehearse()
    rehearsal.run_round()
    opened(rehearsal, up_to_reveals(rehearsal, (A, B, D)))
    report = audited(rehearsal)
    assert report.findings == []
    (notice,) = [notice for notice in report.notices if notice.clause == "§9.24"]
    assert f"0x{C.hex()}" in notice.message


def _key(agreement: Agreement):
    assert isinstance(agreement.suite, PaillierSuite)
    return agreement.suite.key


def test_admission_does_not_depend_on_the_order_in_which_updates_arrive() -> None:
    rehearsal = rehearse("paillier")
    id = _with_bad_update(rehearsal, _with_tail_bit)
    record = rehearsal.record(id)
    backwards = dict(reversed(record.updates.items()))
    again = admit(rehearsal.agreement, record.round, backwards)
    one, two = (combine(rehearsal.agreement, id, each) for each in (again, record.admission))
    assert whole(one) == whole(two)


def test_a_wrong_total_that_only_a_cheat_shared_in_binds_no_retry() -> None:
    """Else aggregator and one member could bind every later round to a set that nobody can post."""
    rehearsal = rehearse()
    id = up_to_reveals(rehearsal)
    wrong = combine(rehearsal.agreement, id, _admission(rehearsal.record(id), A, B, C))
    post_total(rehearsal, id, wrong, (A, B, C))
    share_anyway(rehearsal, D, id, wrong)
    rehearsal.wait(61)
    rehearsal.abandon(id, Reason.TOO_FEW_SHARES)
    retry = rehearsal.run_round()
    assert retry.round.total is not None
    assert retry.round.total.members == HOSPITALS
    assert {blame.clause for blame in faults(audited(rehearsal))} == {"§9.6", "§9.8", "§9.9"}


def test_a_result_whose_content_is_gone_is_only_noted_where_another_proposed_the_same() -> None:
    rehearsal = rehearse()
    record = rehearsal.run_round()
    (first,) = rehearsal.round(record.id).proposals
    gone = put_bytes(rehearsal.store, b"soon gone")
    del rehearsal.store._blocks[gone]
    rehearsal.ledger(D).finish(record.id, first.opening, first.model, opening_cid=gone, model_cid=gone)
    report = audited(rehearsal)
    assert report.findings == []
    assert [notice.clause for notice in report.notices].count("§9.1") == 2


def test_a_right_root_beside_a_wrong_list_binds_no_retry_and_convicts_its_author() -> None:
    """Else one aggregator and one member could stop a study for ever: nobody can post the list again."""
    rehearsal = rehearse("paillier")
    id = up_to_reveals(rehearsal)
    right = combine(rehearsal.agreement, id, rehearsal.record(id).admission)
    post_total(rehearsal, id, right, (A, B, C))
    share_anyway(rehearsal, D, id, right)
    charge = find_charge(rehearsal.record(id))
    assert charge is not None
    rehearsal.ledger(B).dispute(charge)
    retry = rehearsal.run_round()
    assert retry.round.total is not None
    assert retry.round.total.members == HOSPITALS
    assert faults(audited(rehearsal)) == {
        Blame("§9.6", AGGREGATOR),
        Blame("§9.17", AGGREGATOR),
    }


def test_a_total_that_is_withdrawn_later_binds_its_retry_all_the_same() -> None:
    """Else its author and one member could open two sets: late bytes change what the header says."""
    rehearsal = rehearse("paillier")
    cheat = honest_payload(rehearsal, A)
    bad = replace(cheat, tail=flip(cheat.tail))
    id = commit_payload(rehearsal, A, bad)
    for member in (B, C, D):
        rehearsal.commit(member)
    rehearsal.ledger(A).reveal_update(id, cid_of(bad.read()))  # its bytes are nowhere yet
    for member in (B, C, D):
        rehearsal.reveal(member, id)
    rehearsal.wait(31)
    total = rehearsal.post_total(id)
    rehearsal.post_share(B, id)  # honest: one share, and the cheat's own makes two
    rehearsal.wait(61)
    rehearsal.abandon(id, Reason.TOO_FEW_SHARES)
    rehearsal.store._blocks.pop(cid_of(total.read()))
    rehearsal.store.put(bad.read())
    retry = up_to_reveals(rehearsal, (A, B, C))
    rehearsal.post_total(retry)
    with pytest.raises(Violation, match="another set of members"):
        rehearsal.post_share(B, retry)
