"""The judge on headers: those that `wire` makes are right, whatever is altered in them is not."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from federation import cbor
from federation.digest import Digest, LedgerId, labelled, sha256
from federation.disputes import HeaderEvidence
from federation.events import RoundId, StudyId
from federation.members import Address
from federation.merkle import leaf_digest
from federation.wire import Binding, Code, Exclusion, total_header, update_header
from tests.contract.court import PROVEN, Case, Facts, case, grown

LEDGER, SHAPE, KEY = LedgerId(sha256(b"ledger")), sha256(b"shape"), sha256(b"key")
BASE = sha256(b"base")
ME, OTHER = Address(b"\x01" * 20), Address(b"\xfe" * 20)
# study, round, ciphertexts, chunks: all lengths of a CBOR head
PLACES = [
    (1, 1, 1, 0),
    (23, 24, 23, 0),
    (24, 255, 24, 0),
    (255, 256, 200, 55),
    (256, 65535, 19, 64 * 123),
    (65536, 2**32 - 1, 65535, 1),
    (2**32 - 1, 65536, 2**32 - 1, 2**32 - 1),
]
NAMES = {1: "paillier", 2: "hybrid"}


@pytest.fixture
def draw(request) -> random.Random:
    return random.Random(request.node.name.partition("[")[0])


def stage(place=PLACES[0], suite: int = 1) -> tuple[Facts, Binding]:
    study, number, ciphertexts, chunks = place
    facts = Facts(
        round=study << 32 | number,
        suite=suite,
        ciphertexts=ciphertexts,
        chunks=chunks,
        key=KEY,
        binding=labelled("binding", LEDGER, SHAPE),
    )
    round_ = RoundId(study=StudyId(study), number=number)
    leaves = ciphertexts + chunks
    return facts, Binding(
        ledger=LEDGER, round=round_, suite=NAMES[suite], key=KEY, shape=SHAPE, leaves=leaves
    )


def of_update(draw, facts: Facts, header: bytes, member: bytes = ME) -> Case:
    root, path = grown(draw, leaf_digest(header), 0, facts.update_size)
    evidence = HeaderEvidence(ledger=LEDGER, shape=SHAPE, header=header, path=tuple(path))
    return case("requireWrongUpdateHeader", facts, root, "0x" + member.hex(), evidence)


def of_total(draw, facts: Facts, header: bytes, members) -> Case:
    root, path = grown(draw, leaf_digest(header), 0, facts.total_size)
    evidence = HeaderEvidence(ledger=LEDGER, shape=SHAPE, header=header, path=tuple(path))
    who = ["0x" + address.hex() for address, _ in members]
    return case("requireWrongTotalHeader", facts, root, who, [root for _, root in members], evidence)


def listed(count: int) -> list[tuple[Address, Digest]]:
    return [(Address(bytes([k + 1]) * 20), sha256(b"update %d" % k)) for k in range(count)]


@pytest.mark.parametrize("suite", [1, 2])
@pytest.mark.parametrize("place", PLACES)
def test_the_headers_of_the_wire_are_right(court, draw, place, suite):
    facts, binding = stage(place, suite)
    header = update_header(binding, member=ME, base_model=BASE)
    assert court.ask(of_update(draw, facts, header)) == ("HeaderIsRight", ())
    assert court.ask(of_update(draw, facts, header, member=OTHER)) == PROVEN
    for count in (3, 23, 24, 32):
        total = total_header(binding, members=listed(count), excluded=[])
        assert court.ask(of_total(draw, facts, total, listed(count))) == ("HeaderIsRight", ())
        assert court.ask(of_total(draw, facts, total, listed(count - 1))) == PROVEN


@pytest.mark.parametrize("kind", ["update", "total"])
def test_a_header_of_anything_else_is_wrong(court, draw, kind):
    facts, binding = stage(PLACES[4], 2)
    changes = (
        {"ledger": LedgerId(sha256(b"another ledger"))},
        {"round": RoundId(study=StudyId(256), number=65534)},
        {"round": RoundId(study=StudyId(257), number=65535)},
        {"suite": "paillier"},
        {"suite": "plain"},
        {"key": sha256(b"another key")},
        {"shape": sha256(b"another shape")},
        {"leaves": binding.leaves + 1},
    )
    for change in changes:
        other = replace(binding, **change)
        if kind == "update":
            made = of_update(draw, facts, update_header(other, member=ME, base_model=BASE))
        else:
            header = total_header(other, members=listed(4), excluded=[])
            made = of_total(draw, facts, header, listed(4))
        assert court.ask(made) == PROVEN


def test_every_altered_byte_of_an_updates_header_is_seen_but_the_base_models(court, draw):
    facts, binding = stage()
    header = update_header(binding, member=ME, base_model=BASE)
    cases = [
        of_update(draw, facts, header[:k] + bytes([header[k] ^ 1]) + header[k + 1 :])
        for k in range(len(header))
    ]
    cases += [of_update(draw, facts, other) for other in (b"", header[:-1], header + b"\0", header[:-32])]
    verdicts = list(court.ask_all(cases))
    judged = len(header) - 32
    assert verdicts[:judged] == [PROVEN] * judged
    assert verdicts[judged : judged + 32] == [("HeaderIsRight", ())] * 32
    assert verdicts[judged + 32 :] == [PROVEN] * 4


def test_a_totals_header_is_judged_up_to_its_exclusions(court, draw):
    facts, binding = stage()
    members = listed(3)
    left_out = [Exclusion(member=OTHER, code=Code.MALFORMED, leaf=3, rule="range")]
    header = total_header(binding, members=members, excluded=left_out)
    judged = len(total_header(binding, members=members, excluded=[])) - 1
    cases = [
        of_total(draw, facts, header[:k] + bytes([header[k] ^ 1]) + header[k + 1 :], members)
        for k in range(len(header))
    ]
    verdicts = list(court.ask_all(cases))
    assert verdicts[:judged] == [PROVEN] * judged
    assert verdicts[judged:] == [("HeaderIsRight", ())] * (len(header) - judged)
    for other in (b"", header[:judged], header + bytes(4097 - len(header))):
        assert court.ask(of_total(draw, facts, other, members)) == PROVEN
    swapped = [members[1], members[0], members[2]]
    assert court.ask(of_total(draw, facts, header, swapped)) == PROVEN
    roots = [(a, r) for (a, _), (_, r) in zip(members, swapped, strict=True)]
    assert court.ask(of_total(draw, facts, header, roots)) == PROVEN


def test_a_header_is_judged_for_the_bound_ledger_and_shape_in_its_place_only(court, draw):
    facts, binding = stage()
    made = of_update(draw, facts, update_header(binding, member=OTHER, base_model=BASE))
    given, root, member, (ledger, shape, header, path) = made.arguments

    def verdict(given=given, root=root, ledger=ledger, shape=shape, header=header, path=path):
        return court.ask(Case(made.function, (given, root, member, (ledger, shape, header, path))))

    assert verdict() == PROVEN
    assert verdict(ledger=shape)[0] == "WrongBinding"
    assert verdict(shape=ledger)[0] == "WrongBinding"
    assert verdict(root=ledger) == ("NotInTree", (0,))
    assert verdict(header=header + b"\0") == ("NotInTree", (0,))
    assert verdict(path=path[:-1]) == ("NotInTree", (0,))
    assert verdict(path=(*path, ledger)) == ("PathsTooLong", (len(path), len(path) + 1))
    other = (*given[:1], 3, *given[2:])
    assert verdict(given=other) == ("NotJudged", (3,))


def test_lists_of_members_and_roots_are_equally_long_and_bounded(court, draw):
    facts, binding = stage()
    made = of_total(draw, facts, total_header(binding, members=listed(3), excluded=[]), listed(3))
    given, root, who, roots, evidence = made.arguments
    for members, updates, said in (
        (who, roots[:2], (3, 3, 2)),
        (who[:2], roots, (2, 2, 3)),
        (who * 11, roots * 11, (1, 32, 33)),
        ([], [], (1, 32, 0)),
    ):
        verdict = court.ask(Case(made.function, (given, root, members, updates, evidence)))
        assert verdict == ("WrongCount", said)


def test_the_wires_headers_are_what_this_file_takes_them_for():
    _, binding = stage()
    header = update_header(binding, member=ME, base_model=BASE)
    assert header.endswith(BASE)
    assert sorted(cbor.decode(header, limit=4096)) == [*range(11)]
