"""The judge on two chains against plain integers: no wrong verdict, for any evidence."""

from __future__ import annotations

import random
import shutil
import tempfile
from dataclasses import replace
from functools import cache, reduce
from pathlib import Path

import pytest

from deploy import contracts
from federation.ciphers import SuiteName, resolve
from federation.ciphers.ring.element import PRIMES
from federation.disputes import NO_KEY, SumEvidence
from federation.merkle import leaf_digest, prove_leaf, root_of
from federation.runs import Run
from tests.ciphers.keys import dealt, primes
from tests.contract.court import (
    HYBRID,
    PROVEN,
    Case,
    Court,
    Facts,
    case,
    leaf_case,
    shown,
    sum_case,
)

DISPUTES = 1_000  # of each suite
CHUNK = 512  # bytes


@pytest.fixture
def draw(request) -> random.Random:
    return random.Random(request.node.name.partition("[")[0])


def modulus(draw: random.Random, width: int) -> int:
    """Odd, of exactly `width` bytes; what its factors are is nothing to a sum."""
    return draw.getrandbits(8 * width) | 1 << 8 * width - 1 | 1


def packed(value: int, width: int) -> bytes:
    return value.to_bytes(width, "big")


def members(draw: random.Random) -> int:
    """3 … 32, mostly few: each costs Ganache 20 ms, and each number has a test of its own."""
    return 3 if draw.random() < 0.8 else draw.choice((4, 5, 6, 7, 8, 10, draw.randint(11, 31), 32))


def name(verdict) -> str:
    return verdict if isinstance(verdict, str) else verdict[0]


# ---------------------------------------------------------------------- sums of ciphertexts

WIDTHS = (16, 18, 30, 32, 32, 32, 34, 46, 48, 50, 64)  # bytes of n; not all whole words


def ciphertext(draw: random.Random, n: int) -> int:
    """In [1, n²): a usual one, or one at an edge."""
    edges = (1, 2, n * n - 1, n * n - 2, n - 1, n, n + 1, n * draw.randrange(1, n), n * n - n)
    return draw.choice(edges) if draw.random() < 0.3 else draw.randrange(1, n * n)


def posted_product(draw: random.Random, right: int, n: int) -> bytes:
    """The right leaf, or one that is wrong in a way of its own; at times the same by another way."""
    width, m = 2 * ((n.bit_length() + 7) // 8), n * n
    quarter = pow(4, -1, m)
    wrong = (0, 1, n, m - 1, (right + 1) % m, -right % m, 4 * right % m, right * quarter % m, right ^ 1)
    other = packed(draw.choice(wrong), width)
    right_leaf = packed(right, width)
    above = packed(right + m, width) if right + m < 1 << 8 * width else other  # the same residue
    odd_widths = (right_leaf[1:], right_leaf + b"\0", b"\0" + right_leaf, b"")
    return draw.choice((right_leaf, right_leaf, other, above, draw.choice(odd_widths)))


def product_dispute(draw: random.Random, n: int) -> tuple[Case, bool]:
    """A case, and whether it has to be proven."""
    width = (n.bit_length() + 7) // 8
    two = draw.random() < 0.3
    others = [packed(modulus(draw, width), width)] if two else []
    second = two and draw.random() < 0.5
    moduli = [*others, packed(n, width)] if second else [packed(n, width), *others]
    key, evidence = shown(draw, *moduli)
    half = draw.randint(1, 6)
    facts = Facts(
        suite=HYBRID if two else draw.choice((1, 2)),
        ciphertexts=2 * half if two else half,
        chunks=draw.choice((0, 64, 128)),
        key=key,
    )
    leaf = draw.randint(half + 1, 2 * half) if second else draw.randint(1, half)
    values = [ciphertext(draw, n) for _ in range(members(draw))]
    right = reduce(lambda a, b: a * b % (n * n), values)
    posted = posted_product(draw, right, n)
    leaves = [packed(value, 2 * width) for value in values]
    made = sum_case(draw, facts, leaf, leaves, posted, evidence[second])
    return made, posted != packed(right, 2 * width)


def test_a_thousand_products_are_judged_as_plain_integers_say(court, draw):
    disputes = [product_dispute(draw, modulus(draw, draw.choice(WIDTHS))) for _ in range(DISPUTES)]
    verdicts = court.ask_all([made for made, _ in disputes])
    for (_, wrong), verdict in zip(disputes, verdicts, strict=True):
        assert verdict == (PROVEN if wrong else ("SumIsRight", ()))
    assert 200 < sum(wrong for _, wrong in disputes) < DISPUTES - 200


@pytest.mark.parametrize("bits", [256, 512, 2048, 3072])
def test_the_suites_own_sum_is_right_and_any_other_is_not(court, draw, bits):
    suite = SuiteName(name="paillier", key=dealt(bits).public_key, values=4)
    p, q = primes(bits)
    n, width = int(p * q), bits // 8
    key, (evidence,) = shown(draw, packed(n, width))
    facts = Facts(ciphertexts=1, key=key)
    for k in (3, 10):
        values = [draw.randrange(1, n * n) for _ in range(k)]
        leaves = [packed(value, 2 * width) for value in values]
        right = resolve(suite).combine(Run(first=1, count=1, width=2 * width), leaves)
        assert right == packed(reduce(lambda a, b: a * b % (n * n), values), 2 * width)
        assert court.ask(sum_case(draw, facts, 1, leaves, right, evidence)) == ("SumIsRight", ())
        wrong = packed(n * n - int.from_bytes(right, "big"), 2 * width)
        assert court.ask(sum_case(draw, facts, 1, leaves, wrong, evidence)) == PROVEN


@pytest.mark.parametrize("width", [384, 510, 512])
def test_the_longest_moduli_are_judged(court, draw, width):
    n = modulus(draw, width)
    key, (evidence,) = shown(draw, packed(n, width))
    facts = Facts(ciphertexts=1, key=key)
    values = [draw.randrange(1, n * n), n * n - 1, 1, draw.randrange(1, n * n)]
    leaves = [packed(value, 2 * width) for value in values]
    right = packed(reduce(lambda a, b: a * b % (n * n), values), 2 * width)
    assert court.ask(sum_case(draw, facts, 1, leaves, right, evidence)) == ("SumIsRight", ())
    assert court.ask(sum_case(draw, facts, 1, leaves, right[:-1] + b"\0", evidence)) == PROVEN


@pytest.mark.parametrize("k", range(3, 33))
def test_a_sum_of_any_lawful_number_of_members_is_judged(court, draw, k):
    n = modulus(draw, 32)
    key, (evidence,) = shown(draw, packed(n, 32))
    facts = Facts(ciphertexts=2, key=key)
    edge = draw.choice(([n * n - 1] * k, [1] * k, [n] * k))
    for values in (edge, [draw.randrange(1, n * n) for _ in range(k)]):
        leaves = [packed(value, 64) for value in values]
        right = reduce(lambda a, b: a * b % (n * n), values)
        wrong = packed((right + n) % (n * n), 64)
        made = [sum_case(draw, facts, 2, leaves, told, evidence) for told in (packed(right, 64), wrong)]
        assert list(court.ask_all(made)) == [("SumIsRight", ()), PROVEN]


# ---------------------------------------------------------------------- sums of residues


def residue(draw: random.Random, q: int) -> int:
    return draw.choice((0, 1, q - 1, q - 2, q // 2, draw.randrange(q), draw.randrange(q), draw.randrange(q)))


def chunk(residues) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in residues)


def posted_chunk(draw: random.Random, sums: list[int], q: int) -> bytes:
    """The right chunk, or one that is wrong in one residue, in its order or in its width."""
    k = draw.randrange(len(sums))
    changed = draw.choice(
        (0, q - 1, q, sums[k] + q, sums[k] + 1, sums[k] ^ 1 << draw.randrange(32), 2**32 - 1)
    )
    other = chunk([*sums[:k], changed, *sums[k + 1 :]])
    right = chunk(sums)
    turned = b"".join(value.to_bytes(4, "big") for value in sums)
    return draw.choice((right, right, other, other, turned, right[:-4], right + bytes(4)))


def chunk_dispute(draw: random.Random) -> tuple[Case, bool]:
    ciphertexts, blocks = draw.randint(1, 20), draw.randint(1, 3)
    facts = Facts(suite=HYBRID, ciphertexts=ciphertexts, chunks=64 * blocks)
    body = draw.choice((0, 31, 32, 63, 64 * blocks - 1, draw.randrange(64 * blocks)))
    q = PRIMES[body % 64 // 32]
    parts = [[residue(draw, q) for _ in range(CHUNK // 4)] for _ in range(members(draw))]
    sums = [sum(column) % q for column in zip(*parts, strict=True)]
    posted = posted_chunk(draw, sums, q)
    made = sum_case(draw, facts, 1 + ciphertexts + body, [chunk(part) for part in parts], posted)
    return made, posted != chunk(sums)


def test_a_thousand_chunks_are_judged_as_plain_integers_say(court, draw):
    disputes = [chunk_dispute(draw) for _ in range(DISPUTES)]
    verdicts = court.ask_all([made for made, _ in disputes])
    for (_, wrong), verdict in zip(disputes, verdicts, strict=True):
        assert verdict == (PROVEN if wrong else ("SumIsRight", ()))
    assert 200 < sum(wrong for _, wrong in disputes) < DISPUTES - 200


@pytest.mark.parametrize("body", [0, 31, 32, 63, 64, 96])
def test_the_hybrid_suites_own_sum_of_a_chunk_is_right(court, draw, body):
    suite = resolve(SuiteName(name="hybrid", key=dealt(256).public_key, values=2 * 8192))
    first = suite.layout.body.first
    facts = Facts(suite=HYBRID, ciphertexts=first - 1, chunks=suite.layout.body.count)
    q = PRIMES[body % 64 // 32]
    leaves = [chunk(residue(draw, q) for _ in range(CHUNK // 4)) for _ in range(4)]
    right = suite.combine(Run(first=first + body, count=1, width=CHUNK), leaves)
    assert court.ask(sum_case(draw, facts, first + body, leaves, right)) == ("SumIsRight", ())
    assert court.ask(sum_case(draw, facts, first + body, leaves, leaves[0])) == PROVEN


# ---------------------------------------------------------------------- evidence that proves nothing


@pytest.fixture
def ciphertexts(draw):
    """Facts, key evidence and leaves of four members, whose product is known."""
    n = modulus(draw, 32)
    key, (evidence,) = shown(draw, packed(n, 32))
    facts = Facts(ciphertexts=3, key=key)
    values = [draw.randrange(1, n * n) for _ in range(4)]
    return n, facts, evidence, [packed(value, 64) for value in values]


@pytest.mark.parametrize("which", range(4))
def test_a_sum_with_a_malformed_summand_is_another_dispute(court, draw, ciphertexts, which):
    n, facts, evidence, leaves = ciphertexts
    for value in (0, n * n, n * n + 1, (1 << 512) - 1):
        parts = [*leaves[:which], packed(value, 64), *leaves[which + 1 :]]
        made = sum_case(draw, facts, 1, parts, bytes(64), evidence)
        assert court.ask(made) == ("MalformedLeaf", (which,))


@pytest.mark.parametrize(("body", "q"), [(0, PRIMES[0]), (63, PRIMES[1])])
def test_a_sum_with_a_residue_of_its_prime_or_more_is_another_dispute(court, draw, body, q):
    facts = Facts(suite=HYBRID, ciphertexts=2, chunks=64)
    for value in (q, q + 1, 1 << 30, (1 << 31) - 1, 1 << 31, (1 << 32) - 1):
        for place in (0, 7, 8, 127):
            parts = [[residue(draw, q) for _ in range(128)] for _ in range(3)]
            parts[2][place] = value
            made = sum_case(draw, facts, 3 + body, [chunk(part) for part in parts], bytes(CHUNK))
            assert court.ask(made) == ("MalformedLeaf", (2,))


def test_of_several_malformed_summands_the_first_member_is_named(court, draw):
    """And not the one whose fault lies first in its chunk."""
    facts, q = Facts(suite=HYBRID, ciphertexts=2, chunks=64), PRIMES[0]
    parts = [[residue(draw, q) for _ in range(128)] for _ in range(4)]
    parts[1][127] = parts[2][0] = parts[3][64] = q
    made = sum_case(draw, facts, 3, [chunk(part) for part in parts], bytes(CHUNK))
    assert court.ask(made) == ("MalformedLeaf", (1,))


@pytest.mark.parametrize("change", [-64, -1, 1, 64])
def test_leaves_of_another_length_are_no_evidence(court, draw, ciphertexts, change):
    _, facts, evidence, leaves = ciphertexts
    made = sum_case(draw, facts, 1, leaves, b"wrong", evidence)
    given, total, roots, (leaf, found, key, data, paths) = made.arguments
    data = data[:change] if change < 0 else data + bytes(change)
    changed = Case(made.function, (given, total, roots, (leaf, found, key, data, paths)))
    assert court.ask(changed) == ("WrongLength", (256, 256 + change))


@pytest.mark.parametrize("count", [0, 1, 2, 33])
def test_a_sum_of_too_few_or_too_many_members_is_not_judged(court, draw, ciphertexts, count):
    _, facts, evidence, leaves = ciphertexts
    made = sum_case(draw, facts, 1, (leaves * 9)[:count], b"wrong", evidence)
    assert court.ask(made) == ("WrongCount", (3, 32, count))


@pytest.mark.parametrize("leaf", [0, 4, 5, 1 << 255])
def test_header_proof_and_what_lies_behind_are_never_summed(court, draw, ciphertexts, leaf):
    _, facts, evidence, leaves = ciphertexts
    made = sum_case(draw, facts, 1, leaves, b"wrong", evidence)
    given, total, roots, rest = made.arguments
    changed = Case(made.function, (given, total, roots, (leaf, *rest[1:])))
    assert court.ask(changed) == ("NoSuchLeaf", (1, 3, leaf))


@pytest.mark.parametrize("suite", [0, 3, 255])
def test_no_other_suite_is_judged(court, draw, ciphertexts, suite):
    _, facts, evidence, leaves = ciphertexts
    other = replace(facts, suite=suite)
    assert court.ask(sum_case(draw, other, 1, leaves, b"wrong", evidence)) == ("NotJudged", (suite,))
    assert court.ask(leaf_case(draw, other, 1, b"", key=evidence)) == ("NotJudged", (suite,))
    proof = leaf_case(draw, other, 4, b"", key=evidence, function="requireMalformedProof")
    assert court.ask(proof) == ("NotJudged", (suite,))


def test_paths_lead_to_the_roots_in_their_order_and_length(court, draw, ciphertexts):
    _, facts, evidence, leaves = ciphertexts
    made = sum_case(draw, facts, 2, leaves, b"wrong", evidence)
    given, total, roots, (leaf, found, key, data, paths) = made.arguments

    def verdict(paths=paths, roots=roots, total=total, found=found, leaf=leaf, data=data):
        return court.ask(Case(made.function, (given, total, roots, (leaf, found, key, data, paths))))

    assert verdict() == PROVEN
    each = len(paths) // 5  # a leaf of five, or of the total's four, is not equally deep everywhere
    assert verdict(paths=paths[:-1]) == ("NotInTree", (4,))
    assert verdict(paths=()) == ("NotInTree", (0,))
    assert verdict(paths=(*paths, paths[0])) == ("PathsTooLong", (len(paths), len(paths) + 1))
    assert verdict(paths=paths[1:] + paths[:1]) == ("NotInTree", (0,))
    swapped = (*paths[each : 2 * each], *paths[:each], *paths[2 * each :])
    assert verdict(paths=swapped) == ("NotInTree", (0,))
    assert verdict(roots=[*roots[:2], roots[3], roots[2]]) == ("NotInTree", (2,))
    assert verdict(total=roots[0]) == ("NotInTree", (4,))
    assert verdict(found=roots[0]) == ("NotInTree", (4,))
    assert verdict(leaf=1) == ("NotInTree", (0,))
    assert verdict(leaf=3)[0] == "NotInTree"
    assert verdict(data=data[64:] + data[:64]) == ("NotInTree", (0,))
    flipped = bytes([data[0] ^ 1]) + data[1:]
    assert verdict(data=flipped)[0] in {"NotInTree", "MalformedLeaf"}


def test_leaf_2_of_3_does_not_pass_as_leaf_1_of_2(court, draw, ciphertexts):
    """RFC 6962 alone lets it (`test_merkle.py`): the sizes here are the ledger's."""
    _, facts, evidence, leaves = ciphertexts
    facts = replace(facts, ciphertexts=1)  # an update's tree has header, ciphertext and proof: three leaves
    updates = [[b"header", data, b"proof"] for data in leaves]
    right = case(
        "requireWrongSum",
        facts,
        root_of([b"header", b"wrong"]),
        [root_of(update) for update in updates],
        _joined(evidence, 1, leaves, [prove_leaf(update, 1) for update in updates], b"wrong", b"header"),
    )
    assert court.ask(right) == PROVEN
    false = [[b"header", b"other", data] for data in leaves]  # what is at 2 passes as leaf 1 of 2
    moved = case(
        "requireWrongSum",
        facts,
        root_of([b"header", b"wrong"]),
        [root_of(update) for update in false],
        _joined(evidence, 1, leaves, [prove_leaf(update, 2) for update in false], b"wrong", b"header"),
    )
    assert court.ask(moved)[0] == "NotInTree"


def _joined(key, leaf, leaves, paths, posted, header):
    total_path = prove_leaf([header, posted], leaf)
    return SumEvidence(
        leaf=leaf,
        found=leaf_digest(posted),
        key=key,
        leaves=b"".join(leaves),
        paths=tuple(node for path in (*paths, total_path) for node in path),
    )


# ---------------------------------------------------------------------- keys


def test_a_modulus_that_is_not_the_keys_judges_nothing(court, draw, ciphertexts):
    n, facts, evidence, leaves = ciphertexts
    right = evidence.modulus
    for other in (
        replace(evidence, modulus=packed(n + 2, 32)),
        replace(evidence, modulus=b"\0\0" + right),
        replace(evidence, rest=NO_KEY.rest),
        replace(evidence, other=evidence.rest),
    ):
        made = sum_case(draw, facts, 1, leaves, b"wrong", other)
        assert name(court.ask(made)) == "WrongKey"
        assert name(court.ask(leaf_case(draw, facts, 1, b"", key=other))) == "WrongKey"
        proof = leaf_case(draw, facts, 4, b"", key=other, function="requireMalformedProof")
        assert name(court.ask(proof)) == "WrongKey"
    second = sum_case(draw, facts, 1, leaves, b"wrong", replace(evidence, second=True))
    assert name(court.ask(second)) == "WrongDealer"
    assert name(court.ask(sum_case(draw, facts, 1, leaves, b"wrong", NO_KEY))) == "UnsoundModulus"


@pytest.mark.parametrize("n", [b"", b"\x81" * 15, b"\x81" * 14, b"\x81" * 513, b"\x81" * 514, b"\x80" * 32])
def test_a_modulus_out_of_bounds_or_even_judges_nothing(court, draw, n):
    key, (evidence,) = shown(draw, n)
    made = sum_case(draw, Facts(ciphertexts=1, key=key), 1, [b""] * 3, b"wrong", evidence)
    assert court.ask(made) == ("UnsoundModulus", (len(n),))


def test_a_leaf_lies_under_the_key_of_the_dealer_whose_half_it_is_in(court, draw):
    moduli = [modulus(draw, 32), modulus(draw, 32)]
    key, evidence = shown(draw, *(packed(n, 32) for n in moduli))
    facts = Facts(suite=HYBRID, ciphertexts=4, key=key)
    for leaf in (1, 2, 3, 4):
        own = leaf > 2
        values = [draw.randrange(1, min(moduli) ** 2) for _ in range(3)]
        leaves = [packed(value, 64) for value in values]
        for dealer in (False, True):
            right = packed(values[0] * values[1] * values[2] % moduli[dealer] ** 2, 64)
            other = sum_case(draw, facts, leaf, leaves, b"wrong", evidence[dealer])
            same = sum_case(draw, facts, leaf, leaves, right, evidence[dealer])
            foreign = ("WrongDealer", (leaf, dealer))
            assert court.ask(other) == (PROVEN if dealer == own else foreign)
            assert court.ask(same) == (("SumIsRight", ()) if dealer == own else foreign)
            malformed = leaf_case(draw, facts, leaf, bytes(64), key=evidence[dealer])
            assert court.ask(malformed) == (PROVEN if dealer == own else foreign)
        for flipped in (replace(evidence[k], second=not evidence[k].second) for k in (0, 1)):
            assert name(court.ask(sum_case(draw, facts, leaf, leaves, b"wrong", flipped))) == "WrongKey"


# ---------------------------------------------------------------------- leaves


def test_a_ciphertext_is_malformed_where_the_suite_says_so(court, draw):
    p, q = map(int, primes(256))
    n = p * q
    key, (evidence,) = shown(draw, packed(n, 32))
    facts = Facts(ciphertexts=5, key=key)
    sound = [1, n * n - 1, n + 1, *(draw.randrange(1, n * n) for _ in range(20))]
    factors = (b"", packed(1, 1), packed(p, 16), packed(q, 32), packed(n, 32), bytes(32), packed(p + 2, 16))
    for value in sound:
        for witness in (*factors, packed(value % n, 32), packed(n, 34)):
            made = leaf_case(draw, facts, 3, packed(value, 64), key=evidence, witness=witness)
            assert court.ask(made) == ("LeafIsSound", ())
    for value in (0, n * n, n * n + 1, (1 << 512) - 1):
        assert court.ask(leaf_case(draw, facts, 3, packed(value, 64), key=evidence)) == PROVEN
    for value, factor in ((p, p), (n, n), (n, p), (7 * n, n), (n * n - n, q), (q * 12345, q)):
        for witness, proven in ((packed(factor, 32), True), (packed(factor, 33), False), (b"", False)):
            made = leaf_case(draw, facts, 3, packed(value, 64), key=evidence, witness=witness)
            assert court.ask(made) == (PROVEN if proven else ("LeafIsSound", ()))
    for data in (b"", bytes(63), packed(1, 65), packed(1, 128)):
        assert court.ask(leaf_case(draw, facts, 3, data, key=evidence)) == PROVEN


def test_a_factor_of_the_value_alone_or_of_the_modulus_alone_is_no_witness(court, draw):
    p, q = map(int, primes(256))
    key, (evidence,) = shown(draw, packed(p * q, 32))
    facts = Facts(ciphertexts=1, key=key)
    for value, witness in ((3 * 5 * 7, 3), (3 * q, p), (3 * q, 3), (3 * q, 3 * q)):
        made = leaf_case(draw, facts, 1, packed(value, 64), key=evidence, witness=packed(witness, 32))
        assert court.ask(made) == ("LeafIsSound", ())


def test_a_witness_longer_than_the_modulus_reaches_nothing_that_is_computed_with(court, draw):
    """Five words of 32 would overwrite base and exponent, so that 0 mod 32 and 0 mod 32·2^256+32 come out."""
    key, (evidence,) = shown(draw, packed(modulus(draw, 32), 32))
    for witness in (packed(32, 32) * 5, packed(3, 33), bytes(64), packed(1, 33) * 4):
        made = leaf_case(draw, Facts(ciphertexts=1, key=key), 1, packed(5, 64), key=evidence, witness=witness)
        assert court.ask(made) == ("LeafIsSound", ())


def test_a_chunk_is_malformed_where_a_residue_is_not_below_its_prime(court, draw):
    facts = Facts(suite=HYBRID, ciphertexts=3, chunks=128)
    cases, expected = [], []
    for _ in range(100):
        body = draw.randrange(128)
        q = PRIMES[body % 64 // 32]
        values = [residue(draw, q) for _ in range(128)]
        excess = draw.choice((None, q, q + 1, PRIMES[0] - 1, 1 << 31, (1 << 32) - 1))
        if excess is not None:
            values[draw.randrange(128)] = excess
        cases.append(leaf_case(draw, facts, 4 + body, chunk(values)))
        expected.append(PROVEN if max(values) >= q else ("LeafIsSound", ()))
    assert list(court.ask_all(cases)) == expected
    assert len(set(expected)) == 2
    for data in (b"", bytes(CHUNK - 1), bytes(CHUNK + 1), bytes(2 * CHUNK)):
        assert court.ask(leaf_case(draw, facts, 4, data)) == PROVEN


def test_leaf_evidence_stands_in_the_tree_at_its_index(court, draw, ciphertexts):
    _, facts, evidence, _ = ciphertexts
    made = leaf_case(draw, facts, 2, bytes(64), key=evidence)
    given, root, (leaf, key, data, path, witness) = made.arguments

    def verdict(root=root, leaf=leaf, data=data, path=path):
        return court.ask(Case(made.function, (given, root, (leaf, key, data, path, witness))))

    assert verdict() == PROVEN
    assert verdict(root=key[1]) == ("NotInTree", (0,))
    assert verdict(data=bytes(65)) == ("NotInTree", (0,))
    assert verdict(path=path[:-1]) == ("NotInTree", (0,))
    assert verdict(path=(*path, key[1])) == ("PathsTooLong", (len(path), len(path) + 1))
    assert verdict(leaf=1) == ("NotInTree", (0,))
    for outside in (0, 4, 5, 1 << 40):
        assert verdict(leaf=outside) == ("NoSuchLeaf", (1, 3, outside))


# ---------------------------------------------------------------------- submission proofs


def proof(n: int, width: int, *, d: int = 1, z: int = 0, zeta: int = 0) -> bytes:
    return packed(d, 2 * width) + packed(z, width) + packed(zeta, width // 2 + 37)


@pytest.mark.parametrize("dealers", [1, 2])
def test_a_proof_is_malformed_where_its_form_cannot_pass(court, draw, dealers):
    p, q = map(int, primes(256))
    n, other = p * q, modulus(draw, 32)
    moduli = [packed(value, 32) for value in (other, n)[-dealers:]]
    key, evidence = shown(draw, *moduli)
    mine = evidence[-1]
    facts = Facts(suite=HYBRID, ciphertexts=2 * dealers, key=key)
    before = proof(other, 32) if dealers == 2 else b""
    last = 1 + facts.ciphertexts

    def verdict(data: bytes, key=mine, witness: bytes = b""):
        arguments = {"key": key, "witness": witness, "function": "requireMalformedProof"}
        return court.ask(leaf_case(draw, facts, last, data, **arguments))

    lawful = (1 << 8 * 16 + 289) - 1
    sound = ("ProofIsSound", ())
    for made in (
        proof(n, 32),
        proof(n, 32, d=n * n - 1, z=n - 1, zeta=lawful),
        proof(n, 32, d=draw.randrange(1, n * n), z=draw.randrange(n), zeta=draw.randrange(lawful)),
    ):
        for witness in (b"", packed(n, 32), packed(p, 32), packed(1, 32)):
            assert verdict(before + made, witness=witness) == sound
    for made in (
        proof(n, 32, d=0),
        proof(n, 32, d=n * n),
        proof(n, 32, z=n),
        proof(n, 32, z=(1 << 256) - 1),
        proof(n, 32, zeta=lawful + 1),
        proof(n, 32, zeta=(1 << 8 * (16 + 37)) - 1),
    ):
        assert verdict(before + made) == PROVEN
    assert verdict(before + proof(n, 32, d=3 * p), witness=packed(p, 32)) == PROVEN
    assert verdict(before + proof(n, 32, d=3 * p)) == sound
    for data in (b"", before + proof(n, 32)[:-1], before + proof(n, 32) + b"\0", before + 2 * proof(n, 32)):
        assert verdict(data) == PROVEN
    if dealers == 2:
        spoilt = proof(other, 32, z=other) + proof(n, 32)
        assert verdict(spoilt, key=evidence[0]) == PROVEN
        assert verdict(spoilt) == sound


def test_there_is_no_second_part_of_the_proof_for_one_dealer(court, draw, ciphertexts):
    """What lies behind the proof's bytes would be read as a d of zero."""
    n, facts, evidence, _ = ciphertexts
    second = replace(evidence, second=True)
    made = leaf_case(draw, facts, 4, proof(n, 32), key=second, function="requireMalformedProof")
    assert name(court.ask(made)) == "WrongDealer"


@pytest.mark.parametrize("leaf", [0, 1, 3, 5])
def test_no_other_leaf_is_judged_as_a_proof(court, draw, ciphertexts, leaf):
    _, facts, evidence, _ = ciphertexts
    made = leaf_case(draw, facts, 4, b"", key=evidence, function="requireMalformedProof")
    assert court.ask(made) == PROVEN
    given, root, (_, *rest) = made.arguments
    moved = Case(made.function, (given, root, (leaf, *rest)))
    assert court.ask(moved) == ("NoSuchLeaf", (4, 4, leaf))


# ---------------------------------------------------------------------- a precompile without gas


def test_no_limit_of_gas_makes_a_right_sum_wrong(court, draw):
    n = modulus(draw, 384)
    key, (evidence,) = shown(draw, packed(n, 384))
    values = [draw.randrange(1, n * n) for _ in range(3)]
    leaves = [packed(value, 768) for value in values]
    right = packed(reduce(lambda a, b: a * b % (n * n), values), 768)
    facts = Facts(ciphertexts=1, key=key)
    made = sum_case(draw, facts, 1, leaves, right, evidence)
    body = [chunk(residue(draw, PRIMES[0]) for _ in range(128)) for _ in range(3)]
    sums = chunk(sum(c) % PRIMES[0] for c in zip(*([*map(_residues, body)]), strict=True))
    other = sum_case(draw, Facts(suite=HYBRID, ciphertexts=1, chunks=64), 2, body, sums)
    everything = set()
    for dispute in (made, other):
        verdicts = court.ask_each((dispute, gas) for gas in range(30_000, 260_000, 1_009))
        seen = set(map(name, verdicts))
        assert PROVEN not in seen
        assert "SumIsRight" in seen
        assert len(seen) > 1
        everything |= seen
    # Under Prague's floor of calldata no transaction brings so little gas that a precompile starves.
    assert "Starved" in everything or court.devnet.kind == "anvil"


FAILS = 0x5555  # an account with code only where a test gives it some


@cache
def judge_without(file: str, constant: str) -> contracts.Code:
    """The court whose calls of a precompile go to `FAILS`; compiled once for all chains."""
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patched:
        shutil.copytree(contracts._ROOT / "contracts", Path(place) / "contracts")
        source = Path(place) / "contracts" / f"{file}.sol"
        named = constant.partition(" = ")[0]
        changed = source.read_text().replace(f"{constant};", f"{named} = {FAILS};")
        assert changed != source.read_text()
        source.write_text(changed)
        patched.setattr(contracts, "_ROOT", Path(place))
        return contracts.compile_contracts()["court"]


@pytest.mark.parametrize(
    ("file", "constant", "size"), [("Merkle", "SHA_256 = 2", 32), ("Residues", "MODEXP = 5", 64)]
)
def test_a_precompile_that_answers_nothing_or_fails_decides_nothing(
    court, draw, ciphertexts, file, constant, size
):
    """Gas with which the rest could go on never starves one, so here the precompile itself is taken away."""
    n, facts, evidence, leaves = ciphertexts
    right = packed(reduce(lambda a, b: a * b % (n * n), (int.from_bytes(c, "big") for c in leaves)), 64)
    without = Court(court.devnet, judge_without(file, constant))
    reverts = f"0x60{size:02x}6000fd"  # with as many bytes as are asked for
    give_code = {"anvil": "anvil_setCode", "ganache": "evm_setAccountCode"}[court.devnet.kind]
    for code in ("0x", reverts):
        court.devnet.rpc(give_code, f"0x{FAILS:040x}", code)
        for posted in (right, b"wrong"):
            assert without.ask(sum_case(draw, facts, 1, leaves, posted, evidence)) == ("Starved", ())
        assert without.ask(leaf_case(draw, facts, 1, leaves[0], key=evidence)) == ("Starved", ())


def _residues(data: bytes) -> list[int]:
    return [int.from_bytes(data[k : k + 4], "little") for k in range(0, len(data), 4)]
