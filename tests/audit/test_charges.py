"""A total that does not add up is charged with what the court can be shown of it, and with nothing else."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from federation.admission import Admission, admit
from federation.audit.charges import find_charge
from federation.ciphers.judged import dealer_of, moduli_of
from federation.ciphers.ring.element import PRIMES
from federation.combination import combine
from federation.digest import Digest, sha256
from federation.disputes import Charge
from federation.errors import LedgerRejected, Violation
from federation.events import Fault, Reason, RoundId
from federation.evidence import leaves_in
from federation.members import Address
from federation.rehearsal import AGGREGATOR, Rehearsal
from federation.rounds import Abandoned, Combining, Finished, Tainted
from federation.runs import RUN_BYTES
from federation.store.directory import DirectoryStore
from federation.store.unixfs import cid_of
from federation.wire import Code, Exclusion, Payload, total_header, update_header

from ..ciphers.keys import primes
from ..rehearsing import (
    HOSPITALS,
    JUDGED,
    STAKE,
    WINDOW,
    A,
    B,
    C,
    D,
    altered,
    audited,
    commit_payload,
    faults,
    flip,
    honest_payload,
    post_total,
    rehearse_staked,
    reveals,
    share_anyway,
    staked,
    up_to_reveals,
)
from ..test_piecework import SIZE, agreed

Change = Callable[[bytes], bytes]
FEATURES: Final = 30  # four ciphertexts of `paillier`
ANOTHER_MODEL: Final = sha256(b"another model")
P: Final = int(primes(256)[0])  # divides the only dealer's modulus, or the first's

every_kind = pytest.mark.parametrize("kind", JUDGED)


def judged(kind: str) -> Rehearsal:
    """Two aggregators with something to lose, and four members."""
    return rehearse_staked(kind, features=FEATURES)


def found(rehearsal: Rehearsal, id: RoundId) -> Charge | None:
    return find_charge(rehearsal.record(id))


def right_total(rehearsal: Rehearsal, id: RoundId) -> Payload:
    record = rehearsal.record(id)
    return combine(record.agreement, id, record.admission)


def roots(rehearsal: Rehearsal, id: RoundId, members: tuple[Address, ...]) -> list[tuple[Address, Digest]]:
    return [(member, rehearsal.round(id).commits[member].root) for member in members]


def total_of(rehearsal: Rehearsal, id: RoundId, members: tuple[Address, ...]) -> Payload:
    """The sum of what these committed to, under the header that it should have: all checks left out."""
    admitted = {member: rehearsal.hospitals[member].payloads[id] for member in members}
    known = Admission(admitted=admitted, roots=dict(roots(rehearsal, id, members)), excluded=())
    return combine(rehearsal.agreement, id, known)


def leaf_at(rehearsal: Rehearsal, place: str) -> int:
    """One of every part of a payload's tree."""
    layout = rehearsal.agreement.suite.layout
    capsule, body = layout.capsule.count, layout.body.count
    places = {
        "first": 1,
        "second half of the capsule": capsule // 2 + 1,
        "last of the capsule": capsule,
        "first of the body": capsule + 1,
        "second tower": capsule + 33,
        "last": capsule + body,
    }
    return places[place]


def proven(rehearsal: Rehearsal, id: RoundId, fault: Fault, member: Address | None, leaf: int = 0) -> None:
    """C finds and files it; the total is taken back and paid for, and the standby ends the round lawfully."""
    charge = found(rehearsal, id)
    assert charge is not None
    assert (charge.fault, charge.member) == (fault, member)
    liar, other = rehearsal.round(id).turns
    rehearsal.ledger(C).dispute(charge)
    round = rehearsal.round(id)
    assert isinstance(round.phase(rehearsal.view.now), Combining)
    assert [(f.fault, f.member, f.leaf) for f in round.faults] == [(fault, member, leaf)]
    assert (staked(rehearsal, liar), staked(rehearsal, C)) == (0, STAKE.gwei)
    with pytest.raises(LedgerRejected, match="FaultyAggregator"):
        rehearsal.post_total(id, liar)
    rehearsal.post_total(id)
    for address in (A, B):
        rehearsal.post_share(address, id)
    rehearsal.finish(id)
    round = rehearsal.round(id)
    assert isinstance(round.phase(rehearsal.view.now), Finished)
    assert round.total is not None
    assert round.total.members == tuple(site for site in HOSPITALS if site != member)
    assert staked(rehearsal, other) == STAKE.gwei
    blamed = {liar} if member is None else {liar, member}
    assert {blame.culprit for blame in faults(audited(rehearsal)) if blame.clause == "§9.17"} == blamed
    assert found(rehearsal, id) is None


def unprovable(rehearsal: Rehearsal, id: RoundId, *, withheld: bool = True) -> None:
    """Nobody is charged; where the total is wrong all the same, no share is given and the round ends."""
    assert found(rehearsal, id) is None
    if withheld:
        with pytest.raises(Violation):
            rehearsal.post_share(A, id)
        rehearsal.wait(WINDOW)
        rehearsal.abandon(id, Reason.NO_SHARES)
        assert rehearsal.round(id).phase(rehearsal.view.now) == Abandoned(reason=Reason.NO_SHARES)
    else:
        rehearsal.post_share(A, id)
    assert staked(rehearsal, AGGREGATOR) == STAKE.gwei


# ---------------------------------------------------------------- a wrong sum

IN_CAPSULE: Final = ("first", "second half of the capsule", "last of the capsule")
IN_BODY: Final = ("first of the body", "second tower", "last")


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        *((kind, place) for kind in JUDGED for place in IN_CAPSULE),
        *((kind, place) for kind in ("hybrid", "two dealers") for place in IN_BODY),
    ],
)
def test_a_wrong_leaf_of_a_sum_is_proven_wherever_it_is(kind: str, place: str) -> None:
    rehearsal = judged(kind)
    id = up_to_reveals(rehearsal)
    leaf = leaf_at(rehearsal, place)
    post_total(rehearsal, id, altered(right_total(rehearsal, id), leaf, flip))
    proven(rehearsal, id, Fault.SUM, None, leaf)


@every_kind
def test_of_several_wrong_leaves_the_first_is_shown(kind: str) -> None:
    rehearsal = judged(kind)
    id = up_to_reveals(rehearsal)
    total = right_total(rehearsal, id)
    second, last = 2, leaves_in(total) - 1
    for leaf in (last, second, last - 1):
        total = altered(total, leaf, flip)
    post_total(rehearsal, id, total)
    proven(rehearsal, id, Fault.SUM, None, second)


@every_kind
def test_a_sum_that_leaves_out_what_its_own_header_lists_is_proven(kind: str) -> None:
    rehearsal = judged(kind)
    id = up_to_reveals(rehearsal)
    record = rehearsal.record(id)
    kept = {who: data for who, data in record.updates.items() if who != D}
    fewer = combine(record.agreement, id, admit(record.agreement, record.round, kept))
    post_total(rehearsal, id, replace(fewer, header=right_total(rehearsal, id).header))
    proven(rehearsal, id, Fault.SUM, None, 1)


def test_after_a_first_share_the_proof_taints_the_round_and_the_next_starts_afresh() -> None:
    rehearsal = judged("paillier")
    id = up_to_reveals(rehearsal)
    wrong = altered(right_total(rehearsal, id), 3, flip)
    post_total(rehearsal, id, wrong)
    share_anyway(rehearsal, D, id, wrong)
    charge = found(rehearsal, id)
    assert charge is not None
    rehearsal.ledger(B).dispute(charge)
    assert rehearsal.round(id).phase(rehearsal.view.now) == Tainted(reason=Reason.FAULT_PROVEN)
    assert found(rehearsal, id) is None, "what was proven is not charged again"
    following = up_to_reveals(rehearsal)
    assert following.number == id.number + 1


def test_a_round_that_colluders_have_finished_is_charged_all_the_same() -> None:
    rehearsal = judged("paillier")
    id = up_to_reveals(rehearsal)
    wrong = altered(right_total(rehearsal, id), 3, flip)
    post_total(rehearsal, id, wrong)
    for colluder in (C, D):
        share_anyway(rehearsal, colluder, id, wrong)
    nothing = cid_of((b"no such thing",))
    digests = rehearsal.round(id).commits[A].root, rehearsal.round(id).commits[B].root
    rehearsal.ledger(D).finish(id, *digests, opening_cid=nothing, model_cid=nothing)
    charge = found(rehearsal, id)
    assert charge is not None
    rehearsal.ledger(A).dispute(charge)
    assert isinstance(rehearsal.round(id).phase(rehearsal.view.now), Finished)
    assert (staked(rehearsal, AGGREGATOR), staked(rehearsal, A)) == (0, STAKE.gwei)


# ---------------------------------------------------------------- an admitted update that is malformed


def admitted_all_the_same(rehearsal: Rehearsal, payload: Payload) -> RoundId:
    """D commits to this and reveals it, and the aggregator lists it in its total."""
    id = commit_payload(rehearsal, D, payload)
    admitted_with_the_others(rehearsal, id)
    return id


def admitted_with_the_others(rehearsal: Rehearsal, id: RoundId) -> None:
    for address in (A, B, C):
        rehearsal.commit(address)
    reveals(rehearsal, id)
    post_total(rehearsal, id, total_of(rehearsal, id, HOSPITALS))


def modulus(rehearsal: Rehearsal, leaf: int) -> int:
    dealer = dealer_of(rehearsal.agreement.suite_name, leaf)
    assert dealer is not None
    return int.from_bytes(moduli_of(rehearsal.agreement.suite_name)[dealer].n, "big")


CIPHERTEXTS: dict[str, Callable[[int], int]] = {
    "zero": lambda n: 0 * n,
    "n²": lambda n: n**2,
    "a multiple of n": lambda n: 7 * n,
    "all ones": lambda n: 2 ** (2 * n.bit_length()) - 1,
}


@pytest.mark.parametrize("value", CIPHERTEXTS)
@pytest.mark.parametrize("place", ["first", "last of the capsule"])
@every_kind
def test_an_admitted_ciphertext_that_is_no_unit_is_proven(kind: str, place: str, value: str) -> None:
    rehearsal = judged(kind)
    leaf = leaf_at(rehearsal, place)
    written = CIPHERTEXTS[value](modulus(rehearsal, leaf))
    forged = altered(honest_payload(rehearsal, D), leaf, lambda data: written.to_bytes(len(data), "big"))
    proven(rehearsal, admitted_all_the_same(rehearsal, forged), Fault.LEAF, D, leaf)


@every_kind
def test_a_ciphertext_that_shares_one_prime_with_the_modulus_is_proven(kind: str) -> None:
    rehearsal = judged(kind)
    forged = altered(honest_payload(rehearsal, D), 1, lambda data: (5 * P).to_bytes(len(data), "big"))
    proven(rehearsal, admitted_all_the_same(rehearsal, forged), Fault.LEAF, D, 1)


@pytest.mark.parametrize("place", IN_BODY)
@pytest.mark.parametrize("kind", ["hybrid", "two dealers"])
def test_an_admitted_residue_that_is_not_below_its_prime_is_proven(kind: str, place: str) -> None:
    rehearsal = judged(kind)
    leaf = leaf_at(rehearsal, place)
    prime = PRIMES[
        1 if place == "second tower" else (leaf - leaf_at(rehearsal, "first of the body")) // 32 % 2
    ]
    forged = altered(honest_payload(rehearsal, D), leaf, lambda data: data[:-4] + prime.to_bytes(4, "little"))
    proven(rehearsal, admitted_all_the_same(rehearsal, forged), Fault.LEAF, D, leaf)


@every_kind
def test_an_earlier_update_revealed_again_is_proven_by_its_header(kind: str) -> None:
    rehearsal = judged(kind)
    first = up_to_reveals(rehearsal)
    rehearsal.post_total(first)
    for address in (A, B):
        rehearsal.post_share(address, first)
    rehearsal.finish(first)
    replayed = rehearsal.hospitals[D].payloads[first]
    proven(rehearsal, admitted_all_the_same(rehearsal, replayed), Fault.HEADER, D)


@every_kind
def test_another_members_update_is_proven_by_its_header(kind: str) -> None:
    rehearsal = judged(kind)
    proven(rehearsal, admitted_all_the_same(rehearsal, honest_payload(rehearsal, C)), Fault.HEADER, D)


def tail_of(rehearsal: Rehearsal, honest: Payload, dealer: int, part: str) -> bytes:
    """The proof with one part of one dealer's made of nothing but ones: none of them can pass."""
    moduli = moduli_of(rehearsal.agreement.suite_name)
    width = len(moduli[dealer].n)
    length = len(honest.tail) // len(moduli)
    bounds = {"d": (0, 2 * width), "z": (2 * width, 3 * width), "ζ": (3 * width, length)}
    start, end = (dealer * length + bound for bound in bounds[part])
    return honest.tail[:start] + b"\xff" * (end - start) + honest.tail[end:]


@pytest.mark.parametrize("part", ["d", "z", "ζ"])
@pytest.mark.parametrize(
    ("kind", "dealer"), [("paillier", 0), ("hybrid", 0), ("two dealers", 0), ("two dealers", 1)]
)
def test_an_admitted_proof_out_of_its_bounds_is_proven(kind: str, dealer: int, part: str) -> None:
    rehearsal = judged(kind)
    honest = honest_payload(rehearsal, D)
    forged = honest.with_tail(tail_of(rehearsal, honest, dealer, part))
    leaf = leaves_in(honest) - 1
    proven(rehearsal, admitted_all_the_same(rehearsal, forged), Fault.PROOF, D, leaf)


# ---------------------------------------------------------------- a wrong header of the total


def listing(rehearsal: Rehearsal, id: RoundId, listed: Sequence[tuple[Address, Digest]]) -> bytes:
    return total_header(rehearsal.agreement.binding(id), members=list(listed), excluded=[])


def header_of(what: str, rehearsal: Rehearsal, id: RoundId) -> bytes:
    """One that is wrong in this way."""
    right = roots(rehearsal, id, HOSPITALS)
    match what:
        case "other members":
            return listing(rehearsal, id, right[:3])
        case "other roots":
            turned = [root for _, root in right[::-1]]
            return listing(rehearsal, id, list(zip(HOSPITALS, turned, strict=True)))
        case "another round":
            return listing(rehearsal, RoundId(id.study, id.number + 1), right)
        case "an update's":
            return rehearsal.hospitals[D].payloads[id].header
        case _:
            return b"\xff" * 100


@pytest.mark.parametrize(
    "what", ["other members", "other roots", "another round", "an update's", "nothing that can be read"]
)
@every_kind
def test_a_total_under_a_wrong_header_is_proven_though_its_sum_is_right(kind: str, what: str) -> None:
    rehearsal = judged(kind)
    id = up_to_reveals(rehearsal)
    post_total(rehearsal, id, replace(right_total(rehearsal, id), header=header_of(what, rehearsal, id)))
    proven(rehearsal, id, Fault.HEADER, None)


# ---------------------------------------------------------------- what cannot be proven


@every_kind
def test_a_right_total_is_charged_with_nothing(kind: str) -> None:
    rehearsal = judged(kind)
    id = up_to_reveals(rehearsal)
    assert found(rehearsal, id) is None, "before any total"
    rehearsal.post_total(id)
    unprovable(rehearsal, id, withheld=False)


def test_a_suite_that_hides_nothing_is_not_judged() -> None:
    rehearsal = judged("plain")
    id = up_to_reveals(rehearsal)
    post_total(rehearsal, id, altered(right_total(rehearsal, id), 1, flip))
    unprovable(rehearsal, id)


@every_kind
def test_a_sum_over_bytes_that_nobody_has_cannot_be_shown(kind: str) -> None:
    rehearsal = judged(kind)
    for address in HOSPITALS:
        id = rehearsal.commit(address)
    for address in (A, B, C):
        rehearsal.reveal(address, id)
    rehearsal.ledger(D).reveal_update(id, cid_of((b"a place where nothing is",)))
    post_total(rehearsal, id, altered(total_of(rehearsal, id, HOSPITALS), 1, flip))
    assert found(rehearsal, id) is None


@pytest.mark.parametrize("bytes_", [None, b"something else"], ids=["nothing", "something else"])
@every_kind
def test_a_total_of_which_only_the_root_is_known_cannot_be_shown(kind: str, bytes_: bytes | None) -> None:
    rehearsal = judged(kind)
    id = up_to_reveals(rehearsal)
    total = altered(right_total(rehearsal, id), 1, flip)
    cid = cid_of((b"nothing",)) if bytes_ is None else rehearsal.store.put([bytes_])
    rehearsal.ledger(AGGREGATOR).post_total(id, HOSPITALS, total.root(), cid)
    unprovable(rehearsal, id)


@every_kind
def test_other_bytes_than_those_of_the_posted_root_prove_nothing(kind: str) -> None:
    rehearsal = judged(kind)
    id = up_to_reveals(rehearsal)
    right = right_total(rehearsal, id)
    wrong = altered(right, 1, flip)
    cid = rehearsal.store.put(wrong.read())
    rehearsal.ledger(AGGREGATOR).post_total(id, HOSPITALS, altered(right, 2, flip).root(), cid)
    unprovable(rehearsal, id)


@pytest.mark.parametrize("said", ["in the commit", "in the header"])
@every_kind
def test_an_admitted_update_from_another_model_is_left_to_the_nodes(kind: str, said: str) -> None:
    rehearsal = judged(kind)
    honest, id = honest_payload(rehearsal, D), rehearsal.round().id
    header = update_header(rehearsal.agreement.binding(id), member=D, base_model=ANOTHER_MODEL)
    if said == "in the header":
        id = admitted_all_the_same(rehearsal, replace(honest, header=header))
    else:
        rehearsal.hospitals[D].payloads[id] = replace(honest, header=header)
        rehearsal.ledger(D).commit_update(id, rehearsal.hospitals[D].payloads[id].root(), ANOTHER_MODEL)
        admitted_with_the_others(rehearsal, id)
    (excluded,) = rehearsal.record(id).admission.excluded
    assert excluded.code is (Code.MALFORMED if said == "in the header" else Code.WRONG_BASE)
    unprovable(rehearsal, id)


@every_kind
def test_an_admitted_proof_whose_equation_fails_is_left_to_the_nodes(kind: str) -> None:
    rehearsal = judged(kind)
    honest = honest_payload(rehearsal, D)
    id = admitted_all_the_same(rehearsal, honest.with_tail(flip(honest.tail)))
    assert rehearsal.record(id).admission.excluded == (Exclusion(member=D, code=Code.PROOF_FAILED),)
    unprovable(rehearsal, id)


@every_kind
def test_a_member_left_out_without_reason_is_left_to_the_nodes(kind: str) -> None:
    rehearsal = judged(kind)
    id = up_to_reveals(rehearsal)
    post_total(rehearsal, id, total_of(rehearsal, id, (A, B, C)), (A, B, C))
    unprovable(rehearsal, id)


@every_kind
def test_bytes_in_no_layout_are_left_to_the_nodes(kind: str) -> None:
    rehearsal = judged(kind)
    honest = honest_payload(rehearsal, D)
    id = commit_payload(rehearsal, D, honest)
    for address in HOSPITALS[:3]:
        rehearsal.commit(address)
    reveals(rehearsal, id, (A, B, C))
    rehearsal.time -= WINDOW
    rehearsal.ledger(D).reveal_update(id, rehearsal.store.put([b"".join(honest.read()), b"and more"]))
    post_total(rehearsal, id, total_of(rehearsal, id, HOSPITALS))
    unprovable(rehearsal, id)


# ---------------------------------------------------------------- memory


def test_whoever_charges_holds_runs_of_stored_updates_and_not_one_whole(tmp_path: Path) -> None:
    rehearsal = agreed(4 * SIZE, DirectoryStore(tmp_path))
    id = up_to_reveals(rehearsal)
    for one in rehearsal.hospitals.values():
        one.payloads.clear()
    record = rehearsal.record(id)
    last = rehearsal.agreement.suite.layout.body
    wrong = altered(combine(record.agreement, id, record.admission), last.first + last.count - 1, flip)
    post_total(rehearsal, id, wrong)
    del record, wrong
    record = rehearsal.record(id)
    tracemalloc.start()
    try:
        charge = find_charge(record)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert charge is not None
    assert charge.evidence == replace(charge.evidence, leaf=last.first + last.count - 1)
    assert peak < 5 * RUN_BYTES * (len(HOSPITALS) + 1)  # of the nine runs that each update has, and the total
