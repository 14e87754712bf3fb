"""Rounds that go wrong or change their key: what a stranger makes of PROTOCOL.md is what the package does."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import accumulate, pairwise

import numpy as np
import pytest

from federation.ciphers import suite_for
from federation.ciphers.suite import Seed, TotalContext
from federation.digest import Digest, LedgerId, labelled
from federation.errors import Violation
from federation.events import RoundId, StudyId
from federation.opening import join_shares
from federation.rehearsal import AGGREGATOR, Rehearsal
from federation.runs import Held, in_runs, whole
from federation.store.content import put_bytes
from federation.wire import Payload, cut

from .ciphers.keys import dealt
from .ciphers.suites import joined, two_dealers
from .rehearsing import (
    HOSPITALS,
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
    later_key,
    post_total,
    quantised,
    reveals,
    share_anyway,
)
from .rehearsing import opened as finished
from .second_hybrid import PRIMES
from .second_log import AcceptKey, Line, ProposeKey
from .second_parts import Mismatch, decode, encode, sha, u64
from .second_rehearsals import FEATURES, GENESIS, SUITES, facts_of, rehearsed
from .second_sender import Parts, parts_of, write
from .second_study import Facts
from .second_suites import Suite
from .second_verifier import verify
from .test_second_verifier import logged, said

WIDTH = 32  # of the modulus, bytes
HYBRID = SUITES[1:]


# ---------------------------------------------------------------- §7.5, §7.12.4: the bytes of an update


def suite_in(rehearsal: Rehearsal) -> Suite:
    """A stranger's suite for this study."""
    spec = rehearsal.agreement.spec
    return Suite(spec.suite, spec.key, FEATURES + 1 + 1)


def written(
    rehearsal: Rehearsal, member: bytes, spoil: Callable[[Parts], Parts] = lambda parts: parts, *more: int
) -> Payload:
    """The member's update as a stranger writes it, with more values than there are, or spoiled."""
    id = rehearsal.round().id
    values = quantised(rehearsal, member, id, rehearsal.base(rehearsal.round()))
    header = honest_payload(rehearsal, member).header
    suite = suite_in(rehearsal)
    place = rehearsal.agreement.ledger, u64(1), u64(id.number), b""
    seed = rehearsal.hospitals[member].seed
    parts = parts_of(suite, [*map(int, values), *more], seed, header, place)
    return cut(Held(write(suite, spoil(parts), header)), rehearsal.agreement.update_shape)


@pytest.mark.parametrize("kind", SUITES)
def test_an_update_is_written_byte_for_byte_as_the_package_writes_it(kind) -> None:
    rehearsal = rehearsed(kind)
    assert whole(written(rehearsal, A)) == whole(honest_payload(rehearsal, A))


def test_two_blocks_are_written_summed_and_opened_as_the_package_does() -> None:
    count, dealing, header = 8200, two_dealers().dealing, b"a header"
    suite, mine = (
        suite_for("hybrid", dealing.public_key, values=count),
        Suite("hybrid", dealing.public_key, count),
    )
    root, ledger = labelled("a root"), LedgerId(labelled("a ledger"))
    context = TotalContext(ledger=ledger, round=RoundId(StudyId(3), 7), root=root)
    place = ledger, u64(3), u64(7), root
    random = np.random.default_rng(8)
    vectors = [random.integers(-(1 << 20), 1 << 20, count) for _ in range(3)]
    updates = []
    for number, vector in enumerate(vectors):
        seed = Seed(bytes([number]) * 32)
        encryption = suite.encrypt(vector, seed=seed, header=header, context=context)
        theirs = b"".join(encryption.run(run) for run in in_runs(suite.layout.runs()))
        parts = parts_of(mine, [int(value) for value in vector], seed, header, place)
        payload = write(mine, parts, header)[4 + len(header) : -mine.proof]
        assert payload == theirs
        updates.append([payload[a:b] for a, b in pairwise(accumulate(mine.widths, initial=0))])
    total = mine.add(updates)
    capsule = b"".join(total[: mine.K])
    keys = enumerate(dealing.key_shares, 1)
    shares = {i: suite.share(capsule, member=i, key_share=k, context=context) for i, k in keys}
    opening = suite.join(capsule, shares)
    plaintexts = mine.check_opening(total, opening.plaintexts, opening.witnesses, place)
    assert (
        mine.join({i: mine.check_share(total, s, place, i) for i, s in shares.items()}, total) == plaintexts
    )
    assert mine.open(total, plaintexts, place, 3) == [int(value) for value in sum(vectors)]


# ---------------------------------------------------------------- §5.2: who is left out


BAD: dict[str, Callable[[bytes], bytes]] = {
    "zero": lambda leaves: leaves[: 4 * WIDTH] + bytes(2 * WIDTH) + leaves[6 * WIDTH :],
    "range": lambda leaves: leaves[: 6 * WIDTH] + b"\xff" * 2 * WIDTH + leaves[8 * WIDTH :],
    "swapped": lambda leaves: leaves[2 * WIDTH : 4 * WIDTH] + leaves[: 2 * WIDTH] + leaves[4 * WIDTH :],
    "residue": lambda leaves: leaves[:-4] + PRIMES[1].to_bytes(4, "little"),
    "body": lambda leaves: leaves[:-4] + bytes(4),
}


def bad(rehearsal: Rehearsal, member: bytes, how: str) -> Payload:
    """An update that earns one kind of exclusion."""
    payload = honest_payload(rehearsal, member)
    match how:
        case "proof":
            return replace(payload, tail=flip(payload.tail))
        case "header":
            return replace(payload, header=payload.header[:-1] + b"\0")
        case how if how in BAD:
            return replace(payload, leaves=Held(BAD[how](whole(payload.leaves))))
    return payload


LEFT_OUT = {
    "paillier": ("proof", "zero", "range", "header", "swapped", "size", "root", "silent", "base"),
    "hybrid": ("proof", "zero", "range", "header", "swapped", "size", "residue", "body"),
    "hybrid of two dealers": ("proof", "residue"),
}


@pytest.mark.parametrize(("kind", "how"), [(kind, how) for kind in SUITES for how in LEFT_OUT[kind]])
def test_a_round_that_leaves_one_out_is_accepted(kind, how) -> None:
    """Codes, leaves and rules as the package writes them are those that the protocol asks for."""
    rehearsal = rehearsed(kind)
    payload = bad(rehearsal, D, how)
    if how == "base":
        round = rehearsal.round()
        rehearsal.ledger(D).commit_update(round.id, payload.root(), Digest(bytes([1] * 32)))
        rehearsal.hospitals[D].payloads[round.id] = payload
    else:
        commit_payload(rehearsal, D, payload)
    for member in HOSPITALS[:3]:
        id = rehearsal.commit(member)
    if how == "size":
        rehearsal.hospitals[D].payloads[id] = replace(payload, tail=payload.tail + b"\0")
    if how == "root":
        rehearsal.hospitals[D].payloads[id] = replace(payload, tail=flip(payload.tail))
    reveals(rehearsal, id, HOSPITALS[:3] if how == "silent" else HOSPITALS)
    record = finished(rehearsal, id)
    assert [one.member for one in record.admission.excluded] == [D]
    verify(facts_of(rehearsal, 1, GENESIS))


# ---------------------------------------------------------------- §9: whom the audit blames


def all_revealed(rehearsal: Rehearsal) -> RoundId:
    for member in HOSPITALS:
        id = rehearsal.commit(member)
    return reveals(rehearsal, id)


def last_bit(payload: Payload) -> Payload:
    """One bit of the leaves' last byte changed."""
    return replace(payload, leaves=Held(flip(whole(payload.leaves))))


def wrong_share(rehearsal: Rehearsal, id: RoundId) -> Blame:
    """A's; B and C open."""
    total = rehearsal.post_total(id)
    share_anyway(rehearsal, A, id, total, last_bit)
    for member in (B, C):
        rehearsal.post_share(member, id)
    rehearsal.finish(id)
    return Blame("§9.9", A)


def wrong_total(rehearsal: Rehearsal, id: RoundId) -> Blame:
    """Its first leaf is A's alone; two members open it all the same."""
    right = rehearsal.record(id).recomputed_total
    assert right is not None
    own = whole(rehearsal.hospitals[A].payloads[id].leaves)
    total = replace(right, leaves=Held(own[: 2 * WIDTH] + whole(right.leaves)[2 * WIDTH :]))
    post_total(rehearsal, id, total)
    for member in (A, B):
        share_anyway(rehearsal, member, id, total)
    propose(rehearsal, id, total, lambda opening: opening)
    return Blame("§9.8", AGGREGATOR)


def wrong_opening(rehearsal: Rehearsal, id: RoundId) -> Blame:
    """A plaintext is one more than it should be, the model as it would have been."""
    total = rehearsal.post_total(id)
    for member in (A, B):
        rehearsal.post_share(member, id)
    propose(rehearsal, id, total, last_bit)
    return Blame("§9.10", AGGREGATOR)


def propose(rehearsal: Rehearsal, id: RoundId, total: Payload, alter: Callable[[Payload], Payload]) -> None:
    """The aggregator proposes an opening of this total, altered, and no model that follows."""
    record = rehearsal.record(id)
    shares = {m: (record.round.shares[m].digest, data) for m, data in record.shares.items()}
    opening = alter(join_shares(record.agreement, id, total, shares).payload)
    cid = put_bytes(rehearsal.store, whole(opening))
    nothing = Digest(sha(b"no model"))
    rehearsal.ledger(AGGREGATOR).finish(id, opening.root(), nothing, opening_cid=cid, model_cid=cid)


@pytest.mark.parametrize("kind", SUITES)
@pytest.mark.parametrize("cheat", [wrong_share, wrong_total, wrong_opening])
def test_a_stranger_and_the_audit_blame_the_same(kind, cheat) -> None:
    rehearsal = rehearsed(kind)
    id = all_revealed(rehearsal)
    blame = cheat(rehearsal, id)
    assert blame in faults(audited(rehearsal))
    with pytest.raises(Mismatch) as found:
        verify(facts_of(rehearsal, 1, GENESIS))
    assert found.value.culprit == blame.culprit


# ---------------------------------------------------------------- §7.4, §7.12.6: rounds at fault


def plus(values, at: int, more: int) -> list[int]:
    """One value larger."""
    return [value + more * (i == at) for i, value in enumerate(values)]


def garbled(parts: Parts) -> Parts:
    """2^18 more or less in the last coefficient of the second tower."""
    last = bytearray(parts.body[-1])
    last[-2] ^= 4
    return replace(parts, body=[*parts.body[:-1], bytes(last)])


def of_vector(change: Callable[[list[int]], list[int]], dealer: int = -1) -> Callable[[Parts], Parts]:
    """One capsule's vector changed, the body not."""

    def spoil(parts: Parts) -> Parts:
        vectors = list(parts.vectors)
        vectors[dealer] = change(list(vectors[dealer]))
        return replace(parts, vectors=vectors)

    return spoil


def overflow(parts: Parts) -> Parts:
    """The top lane of the first plaintext is half as large again as its modulus."""
    lane, top = (14, 16) if parts.body else (24, 8)
    return of_vector(lambda vector: plus(vector, top, 3 << lane - 1), 0)(parts)


def unspoiled(parts: Parts) -> Parts:
    return parts


SPOILED: dict[str, tuple[str, tuple[str, ...], Callable[[Parts], Parts], tuple[int, ...]]] = {
    "a lane of the capsule that is not used": ("§7.4", SUITES, of_vector(lambda v: [*v, 1]), ()),
    "a top lane that overflows": ("§7.4", SUITES, overflow, ()),
    "another key than in the capsule": (
        "§7.12.6.2",
        HYBRID,
        of_vector(lambda v: plus(v, 4000, 1)),
        (),
    ),
    "a coefficient out of bound": ("§7.12.6.1", HYBRID, of_vector(lambda v: plus(v, 4000, 2000)), ()),
    "a garbled body": ("§7.12.6.2", ("hybrid",), garbled, ()),
    "a high lane out of range": ("§7.12.6.3", ("hybrid",), unspoiled, (0, 1 << 23)),
    "a value behind the last": ("§7.12.6.4", ("hybrid",), unspoiled, (1,)),
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for name in SPOILED for kind in SPOILED[name][1]])
def test_a_round_that_its_members_spoil_is_at_fault_and_nobody_is_named(kind, name) -> None:
    clause, _, spoil, more = SPOILED[name]
    rehearsal = rehearsed(kind)
    for member in (A, B, C):
        rehearsal.commit(member)
    id = reveals(rehearsal, commit_payload(rehearsal, D, written(rehearsal, D, spoil, *more)))
    rehearsal.post_total(id)
    for member in (A, B):
        rehearsal.post_share(member, id)
    fault = rehearsal.record(id).model
    assert isinstance(fault, Violation)
    assert fault.culprit is None
    with pytest.raises(Mismatch) as found:
        verify(facts_of(rehearsal, 1, GENESIS))
    assert (found.value.clause, found.value.culprit) == (clause, None), found.value


# ---------------------------------------------------------------- §3.3: the key of a later epoch

LATER_KEYS = {
    "paillier": lambda: dealt(512, 2, 4),
    "hybrid": lambda: joined(later_key(1), later_key(2)),  # from one dealer to two
    "hybrid of two dealers": lambda: later_key(1),  # and from two to one
}


@cache
def under_a_later_key(kind: str) -> Facts:
    """The third round, the first under another key."""
    rehearsal, base = rehearsed(kind), GENESIS
    rehearsal.run_round()
    rehearsal.rekey(LATER_KEYS[kind]())
    for number in (1, 2):
        rehearsal.run_round()
        base = tuple(verify(facts_of(rehearsal, number, base)))
    return facts_of(rehearsal, 3, base)


@pytest.mark.parametrize("kind", SUITES)
def test_a_round_under_a_later_key_is_accepted(kind) -> None:
    verify(under_a_later_key(kind))


def proposal(facts: Facts) -> Line:
    """The only one."""
    (line,) = (line for line in facts.log if isinstance(line.call, ProposeKey))
    return line


def document_of(facts: Facts) -> dict:
    return decode(proposal(facts).call.document)


def rekeyed(facts: Facts, change: Callable[[dict], object]) -> Facts:
    """What lies behind the key's only CID says something else; the digest that all accepted fits its key."""
    document = document_of(facts)
    change(document)
    suite = Suite("paillier", document[2], FEATURES + 2)
    accepted = {"key": suite.digest, "ciphertexts": suite.K}
    facts = said(facts, ProposeKey, None, key=suite.digest, document=encode(document))
    return said(facts, AcceptKey, None, **accepted)


def swap_roots(document: dict) -> None:
    key = decode(document[2])
    key[6].reverse()
    document[2] = encode(key)


def adopted(time: int, members: tuple[bytes, ...] = HOSPITALS) -> list[Line]:
    """Another key is proposed, and these accept it."""
    other = sha(b"another key")
    consents = [Line(time, member, AcceptKey(other, 4)) for member in members]
    return [Line(time, A, ProposeKey(other, b"nothing")), *consents]


def at(facts: Facts, position: int, lines: list[Line]) -> Facts:
    """These stand at that place in the log."""
    return replace(facts, log=[*facts.log[:position], *lines, *facts.log[position:]])


def before_key(facts: Facts, *lines: Line) -> Facts:
    """These stand before the key's first proposal, at its time."""
    position = facts.log.index(proposal(facts))
    time = proposal(facts).time
    return at(facts, position, [replace(line, time=time) for line in lines])


def last_consent(facts: Facts) -> int:
    return max(k for k, line in enumerate(facts.log) if isinstance(line.call, AcceptKey))


def one_round_later(facts: Facts) -> Facts:
    """The last consent comes behind the first commit to round 2."""
    position, log = last_consent(facts), list(facts.log)
    log[position], log[position + 1] = log[position + 1], log[position]
    return replace(facts, log=log)


def behind_consents(facts: Facts) -> Facts:
    """A second key is adopted right behind the first."""
    position = last_consent(facts)
    return at(facts, position + 1, adopted(facts.log[position].time))


def without_consent(facts: Facts) -> Facts:
    return logged(facts, lambda line: [] if isinstance(line.call, AcceptKey) and line.sender == D else [line])


LATER: dict[str, tuple[str, Callable[[Facts], Facts]]] = {
    "one consent fewer": ("§4.3.1", without_consent),  # the key before is shorter
    "a consent of somebody else": (
        "§5",
        lambda f: before_key(f, Line(0, AGGREGATOR, AcceptKey(bytes(32), 4))),
    ),
    "a consent to what nobody proposed": (
        "§3.3",
        lambda f: before_key(f, Line(0, A, AcceptKey(bytes(32), 4))),
    ),
    "a consent told twice": ("§3.3", lambda f: before_key(f, *adopted(0), *adopted(0)[1:2])),
    "a proposal told twice": ("§3.3", lambda f: before_key(f, *adopted(0)[:1], *adopted(0)[:1])),
    "a key that comes back": ("§3.3", lambda f: before_key(f, *adopted(0), *adopted(0)[:1])),
    "consents to two numbers of ciphertexts": ("§3.3", lambda f: said(f, AcceptKey, D, ciphertexts=3)),
    "consents to a wrong number of ciphertexts": ("§3.3", lambda f: said(f, AcceptKey, None, ciphertexts=3)),
    "the last consent a round later": ("§4.3.1", one_round_later),
    "a key adopted after it and before round 2": ("§3.3", behind_consents),
    "document of another digest": ("§3.3", lambda f: said(f, ProposeKey, None, document=f.document)),
    "no document": ("§3.3", lambda f: said(f, ProposeKey, None, document=b"")),
    "another suite": ("§3.3", lambda f: rekeyed(f, lambda told: told.update({1: "auto"}))),
    "other holders": ("§3.3", lambda f: rekeyed(f, lambda told: told.update({3: told[3][:3]}))),
    "more than is said": ("§3.3", lambda f: rekeyed(f, lambda told: told.update({4: 0}))),
    "a key for fewer": (
        "§3.2",
        lambda f: rekeyed(f, lambda told: told.update({2: dealt(512, 2, 3).public_key})),
    ),
    "a key without proof": ("§7.3.5", lambda f: rekeyed(f, swap_roots)),
}


@pytest.mark.parametrize("what", LATER)
def test_a_later_key_that_is_not_as_agreed_is_refused(what: str) -> None:
    clause, forge = LATER[what]
    with pytest.raises(Mismatch) as refused:
        verify(forge(under_a_later_key("paillier")))
    assert refused.value.clause == clause, refused.value


def proposed_before(facts: Facts, document: bytes) -> Facts:
    """Another member had proposed the same key, with this behind its CID."""
    call = replace(proposal(facts).call, document=document)
    return before_key(facts, Line(0, D, call))


LAWFUL: dict[str, Callable[[Facts], Facts]] = {
    "a useless place before the right one": lambda f: proposed_before(f, b"nothing"),
    "a place with a key's right document for other holders": lambda f: proposed_before(
        f, encode({**document_of(f), 3: [A, B, C]})
    ),
    "a key adopted before it in the same round": lambda f: before_key(f, *adopted(0)),
    "a key adopted when round 2 had begun": lambda f: replace(f, log=[*f.log, *adopted(f.log[-1].time)]),
    "a key that one did not accept": lambda f: before_key(f, *adopted(0, (A, B, C))),
}


@pytest.mark.parametrize("what", LAWFUL)
def test_another_key_that_does_not_rule_changes_nothing(what: str) -> None:
    verify(LAWFUL[what](under_a_later_key("paillier")))
