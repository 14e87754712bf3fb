"""Every custom error of the contract, provoked at the stage where it belongs, with its values."""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from operator import gt, le, lt
from pathlib import Path

import pytest
from web3 import Web3

from deploy.contracts import built
from deploy.node_runtime import project_root
from tests.contract.conftest import CHUNKS, CIPHERTEXTS, LONG, SHORT, Consortium, cid, digest, round_id
from tests.contract.court import HYBRID, Case, Facts, sum_case

ODD_CID = (bytes.fromhex("01711220"), digest("dag-cbor"))
NOTHING = bytes(32)
NOBODY = bytes(20)
REFUSING_CODE = "0x60006000fd"  # REVERT, whoever calls
SUM, MODEL = digest("opening"), digest("model")
FIRST_KEY, KEY = digest("first key"), digest("second key")
TOTAL = (digest("total"), cid("total"))
RESULT = (SUM, MODEL, cid("opening"), cid("model"))


class The(Enum):
    """What a row of the table below means at its stage."""

    STUDY = "study"
    ROUND = "its first round"
    NEXT = "its second round"
    BEFORE = "a round of number zero"
    TERMS = "sound terms of a study"
    ROOT = "of its first round's total"
    COMMIT_CLOSES = "commitCloses"
    REVEAL_CLOSES = "revealCloses"
    COMBINE_CLOSES = "combineCloses"
    OPEN_CLOSES = "openCloses"
    SECOND_TURN = "when the second aggregator may begin"
    SUM_EVIDENCE = "that its total is wrong"
    LEAF_EVIDENCE = "that an update is malformed"


STUDY, ROUND, NEXT, BEFORE, TERMS = The.STUDY, The.ROUND, The.NEXT, The.BEFORE, The.TERMS
ROOT = The.ROOT


@dataclass(frozen=True, slots=True)
class Stage:
    """A study brought to one point of its life; refused calls leave it there."""

    consortium: Consortium
    study: int

    @property
    def round(self) -> int:
        return round_id(self.study, 1)

    def who(self, name: str):
        if name in "abcd":
            return self.consortium.institutions["abcd".index(name)]
        return getattr(self.consortium, name)

    def value(self, symbol: object) -> object:
        """Names become addresses, sets of names increasing addresses; the rest stands for itself."""
        match symbol:
            case str():
                return self.who(symbol).address
            case set():
                return sorted(map(self.value, symbol), key=str.lower)
            case list():
                return [self.value(name) for name in symbol]
            case The():
                return self.meaning(symbol)
        return symbol

    def meaning(self, symbol: The) -> object:
        stored = self.consortium.view("roundOf", self.round)
        return (
            stored.get(symbol.value)
            or {
                The.STUDY: self.study,
                The.ROUND: self.round,
                The.NEXT: round_id(self.study, 2),
                The.BEFORE: round_id(self.study, 0),
                The.TERMS: self.consortium.terms(),
                The.ROOT: digest(f"total {self.round}"),
                The.COMBINE_CLOSES: stored["revealCloses"] + SHORT,
                The.SECOND_TURN: stored["revealCloses"] + LONG + 1,
                The.SUM_EVIDENCE: disputable(self.study).arguments[3],
                The.LEAF_EVIDENCE: (1, (b"", NOTHING, NOTHING, False), b"", [], b""),
            }[symbol]
        )

    def values(self, symbols) -> tuple[object, ...]:
        return tuple(map(self.value, symbols))


def fresh(c: Consortium) -> int:
    return c.study(accepted=3)


def ready(c: Consortium) -> int:
    return c.study()


def key_pending(c: Consortium) -> int:
    study = c.study()
    c.propose_key(study, c.institutions[0], "second key")
    c.accept_key(study, c.institutions[:3], "second key")
    return study


def key_adopted(c: Consortium) -> int:
    study = c.study()
    c.adopt_key(study, "second key")
    return study


def committing(c: Consortium) -> int:
    study = c.study()
    c.commit(round_id(study, 1), c.institutions[:3])
    return study


def committed_by_two(c: Consortium) -> int:
    study = c.study(windows=(SHORT, LONG, LONG, LONG))
    c.commit(round_id(study, 1), c.institutions[:2])
    c.pass_time()
    return study


def revealing(c: Consortium) -> int:
    study = c.study(windows=(SHORT, LONG, LONG, LONG))
    c.commit(round_id(study, 1), c.institutions[:3])
    c.pass_time()
    c.reveal(round_id(study, 1), c.institutions[:2])
    return study


def reveal_window_passed(c: Consortium) -> int:
    study = c.study(windows=(SHORT, SHORT, LONG, LONG))
    c.commit(round_id(study, 1), c.institutions[:4])
    c.reveal(round_id(study, 1), c.institutions[:3])
    c.pass_time()
    return study


def combine_window_passed(c: Consortium) -> int:
    study = c.study(windows=(LONG, LONG, SHORT, LONG))
    c.commit(round_id(study, 1), c.institutions[:4])
    c.reveal(round_id(study, 1), c.institutions[:4])
    c.pass_time()
    return study


def opening(c: Consortium) -> int:
    study = c.study()
    c.opened(study, shares=1)
    return study


def open_window_passed(c: Consortium) -> int:
    study = c.study(windows=(LONG, LONG, LONG, SHORT))
    c.opened(study, shares=1)
    c.pass_time()
    return study


def finished(c: Consortium) -> int:
    study = c.study(rounds=1)
    round = c.opened(study)
    c.finish(round, c.institutions[0])
    c.do(c.institutions[0], "confirmModel", round, MODEL)
    c.do(c.institutions[0], "objectToResult", round, SUM, MODEL, digest("other"), MODEL)
    return study


def abandoned(c: Consortium) -> int:
    study = committed_by_two(c)
    c.do(c.aggregator, "abandon", round_id(study, 1), 1)
    return study


def disputable(study: int) -> Case:
    """A wrong sum of a body leaf of three members."""
    facts = Facts(suite=HYBRID, ciphertexts=CIPHERTEXTS, chunks=CHUNKS)
    leaves = [bytes([k]) * 4 * 128 for k in (1, 2, 3)]
    return sum_case(random.Random(study), facts, CIPHERTEXTS + 9, leaves, b"wrong")


def second_turn_ahead(c: Consortium) -> int:
    study = c.study(aggregators=[c.aggregator.address, c.standby.address])
    c.commit(round_id(study, 1), c.institutions[:4])
    c.reveal(round_id(study, 1), c.institutions[:4])
    return study


def wrongly_summed(c: Consortium) -> int:
    study = c.study(3, aggregators=[c.aggregator.address, c.standby.address])
    _, total, roots, _ = disputable(study).arguments
    c.posted(study, c.institutions[:3], roots, total)
    return study


def taken_back(c: Consortium) -> int:
    study = wrongly_summed(c)
    c.do(c.stranger, "disputeSum", round_id(study, 1), disputable(study).arguments[3])
    return study


def tainted(c: Consortium) -> int:
    study = wrongly_summed(c)
    total = disputable(study).arguments[1]
    c.do(c.institutions[0], "postShare", round_id(study, 1), total, digest("share"), cid("share"))
    c.do(c.institutions[1], "disputeSum", round_id(study, 1), disputable(study).arguments[3])
    return study


# who calls, what, with which arguments; the error's name and values
Row = tuple[str, str, tuple[object, ...], str, tuple[object, ...]]

AGGREGATOR_AMONG = {"a", "b", "aggregator"}
STRANGER_AMONG = {"a", "b", "stranger"}
ABC = ["a", "b", "c"]

REFUSALS: dict[Callable[[Consortium], int], list[Row]] = {
    fresh: [
        ("stranger", "createStudy", (TERMS,), "NotOnRoster", ("stranger",)),
        ("stranger", "acceptStudy", (STUDY, digest("spec")), "NotInStudy", (STUDY, "stranger")),
        ("aggregator", "acceptStudy", (STUDY, digest("spec")), "NotInStudy", (STUDY, "aggregator")),
        ("a", "acceptStudy", (STUDY, digest("spec")), "AlreadyAccepted", (STUDY, "a")),
        ("d", "acceptStudy", (STUDY, SUM), "WrongDigest", (digest("spec"), SUM)),
        ("a", "commitUpdate", (ROUND, SUM, MODEL), "NotAccepted", (STUDY,)),
        ("a", "proposeKey", (STUDY, KEY, cid("k")), "NotAccepted", (STUDY,)),
        ("a", "proposeKey", (STUDY, FIRST_KEY, cid("k")), "KeyAlreadyAdopted", (STUDY, FIRST_KEY)),
        ("a", "acceptKey", (STUDY, KEY, CIPHERTEXTS), "NotAccepted", (STUDY,)),
    ],
    ready: [
        ("a", "commitUpdate", (NEXT, SUM, MODEL), "WrongRound", (ROUND, NEXT)),
        ("a", "commitUpdate", (BEFORE, SUM, MODEL), "WrongRound", (ROUND, BEFORE)),
        ("a", "commitUpdate", (ROUND, NOTHING, MODEL), "ZeroDigest", ()),
        ("aggregator", "commitUpdate", (ROUND, SUM, MODEL), "NotInStudy", (STUDY, "aggregator")),
        ("a", "revealUpdate", (ROUND, cid("a")), "NotOpened", (ROUND,)),
        ("aggregator", "postTotal", (ROUND, ABC, *TOTAL), "NotOpened", (ROUND,)),
        ("a", "postShare", (ROUND, ROOT, SUM, cid("a")), "NotOpened", (ROUND,)),
        ("a", "finish", (ROUND, *RESULT), "NotOpened", (ROUND,)),
        ("a", "confirmModel", (ROUND, MODEL), "NotOpened", (ROUND,)),
        ("a", "objectToResult", (ROUND, SUM, MODEL, SUM, MODEL), "NotOpened", (ROUND,)),
        ("a", "abandon", (ROUND, 1), "NotOpened", (ROUND,)),
        ("stranger", "proposeKey", (STUDY, KEY, cid("k")), "NotInStudy", (STUDY, "stranger")),
        ("aggregator", "proposeKey", (STUDY, KEY, cid("k")), "NotInStudy", (STUDY, "aggregator")),
        ("a", "proposeKey", (STUDY, NOTHING, cid("k")), "ZeroDigest", ()),
        ("a", "proposeKey", (STUDY, KEY, ODD_CID), "MalformedCid", (ODD_CID[0],)),
        ("a", "acceptKey", (STUDY, FIRST_KEY, CIPHERTEXTS), "KeyAlreadyAdopted", (STUDY, FIRST_KEY)),
        ("a", "acceptKey", (STUDY, KEY, CIPHERTEXTS), "KeyNotProposed", (STUDY, KEY)),
        ("a", "acceptKey", (STUDY, NOTHING, CIPHERTEXTS), "KeyNotProposed", (STUDY, NOTHING)),
    ],
    key_pending: [
        ("a", "proposeKey", (STUDY, KEY, ODD_CID), "KeyAlreadyProposed", (STUDY, KEY, "a")),
        ("a", "acceptKey", (STUDY, KEY, CIPHERTEXTS), "KeyAlreadyAccepted", (STUDY, KEY, "a")),
        ("stranger", "acceptKey", (STUDY, KEY, CIPHERTEXTS), "NotInStudy", (STUDY, "stranger")),
        ("aggregator", "acceptKey", (STUDY, KEY, CIPHERTEXTS), "NotInStudy", (STUDY, "aggregator")),
        ("d", "acceptKey", (STUDY, SUM, CIPHERTEXTS), "KeyNotProposed", (STUDY, SUM)),
        ("d", "acceptKey", (STUDY, KEY, 9), "WrongCiphertexts", (STUDY, KEY, CIPHERTEXTS, 9)),
    ],
    key_adopted: [
        ("a", "proposeKey", (STUDY, KEY, cid("k")), "KeyAlreadyProposed", (STUDY, KEY, "a")),
        ("b", "proposeKey", (STUDY, KEY, cid("k")), "KeyAlreadyAdopted", (STUDY, KEY)),
        ("b", "proposeKey", (STUDY, FIRST_KEY, cid("k")), "KeyAlreadyAdopted", (STUDY, FIRST_KEY)),
        ("d", "acceptKey", (STUDY, KEY, CIPHERTEXTS), "KeyAlreadyAccepted", (STUDY, KEY, "d")),
    ],
    committing: [
        ("a", "commitUpdate", (ROUND, MODEL, MODEL), "AlreadyCommitted", (ROUND, "a")),
        ("d", "commitUpdate", (NEXT, SUM, MODEL), "WrongRound", (ROUND, NEXT)),
        ("a", "revealUpdate", (ROUND, cid("a")), "CommitWindowOpen", (ROUND, The.COMMIT_CLOSES)),
        ("aggregator", "postTotal", (ROUND, [], *TOTAL), "RevealWindowOpen", (ROUND, The.REVEAL_CLOSES)),
        ("a", "abandon", (ROUND, 1), "NotYet", (ROUND,)),
        ("auditor", "abandon", (ROUND, 1), "NotInStudy", (STUDY, "auditor")),
    ],
    committed_by_two: [
        ("d", "commitUpdate", (ROUND, SUM, MODEL), "CommitWindowClosed", (ROUND, The.COMMIT_CLOSES)),
        ("a", "commitUpdate", (ROUND, SUM, MODEL), "AlreadyCommitted", (ROUND, "a")),
        ("a", "revealUpdate", (ROUND, cid("a")), "TooFewContributors", (3, 2)),
        ("a", "abandon", (ROUND, 3), "WrongReason", (1, 3)),
    ],
    revealing: [
        ("a", "revealUpdate", (ROUND, cid("a")), "AlreadyRevealed", (ROUND, "a")),
        ("d", "revealUpdate", (ROUND, cid("a")), "NotCommitted", (ROUND, "d")),
        ("c", "revealUpdate", (ROUND, ODD_CID), "MalformedCid", (ODD_CID[0],)),
        (
            "aggregator",
            "postTotal",
            (ROUND, ["a", "b"], *TOTAL),
            "RevealWindowOpen",
            (ROUND, The.REVEAL_CLOSES),
        ),
        ("a", "postTotal", (ROUND, ABC, *TOTAL), "NotAggregator", ("a",)),
        ("a", "postShare", (ROUND, ROOT, SUM, cid("a")), "NoTotal", (ROUND,)),
    ],
    reveal_window_passed: [
        ("d", "revealUpdate", (ROUND, cid("d")), "RevealWindowClosed", (ROUND, The.REVEAL_CLOSES)),
        ("aggregator", "postTotal", (ROUND, ["a", "b"], *TOTAL), "TooFewContributors", (3, 2)),
        ("aggregator", "postTotal", (ROUND, ["a", "c", "b"], *TOTAL), "MembersNotIncreasing", (2,)),
        ("aggregator", "postTotal", (ROUND, ["a", "b", "b"], *TOTAL), "MembersNotIncreasing", (2,)),
        ("aggregator", "postTotal", (ROUND, ["a", "b", "d"], *TOTAL), "NotRevealed", (ROUND, "d")),
        ("aggregator", "postTotal", (ROUND, AGGREGATOR_AMONG, *TOTAL), "NotRevealed", (ROUND, "aggregator")),
        ("aggregator", "postTotal", (ROUND, STRANGER_AMONG, *TOTAL), "NotRevealed", (ROUND, "stranger")),
        ("aggregator", "postTotal", (ROUND, ABC, NOTHING, cid("t")), "ZeroDigest", ()),
        ("aggregator", "postTotal", (ROUND, ABC, SUM, ODD_CID), "MalformedCid", (ODD_CID[0],)),
        ("a", "abandon", (ROUND, 2), "NotYet", (ROUND,)),
    ],
    combine_window_passed: [
        ("aggregator", "postTotal", (ROUND, ABC, *TOTAL), "CombineWindowClosed", (ROUND, The.COMBINE_CLOSES)),
    ],
    opening: [
        ("aggregator", "postTotal", (ROUND, ABC, *TOTAL), "TotalAlreadyPosted", (ROUND,)),
        ("a", "postShare", (ROUND, ROOT, SUM, cid("a")), "AlreadyShared", (ROUND, "a")),
        ("b", "postShare", (ROUND, SUM, SUM, cid("a")), "WrongTotal", (ROUND, ROOT, SUM)),
        ("b", "postShare", (ROUND, ROOT, NOTHING, cid("a")), "ZeroDigest", ()),
        ("b", "postShare", (ROUND, ROOT, SUM, ODD_CID), "MalformedCid", (ODD_CID[0],)),
        ("aggregator", "postShare", (ROUND, ROOT, SUM, cid("a")), "NotInStudy", (STUDY, "aggregator")),
        ("a", "finish", (ROUND, *RESULT), "TooFewShares", (2, 1)),
        ("a", "confirmModel", (ROUND, MODEL), "NotFinished", (ROUND,)),
        ("a", "objectToResult", (ROUND, SUM, MODEL, SUM, MODEL), "NotFinished", (ROUND,)),
    ],
    open_window_passed: [
        ("b", "postShare", (ROUND, ROOT, SUM, cid("a")), "OpenWindowClosed", (ROUND, The.OPEN_CLOSES)),
        ("b", "abandon", (ROUND, 4), "WrongReason", (5, 4)),
    ],
    finished: [
        ("a", "finish", (ROUND, *RESULT), "AlreadyProposed", (ROUND, "a")),
        ("b", "finish", (ROUND, *RESULT), "SameResult", (ROUND,)),
        ("b", "finish", (ROUND, NOTHING, MODEL, cid("o"), cid("m")), "ZeroDigest", ()),
        ("b", "finish", (ROUND, SUM, SUM, cid("o"), ODD_CID), "MalformedCid", (ODD_CID[0],)),
        ("stranger", "finish", (ROUND, *RESULT), "NotInStudy", (STUDY, "stranger")),
        ("a", "postShare", (ROUND, ROOT, SUM, cid("a")), "AlreadyShared", (ROUND, "a")),
        ("a", "abandon", (ROUND, 6), "RoundEnded", (ROUND,)),
        ("a", "confirmModel", (ROUND, MODEL), "AlreadyConfirmed", (ROUND, "a")),
        ("b", "confirmModel", (ROUND, NOTHING), "ZeroDigest", ()),
        ("a", "objectToResult", (ROUND, SUM, MODEL, SUM, MODEL), "AlreadyObjected", (ROUND, "a")),
        ("a", "commitUpdate", (NEXT, SUM, MODEL), "StudyComplete", (STUDY,)),
        ("a", "proposeKey", (STUDY, KEY, cid("k")), "StudyComplete", (STUDY,)),
        ("a", "acceptKey", (STUDY, KEY, CIPHERTEXTS), "StudyComplete", (STUDY,)),
    ],
    abandoned: [
        ("c", "commitUpdate", (ROUND, SUM, MODEL), "WrongRound", (NEXT, ROUND)),
        ("a", "commitUpdate", (ROUND, SUM, MODEL), "AlreadyCommitted", (ROUND, "a")),
        ("a", "revealUpdate", (ROUND, cid("a")), "TooFewContributors", (3, 2)),
        ("aggregator", "postTotal", (ROUND, [], *TOTAL), "RoundEnded", (ROUND,)),
        ("a", "postShare", (ROUND, ROOT, SUM, cid("a")), "NoTotal", (ROUND,)),
        ("a", "finish", (ROUND, *RESULT), "RoundEnded", (ROUND,)),
        ("a", "abandon", (ROUND, 1), "RoundEnded", (ROUND,)),
    ],
}

REFUSALS |= {
    second_turn_ahead: [
        ("standby", "postTotal", (ROUND, ABC, *TOTAL), "NotYourTurn", (ROUND, The.SECOND_TURN)),
    ],
    wrongly_summed: [
        ("a", "convict", (ROUND, "a", NOBODY, 1, 0), "NotCourt", ("a",)),
        ("aggregator", "disputeLeaf", (ROUND, "d", The.LEAF_EVIDENCE), "NotInTotal", (ROUND, "d")),
        ("a", "disputeSum", (NEXT, The.SUM_EVIDENCE), "NotOpened", (NEXT,)),
    ],
    taken_back: [
        ("aggregator", "postTotal", (ROUND, ABC, *TOTAL), "FaultyAggregator", (ROUND, "aggregator")),
        ("a", "disputeSum", (ROUND, The.SUM_EVIDENCE), "NoTotal", (ROUND,)),
        ("a", "postShare", (ROUND, ROOT, SUM, cid("a")), "NoTotal", (ROUND,)),
    ],
    tainted: [
        ("a", "disputeSum", (ROUND, The.SUM_EVIDENCE), "FaultAlreadyProven", (ROUND,)),
        ("b", "finish", (ROUND, *RESULT), "RoundEnded", (ROUND,)),
        ("standby", "postTotal", (ROUND, ABC, *TOTAL), "TotalAlreadyPosted", (ROUND,)),
    ],
}

BAD_TERMS = [
    ({"n": 2}, ("members", 3, 32, 2)),
    ({"members": [i.to_bytes(20, "big") for i in range(1, 34)]}, ("members", 3, 32, 33)),
    ({"threshold": 1}, ("threshold", 2, 2, 1)),
    ({"n": 5, "threshold": 4}, ("threshold", 2, 3, 4)),
    ({"minimum": 2}, ("minimum", 3, 4, 2)),
    ({"minimum": 5}, ("minimum", 3, 4, 5)),
    ({"aggregators": []}, ("aggregators", 1, 3, 0)),
    ({"aggregators": [i.to_bytes(20, "big") for i in range(1, 5)]}, ("aggregators", 1, 3, 4)),
    ({"rounds": 0}, ("rounds", 1, 2**32 - 1, 0)),
    ({"windows": (0, 1, 1, 1)}, ("windows.commit", 1, 2**32 - 1, 0)),
    ({"windows": (1, 0, 1, 1)}, ("windows.reveal", 1, 2**32 - 1, 0)),
    ({"windows": (1, 1, 0, 1)}, ("windows.combine", 1, 2**32 - 1, 0)),
    ({"windows": (1, 1, 1, 0)}, ("windows.open", 1, 2**32 - 1, 0)),
]


# how the block's time relates to the value before it in an error
TIMED = {
    "CommitWindowOpen": le,
    "RevealWindowOpen": le,
    "CommitWindowClosed": gt,
    "RevealWindowClosed": gt,
    "CombineWindowClosed": gt,
    "OpenWindowClosed": gt,
    "NotYourTurn": lt,
    "NotYet": lambda now, _: now > 0,
}


@pytest.fixture(scope="module")
def stages(consortium):
    reached: dict[str, Stage] = {}

    def reach(build) -> Stage:
        if build.__name__ not in reached:
            reached[build.__name__] = Stage(consortium, build(consortium))
        return reached[build.__name__]

    return reach


def plain(values) -> tuple[object, ...]:
    """Addresses as the decoder gives them: lower case."""
    return tuple(v.lower() if isinstance(v, str) else v for v in values)


@pytest.mark.parametrize(
    ("build", "row"),
    [(build, row) for build, rows in REFUSALS.items() for row in rows],
    ids=[f"{build.__name__}-{r[0]}-{r[1]}-{r[3]}" for build, rows in REFUSALS.items() for r in rows],
)
def test_a_call_against_the_law_is_refused_by_name_and_values(stages, build, row):
    stage = stages(build)
    sender, call, arguments, error, values = row
    name, found = stage.consortium.refusal(stage.who(sender), call, *stage.values(arguments))
    assert name == error
    if name in TIMED:  # the last value is the block's time
        *found, now = found
        assert TIMED[name](now, found[-1])
    assert plain(found) == plain(stage.values(values))


@pytest.mark.parametrize(("changes", "values"), BAD_TERMS, ids=[f"{v[0]}-{v[3]}" for _, v in BAD_TERMS])
def test_terms_out_of_range_are_refused_with_the_range(consortium, changes, values):
    n = changes.get("n", 4)
    terms = consortium.terms(n, **{k: v for k, v in changes.items() if k != "n"})
    assert consortium.refusal(consortium.auditor, "createStudy", terms) == ("BadTerms", values)


def test_a_study_needs_distinct_institutions_in_order(consortium):
    a, b, c = (m.address for m in consortium.institutions[:3])
    for members, index in (([b, a, c], 1), ([a, b, b], 2)):
        refused = consortium.refusal(consortium.auditor, "createStudy", consortium.terms(members=members))
        assert refused == ("MembersNotIncreasing", (index,))


def test_a_study_takes_nobody_in_another_role(consortium):
    def refusal(**changes):
        return consortium.refusal(consortium.auditor, "createStudy", consortium.terms(**changes))

    people = consortium.aggregator, consortium.auditor, consortium.stranger
    aggregator, auditor, stranger = (who.address for who in people)
    name, values = refusal(members=[*consortium.terms(2)[4], b"\xff" * 20])
    assert (name, plain(values)) == ("WrongRole", ("0x" + "ff" * 20, 1, 0))
    for found, role in ((auditor, 3), (stranger, 0), (consortium.institutions[9].address, 1)):
        name, values = refusal(aggregators=[found])
        assert (name, plain(values)) == ("WrongRole", (found.lower(), 2, role))
    members = sorted([*consortium.terms(3)[4], aggregator], key=str.lower)
    name, values = refusal(members=members)
    assert (name, plain(values)) == ("WrongRole", (aggregator.lower(), 1, 2))


def test_a_study_needs_a_spec(consortium):
    c = consortium
    for field in ("digest", "key"):
        assert c.refusal(c.auditor, "createStudy", c.terms(**{field: NOTHING})) == ("ZeroDigest", ())
    assert c.refusal(c.auditor, "createStudy", c.terms(leaves=(2, 1, 1, NOTHING))) == ("ZeroDigest", ())
    assert c.refusal(c.auditor, "createStudy", c.terms(cid=ODD_CID)) == ("MalformedCid", (ODD_CID[0],))


FOUNDERS = [
    ([(bytes(20), 1)], "ZeroAddress", ()),
    ([(b"\x11" * 20, 0)], "UnknownRole", (0,)),
    ([(b"\x11" * 20, 4)], "UnknownRole", (4,)),
    ([(b"\x11" * 20, 1), (b"\x11" * 20, 2)], "DuplicateMember", ("0x" + "11" * 20,)),
]


@pytest.mark.parametrize(("founders", "error", "values"), FOUNDERS)
def test_a_malformed_founding_roster_deploys_nothing(consortium, founders, error, values):
    factory = Web3().eth.contract(abi=consortium.build["abi"], bytecode=consortium.build["bytecode"])
    roster = [(address, role, digest("key"), digest("name")) for address, role in founders]
    creation = {"from": consortium.auditor.address, "data": factory.constructor(roster).data_in_transaction}
    creation["gas"] = hex(10_000_000)
    assert consortium.error_of(creation) == (error, values)


def test_bonds_are_refused_by_name_and_values(consortium):
    c = consortium
    gwei, poor = 10**9, c.stranger
    study = c.study(3, aggregators=[c.standby.address], stake=(5, LONG, NOBODY))
    name, values = c.refusal(c.aggregator, "depositBond", study)
    assert (name, plain(values)) == ("NotAggregator", (c.aggregator.address.lower(),))
    assert c.refusal(c.standby, "depositBond", study) == ("ZeroAmount", ())
    assert c.refusal(poor, "withdrawBond", study, 0) == ("ZeroAmount", ())
    assert c.refusal(poor, "withdrawBond", study, 1) == ("BondTooSmall", (1, 0))
    round, who = round_id(study, 1), c.institutions[:3]
    c.commit(round, who)
    c.reveal(round, who)
    post = ("postTotal", round, [m.address for m in who], *TOTAL)
    assert c.refusal(c.standby, *post) == ("BondTooSmall", (5 * gwei, 0))
    c.do(c.standby, "depositBond", study, wei=5 * gwei)
    name, values = c.refusal(c.standby, "withdrawBond", study, 1, code=REFUSING_CODE)
    assert (name, plain(values)) == ("PaymentFailed", (c.standby.address.lower(),))
    c.do(c.standby, *post)
    until = c.view("bondOf", study, c.standby.address)["lockedUntil"]
    name, (found, now) = c.refusal(c.standby, "withdrawBond", study, 1)
    assert (name, found) == ("BondLocked", until)
    assert until - LONG <= now <= until
    c.pass_time(LONG + 1)
    assert c.refusal(c.standby, "withdrawBond", study, 5 * gwei + 1) == (
        "BondTooSmall",
        (5 * gwei + 1, 5 * gwei),
    )
    c.do(c.standby, "withdrawBond", study, 5 * gwei)


def test_every_error_of_the_contract_is_provoked_here():
    provoked = {row[3] for rows in REFUSALS.values() for row in rows} | {row[1] for row in FOUNDERS}
    provoked |= {"BadTerms", "MembersNotIncreasing", "WrongRole"}
    provoked |= {"ZeroAmount", "BondTooSmall", "BondLocked", "PaymentFailed"}
    provoked -= {"NotInTotal"}  # the court's
    votes = (project_root() / "tests" / "laws" / "test_governance.py").read_text()
    provoked |= set(re.findall(r'"([A-Z][a-z]\w+)"', votes))
    assert provoked == {entry["name"] for entry in built()["abi"] if entry["type"] == "error"}


# Where the court's own errors are provoked, with their values: by name of a test beside this one.
COURTS = {
    "HeaderIsRight": "test_judged_headers.py::test_the_headers_of_the_wire_are_right",
    "LeafIsSound": "test_judge.py::test_a_ciphertext_is_malformed_where_the_suite_says_so",
    "MalformedLeaf": "test_judge.py::test_a_sum_with_a_malformed_summand_is_another_dispute",
    "NoSuchLeaf": "test_judge.py::test_header_proof_and_what_lies_behind_are_never_summed",
    "NotInTree": "test_judge.py::test_paths_lead_to_the_roots_in_their_order_and_length",
    "NotJudged": "test_judge.py::test_no_other_suite_is_judged",
    "PathsTooLong": "test_judge.py::test_paths_lead_to_the_roots_in_their_order_and_length",
    "ProofIsSound": "test_judge.py::test_a_proof_is_malformed_where_its_form_cannot_pass",
    "Starved": "test_judge.py::test_no_limit_of_gas_makes_a_right_sum_wrong",
    "SumIsRight": "test_judge.py::test_a_thousand_products_are_judged_as_plain_integers_say",
    "UnsoundModulus": "test_judge.py::test_a_modulus_out_of_bounds_or_even_judges_nothing",
    "WrongBinding": "test_judged_headers.py::"
    "test_a_header_is_judged_for_the_bound_ledger_and_shape_in_its_place_only",
    "WrongCount": "test_judge.py::test_a_sum_of_too_few_or_too_many_members_is_not_judged",
    "WrongDealer": "test_judge.py::test_a_leaf_lies_under_the_key_of_the_dealer_whose_half_it_is_in",
    "WrongKey": "test_judge.py::test_a_modulus_that_is_not_the_keys_judges_nothing",
    "WrongLength": "test_judge.py::test_leaves_of_another_length_are_no_evidence",
}


def test_every_error_of_the_court_is_provoked_by_a_test_that_names_it():
    courts = {entry["name"] for entry in built()["court"]["abi"] if entry["type"] == "error"}
    assert courts == COURTS.keys() | {"NotInTotal"}
    for error, place in COURTS.items():
        file, name = place.split("::")
        source = (Path(__file__).parent / file).read_text()
        (body,) = (f for f in ast.parse(source).body if isinstance(f, ast.FunctionDef) and f.name == name)
        assert f'"{error}"' in (ast.get_source_segment(source, body) or ""), error


def test_a_refused_transaction_leaves_no_trace(stages):
    stage = stages(committing)
    c, a = stage.consortium, stage.who("a")
    before = c.view("roundOf", stage.round), c.view("commitmentOf", stage.round, a.address)
    receipt = c.send(a, "commitUpdate", stage.round, digest("changed my mind"), MODEL)
    assert (int(receipt["status"], 16), receipt["logs"]) == (0, [])
    assert (c.view("roundOf", stage.round), c.view("commitmentOf", stage.round, a.address)) == before
