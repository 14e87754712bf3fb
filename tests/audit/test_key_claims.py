"""§9.25: a later key that is not what all said it is, each forged, each named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from gmpy2 import mpz

from federation.arithmetic import default_bits
from federation.audience import PUBLIC
from federation.audit.observer import Observer
from federation.audit.report import Claim, Report
from federation.audit.study_checks import later_keys_are_sound
from federation.ciphers import suite_for
from federation.ciphers.ceremony import deal_from_primes
from federation.ciphers.hybrid.keys import join_keys
from federation.ciphers.suite import Dealing, KeyShare
from federation.ciphers.threshold.keys import decode_key
from federation.dealing import PublicKey
from federation.digest import Cid, Digest
from federation.errors import ExitCode, Unavailable, Violation
from federation.events import LogPosition, RoundId
from federation.in_memory import InMemoryStore
from federation.members import Address
from federation.rehearsal import Rehearsal
from federation.runs import Held
from federation.store.content import put_bytes
from federation.store.unixfs import cid_of
from federation.wire import Payload, update_header

from ..ciphers.keys import dealt, primes
from ..rehearsing import (
    HOSPITALS,
    A,
    B,
    Blame,
    C,
    D,
    audit,
    audited,
    faults,
    hospital,
    later_key,
    quantised,
    rehearse,
    seen_afresh,
    spec_of,
    unknowns,
)

KEY = later_key(1)
Forge = Callable[[PublicKey], bytes]


def digest_of(key: bytes) -> Digest:
    return suite_for("paillier", key, values=7).key_digest


def agreed(rehearsal: Rehearsal, key: bytes, documents: dict[Address, bytes]) -> Digest:
    """All accept the key, whatever lies where its proposers say its document does."""
    digest = digest_of(key)
    for proposer, document in documents.items():
        cid = put_bytes(rehearsal.store, document)
        rehearsal.ledger(proposer).propose_key(rehearsal.study, digest, cid)
    for member in rehearsal.agreement.spec.members:
        rehearsal.accept_key(member, digest)
    return digest


def claim(report: Report) -> Claim:
    (found,) = [claim for claim in report.claims if claim.clause == "§9.25"]
    return found


def started() -> Rehearsal:
    rehearsal = rehearse("paillier", rounds=6)
    rehearsal.run_round()
    return rehearsal


def test_a_study_with_several_keys_holds() -> None:
    rehearsal = started()
    rehearsal.rekey(KEY)
    for _ in range(2):
        rehearsal.run_round()
    assert claim(audited(rehearsal)).verdict == "holds"
    assert audited(rehearsal).findings == []


def _of_another_key(right: PublicKey) -> bytes:
    return replace(right, key=later_key(2).public_key).encode()


def _of_other_members(right: PublicKey) -> bytes:
    return replace(right, members=(A, B, C, Address(b"\x09" * 20))).encode()


def _for_another_suite(right: PublicKey) -> bytes:
    return replace(right, suite="hybrid").encode()


FORGED: dict[str, Forge] = {
    "of another key": _of_another_key,
    "of other members": _of_other_members,
    "of fewer members": lambda right: replace(right, members=HOSPITALS[:3]).encode(),
    "for another suite": _for_another_suite,
    "for no suite in particular": lambda right: replace(right, suite="auto").encode(),
    "with a byte more": lambda right: right.encode() + b"\x00",
    "of no key": lambda right: replace(right, key=b"\xff").encode(),
    "none at all": lambda _: b"\xff" * 40,
    "too large": lambda _: bytes(1 << 17),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_document_that_is_not_the_keys_is_its_proposers_fault(what: str) -> None:
    rehearsal = started()
    document = FORGED[what](rehearsal.document_of(KEY.public_key))
    agreed(rehearsal, KEY.public_key, {B: document})
    report = audited(rehearsal)
    assert faults(report) == {Blame("§9.25", B)}
    assert claim(report).verdict == "fails"
    assert report.exit_code is ExitCode.VIOLATION
    with pytest.raises(Violation, match=r"§3\.3 no document of the key"):
        rehearsal.observer.agreement_of(3)


@pytest.mark.parametrize("what", FORGED)
def test_a_useless_place_keeps_no_usable_one_out(what: str) -> None:
    rehearsal = started()
    right = rehearsal.document_of(KEY.public_key)
    for member, share in zip(HOSPITALS, KEY.key_shares, strict=True):
        rehearsal.hospitals[member].later_shares[digest_of(KEY.public_key)] = share
    agreed(rehearsal, KEY.public_key, {B: FORGED[what](right), C: right.encode()})
    for _ in range(2):
        rehearsal.run_round()
    report = audited(rehearsal)
    assert report.findings == []
    (notice,) = [notice for notice in report.notices if notice.clause == "§9.25"]
    assert notice.culprit == B


def _with_a_root_of_another(key: bytes) -> bytes:
    good = decode_key(key)
    return replace(good, roots=(good.roots[1], good.roots[0], *good.roots[2:])).encode()


def test_a_key_whose_proof_fails_is_found_although_all_have_accepted_it() -> None:
    rehearsal = started()
    bad = _with_a_root_of_another(KEY.public_key)
    agreed(rehearsal, bad, {A: rehearsal.document_of(bad).encode()})
    report = audited(rehearsal)
    assert faults(report) == {Blame("§9.25", None)}
    assert "was accepted by all and is unsound: §7.3" in claim(report).findings[0].message


def test_a_key_that_fewer_members_open_is_found_although_all_have_accepted_it() -> None:
    five = (*HOSPITALS, Address(b"\x05" * 20))
    strict = later_key(3, threshold=3, members=5)
    spec = replace(spec_of("paillier"), members=five, threshold=3, minimum=4, key=strict.public_key, rounds=6)
    spec = replace(spec, scale=replace(spec.scale, members=5, bits=default_bits(5)))
    hospitals = [
        replace(hospital(HOSPITALS[0], "paillier"), address=member, key_share=share)
        for member, share in zip(five, strict.key_shares, strict=True)
    ]
    rehearsal = Rehearsal(spec, hospitals)
    lax = later_key(4, threshold=2, members=5).public_key
    agreed(rehearsal, lax, {A: rehearsal.document_of(lax).encode()})
    report = audited(rehearsal)
    assert faults(report) == {Blame("§9.25", None)}
    (finding,) = claim(report).findings
    assert (finding.expected, finding.found) == (3, 2)


def test_a_key_with_fewer_holders_is_found_although_all_have_accepted_it() -> None:
    rehearsal = started()
    agreed(
        rehearsal,
        dealt(512, 2, 3).public_key,
        {D: rehearsal.document_of(dealt(512, 2, 3).public_key).encode()},
    )
    assert faults(audited(rehearsal)) == {Blame("§9.25", None)}


def test_a_number_of_ciphertexts_that_is_not_the_keys_is_found_although_all_have_accepted_it() -> None:
    """The court would take other leaves for the capsule than everybody else does."""
    rehearsal = started()
    document = rehearsal.document_of(KEY.public_key)
    digest = digest_of(KEY.public_key)
    rehearsal.propose_key(A, digest, document)
    for member in HOSPITALS:
        rehearsal.ledger(member).accept_key(rehearsal.study, digest, 2)
    rehearsal.run_round()
    report = audited(rehearsal)
    assert faults(report) == {Blame("§9.25", None)}
    (finding,) = claim(report).findings
    assert (finding.expected, finding.found) == (1, 2)
    with pytest.raises(Violation, match="the ciphertexts of a later key"):
        rehearsal.run_round()


def test_while_no_store_has_the_document_its_rounds_stay_unexamined_and_nobody_is_at_fault() -> None:
    rehearsal = started()
    rehearsal.rekey(KEY)
    for _ in range(2):
        rehearsal.run_round()
    (epoch,) = rehearsal.observer.study.later_epochs
    lost = rehearsal.store._blocks.pop(epoch.cids[0])
    observer = seen_afresh(rehearsal)
    with pytest.raises(Unavailable, match=f"the document of the key {epoch.key.hex()} cannot be fetched"):
        observer.agreement_of(3)
    record = observer.study_record(PUBLIC)
    assert [round.id.number for round in record.rounds] == [1, 2]
    report = audit(record)
    assert (faults(report), unknowns(report)) == (set(), {Blame("§9.25", A)})
    assert report.exit_code is ExitCode.VIOLATION
    rehearsal.store._blocks[epoch.cids[0]] = lost
    assert audit(observer.study_record(PUBLIC)).findings == []


class CountingStore(InMemoryStore):
    """Keeps count of what it is asked for."""

    def __init__(self, blocks: dict[Cid, bytes]) -> None:
        super().__init__()
        self._blocks = blocks
        self.asked: Counter[Cid] = Counter()

    def get(self, cid: Cid, *, size: int, start: int = 0) -> Iterator[bytes]:
        self.asked[cid] += 1
        return super().get(cid, size=size, start=start)


def test_a_keys_document_is_fetched_once_for_all_its_rounds_and_again_for_the_next_audit() -> None:
    rehearsal = started()
    rehearsal.rekey(KEY)
    for _ in range(2):
        rehearsal.run_round()
    (epoch,) = rehearsal.observer.study.later_epochs
    store, ledger = CountingStore(rehearsal.store._blocks), rehearsal.ledger(A)
    observer = Observer(rehearsal.view, ledger, store, rehearsal.study)
    for audits in (1, 2):
        assert [round.id.number for round in observer.study_record(PUBLIC).rounds] == [1, 2, 3]
        assert store.asked[epoch.cids[0]] == audits


def test_a_wrong_document_beside_a_lost_one_leaves_the_claim_open() -> None:
    rehearsal = started()
    right = rehearsal.document_of(KEY.public_key)
    agreed(rehearsal, KEY.public_key, {B: _of_another_key(right), C: right.encode()})
    del rehearsal.store._blocks[cid_of((right.encode(),))]
    report = audited(rehearsal)
    assert (faults(report), unknowns(report)) == (set(), {Blame("§9.25", B), Blame("§9.25", C)})


def test_what_follows_rounds_that_cannot_be_examined_is_unknown() -> None:
    rehearsal = started()
    rekeyed_by_all_who_cheat(rehearsal, same_primes())
    for _ in range(2):
        rehearsal.run_round()
    rehearsal.rekey(later_key(2))
    for _ in range(2):
        rehearsal.run_round()
    record = seen_afresh(rehearsal).study_record(PUBLIC)
    assert [round.id.number for round in record.rounds] == [1, 2, 5]
    report = audit(record)
    assert faults(report) == {Blame("§9.25", None)}
    assert Blame("§9.5", None) in unknowns(report)


def test_a_key_that_never_rules_a_round_is_only_noted() -> None:
    rehearsal = started()
    never = later_key(2).public_key
    agreed(rehearsal, never, {B: b"no document", C: rehearsal.document_of(never).encode()})
    bad = _with_a_root_of_another(later_key(3).public_key)
    agreed(rehearsal, bad, {A: rehearsal.document_of(bad).encode()})
    rehearsal.rekey(KEY)
    for _ in range(2):
        rehearsal.run_round()
    report = audited(rehearsal)
    assert report.findings == []
    assert [notice.culprit for notice in report.notices if notice.clause == "§9.25"] == [B, None]


def same_primes() -> Dealing:
    """The first key's primes, dealt again: a new polynomial, new verification keys, another digest."""
    p, q = primes(256)
    return deal_from_primes(p, q, threshold=2, members=4, seed=bytes(range(32)))


def rekeyed_by_all_who_cheat(rehearsal: Rehearsal, dealing: Dealing) -> Digest:
    """All accept this key, and look away where they should compare it with those before."""
    key = rehearsal.rekey(dealing)
    rehearsal.view.refresh()
    rehearsal.observer._later[key] = rehearsal.agreement.under(dealing.public_key)
    return key


def test_the_first_keys_primes_that_come_back_under_another_digest_are_found() -> None:
    rehearsal = started()
    first = rehearsal.agreement
    key = rekeyed_by_all_who_cheat(rehearsal, same_primes())
    for _ in range(2):
        rehearsal.run_round()
    last = rehearsal.record(rehearsal.view.history.study(rehearsal.study).rounds[-1].id)
    assert last.agreement.suite.key_digest == key != first.suite.key_digest
    # What it is about: shares of the first key read one hospital's update of the new epoch.
    payload = rehearsal.hospitals[C].payloads[last.id]
    context = first.total_context(last.id, payload.root())
    shares = {
        member: first.suite.share(
            payload.first_part,
            member=member,
            key_share=dealt(256, 2, 4).key_shares[member - 1],
            context=context,
        )
        for member in (1, 2)
    }
    opening = first.suite.join(payload.first_part, shares)
    read = first.suite.decode(opening, (), context=context, count=first.task.size + 1, members=1)
    assert read.tolist() == quantised(rehearsal, C, last.id, last.base).tolist()
    with pytest.raises(Violation, match="expected secrets of its own, found those of the key"):
        seen_afresh(rehearsal).agreement_of(3)
    report = audit(seen_afresh(rehearsal).study_record(PUBLIC))
    assert faults(report) == {Blame("§9.25", None)}
    assert [round.id.number for round in report.record.rounds] == [1, 2]


def test_the_primes_of_a_key_in_between_do_not_come_back_either() -> None:
    rehearsal = rehearse("hybrid", rounds=6)
    rehearsal.run_round()
    rehearsal.rekey(KEY)
    for _ in range(2):
        rehearsal.run_round()
    joined = Dealing(
        public_key=join_keys(later_key(2).public_key, KEY.public_key),
        key_shares=tuple(
            KeyShare(a + b) for a, b in zip(later_key(2).key_shares, KEY.key_shares, strict=True)
        ),
    )
    rehearsal.rekey(joined)
    report = audited(rehearsal)
    assert faults(report) == {Blame("§9.25", None)}
    assert f"found those of the key {digest_of(KEY.public_key).hex()}" in claim(report).findings[0].message


def test_a_key_that_cannot_be_compared_with_one_before_it_leaves_its_rounds_unexamined() -> None:
    rehearsal = started()
    never = later_key(2).public_key
    agreed(rehearsal, never, {B: rehearsal.document_of(never).encode()})
    rehearsal.rekey(KEY)
    for _ in range(2):
        rehearsal.run_round()
    del rehearsal.store._blocks[rehearsal.observer.study.later_epochs[0].cids[0]]
    observer = seen_afresh(rehearsal)
    with pytest.raises(Unavailable, match=f"the key {digest_of(never).hex()} cannot be compared"):
        observer.agreement_of(3)
    record = observer.study_record(PUBLIC)
    assert [round.id.number for round in record.rounds] == [1, 2]
    assert (faults(audit(record)), unknowns(audit(record))) == (set(), {Blame("§9.25", None)})


def test_a_first_key_that_is_unsound_is_a_fault_and_its_rounds_are_not_examined() -> None:
    """Units of a modulus that has none: whoever computed with them would divide by zero."""
    bad = replace(decode_key(dealt(256, 2, 4).public_key), n=mpz(0)).encode()
    rehearsal = Rehearsal(
        replace(spec_of("paillier"), key=bad), [hospital(member, "paillier") for member in HOSPITALS]
    )
    agreement = rehearsal.agreement
    base = agreement.model_digest(agreement.task.initial())
    id = RoundId(rehearsal.study, 1)
    for member in HOSPITALS:
        leaves = (5).to_bytes(64, "big") * agreement.suite.layout.leaves
        payload = Payload(
            header=update_header(agreement.binding(id), member=member, base_model=base),
            leaves=Held(leaves),
            tail=(7).to_bytes(64, "big") + bytes(agreement.suite.layout.proof_bytes - 64),
            shape=agreement.update_shape,
        )
        rehearsal.hospitals[member].payloads[id] = payload
        rehearsal.ledger(member).commit_update(id, payload.root(), base)
    for member in HOSPITALS:
        rehearsal.reveal(member, id)
    report = audited(rehearsal)
    assert faults(report) == {Blame("§9.22", None)}
    assert report.record.rounds == []
    assert report.exit_code is ExitCode.VIOLATION


def test_a_key_without_a_members_consent_is_found_even_where_a_ledger_allowed_it() -> None:
    rehearsal = started()
    key = rehearsal.rekey(KEY)
    record = rehearsal.study_record()
    del record.study.candidates[key].accepted[C]
    assert [(f.clause, f.culprit) for f in later_keys_are_sound(record)] == [("§9.25", C)]


def test_a_consent_behind_the_first_commit_under_the_key_is_found() -> None:
    rehearsal = started()
    key = rehearsal.rekey(KEY)
    for _ in range(2):
        rehearsal.run_round()
    record = rehearsal.study_record()
    accepted = record.study.candidates[key].accepted
    accepted[D] = replace(accepted[D], at=LogPosition(record.head.number, 0))
    assert [(f.clause, f.culprit) for f in later_keys_are_sound(record)] == [("§9.25", D)]
