"""Whatever the contract can be shown is found, whoever hides what beside it."""

from __future__ import annotations

from dataclasses import replace

from federation.admission import Admission
from federation.audit.charges import find_charge
from federation.combination import combine
from federation.digest import sha256
from federation.disputes import Charge
from federation.events import Fault, RoundId
from federation.members import Address
from federation.rehearsal import Rehearsal
from federation.runs import Held, whole
from federation.wire import Payload, update_header

from ..rehearsing import (
    HOSPITALS,
    A,
    B,
    D,
    commit_payload,
    honest_payload,
    post_total,
    rehearse,
    reveals,
)


def charged(rehearsal: Rehearsal, id: RoundId) -> tuple[Fault, Address | None]:
    """What the court convicts for; the charge is followed, or this raises."""
    charge = find_charge(rehearsal.record(id))
    assert isinstance(charge, Charge)
    rehearsal.ledger(B).dispute(charge)
    return charge.fault, charge.member


def zeroed(payload: Payload) -> Payload:
    """The same, but its first ciphertext is 0."""
    width = payload.shape.parts[0].width
    return replace(payload, leaves=Held(bytes(width) + whole(payload.leaves)[width:]))


def all_admitted(rehearsal: Rehearsal, id: RoundId) -> None:
    """The aggregator adds what everybody committed to, and looks at nothing."""
    round, updates = rehearsal.round(id), {one: rehearsal.hospitals[one].payloads[id] for one in HOSPITALS}
    roots = {member: round.commits[member].root for member in HOSPITALS}
    total = combine(rehearsal.agreement, id, Admission(admitted=updates, roots=roots, excluded=()))
    post_total(rehearsal, id, total)


def with_update(rehearsal: Rehearsal, member: Address, payload: Payload) -> RoundId:
    commit_payload(rehearsal, member, payload)
    for other in HOSPITALS:
        if other != member:
            id = rehearsal.commit(other)
    return id


def test_whoever_hides_its_bytes_shields_nobody_behind_it_in_the_list() -> None:
    rehearsal = rehearse("paillier")
    id = with_update(rehearsal, D, zeroed(honest_payload(rehearsal, D)))
    reveals(rehearsal, id)
    all_admitted(rehearsal, id)
    rehearsal.store._blocks.pop(rehearsal.round(id).reveals[A].cid)
    assert charged(rehearsal, id) == (Fault.LEAF, D)


def test_a_header_that_is_not_judged_hides_no_leaf_that_is() -> None:
    rehearsal = rehearse("paillier")
    bad = zeroed(honest_payload(rehearsal, D))
    binding = rehearsal.agreement.binding(rehearsal.round().id)
    bad = replace(bad, header=update_header(binding, member=D, base_model=sha256(b"another base")))
    id = with_update(rehearsal, D, bad)
    reveals(rehearsal, id)
    all_admitted(rehearsal, id)
    assert charged(rehearsal, id) == (Fault.LEAF, D)
