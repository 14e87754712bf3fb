"""A second implementation, written from PROTOCOL.md alone, accepts an honest study and refuses forgeries."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import combinations

import pytest

from federation.digest import Digest
from federation.events import RoundId, StudyId
from federation.rehearsal import Rehearsal
from federation.store.content import get_bytes
from federation.wire import Payload

from .rehearsing import (
    CONTENT_KEY,
    HOSPITALS,
    commit_payload,
    flip,
    honest_payload,
    rehearse,
    reveals,
)
from .rehearsing import opened as finished
from .second_parts import Mismatch, decode, encode, sha, tree_root
from .second_verifier import Facts, split, verify

FEATURES = 30  # with the bias and the weight 32 values: four plaintexts of nine lanes, the last not full
SHAPE = (("weight", (FEATURES,)), ("bias", (1,)))
GENESIS = (bytes(4 * FEATURES), bytes(4))  # §8.8
H1, H2, _, H4 = HOSPITALS
B, K = 32, 4  # width of the modulus in bytes, plaintexts
PROOF = 3 * B + 16 + 37  # bytes (§7.6)


def facts_of(rehearsal: Rehearsal, number: int, base: tuple[bytes, ...]) -> Facts:
    """What ledger and store say of one round, as plain data."""

    def fetch(cid) -> bytes:
        return get_bytes(rehearsal.store, cid, size=1 << 20)

    round = rehearsal.round(RoundId(StudyId(1), number))
    result = round.proposals[0]
    return Facts(
        study_digest=round.terms.digest,
        document=fetch(round.terms.cid),
        ledger=rehearsal.agreement.ledger,
        study=1,
        round=number,
        shape=SHAPE,
        base=base,
        commits={m: (event.root, event.base_model) for m, event in round.commits.items()},
        reveals={m: fetch(event.cid) for m, event in round.reveals.items()},
        members=round.total.members,
        total_root=round.total.root,
        total=fetch(round.total.cid),
        shares={m: (event.digest, fetch(event.cid)) for m, event in round.shares.items()},
        opening_digest=result.opening,
        opening=fetch(result.opening_cid),
        model_digest=result.model,
        model=fetch(result.model_cid),
        content_key=CONTENT_KEY if rehearsal.agreement.spec.audience.is_sealed else None,
    )


@cache
def second_round(kind: str) -> Facts:
    rehearsal = rehearse(kind, features=FEATURES)
    rehearsal.run_round()
    rehearsal.run_round()
    base = verify(facts_of(rehearsal, 1, GENESIS))
    return facts_of(rehearsal, 2, tuple(base))


@pytest.mark.parametrize("kind", ["paillier", "paillier, sealed"])
def test_an_honest_round_is_accepted(kind) -> None:
    verify(second_round(kind))


def pairs(shares) -> list[dict]:
    """Any two of them."""
    return [dict(two) for two in combinations(shares.items(), 2)]


def headed(payload: bytes, change: Callable[[dict], object]) -> bytes:
    """The same payload under a changed header."""
    length = int.from_bytes(payload[:4], "big")
    header = decode(payload[4 : 4 + length])
    change(header)
    return len(encode(header)).to_bytes(4, "big") + encode(header) + payload[4 + length :]


def rooted(payload: bytes, *widths: int) -> bytes:
    """The root that fits these bytes."""
    return tree_root(split(payload, widths))


def updated(facts: Facts, member: bytes, payload: bytes, base: bytes | None = None) -> Facts:
    """The member had committed to this payload."""
    commit = (rooted(payload, *[2 * B] * K, PROOF), base or facts.commits[member][1])
    return replace(
        facts, commits={**facts.commits, member: commit}, reveals={**facts.reveals, member: payload}
    )


def totalled(facts: Facts, total: bytes, members: tuple[bytes, ...] = HOSPITALS) -> Facts:
    """The aggregator had posted this total."""
    return replace(facts, total=total, total_root=rooted(total, *[2 * B] * K), members=members)


def shared(facts: Facts, member: bytes, share: bytes) -> Facts:
    """The member had given this share."""
    return replace(facts, shares={**facts.shares, member: (rooted(share, K * B + 16 + B + 33), share)})


def opened(facts: Facts, opening: bytes) -> Facts:
    """The proposer had proposed this opening."""
    root = tree_root(split(opening, [B] * K + [K * B])[:-1])
    return replace(facts, opening=opening, opening_digest=root)


def agreed(facts: Facts, document: bytes) -> Facts:
    """All had accepted this study."""
    return replace(facts, document=document, study_digest=sha(document))


def rekeyed(facts: Facts, change: Callable[[dict], object]) -> Facts:
    """All had accepted this key."""
    document = decode(facts.document)
    key = decode(document[6])
    change(key)
    return agreed(facts, encode({**document, 6: encode(key)}))


def left_out(header: dict, member: bytes, code: int) -> None:
    """A total's header that excludes one more."""
    header[12] = [line for line in header[12] if line[0] != member]
    header[13] = [[member, code, 0, ""]]


def first_leaf(payload: bytes) -> int:
    return 4 + int.from_bytes(payload[:4], "big")


def wrong_answer(payload: bytes) -> bytes:
    """One bit of its first number changed."""
    return flip(payload, first_leaf(payload) + B - 1)


def with_zero_leaf(payload: bytes) -> bytes:
    at = first_leaf(payload) + 2 * 2 * B
    return payload[:at] + bytes(2 * B) + payload[at + 2 * B :]


FORGERIES: dict[str, tuple[str, Callable[[Facts], Facts]]] = {
    "another study than the agreed one": ("§3.1", lambda f: replace(f, document=flip(f.document, 9))),
    "study with a longer head": ("§2.3", lambda f: agreed(f, f.document[:2] + b"\x18\1" + f.document[3:])),
    "study with bytes behind it": ("§2.3", lambda f: agreed(f, f.document + b"\0")),
    "root of the key proof": ("§7.3.5", lambda f: rekeyed(f, lambda k: k[6].reverse())),
    "verification key": ("§7.3.7", lambda f: rekeyed(f, lambda k: k[5].reverse())),
    "one byte in an update": ("§4.3.2", lambda f: replace(f, reveals={**f.reveals, H1: flip(f.reveals[H1])})),
    "one byte too many": ("§4.3.1", lambda f: replace(f, reveals={**f.reveals, H1: f.reveals[H1] + b"\0"})),
    "other member's update": ("§4.3.3", lambda f: updated(f, H2, f.reveals[H1])),
    "other base in the header": (
        "§4.3.3",
        lambda f: updated(f, H1, headed(f.reveals[H1], lambda h: h.update({10: bytes(32)}))),
    ),
    "other base in the commit": ("§5.2", lambda f: updated(f, H1, f.reveals[H1], base=bytes(32))),
    "leaf of zeros": ("§4.3.4", lambda f: updated(f, H1, with_zero_leaf(f.reveals[H1]))),
    "one byte in a submission proof": ("§4.3.5", lambda f: updated(f, H1, flip(f.reveals[H1]))),
    "other member's header on one's own leaves": (
        "§4.3.5",
        lambda f: updated(f, H2, headed(f.reveals[H1], lambda h: h.update({5: H2}))),
    ),
    "one byte in the total": ("§5.2", lambda f: replace(f, total=flip(f.total))),
    "wrong leaf in the total": ("§5.3", lambda f: totalled(f, flip(f.total))),
    "exclusion invented beside a member": (
        "§5.2",
        lambda f: totalled(f, headed(f.total, lambda h: h.update({13: [[bytes(H4), 3, 1, "zero"]]}))),
    ),
    "exclusion invented instead of a member": (
        "§5.2",
        lambda f: totalled(f, headed(f.total, lambda h: left_out(h, H4, 4)), HOSPITALS[:3]),
    ),
    "member called unavailable, but added": (
        "§5.3",
        lambda f: totalled(f, headed(f.total, lambda h: left_out(h, H4, 5)), HOSPITALS[:3]),
    ),
    "total of another round": ("§4.2", lambda f: totalled(f, headed(f.total, lambda h: h.update({4: 1})))),
    "share of other bytes": ("§9.9", lambda f: replace(f, shares={H1: (bytes(32), f.shares[H1][1])})),
    "wrong share": (
        "§7.8",
        lambda f: shared(f, H1, wrong_answer(f.shares[H1][1])),
    ),
    "other member's share": ("§4.2", lambda f: shared(f, H2, f.shares[H1][1])),
    "one share only": ("§5", lambda f: replace(f, shares={H1: f.shares[H1]})),
    "wrong plaintext": ("§7.9.4", lambda f: opened(f, wrong_answer(f.opening))),
    "wrong witness": ("§7.9.4", lambda f: opened(f, flip(f.opening))),
    "opening of other bytes": ("§5.5", lambda f: replace(f, opening_digest=bytes(32))),
    "wrong digest of the model": ("§5.5", lambda f: replace(f, model_digest=bytes(32))),
    "wrong parameter": ("§8.7", lambda f: replace(f, model=flip(f.model))),
    "wrong base": ("§5.2", lambda f: replace(f, base=[flip(f.base[0]), f.base[1]])),
}

SEALED = {
    "nonce": lambda f: replace(f, model=flip(f.model, 0)),
    "commitment": lambda f: replace(f, opening=flip(f.opening, 32)),
    "text": lambda f: replace(f, opening=flip(f.opening, 64)),
    "tag": lambda f: replace(f, shares={H1: (f.shares[H1][0], flip(f.shares[H1][1]))}),
    "kind": lambda f: replace(f, model=f.opening),
    "key": lambda f: replace(f, content_key=bytes(32)),
    "round": lambda f: replace(f, round=1),
    "no key": lambda f: replace(f, content_key=None),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_refused_at_its_clause(name) -> None:
    clause, forge = FORGERIES[name]
    with pytest.raises(Mismatch) as found:
        verify(forge(second_round("paillier")))
    assert found.value.clause == clause, found.value


@pytest.mark.parametrize("name", SEALED)
def test_a_forged_box_is_refused(name) -> None:
    with pytest.raises(Mismatch) as found:
        verify(SEALED[name](second_round("paillier, sealed")))
    assert found.value.clause == "§6.3", found.value


def test_any_two_shares_open_the_same() -> None:
    """§7.9, with the members' own numbers and not their order among those at hand."""
    rehearsal = rehearse("paillier", features=FEATURES)
    for member in HOSPITALS:
        id = rehearsal.commit(member)
    finished(rehearsal, reveals(rehearsal, id), *HOSPITALS[1:])
    facts = facts_of(rehearsal, 1, GENESIS)
    models = [verify(replace(facts, shares=two)) for two in pairs(facts.shares)]
    assert len(models) == 3
    assert models == [verify(facts)] * 3


def bad(rehearsal: Rehearsal, member: bytes, how: str) -> Payload:
    """An update that earns one kind of exclusion."""
    payload = honest_payload(rehearsal, member)
    match how:
        case "proof":
            return replace(payload, tail=flip(payload.tail))
        case "zero":
            return replace(payload, leaves=payload.leaves[: 4 * B] + bytes(2 * B) + payload.leaves[6 * B :])
        case "range":
            return replace(payload, leaves=payload.leaves[: 6 * B] + b"\xff" * 2 * B)
        case "header":
            return replace(payload, header=payload.header[:-1] + b"\0")
    return payload


@pytest.mark.parametrize("how", ["proof", "zero", "range", "header", "size", "root", "silent", "base"])
def test_a_round_that_leaves_one_out_is_accepted(how) -> None:
    """Codes, leaves and rules as the package writes them are those that the protocol asks for."""
    rehearsal = rehearse("paillier", features=FEATURES)
    payload = bad(rehearsal, H4, how)
    if how == "base":
        round = rehearsal.round()
        rehearsal.ledger(H4).commit_update(round.id, payload.root(), Digest(bytes([1] * 32)))
        rehearsal.hospitals[H4].payloads[round.id] = payload
    else:
        commit_payload(rehearsal, H4, payload)
    for member in HOSPITALS[:3]:
        id = rehearsal.commit(member)
    if how == "size":
        rehearsal.hospitals[H4].payloads[id] = replace(payload, tail=payload.tail + b"\0")
    if how == "root":
        rehearsal.hospitals[H4].payloads[id] = replace(payload, tail=flip(payload.tail))
    reveals(rehearsal, id, HOSPITALS[:3] if how == "silent" else HOSPITALS)
    record = finished(rehearsal, id)
    assert [one.member for one in record.admission.excluded] == [H4]
    verify(facts_of(rehearsal, 1, GENESIS))
