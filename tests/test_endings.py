"""A failed round says why: one sentence, the same for everybody, for each way in which a round can fail."""

from __future__ import annotations

import pytest

from federation.endings import Endings, called_by, ending, failed, overdue
from federation.events import Fault, FaultProven, LogPosition, Reason, Timestamp
from federation.members import Address, Member, Role, SealingKey, show_address
from federation.rounds import Overdue
from federation.wire import Code, Exclusion

from .worlds import WINDOW, Play, in_memory, named

LAST = WINDOW + 1  # seconds: whatever window was open is over


def sentence(play: Play, *excluded: Exclusion) -> str:
    """What everybody reads of the play's round; its institutions are called site 0, 1, 2 …"""
    history = play.world.catch_up()
    return ending(history.round(play.round), called_by(history.roster), excluded=excluded)


def start(n: int = 4, **changes: object) -> Play:
    return in_memory().start(n, **changes)


def ended(play: Play, reason: Reason) -> Play:
    return play.late().abandon(play.aggregator, reason)


def proven(play: Play, fault: Fault, *, leaf: int = 4, member: int | None = None) -> Play:
    """The court believes site 0, which charges the total that stands."""
    history = play.world.catch_up()
    round = history.round(play.round)
    sentenced = history.sentence(round, play.members[0])
    event = FaultProven(
        at=LogPosition(play.world.read_until + 1, 0),
        time=play.world.ledger(play.world.auditor).head().time,
        sender=play.members[0],
        round=play.round,
        aggregator=sentenced.aggregator,
        member=None if member is None else play.members[member],
        fault=fault,
        leaf=leaf,
        slashed=sentenced.slashed,
        beneficiary=sentenced.beneficiary,
    )
    history.follow(event)
    return play


def test_too_few_commits_names_who_did_not_commit() -> None:
    play = ended(start().commit(0, 2), Reason.TOO_FEW_COMMITS)
    assert sentence(play) == (
        "round 1 was abandoned: 2 of at least 3 hospitals committed in time; site 1 and site 3 did not commit"
    )


def test_too_few_reveals_tells_apart_who_committed_and_who_did_not() -> None:
    play = start(5).commit(0, 1, 2, 3).late().reveal(0, 1)
    assert sentence(ended(play, Reason.TOO_FEW_REVEALS)) == (
        "round 1 was abandoned: 2 of at least 3 hospitals revealed in time; "
        "site 2 and site 3 did not reveal; site 4 did not commit"
    )


def test_no_total_names_the_aggregators_whose_turns_passed() -> None:
    world = in_memory()
    play = world.start(4, aggregators=(world.aggregator, world.standby)).commit(0, 1, 2, 3).reveal(0, 1, 2, 3)
    world.advance(2 * LAST)
    assert sentence(play.abandon(play.aggregator, Reason.NO_TOTAL)) == (
        "round 1 was abandoned: site 5 and site 8 posted no total before the turns ended"
    )


def test_no_total_after_one_was_taken_back_says_what_was_proven() -> None:
    world = in_memory()
    play = world.start(4, aggregators=(world.aggregator, world.standby)).commit(0, 1, 2, 3).reveal(0, 1, 2, 3)
    proven(play.total(0, 1, 2, 3), Fault.SUM)
    history = world.catch_up()
    reason = Reason.NO_TOTAL
    assert overdue(history.round(play.round), Overdue(reason=reason), called_by(history.roster)) == (
        "round 1 is overdue: site 0 proved site 5's total wrong: leaf 4 of it is not the sum of its members' "
        "leaves, and so it was taken back; site 8 posted no total before the turn ended"
    )


def test_with_every_aggregator_at_fault_none_is_left() -> None:
    play = proven(start().commit(0, 1, 2, 3).reveal(0, 1, 2, 3).total(0, 1, 2, 3), Fault.HEADER)
    history = play.world.catch_up()
    said = overdue(history.round(play.round), Overdue(reason=Reason.NO_TOTAL), called_by(history.roster))
    assert "the header of the total is not the one that is due" in said
    assert said.endswith("no other aggregator is left")


def test_an_update_proven_unlawful_leaves_too_few() -> None:
    play = start(3).commit(0, 1, 2).reveal(0, 1, 2).total(0, 1, 2)
    proven(play, Fault.LEAF, leaf=7, member=1)
    history = play.world.catch_up()
    found = history.round(play.round)
    phase = found.phase(Timestamp(play.world.ledger(play.world.auditor).head().time + 3 * LAST))
    assert phase == Overdue(reason=Reason.TOO_FEW_REVEALS)
    assert overdue(found, phase, called_by(history.roster)) == (
        "round 1 is overdue: 2 of at least 3 hospitals revealed in time; "
        "the update of site 1 was proven unlawful"
    )


def test_no_shares_says_whose_total_nobody_opened_and_who_is_not_in_it() -> None:
    play = start(5).commit(0, 1, 2, 3).late().reveal(0, 1, 2, 3).total(0, 2, 3)
    left_out = Exclusion(member=play.members[1], code=Code.PROOF_FAILED)
    assert sentence(ended(play, Reason.NO_SHARES), left_out) == (
        "round 1 was abandoned: 0 of at least 2 shares were given in time; the total was posted by site 5; "
        "site 0, site 1, site 2, site 3 and site 4 did not share; site 4 did not commit; "
        "site 1 was left out (PROOF_FAILED)"
    )


def test_too_few_shares_taint_the_round_which_counts_as_opened() -> None:
    play = start().commit(0, 1, 2, 3).reveal(0, 1, 2, 3).total(0, 1, 2, 3).share(2)
    assert sentence(ended(play, Reason.TOO_FEW_SHARES)) == (
        "round 1 is tainted: 1 of at least 2 shares were given in time; the total was posted by site 5; "
        "site 0, site 1 and site 3 did not share; it counts as opened and is never opened again"
    )


def test_shares_that_nobody_joined_taint_the_round_too() -> None:
    play = start().commit(0, 1, 2, 3).reveal(0, 1, 2, 3).total(0, 1, 2, 3).share(0, 2)
    play.world.advance(2 * LAST)
    assert sentence(play.abandon(play.aggregator, Reason.NO_RESULT)) == (
        "round 1 is tainted: 2 shares were given, and nobody proposed a result in time; "
        "it counts as opened and is never opened again"
    )


def test_a_fault_proven_after_a_share_taints_the_round_and_names_both_sides() -> None:
    play = start().commit(0, 1, 2, 3).reveal(0, 1, 2, 3).total(0, 1, 2, 3).share(1)
    assert sentence(proven(play, Fault.PROOF, member=3)) == (
        "round 1 is tainted: site 0 proved site 5's total wrong: the submission proof of site 3 cannot pass; "
        "it counts as opened and is never opened again"
    )


def test_a_finished_round_says_who_is_not_in_it_and_by_which_code() -> None:
    play = start(5).commit(0, 1, 2, 3).late().reveal(0, 1, 2).late().total(0, 1, 2).share(0, 1)
    assert sentence(play.finish(play.aggregator)) == (
        "round 1 finished: 3 of 5 hospitals are in its total; site 3 did not reveal; site 4 did not commit"
    )
    malformed = Exclusion(member=play.members[2], code=Code.MALFORMED, leaf=9, rule="residue")
    other = start(4).commit(0, 1, 2, 3).reveal(0, 1, 2, 3).total(0, 1, 3).share(0, 1)
    assert sentence(other.finish(other.aggregator).object(0), malformed) == (
        "round 1 finished: 3 of 4 hospitals are in its total; "
        "site 2 was left out (MALFORMED, leaf 9: residue); site 0 objected to a result"
    )


def test_a_member_that_the_ledger_shows_as_silent_is_not_named_twice() -> None:
    play = start().commit(0, 1, 2, 3).reveal(0, 1, 2).late().total(0, 1, 2).share(0, 1)
    silent = Exclusion(member=play.members[3], code=Code.NO_REVEAL)
    assert sentence(play.finish(play.aggregator), silent).count("site 3") == 1


def test_a_round_under_way_has_no_ending() -> None:
    assert sentence(start().commit(0)) == ""


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.FAULT_PROVEN])
def test_every_reason_has_a_sentence_of_one_printable_line(reason: Reason) -> None:
    play = start().commit(0, 1, 2, 3).reveal(0, 1, 2, 3).total(0, 1, 2, 3)
    history = play.world.catch_up()
    said = overdue(history.round(play.round), Overdue(reason=reason), called_by(history.roster))
    assert said.startswith("round 1 is overdue: ")
    assert said.isprintable()


def line(address: Address, name: str) -> tuple[Address, Member]:
    key = SealingKey(named("key"))
    return address, Member(address=address, role=Role.INSTITUTION, sealing_key=key, name=name)


def test_a_name_that_two_bear_or_that_commands_a_terminal_is_told_by_its_address() -> None:
    one, two, three, four = (Address(bytes([index]) * 20) for index in range(1, 5))
    call = called_by(dict([line(one, "mercy"), line(two, "mercy"), line(three, "a\x1b[2K")]))
    assert call(one) == f"mercy ({show_address(one)})"
    assert call(three) == show_address(three)
    assert call(four) == show_address(four)


def test_each_end_is_told_once_and_of_the_past_only_the_newest() -> None:
    play = start(3, rounds=9)
    play = ended(play.commit(0), Reason.TOO_FEW_COMMITS).next
    play = ended(play.commit(0), Reason.TOO_FEW_COMMITS).next
    study, endings = play.world.catch_up().study(play.study), Endings()

    def told() -> list[int]:
        play.world.catch_up()
        return [round.id.number for round in endings.news(study)]

    assert told() == [2]
    assert told() == []
    play = play.commit(0, 1, 2)
    assert told() == []
    play.reveal(0, 1, 2).total(0, 1, 2).share(0, 1).finish(play.aggregator)
    ended(play.next.commit(0), Reason.TOO_FEW_COMMITS)
    assert told() == [3, 4]
    assert [failed(round) for round in study.rounds] == [True, True, False, True]
