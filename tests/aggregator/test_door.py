"""The door opens to who has signed for this very door, in time, once, and only as long as the roster says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_account.signers.local import LocalAccount
from hypothesis import example, given
from hypothesis import strategies as st

from aggregator.door import (
    MOST_SESSIONS,
    MOST_SIGNED,
    SESSION_SECONDS,
    Caller,
    Door,
    NoRole,
    NotProven,
    TooOften,
)
from federation.digest import LedgerId, labelled
from federation.errors import Refused, Unavailable, Violation
from federation.members import Address, Role
from federation.sign_in import (
    CHALLENGE_SECONDS,
    MOST_SKEW_SECONDS,
    Challenge,
    Offer,
    Place,
    Signed,
    check_offer,
    check_signature,
    is_in_the_clear,
    origin_of,
    sign,
)

from .callers import OPERATOR_KEY, SERVICE, address_of, key
from .live import Clock

PLACE = Place(ledger=LedgerId(labelled("a ledger")), chain_id=31337, contract=Address(b"\xc0" * 20))
CLINIC = key("clinic")


class Roster(dict[Address, int]):
    """Who has which role now."""

    def __call__(self, account: Address) -> int:
        return self.get(account, 0)


def open_door(clock: Clock | None = None, roster: Roster | None = None, **about: object) -> Door:
    clock = clock or Clock()
    known = Roster({address_of(CLINIC): Role.INSTITUTION}) if roster is None else roster
    given: dict[str, object] = {"place": PLACE, "service": SERVICE, **about}
    return Door(me=address_of(OPERATOR_KEY), role_of=known, wall=clock, clock=clock, **given)  # type: ignore[arg-type]  # names are checked at run time


def enter(door: Door, account: LocalAccount = CLINIC) -> str:
    challenge = door.challenge(address_of(account))
    return door.sign_in(challenge, sign(door.place, challenge, account)).token


def test_who_signs_gets_a_token_that_is_good_for_a_quarter_of_an_hour() -> None:
    clock = Clock()
    door = open_door(clock)
    token = enter(door)
    clock.now += SESSION_SECONDS
    visitor = door.visitor(token)
    assert (visitor.caller, visitor.account) == (Caller.INSTITUTION, address_of(CLINIC))
    clock.now += 1
    with pytest.raises(NotProven, match="no longer"):
        door.visitor(token)


def test_a_signature_opens_once() -> None:
    door = open_door()
    challenge = door.challenge(address_of(CLINIC))
    signature = sign(PLACE, challenge, CLINIC)
    door.sign_in(challenge, signature)
    with pytest.raises(NotProven, match="signed before"):
        door.sign_in(challenge, signature)


def test_a_signature_opens_once_though_the_clock_is_put_back() -> None:
    clock = Clock()
    door = open_door(clock)
    challenge = door.challenge(address_of(CLINIC))
    signature = sign(PLACE, challenge, CLINIC)
    door.sign_in(challenge, signature)
    clock.now += CHALLENGE_SECONDS + 1
    enter(door)  # the first one has expired, and is forgotten
    clock.now -= CHALLENGE_SECONDS
    with pytest.raises(NotProven, match="ask anew"):
        door.sign_in(challenge, signature)
    enter(door)


def test_the_same_signature_written_otherwise_opens_nothing_more() -> None:
    """(r, n-s, other v) is as valid as (r, s, v): it is the challenge that is used up."""
    door = open_door()
    challenge = door.challenge(address_of(CLINIC))
    signature = sign(PLACE, challenge, CLINIC)
    door.sign_in(challenge, signature)
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    other = order - int.from_bytes(signature[32:64], "big")
    with pytest.raises(NotProven):
        door.sign_in(challenge, signature[:32] + other.to_bytes(32, "big") + bytes([55 - signature[64]]))


@pytest.mark.parametrize("late", [CHALLENGE_SECONDS + 1, 10**6, -1])
def test_a_challenge_that_is_not_of_now_is_refused(late: int) -> None:
    clock = Clock()
    door = open_door(clock)
    challenge = door.challenge(address_of(CLINIC))
    signature = sign(PLACE, challenge, CLINIC)
    clock.now += late
    with pytest.raises(NotProven, match=r"expired|ask anew"):
        door.sign_in(challenge, signature)


def test_a_challenge_may_be_signed_up_to_its_last_second() -> None:
    clock = Clock()
    door = open_door(clock)
    challenge = door.challenge(address_of(CLINIC))
    clock.now += CHALLENGE_SECONDS
    assert door.sign_in(challenge, sign(PLACE, challenge, CLINIC)).role == "institution"


@pytest.mark.parametrize(
    "changed",
    [
        {"nonce": bytes(32)},
        {"issued": int(Clock().now) + 1},
        {"account": address_of(key("another"))},
    ],
)
def test_a_challenge_that_we_did_not_offer_is_refused_however_well_signed(
    changed: dict[str, object],
) -> None:
    door = open_door(roster=Roster(dict.fromkeys(map(address_of, (CLINIC, key("another"))), 1)))
    forged = replace(door.challenge(address_of(CLINIC)), **changed)  # type: ignore[arg-type]  # as above
    signer = key("another") if "account" in changed else CLINIC
    with pytest.raises(NotProven, match="not one of ours"):
        door.sign_in(forged, sign(PLACE, forged, signer))


def test_a_restart_ends_challenges_and_visits() -> None:
    before, after = open_door(), open_door()
    challenge = before.challenge(address_of(CLINIC))
    with pytest.raises(NotProven, match="restart"):
        after.sign_in(challenge, sign(PLACE, challenge, CLINIC))
    with pytest.raises(NotProven):
        after.visitor(enter(before))


@pytest.mark.parametrize(
    "elsewhere",
    [
        replace(PLACE, ledger=LedgerId(labelled("another ledger"))),
        replace(PLACE, chain_id=1),
        replace(PLACE, contract=Address(b"\xc1" * 20)),
    ],
)
def test_what_was_signed_for_another_ledger_opens_nothing(elsewhere: Place) -> None:
    door = open_door()
    challenge = door.challenge(address_of(CLINIC))
    with pytest.raises(NotProven, match="has not signed"):
        door.sign_in(challenge, sign(elsewhere, challenge, CLINIC))


def test_what_was_signed_for_another_service_opens_nothing() -> None:
    """A service that passes our challenge on to a member gets what its own address is in."""
    door = open_door()
    challenge = door.challenge(address_of(CLINIC))
    passed_on = replace(challenge, service="https://evil.example")
    with pytest.raises(NotProven, match="has not signed"):
        door.sign_in(challenge, sign(PLACE, passed_on, CLINIC))


def test_nobody_enters_in_anothers_name() -> None:
    door = open_door()
    challenge = door.challenge(address_of(CLINIC))
    with pytest.raises(NotProven, match="has not signed"):
        door.sign_in(challenge, sign(PLACE, challenge, key("another")))


def test_who_is_not_on_the_roster_is_told_so_only_after_it_signed() -> None:
    door, stranger = open_door(), key("stranger")
    challenge = door.challenge(address_of(stranger))
    with pytest.raises(NotProven):
        door.sign_in(challenge, bytes(64) + b"\x1b")
    with pytest.raises(NoRole):
        door.sign_in(challenge, sign(PLACE, challenge, stranger))


def test_a_visit_ends_with_the_role_and_does_not_come_back_with_it() -> None:
    roster = Roster({address_of(CLINIC): Role.AUDITOR})
    door = open_door(roster=roster)
    token = enter(door)
    assert door.visitor(token).caller is Caller.AUDITOR
    roster.clear()
    with pytest.raises(NotProven, match="lost its role"):
        door.visitor(token)
    roster[address_of(CLINIC)] = Role.AUDITOR
    with pytest.raises(NotProven, match="sign in again"):
        door.visitor(token)


def test_the_operator_is_let_in_before_the_ledger_was_read_and_nobody_else() -> None:
    def unread(_: Address) -> int:
        raise Unavailable("not read yet")

    door = open_door(roster=unread)  # type: ignore[arg-type]  # any function will do
    assert door.visitor(enter(door, OPERATOR_KEY)).caller is Caller.OPERATOR
    with pytest.raises(Unavailable):
        enter(door)


def test_signing_out_ends_one_visit() -> None:
    door = open_door()
    first, second = enter(door), enter(door)
    door.sign_out(first)
    with pytest.raises(NotProven):
        door.visitor(first)
    assert door.visitor(second).account == address_of(CLINIC)


def test_one_account_more_often_than_that_ends_its_oldest_visit() -> None:
    door = open_door(roster=Roster({address_of(CLINIC): 1, address_of(key("other")): 2}))
    other = enter(door, key("other"))
    tokens = [enter(door) for _ in range(MOST_SESSIONS + 1)]
    with pytest.raises(NotProven):
        door.visitor(tokens[0])
    assert {door.visitor(token).caller for token in tokens[1:]} == {Caller.INSTITUTION}
    assert door.visitor(other).caller is Caller.AGGREGATOR
    assert len(door.stays()) == MOST_SESSIONS + 1


def test_ended_visits_are_forgotten() -> None:
    clock = Clock()
    door = open_door(clock)
    enter(door)
    clock.now += SESSION_SECONDS + 1
    enter(door)
    assert len(door.stays()) == 1


def test_strangers_cost_no_memory_and_each_member_a_bounded_one() -> None:
    clock = Clock()
    door = open_door(clock, Roster({address_of(CLINIC): 1, address_of(key("other")): 2}))
    for _ in range(50):
        door.challenge(address_of(key("stranger")))
    assert not door._used
    for _ in range(MOST_SIGNED):
        enter(door)
    with pytest.raises(TooOften):
        enter(door)
    assert enter(door, key("other")), "who does so shuts out nobody else"
    clock.now += CHALLENGE_SECONDS + 1
    enter(door)
    assert len(door._used) == 1


def test_a_door_that_is_shown_shows_no_secret() -> None:
    door = open_door(monitor_token="m" * 40)
    token = enter(door)
    assert token not in repr(door)
    assert "m" * 40 not in repr(door)


def test_monitoring_brings_a_token_that_is_no_account_s() -> None:
    door = open_door(monitor_token="m" * 40)
    assert door.visitor("m" * 40).caller is Caller.MONITOR
    with pytest.raises(NotProven):
        door.visitor("m" * 39)
    with pytest.raises(NotProven):
        open_door().visitor("")


@given(signature=st.binary(max_size=70))
@example(bytes(65))
@example(bytes(64) + b"\x1b")
@example(b"\xff" * 64 + b"\x1c")
@example(bytes(32) + b"\x01".rjust(32, b"\0") + b"\x1b")
@example(b"\x01".rjust(32, b"\0") + bytes(32) + b"\x1c")
@example(b"\x01" * 64 + b"\x25")
def test_no_bytes_but_the_account_s_are_a_signature(signature: bytes) -> None:
    challenge = Challenge(service=SERVICE, account=address_of(CLINIC), nonce=bytes(32), issued=0)
    with pytest.raises(Violation):
        check_signature(PLACE, challenge, signature)


# ---------------------------------------------------------------- the side that signs


def offer(**changed: object) -> Offer:
    made: dict[str, object] = {
        "service": SERVICE,
        "account": "0x" + address_of(CLINIC).hex(),
        "nonce": "0x" + "5f" * 32,
        "issued": 1_000_000,
        "expires": 1_000_000 + CHALLENGE_SECONDS,
    }
    return Offer.model_validate(made | changed)


def checked(offered: Offer, now: int = 1_000_000) -> Challenge:
    return check_offer(offered, service=SERVICE, account=address_of(CLINIC), now=now)


def test_nothing_is_signed_for_another_service_account_or_time() -> None:
    assert checked(offer()).service == SERVICE
    with pytest.raises(Refused, match="another address"):
        checked(offer(service="https://evil.example"))
    with pytest.raises(Violation):
        checked(offer(account="0x" + "00" * 20))
    with pytest.raises(Violation):
        checked(offer(expires=2_000_000))


@pytest.mark.parametrize("direction", [1, -1])
def test_clocks_may_differ_by_five_minutes_and_the_difference_is_said(direction: int) -> None:
    assert checked(offer(), now=1_000_000 + direction * MOST_SKEW_SECONDS)
    with pytest.raises(Refused, match=r"differ by 301 s: expected at most 300"):
        checked(offer(), now=1_000_000 + direction * (MOST_SKEW_SECONDS + 1))


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("HTTPS://Sums.Example:443/v1", "https://sums.example"),
        ("http://sums.example:80", "http://sums.example"),
        ("https://sums.example:8420/", "https://sums.example:8420"),
        ("http://[::1]:8420", "http://[::1]:8420"),
        ("https://someone:secret@sums.example", "https://sums.example"),
    ],
)
def test_one_service_has_one_name(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url", ["", "sums.example", "ftp://x", "https://", "https://x:99999", "https://[", "//x"]
)
def test_what_is_no_address_of_a_service_is_refused(url: str) -> None:
    with pytest.raises(Refused):
        origin_of(url)


@pytest.mark.parametrize(
    ("url", "heard"),
    [
        ("https://sums.example", False),
        ("http://sums.example", True),
        ("http://127.0.0.1:8420", False),
        ("http://127.0.0.1.evil.example", True),
        ("http://localhost", False),
        ("http://[::1]", False),
        ("http://10.0.0.1", True),
    ],
)
def test_tokens_are_not_sent_where_others_hear_them(url: str, heard: bool) -> None:
    assert is_in_the_clear(url) is heard


def test_the_form_of_what_was_signed_is_strict() -> None:
    good = {
        "account": "0x" + "a1" * 20,
        "nonce": "0x" + "5f" * 32,
        "issued": 5,
        "signature": "0x" + "11" * 65,
    }
    assert Signed.model_validate(good).challenge(SERVICE).issued == 5
    for name, value in (
        ("account", "0x" + "a1" * 21),
        ("account", "0x" + "\u0661" * 40),
        ("nonce", "0x" + "5F" * 32),
        ("issued", "five"),
        ("issued", 5.5),
        ("issued", 1e300),
        ("issued", -1),
        ("issued", 2**53),
        ("signature", "0x"),
        ("extra", 1),
    ):
        with pytest.raises(ValueError, match=name):
            Signed.model_validate(good | {name: value})
