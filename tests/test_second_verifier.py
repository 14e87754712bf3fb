"""A second implementation, written from PROTOCOL.md alone, accepts an honest study and refuses forgeries."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import combinations

import pytest

from federation.rehearsal import AGGREGATOR

from .rehearsing import HOSPITALS, flip, reveals
from .rehearsing import opened as finished
from .second_capsule import power
from .second_hybrid import PRIMES, TOWER
from .second_log import (
    AcceptStudy,
    Call,
    CommitUpdate,
    CreateStudy,
    Finish,
    Line,
    Member,
    PostShare,
    PostTotal,
    Terms,
)
from .second_parts import Mismatch, decode, encode, numbers, sha, tree_root
from .second_rehearsals import GENESIS, SUITES, facts_of, rehearsed, second_round, suite_of
from .second_study import Facts
from .second_suites import Suite
from .second_verifier import split, verify

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


def logged(facts: Facts, change: Callable[[Line], Iterable[Line]]) -> Facts:
    """Each line of the log became these."""
    return replace(facts, log=[line for told in facts.log for line in change(told)])


def said(facts: Facts, call: type[Call], sender: bytes | None, **changes: object) -> Facts:
    """In this round, or of the study, somebody had said something else; of anybody's calls if None."""

    def change(line: Line) -> list[Line]:
        meant = isinstance(line.call, call) and getattr(line.call, "round", facts.round) == facts.round
        if not meant or sender not in (None, line.sender):
            return [line]
        return [replace(line, call=replace(line.call, **changes))]

    return logged(facts, change)


def unsaid(facts: Facts, call: type[Call], sender: bytes) -> Facts:
    """In this round somebody had not said this."""

    def change(line: Line) -> list[Line]:
        meant = isinstance(line.call, call) and line.call.round == facts.round
        return [] if meant and line.sender == sender else [line]

    return logged(facts, change)


def rooted(payload: bytes, *widths: int) -> bytes:
    """The root that fits these bytes."""
    return tree_root(split(payload, widths))


def updated(facts: Facts, member: bytes, payload: bytes, **base: bytes) -> Facts:
    """The member had committed to this payload."""
    suite = suite_of(facts)
    root = rooted(payload, *suite.widths, suite.proof)
    facts = replace(facts, reveals={**facts.reveals, member: payload})
    return said(facts, CommitUpdate, member, root=root, **base)


def totalled(facts: Facts, total: bytes, members: tuple[bytes, ...] = HOSPITALS) -> Facts:
    """The aggregator had posted this total, and everybody shared in it."""
    root = rooted(total, *suite_of(facts).widths)
    facts = said(replace(facts, total=total), PostTotal, AGGREGATOR, root=root, members=members)
    return said(facts, PostShare, None, total=root)


def shared(facts: Facts, member: bytes, share: bytes) -> Facts:
    """The member had given this share."""
    facts = replace(facts, shares={**facts.shares, member: share})
    return said(facts, PostShare, member, digest=rooted(share, suite_of(facts).share))


def opened(facts: Facts, opening: bytes) -> Facts:
    """The proposer had proposed this opening."""
    K = suite_of(facts).K
    root = tree_root(split(opening, [B] * K + [K * B])[:-1])
    return said(replace(facts, opening=opening), Finish, AGGREGATOR, opening=root)


def termed(facts: Facts, **changes: object) -> Facts:
    """The ledger says something else of the study."""
    return said(facts, CreateStudy, None, terms=replace(terms_in(facts), **changes))


def founded(facts: Facts, account: bytes, role: int) -> Facts:
    """One more had been there from the first block on."""
    joined = Line(facts.log[0].time, account, Member(account, role, bytes(32), b"one more"))
    return replace(facts, log=[joined, *facts.log])


def terms_in(facts: Facts) -> Terms:
    return next(line.call.terms for line in facts.log if isinstance(line.call, CreateStudy))


def agreed(facts: Facts, document: bytes) -> Facts:
    """All had accepted this study."""
    facts = termed(replace(facts, document=document), digest=sha(document))
    return said(facts, AcceptStudy, None, digest=sha(document))


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


def unavailable(facts: Facts) -> Facts:
    """The total's header calls one so, its leaves do not."""
    return totalled(facts, headed(facts.total, lambda h: left_out(h, H4, 5)), HOSPITALS[:3])


def late(facts: Facts, seconds: int) -> Facts:
    """From the total on everything came so much later."""
    (at,) = (
        k
        for k, line in enumerate(facts.log)
        if isinstance(line.call, PostTotal) and line.call.round == facts.round
    )
    moved = [replace(line, time=line.time + seconds) for line in facts.log[at:]]
    return replace(facts, log=[*facts.log[:at], *moved])


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
    "other base in the commit": (
        "§5.2",
        AGGREGATOR,
        lambda f: updated(f, H1, f.reveals[H1], base=bytes([1] * 32)),
    ),
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
    "member called unavailable, but added": ("§5.3", AGGREGATOR, lambda f: late(unavailable(f), 30)),
    "member called unavailable too early": ("§9.16", AGGREGATOR, lambda f: late(unavailable(f), 29)),
    "total of another round": (
        "§4.2",
        AGGREGATOR,
        lambda f: totalled(f, headed(f.total, lambda h: h.update({4: 1}))),
    ),
    "share of other bytes": ("§9.9", H1, lambda f: said(f, PostShare, H1, digest=bytes(32))),
    "wrong share": (
        "§7.8",
        H1,
        lambda f: shared(f, H1, wrong_answer(f.shares[H1])),
    ),
    "other member's share": ("§4.2", H2, lambda f: shared(f, H2, f.shares[H1])),
    "one share only": ("§5", None, lambda f: replace(f, shares={H1: f.shares[H1]})),
    "wrong plaintext": ("§7.9.4", AGGREGATOR, lambda f: opened(f, wrong_answer(f.opening))),
    "wrong witness": ("§7.9.4", AGGREGATOR, lambda f: opened(f, flip(f.opening))),
    "opening of other bytes": ("§5.5", AGGREGATOR, lambda f: said(f, Finish, AGGREGATOR, opening=bytes(32))),
    "wrong digest of the model": ("§5.5", AGGREGATOR, lambda f: said(f, Finish, AGGREGATOR, model=bytes(32))),
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
        lambda f: shared(f, H1, headed(f.shares[H1], lambda h: h.update({6: "paillier"}))),
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
        lambda f: shared(f, H1, halves_swapped(f.shares[H1], start=first_leaf(f.shares[H1]))),
    ),
    "second dealer's share of another bit": ("§7.8", H1, lambda f: shared(f, H1, flip(f.shares[H1]))),
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
    "tag": lambda f: replace(f, shares={H1: flip(f.shares[H1])}),
    "kind": lambda f: replace(f, model=f.opening),
    "key": lambda f: replace(f, content_key=bytes(32)),
    "round": lambda f: replace(f, round=1),
    "no key": lambda f: replace(f, content_key=None),
}


def leaves_of(facts: Facts, part: int, value: object) -> Facts:
    """The ledger says something else of what the court judges by."""
    leaves = list(terms_in(facts).leaves)
    leaves[part] = value
    return termed(facts, leaves=tuple(leaves))


def documented(facts: Facts, key: int, value: object, **terms: object) -> Facts:
    """All had accepted another document, of which the ledger says the same."""
    return termed(agreed(facts, encode({**decode(facts.document), key: value})), **terms)


OTHER = bytes([9] * 20)
SEVERAL = [AGGREGATOR, OTHER, bytes([8] * 20), bytes([7] * 20)]
TERMS: dict[str, Forgery] = {
    "other institutions": (
        "§3.1",
        None,
        lambda f: agreed(f, encode({**decode(f.document), 7: [H1, H2, H4]})),
    ),
    "another aggregator": (
        "§3.1",
        None,
        lambda f: agreed(f, encode({**decode(f.document), 8: [AGGREGATOR, OTHER]})),
    ),
    "an aggregator of no consortium": (
        "§5.10",
        None,
        lambda f: termed(f, aggregators=[AGGREGATOR, OTHER]),
    ),
    "an institution as an aggregator": (
        "§5.10",
        None,
        lambda f: founded(termed(f, aggregators=[AGGREGATOR, OTHER]), OTHER, 1),
    ),
    "another threshold": ("§3.1", None, lambda f: agreed(f, encode({**decode(f.document), 9: 3}))),
    "another minimum": ("§3.1", None, lambda f: termed(f, minimum=4)),
    "other rounds": ("§3.1", None, lambda f: termed(f, rounds=7)),
    "another window": ("§3.1", None, lambda f: termed(f, windows=[60, 60, 60, 61])),
    "another stake": (
        "§3.1",
        None,
        lambda f: agreed(f, encode({**decode(f.document), 15: [1, 0, bytes(20)]})),
    ),
    "another lock": ("§3.1", None, lambda f: termed(f, stake=(0, 1, bytes(20)))),
    "another treasury": ("§3.1", None, lambda f: termed(f, stake=(0, 0, OTHER))),
    "another suite to judge by": ("§3.1", None, lambda f: leaves_of(f, 0, 0)),
    "another number of ciphertexts": ("§3.1", None, lambda f: leaves_of(f, 1, suite_of(f).K + 1)),
    "another number of body leaves": ("§3.1", None, lambda f: leaves_of(f, 2, 640)),
    "another binding": ("§3.1", None, lambda f: leaves_of(f, 3, bytes(32))),
    "four aggregators": ("§3.2", None, lambda f: late(documented(f, 8, SEVERAL, aggregators=SEVERAL), 181)),
    "an aggregator twice": (
        "§3",
        None,
        lambda f: documented(f, 8, SEVERAL[:1] * 2, aggregators=SEVERAL[:1] * 2),
    ),
    "a stake of a single number": ("§3", None, lambda f: documented(f, 15, [5])),
    "a negative stake": (
        "§3",
        None,
        lambda f: documented(f, 15, [0, -1, bytes(20)], stake=(0, -1, bytes(20))),
    ),
    "a treasury of 19 bytes": (
        "§3",
        None,
        lambda f: documented(f, 15, [0, 0, bytes(19)], stake=(0, 0, bytes(19))),
    ),
    "a study without stake": (
        "§3",
        None,
        lambda f: agreed(f, encode({k: v for k, v in decode(f.document).items() if k < 15})),
    ),
}
UNLAWFUL: dict[str, tuple[str, Callable[[Facts], Facts]]] = {
    "total of somebody else": (
        "§5.8",
        lambda f: logged(
            f, lambda line: [replace(line, sender=H1)] if isinstance(line.call, PostTotal) else [line]
        ),
    ),
    "total after the last turn": ("§5.8", lambda f: late(f, 61)),
    "total in the last second of another's turn, which is first in this round": (
        "§5.8",
        lambda f: late(founded(termed(f, aggregators=[AGGREGATOR, OTHER]), OTHER, 2), 60),
    ),
    "total of another's update": (
        "§5",
        lambda f: said(f, PostTotal, AGGREGATOR, members=[*HOSPITALS[:3], OTHER]),
    ),
    "total of too few": ("§5", lambda f: said(f, PostTotal, AGGREGATOR, members=HOSPITALS[:2])),
    "total of one twice": ("§5", lambda f: said(f, PostTotal, AGGREGATOR, members=[H1, *HOSPITALS])),
    "second total": ("§5", lambda f: logged(f, lambda line: [line] * (1 + isinstance(line.call, PostTotal)))),
    "share for another total": ("§5.4", lambda f: said(f, PostShare, H1, total=bytes(32))),
    "share given twice": (
        "§5",
        lambda f: logged(f, lambda line: [line] * (1 + isinstance(line.call, PostShare))),
    ),
    "share too late": ("§5", lambda f: shares_late(f, 61)),
    "result without enough shares": ("§5", lambda f: unsaid(f, PostShare, H1)),
    "acceptance of another digest": ("§3.1", lambda f: said(f, AcceptStudy, None, digest=bytes(32))),
    "round that nobody may begin": (
        "§3.1",
        lambda f: logged(
            f, lambda line: [] if isinstance(line.call, AcceptStudy) and line.sender == H4 else [line]
        ),
    ),
    "time that runs backwards": ("§5", lambda f: late(f, -1)),
}


def shares_late(facts: Facts, seconds: int) -> Facts:
    """Total in time, all that follows so much later."""
    total = max(k for k, line in enumerate(facts.log) if isinstance(line.call, PostTotal))
    moved = [replace(line, time=line.time + seconds) for line in facts.log[total + 1 :]]
    return replace(facts, log=[*facts.log[: total + 1], *moved])


@pytest.mark.parametrize("name", UNLAWFUL)
def test_a_call_that_the_law_forbids_is_found(name: str) -> None:
    clause, forge = UNLAWFUL[name]
    with pytest.raises(Mismatch) as found:
        verify(forge(second_round("paillier")))
    assert (found.value.clause, found.value.culprit) == (clause, None), found.value


@pytest.mark.parametrize("change", [late, shares_late])
def test_a_window_includes_its_last_second(change) -> None:
    verify(change(second_round("paillier"), 60))


OF_KEYS = (  # what a second dealer's key is part of
    "root of the key proof",
    "verification key",
    "leaf of zeros",
    "one byte in a submission proof",
    "wrong share",
    "wrong plaintext",
    "wrong witness",
)
OF_COURT = [name for name in TERMS if "number of" in name or "judge" in name]  # what depends on suite and key
ALL = FORGERIES | TERMS | OF_BODIES | OF_TWO_DEALERS
NAMES = {
    "paillier": [*FORGERIES, *TERMS],
    "hybrid": [*FORGERIES, *OF_BODIES, *OF_COURT],
    "hybrid of two dealers": [*OF_KEYS, *OF_COURT, *OF_BODIES, *OF_TWO_DEALERS],
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in SUITES for name in NAMES[kind]])
def test_a_forgery_is_refused_at_its_clause_and_blamed_on_its_author(kind, name) -> None:
    clause, culprit, forge = ALL[name]
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
