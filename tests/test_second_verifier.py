"""A second implementation, written from PROTOCOL.md alone, accepts an honest study and refuses forgeries."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import pytest

from federation.rehearsal import AGGREGATOR

from .rehearsing import HOSPITALS, flip, reveals
from .rehearsing import opened as finished
from .second_capsule import power
from .second_hybrid import PRIMES, TOWER
from .second_parts import Mismatch, decode, encode, numbers, sha, tree_root
from .second_rehearsals import GENESIS, SUITES, facts_of, rehearsed, second_round, suite_of
from .second_suites import Suite
from .second_verifier import Facts, split, verify

H1, H2, _, H4 = HOSPITALS
B = 32  # width of the modulus in bytes


@pytest.mark.parametrize("kind", [*SUITES, "paillier, sealed", "hybrid of two dealers, sealed"])
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
    suite = suite_of(facts)
    commit = (rooted(payload, *suite.widths, suite.proof), base or facts.commits[member][1])
    return replace(
        facts, commits={**facts.commits, member: commit}, reveals={**facts.reveals, member: payload}
    )


def totalled(facts: Facts, total: bytes, members: tuple[bytes, ...] = HOSPITALS) -> Facts:
    """The aggregator had posted this total."""
    return replace(facts, total=total, total_root=rooted(total, *suite_of(facts).widths), members=members)


def shared(facts: Facts, member: bytes, share: bytes) -> Facts:
    """The member had given this share."""
    return replace(facts, shares={**facts.shares, member: (rooted(share, suite_of(facts).share), share)})


def opened(facts: Facts, opening: bytes) -> Facts:
    """The proposer had proposed this opening."""
    K = suite_of(facts).K
    root = tree_root(split(opening, [B] * K + [K * B])[:-1])
    return replace(facts, opening=opening, opening_digest=root)


def agreed(facts: Facts, document: bytes) -> Facts:
    """All had accepted this study."""
    return replace(facts, document=document, study_digest=sha(document))


def rekeyed(facts: Facts, change: Callable[[dict], object]) -> Facts:
    """All had accepted this key, or this one of the second dealer."""
    document = decode(facts.document)
    joined = decode(document[6])
    if set(joined) == {1}:
        first, second = joined[1]
        return agreed(facts, encode({**document, 6: encode({1: [first, changed(second, change)]})}))
    return agreed(facts, encode({**document, 6: changed(document[6], change)}))


def changed(encoding: bytes, change: Callable[[dict], object]) -> bytes:
    """The same map, changed."""
    found = decode(encoding)
    change(found)
    return encode(found)


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


Forgery = tuple[str, bytes | None, Callable[[Facts], Facts]]  # at which clause it is found, and whose it is
FORGERIES: dict[str, Forgery] = {
    "another study than the agreed one": ("§3.1", None, lambda f: replace(f, document=flip(f.document, 9))),
    "study with a longer head": (
        "§2.3",
        None,
        lambda f: agreed(f, f.document[:2] + b"\x18\1" + f.document[3:]),
    ),
    "study with bytes behind it": ("§2.3", None, lambda f: agreed(f, f.document + b"\0")),
    "root of the key proof": ("§7.3.5", None, lambda f: rekeyed(f, lambda k: k[6].reverse())),
    "verification key": ("§7.3.7", None, lambda f: rekeyed(f, lambda k: k[5].reverse())),
    "one byte in an update": (
        "§4.3.2",
        H1,
        lambda f: replace(f, reveals={**f.reveals, H1: flip(f.reveals[H1])}),
    ),
    "one byte too many": (
        "§4.3.1",
        H1,
        lambda f: replace(f, reveals={**f.reveals, H1: f.reveals[H1] + b"\0"}),
    ),
    "other member's update": ("§4.3.3", H2, lambda f: updated(f, H2, f.reveals[H1])),
    "other base in the header": (
        "§4.3.3",
        H1,
        lambda f: updated(f, H1, headed(f.reveals[H1], lambda h: h.update({10: bytes(32)}))),
    ),
    "other base in the commit": ("§5.2", AGGREGATOR, lambda f: updated(f, H1, f.reveals[H1], base=bytes(32))),
    "leaf of zeros": ("§4.3.4", H1, lambda f: updated(f, H1, with_zero_leaf(f.reveals[H1]))),
    "one byte in a submission proof": ("§4.3.5", H1, lambda f: updated(f, H1, flip(f.reveals[H1]))),
    "other member's header on one's own leaves": (
        "§4.3.5",
        H2,
        lambda f: updated(f, H2, headed(f.reveals[H1], lambda h: h.update({5: H2}))),
    ),
    "one byte in the total": ("§5.2", AGGREGATOR, lambda f: replace(f, total=flip(f.total))),
    "wrong leaf in the total": ("§5.3", AGGREGATOR, lambda f: totalled(f, flip(f.total))),
    "exclusion invented beside a member": (
        "§5.2",
        AGGREGATOR,
        lambda f: totalled(f, headed(f.total, lambda h: h.update({13: [[bytes(H4), 3, 1, "zero"]]}))),
    ),
    "exclusion invented instead of a member": (
        "§5.2",
        AGGREGATOR,
        lambda f: totalled(f, headed(f.total, lambda h: left_out(h, H4, 4)), HOSPITALS[:3]),
    ),
    "member called unavailable, but added": (
        "§5.3",
        AGGREGATOR,
        lambda f: totalled(f, headed(f.total, lambda h: left_out(h, H4, 5)), HOSPITALS[:3]),
    ),
    "total of another round": (
        "§4.2",
        AGGREGATOR,
        lambda f: totalled(f, headed(f.total, lambda h: h.update({4: 1}))),
    ),
    "share of other bytes": ("§9.9", H1, lambda f: replace(f, shares={H1: (bytes(32), f.shares[H1][1])})),
    "wrong share": (
        "§7.8",
        H1,
        lambda f: shared(f, H1, wrong_answer(f.shares[H1][1])),
    ),
    "other member's share": ("§4.2", H2, lambda f: shared(f, H2, f.shares[H1][1])),
    "one share only": ("§5", None, lambda f: replace(f, shares={H1: f.shares[H1]})),
    "wrong plaintext": ("§7.9.4", AGGREGATOR, lambda f: opened(f, wrong_answer(f.opening))),
    "wrong witness": ("§7.9.4", AGGREGATOR, lambda f: opened(f, flip(f.opening))),
    "opening of other bytes": ("§5.5", AGGREGATOR, lambda f: replace(f, opening_digest=bytes(32))),
    "wrong digest of the model": ("§5.5", AGGREGATOR, lambda f: replace(f, model_digest=bytes(32))),
    "wrong parameter": ("§8.7", AGGREGATOR, lambda f: replace(f, model=flip(f.model))),
    "wrong base": ("§5.2", None, lambda f: replace(f, base=[flip(f.base[0]), f.base[1]])),
}


def residue(payload: bytes, suite: Suite, leaf: int, value: int) -> bytes:
    """The last residue of this leaf of an update says something else."""
    at = first_leaf(payload) + sum(suite.widths[:leaf])
    return payload[: at - 4] + value.to_bytes(4, "little") + payload[at:]


def with_residues(facts: Facts, *leaves_and_values: tuple[int, int]) -> Facts:
    """H1's update, residues of its body replaced; leaves count from the body's first."""
    suite, payload = suite_of(facts), facts.reveals[H1]
    for leaf, value in leaves_and_values:
        payload = residue(payload, suite, suite.K + 1 + leaf, value)
    return updated(facts, H1, payload)


def amplified(facts: Facts, dealer: int) -> Facts:
    """H1's capsule under a dealer's key, each plaintext 128 times as large."""
    suite, payload = suite_of(facts), facts.reveals[H1]
    capsule = suite.capsules[dealer]
    at, size = first_leaf(payload) + 2 * B * sum(one.K for one in suite.capsules[:dealer]), 2 * B * capsule.K
    powers = (power(c, 128, capsule.key.square) for c in numbers(payload[at : at + size], 2 * B))
    leaves = b"".join(c.to_bytes(2 * B, "big") for c in powers)
    return updated(facts, H1, payload[:at] + leaves + payload[at + size :])


def halves_swapped(data: bytes, *, start: int) -> bytes:
    """What follows `start`, the second half first."""
    middle = (start + len(data)) // 2
    return data[:start] + data[middle:] + data[start:middle]


LAST = 2 * TOWER - 1  # leaf of a block
OF_BODIES: dict[str, Forgery] = {
    "residue of q in the first tower": ("§4.3.4", H1, lambda f: with_residues(f, (TOWER - 1, PRIMES[0]))),
    "residue of q in the second tower": ("§4.3.4", H1, lambda f: with_residues(f, (TOWER, PRIMES[1]))),
    "residue of 2^32-1": ("§4.3.4", H1, lambda f: with_residues(f, (LAST, (1 << 32) - 1))),
    "altered body under the old proof": ("§4.3.5", H1, lambda f: with_residues(f, (LAST, 12345))),
    "old capsule, amplified": ("§4.3.5", H1, lambda f: amplified(f, 0)),
    "header of the other suite": (
        "§4.3.3",
        H1,
        lambda f: updated(f, H1, headed(f.reveals[H1], lambda h: h.update({6: "paillier"}))),
    ),
    "share under the header of the other suite": (
        "§4.2",
        H1,
        lambda f: shared(f, H1, headed(f.shares[H1][1], lambda h: h.update({6: "paillier"}))),
    ),
    "wrong capsule in the total": ("§5.3", AGGREGATOR, lambda f: totalled(f, wrong_answer(f.total))),
}
OF_TWO_DEALERS: dict[str, Forgery] = {
    "second dealer's old capsule, amplified": ("§4.3.5", H1, lambda f: amplified(f, 1)),
    "the dealers' proofs swapped": (
        "§4.3.5",
        H1,
        lambda f: updated(f, H1, halves_swapped(f.reveals[H1], start=len(f.reveals[H1]) - suite_of(f).proof)),
    ),
    "the dealers' shares swapped": (
        "§7.8",
        H1,
        lambda f: shared(f, H1, halves_swapped(f.shares[H1][1], start=first_leaf(f.shares[H1][1]))),
    ),
    "second dealer's share of another bit": ("§7.8", H1, lambda f: shared(f, H1, flip(f.shares[H1][1]))),
    "one dealer twice": ("§7.12.1", None, lambda f: agreed(f, encode(one_dealer_twice(decode(f.document))))),
}


def one_dealer_twice(document: dict) -> dict:
    """The study's joined key is no joined key."""
    first, _ = decode(document[6])[1]
    return {**document, 6: encode({1: [first, first]})}


def test_a_residue_of_the_larger_prime_is_lawful_where_the_prime_is_larger_only() -> None:
    """The smaller prime itself is a residue of the first tower: what fails is the proof over another body."""
    with pytest.raises(Mismatch) as found:
        verify(with_residues(second_round("hybrid"), (TOWER - 1, PRIMES[1])))
    assert found.value.clause == "§4.3.5"


def test_the_first_of_two_residues_too_large_is_named_by_its_leaf_in_the_tree() -> None:
    facts = second_round("hybrid")
    with pytest.raises(Mismatch) as found:
        verify(with_residues(facts, (LAST, PRIMES[1]), (TOWER - 1, PRIMES[0])))
    assert (found.value.what, found.value.leaf) == ("range", suite_of(facts).K + TOWER)


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


OF_KEYS = (  # what a second dealer's key is part of
    "root of the key proof",
    "verification key",
    "leaf of zeros",
    "one byte in a submission proof",
    "wrong share",
    "wrong plaintext",
    "wrong witness",
)
NAMES = {
    "paillier": [*FORGERIES],
    "hybrid": [*FORGERIES, *OF_BODIES],
    "hybrid of two dealers": [*OF_KEYS, *OF_BODIES, *OF_TWO_DEALERS],
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in SUITES for name in NAMES[kind]])
def test_a_forgery_is_refused_at_its_clause_and_blamed_on_its_author(kind, name) -> None:
    clause, culprit, forge = (FORGERIES | OF_BODIES | OF_TWO_DEALERS)[name]
    forged = forge(second_round(kind))
    with pytest.raises(Mismatch) as found:
        verify(forged)
    assert (found.value.clause, found.value.culprit) == (clause, culprit), found.value


@pytest.mark.parametrize("name", SEALED)
def test_a_forged_box_is_refused(name) -> None:
    with pytest.raises(Mismatch) as found:
        verify(SEALED[name](second_round("paillier, sealed")))
    assert found.value.clause == "§6.3", found.value


@pytest.mark.parametrize("kind", SUITES)
def test_any_two_shares_open_the_same(kind) -> None:
    """§7.9, with the members' own numbers and not their order among those at hand."""
    rehearsal = rehearsed(kind)
    for member in HOSPITALS:
        id = rehearsal.commit(member)
    finished(rehearsal, reveals(rehearsal, id), *HOSPITALS[1:])
    facts = facts_of(rehearsal, 1, GENESIS)
    models = [verify(replace(facts, shares=two)) for two in pairs(facts.shares)]
    assert len(models) == 3
    assert models == [verify(facts)] * 3
