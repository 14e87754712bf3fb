"""A person reads what a study waits for, of whom, and until when."""

from __future__ import annotations

from federation.endings import called_by
from federation.events import Reason
from federation.outlook import Outlook, last_ending, outlook

from .worlds import WINDOW, Play, in_memory, named


def seen(play: Play) -> Outlook:
    history = play.world.catch_up()
    now = play.world.ledger(play.world.auditor).head().time
    return outlook(history.study(play.study), now, called_by(history.roster))


def awaited(play: Play) -> str:
    return seen(play).awaited


def test_before_the_first_round_the_study_waits_for_consent() -> None:
    play = in_memory().propose(3)
    play.world.ledger(play.members[1]).accept_study(play.study, named("spec"))
    assert seen(play) == Outlook(awaited="site 0 and site 2 to accept the study")


def test_each_phase_waits_for_those_who_have_not_acted_until_its_window_closes() -> None:
    play = in_memory().start(3, rounds=1)
    assert seen(play) == Outlook(
        awaited="site 0, site 1 and site 2 to commit: the first one starts the clock"
    )
    began = play.commit(1).world.ledger(play.world.auditor).head().time
    assert seen(play) == Outlook(awaited="site 0 and site 2 to commit", until=began + WINDOW)
    assert awaited(play.commit(0, 2).reveal(2)) == "site 0 and site 1 to reveal"
    assert awaited(play.reveal(0, 1)) == "site 5 to post the total"
    assert awaited(play.total(0, 1, 2)) == "2 more of the shares of site 0, site 1 and site 2"
    assert awaited(play.share(1)) == "1 more of the shares of site 0 and site 2"
    assert awaited(play.share(0)) == "site 5 to join the shares and propose the result"
    assert seen(play).until == began + WINDOW
    assert seen(play.late()).until == began + 2 * WINDOW
    assert awaited(play) == "anybody to join the shares and propose the result"
    assert awaited(play.finish(play.aggregator)) == "2 members to confirm the last model: 0 have"
    assert awaited(play.confirm(0, 1)) == "nothing: the study is complete and its last model confirmed"


def test_aggregators_in_turn_are_awaited_as_their_turns_begin() -> None:
    world = in_memory()
    play = world.start(3, aggregators=(world.aggregator, world.standby)).commit(0, 1, 2).reveal(0, 1, 2)
    assert awaited(play) == "site 5 to post the total"
    assert awaited(play.late()) == "site 5 and site 8 to post the total"


def test_an_overdue_round_waits_for_anybody_and_says_why() -> None:
    play = in_memory().start(3).commit(0).late()
    assert awaited(play).startswith("anybody to end the round: round 1 is overdue: 1 of at least 3 hospitals")


def test_the_last_ending_is_that_of_the_newest_round_that_ended() -> None:
    play = in_memory().start(3)

    def told() -> str:
        history = play.world.catch_up()
        return last_ending(history.study(play.study), called_by(history.roster))

    assert told() == ""
    play.commit(0).late().abandon(play.aggregator, Reason.TOO_FEW_COMMITS)
    assert told().startswith("round 1 was abandoned")
    play.next.commit(0)
    assert told().startswith("round 1 was abandoned")
