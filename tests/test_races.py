"""Every refusal of the contract is either a race that was lost or a matter for a person."""

from __future__ import annotations

import pytest

from federation.errors import LedgerRejected
from federation.ledger.abi import by_hash
from federation.races import is_lost_race

RULES = sorted(signature.name for signature in by_hash("error", 4).values())
# Votes, seats and bonds rest on what people decide and pay; evidence is one, or is not, once for all.
OF_PEOPLE = {
    *(
        "AlreadyVoted",
        "MotionCarried",
        "MotionExpired",
        "MotionTooLong",
        "NoVote",
        "WrongState",
        "Superseded",
    ),
    *("SeatIdle", "SeatInLine", "BondLocked", "BondTooSmall", "PaymentFailed", "ZeroAmount", "NotCourt"),
    "WrongCiphertexts",
}
OF_EVIDENCE = {
    *("HeaderIsRight", "LeafIsSound", "MalformedLeaf", "NoSuchLeaf", "NotInTotal", "NotInTree", "NotJudged"),
    *("PathsTooLong", "ProofIsSound", "Starved", "SumIsRight", "UnsoundModulus", "WrongBinding"),
    *("WrongCount", "WrongDealer", "WrongKey", "WrongLength"),
}
HOPELESS = {
    *OF_PEOPLE,
    *OF_EVIDENCE,
    "BadTerms",
    "DuplicateMember",
    "MalformedCid",
    "MembersNotIncreasing",
    "NotAggregator",
    "NotInStudy",
    "NotOnRoster",
    "UnknownRole",
    "WrongDigest",
    "WrongRole",
    "ZeroAddress",
    "ZeroDigest",
}


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_a_race_unless_it_rests_on_who_calls_and_with_what(rule: str) -> None:
    assert is_lost_race(LedgerRejected(rule)) == (rule not in HOPELESS)


def test_the_contract_has_every_rule_that_is_hopeless() -> None:
    assert set(RULES) >= HOPELESS


@pytest.mark.parametrize("rule", ["UnknownStudy", "OutOfOrder", "SomethingElse"])
def test_a_rule_that_the_contract_does_not_have_is_no_race(rule: str) -> None:
    assert not is_lost_race(LedgerRejected(rule))
