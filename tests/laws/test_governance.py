"""The laws of votes and seats (PROTOCOL §5.10): in memory, on Anvil and on Ganache."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from federation.digest import Digest
from federation.events import Motion, MotionKind, Stake, State, Timestamp
from federation.governance import LONGEST_MOTION
from federation.members import Address, Member, Role, SealingKey
from federation.rounds import Combining, Finished, Opening, Revealing

from ..worlds import Play, World, in_memory, named, on_devnet, rejects, start_devnet

NOBODY = Address(bytes(20))
GWEI = 10**9


@pytest.fixture(scope="module", params=["in memory", "anvil", "ganache"])
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if request.param == "in memory":
        yield in_memory()
        return
    with start_devnet(request.param, tmp_path_factory.mktemp("ledger")) as chain:
        yield on_devnet(chain)


@pytest.fixture
def world(ground: World) -> World:
    """A contract of its own: what a test decides is for good."""
    return ground.another()


def now(world: World) -> int:
    return world.ledger(world.auditor).head().time


def motion(world: World, kind: MotionKind, **about: object) -> Motion:
    """One that may be voted on for an hour."""
    expires = Timestamp(now(world) + 3600)
    return Motion(kind=kind, expires=expires, **about)  # type: ignore[arg-type]  # names are checked at run time


def line(address: Address, role: Role = Role.INSTITUTION, name: str = "new") -> Member:
    return Member(address=address, role=role, sealing_key=SealingKey(named(name)), name=name)


def vote(world: World, about: Motion, *who: int) -> None:
    for index in who:
        world.ledger(world.institutions[index]).vote(about)


def state(world: World, account: Address) -> State:
    return world.catch_up().consortium.standing(account).state


# ---------------------------------------------------------------- motions


def test_a_majority_of_the_institutions_admits_a_member(world: World) -> None:
    admitted = motion(world, MotionKind.ADMIT, member=line(world.stranger))
    vote(world, admitted, 0, 1)
    assert state(world, world.stranger) is State.NONE
    with rejects("NotOnRoster", world.stranger):
        world.ledger(world.stranger).create_study(world.terms())
    vote(world, admitted, 4)
    assert state(world, world.stranger) is State.ACTIVE
    assert world.catch_up().roster[world.stranger] == line(world.stranger)
    world.ledger(world.stranger).create_study(world.terms())
    assert world.catch_up().consortium.quorum == 4  # of six


def test_only_institutions_vote_and_each_once(world: World) -> None:
    about = motion(world, MotionKind.SUSPEND, subject=world.aggregator)
    for who in (world.aggregator, world.auditor, world.stranger):
        with rejects("NoVote", who):
            world.ledger(who).vote(about)
    vote(world, about, 0)
    with rejects("AlreadyVoted", world.institutions[0]):
        vote(world, about, 0)
    vote(world, about, 1, 2)
    assert state(world, world.aggregator) is State.SUSPENDED
    with rejects("MotionCarried"):
        vote(world, about, 3)


def test_a_motion_expires_and_none_is_for_ever(world: World) -> None:
    about = motion(world, MotionKind.SUSPEND, subject=world.auditor)
    vote(world, about, 0, 1)
    world.advance(3601)
    with rejects("MotionExpired", about.expires):
        vote(world, about, 2)
    assert state(world, world.auditor) is State.ACTIVE
    endless = replace(about, expires=Timestamp(now(world) + 2 * LONGEST_MOTION))
    with rejects("MotionTooLong"):
        vote(world, endless, 0)


def test_motions_that_differ_in_anything_are_counted_apart(world: World) -> None:
    about = motion(world, MotionKind.SUSPEND, subject=world.auditor)
    vote(world, about, 0, 1)
    vote(world, replace(about, value=1), 2)
    vote(world, replace(about, expires=Timestamp(about.expires + 1)), 3)
    assert state(world, world.auditor) is State.ACTIVE


def test_votes_of_those_who_were_suspended_since_do_not_count(world: World) -> None:
    a, b = world.institutions[:2]
    about = motion(world, MotionKind.REMOVE, subject=world.auditor)
    vote(world, about, 0, 1)
    for suspended in (a, b):
        vote(world, motion(world, MotionKind.SUSPEND, subject=suspended), 2, 3, 4)
    with rejects("NoVote", a):
        vote(world, motion(world, MotionKind.SUSPEND, subject=world.auditor), 0)
    vote(world, about, 2)  # the third vote of five, the first that counts of three
    assert state(world, world.auditor) is State.ACTIVE
    vote(world, about, 3)
    assert state(world, world.auditor) is State.LEFT


def test_the_quorum_is_what_was_asked_between_a_majority_and_all(world: World) -> None:
    consortium = world.catch_up().consortium
    assert consortium.quorum == 3
    vote(world, motion(world, MotionKind.SET_QUORUM, value=4), 0, 1, 2)
    assert world.catch_up().consortium.quorum == 4
    vote(world, motion(world, MotionKind.REMOVE, subject=world.institutions[4]), 0, 1, 2, 3)
    vote(world, motion(world, MotionKind.REMOVE, subject=world.institutions[3]), 0, 1, 2, 3)
    assert world.catch_up().consortium.quorum == 3  # of three
    vote(world, motion(world, MotionKind.SET_QUORUM, value=1), 0, 1, 2)
    assert world.catch_up().consortium.quorum == 2  # a majority
    low = motion(world, MotionKind.SET_QUORUM)
    vote(world, low, 0)
    with rejects("BadTerms", "quorum", 1, 256, 0):
        vote(world, low, 1)


def test_a_motion_that_cannot_be_carried_refuses_the_vote_that_would_carry_it(world: World) -> None:
    a = world.institutions[0]
    impossible = {
        ("DuplicateMember", a): motion(world, MotionKind.ADMIT, member=line(a)),
        ("ZeroAddress",): motion(world, MotionKind.ADMIT),
        ("WrongState", world.stranger, 0): motion(world, MotionKind.SUSPEND, subject=world.stranger),
        ("WrongState", a, 1): motion(world, MotionKind.REINSTATE, subject=a),
        ("WrongRole", world.stranger, 1, 2): motion(
            world, MotionKind.REPLACE, subject=a, member=line(world.stranger, Role.AGGREGATOR)
        ),
        ("WrongRole", NOBODY, 1, 0): motion(world, MotionKind.REPLACE, subject=a),
        ("ZeroDigest",): motion(world, MotionKind.SUPERSEDE, subject=world.stranger),
    }
    for (rule, *values), about in impossible.items():
        vote(world, about, 1, 2)
        with rejects(rule, *values):
            vote(world, about, 3)


# ---------------------------------------------------------------- seats


def test_a_suspended_member_is_waited_for_no_longer_than_a_window_and_comes_back(world: World) -> None:
    play = world.start(4).commit(0, 1, 2, 3)
    d = play.members[3]
    with rejects("SeatInLine", play.study, d):
        world.ledger(world.stranger).follow_roster(play.study, d)
    vote(world, motion(world, MotionKind.SUSPEND, subject=d), 0, 1, 2)
    world.ledger(world.stranger).follow_roster(play.study, d)  # anyone may
    with rejects("SeatIdle", play.study, d):
        play.reveal(3)
    play.reveal(0, 1, 2)
    assert isinstance(play.phase(), Revealing)
    play.late().total(0, 1, 2)
    with rejects("SeatIdle", play.study, d):
        play.share(3)
    vote(world, motion(world, MotionKind.REINSTATE, subject=d), 0, 1, 2)
    world.ledger(d).follow_roster(play.study, d)
    play.share(3, 0).finish(play.aggregator)
    assert isinstance(play.phase(), Finished)


def test_an_organisations_new_keys_act_in_its_name(world: World) -> None:
    play = world.start(3).commit(0)
    a, heir = play.members[0], world.stranger
    vote(world, motion(world, MotionKind.REPLACE, subject=a, member=line(heir)), 0, 1, 2)
    assert (state(world, a), state(world, heir)) == (State.REPLACED, State.ACTIVE)
    world.ledger(heir).follow_roster(play.study, a)
    moved = replace(play, members=(heir, *play.members[1:]))
    with rejects("SeatIdle", play.study, a):
        play.reveal(0)
    play.commit(1, 2)
    moved.reveal(0, 1, 2)
    with rejects("AlreadyRevealed", play.round, heir):  # its own name, not its predecessor's
        moved.reveal(0)
    round = world.catch_up().round(play.round)
    assert set(round.reveals) == set(play.members)  # by the name in the study's terms
    play.total(0, 1, 2)
    moved.share(0, 1).finish(moved.member(0))
    assert isinstance(play.phase(), Finished)
    study = world.catch_up().study(play.study)
    assert study.name_of(heir) == a


def test_an_heir_has_its_predecessors_vote_and_no_second_one(world: World) -> None:
    a, heir = world.institutions[0], world.stranger
    about = motion(world, MotionKind.SUSPEND, subject=world.auditor)
    vote(world, about, 0)
    vote(world, motion(world, MotionKind.REPLACE, subject=a, member=line(heir)), 0, 1, 2)
    with rejects("AlreadyVoted", heir):
        world.ledger(heir).vote(about)
    vote(world, about, 1)
    assert state(world, world.auditor) is State.ACTIVE
    vote(world, about, 2)
    assert state(world, world.auditor) is State.SUSPENDED


def test_an_aggregators_heir_takes_its_turn_with_its_own_bond(world: World) -> None:
    play = world.start(stake=Stake(gwei=5, lock=0, treasury=NOBODY))
    heir = world.stranger
    play.commit(0, 1, 2).reveal(0, 1, 2)
    replaced = motion(world, MotionKind.REPLACE, subject=world.aggregator, member=line(heir, Role.AGGREGATOR))
    vote(world, replaced, 0, 1, 2)
    world.ledger(heir).follow_roster(play.study, world.aggregator)
    with rejects("SeatIdle", play.study, world.aggregator):
        play.total(0, 1, 2)
    with rejects("BondTooSmall", 5 * GWEI, 0):
        play.total(0, 1, 2, by=heir)
    world.ledger(heir).deposit_bond(play.study, 5 * GWEI)
    assert isinstance(play.phase(), Combining)
    play.total(0, 1, 2, by=heir)
    assert isinstance(play.phase(), Opening)


def test_a_removed_member_is_in_no_new_study(world: World) -> None:
    e = world.institutions[4]
    vote(world, motion(world, MotionKind.REMOVE, subject=e), 0, 1, 2)
    with rejects("WrongRole", e, Role.INSTITUTION, 0):
        world.propose(5)
    with rejects("NotOnRoster", e):
        world.ledger(e).create_study(world.terms())
    with rejects("NotInStudy"):
        world.ledger(e).follow_roster(world.propose().study, e)


def test_seats_follow_two_replacements_in_whatever_order_they_are_told(world: World) -> None:
    play = world.start(3)
    a, first, second = play.members[0], world.stranger, world.institutions[4]
    vote(world, motion(world, MotionKind.REPLACE, subject=a, member=line(first)), 0, 1, 2)
    # The heir is suspended before the study has heard of it.
    vote(world, motion(world, MotionKind.SUSPEND, subject=first), 1, 2, 3)
    world.ledger(second).follow_roster(play.study, a)
    with rejects("SeatIdle", play.study, first):
        replace(play, members=(first, *play.members[1:])).commit(0)


# ---------------------------------------------------------------- keys without a suspended member


def follow(world: World, play: Play, who: Address, kind: MotionKind) -> None:
    """The consortium decides, and the study's seat follows."""
    vote(world, motion(world, kind, subject=who), *(0, 1, 4)[: world.catch_up().consortium.quorum])
    world.ledger(world.stranger).follow_roster(play.study, who)


def keys_of(world: World, play: Play) -> list[tuple[int, Digest]]:
    return [(epoch.first, epoch.key) for epoch in world.catch_up().study(play.study).later_epochs]


def test_a_suspended_members_consent_to_a_key_is_not_waited_for(world: World) -> None:
    play, key = world.start(4), named("second key")
    d = play.members[3]
    follow(world, play, d, MotionKind.SUSPEND)
    play.propose_key(0, "second key").accept_key("second key", 0, 1)
    with rejects("SeatIdle", play.study, d):
        play.accept_key("second key", 3)
    assert keys_of(world, play) == []
    play.accept_key("second key", 2)
    assert keys_of(world, play) == [(2, key)]
    (epoch,) = world.catch_up().study(play.study).later_epochs
    assert epoch.unasked == {d}
    follow(world, play, d, MotionKind.REINSTATE)
    play.commit(0, 1, 2, 3).reveal(0, 1, 2, 3)
    play.accept_key("second key", 3)  # late: nothing is adopted anew
    assert keys_of(world, play) == [(2, key)]
    with rejects("KeyAlreadyAdopted", play.study, key):
        play.propose_key(3, "second key")
    with rejects("KeyAlreadyAccepted", play.study, key, d):
        play.accept_key("second key", 3)


def test_fewer_than_the_minimum_never_adopt_a_key(world: World) -> None:
    """Else t - 1 corrupt members would choose it, once the others are suspended."""
    play, key = world.start(4), named("second key")
    c, d = play.members[2:]
    play.propose_key(0, "second key")
    for suspended in (c, d):
        follow(world, play, suspended, MotionKind.SUSPEND if suspended == d else MotionKind.REMOVE)
    play.accept_key("second key", 0, 1)
    assert keys_of(world, play) == []
    follow(world, play, d, MotionKind.REINSTATE)
    play.accept_key("second key", 3)
    assert keys_of(world, play) == [(2, key)]


def test_a_consent_given_before_the_suspension_counts(world: World) -> None:
    play, key = world.start(3), named("second key")
    play.propose_key(0, "second key").accept_key("second key", 2)
    follow(world, play, play.members[2], MotionKind.SUSPEND)
    play.accept_key("second key", 0, 1)
    assert keys_of(world, play) == [(2, key)]


def test_an_heirs_consent_is_waited_for_unless_it_is_suspended_too(world: World) -> None:
    play, heir = world.start(4), world.stranger
    a = play.members[0]
    vote(world, motion(world, MotionKind.REPLACE, subject=a, member=line(heir)), 1, 2, 3)
    world.ledger(heir).follow_roster(play.study, a)
    play.propose_key(1, "second key").accept_key("second key", 1, 2, 3)
    assert keys_of(world, play) == []
    vote(world, motion(world, MotionKind.SUSPEND, subject=heir), 1, 2, 3)
    world.ledger(heir).follow_roster(play.study, heir)
    play.propose_key(1, "third key").accept_key("third key", 1, 2, 3)
    assert keys_of(world, play) == [(2, named("third key"))]


# ---------------------------------------------------------------- the contract that takes over


def test_a_superseded_contract_finishes_what_runs_and_begins_nothing(world: World) -> None:
    play: Play = world.start(3)
    over = motion(world, MotionKind.SUPERSEDE, subject=world.stranger, code=named("code"))
    vote(world, over, 0, 1, 2)
    assert world.catch_up().consortium.successor == over
    with rejects("Superseded", world.stranger):
        world.propose()
    again = motion(world, MotionKind.SUPERSEDE, subject=world.auditor, code=named("code"))
    vote(world, again, 0, 1)
    with rejects("Superseded", world.stranger):
        vote(world, again, 2)
    play.finished()
    assert isinstance(play.phase(), Finished)
