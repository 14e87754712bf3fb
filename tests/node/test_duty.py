"""The next duty follows from ledger, block time and journal alone: every phase, every memory."""

from __future__ import annotations

import pytest

from federation.digest import sha256
from federation.errors import Refused
from federation.events import Reason, RoundId
from federation.rounds import (
    Combining,
    Committing,
    Opening,
    Overdue,
    Phase,
    Revealing,
)
from node.duty import (
    Adopt,
    Conclude,
    Confirm,
    Dispute,
    Done,
    Duty,
    End,
    Fetch,
    Forbids,
    Publish,
    Reveal,
    Share,
    Submit,
    Wait,
    next_duty,
)
from node.journal import Entry, name_of

from ..worlds import WINDOW, Play, in_memory, named

Memory = dict[tuple[Entry, int], bytes]
ROOT, TOTAL, MODEL = named("update 0"), named("total"), named("result model")
COMMITTED: Memory = {(Entry.TRAINED, 1): ROOT}
SHARED: Memory = COMMITTED | {(Entry.SHARED, 1): TOTAL}
PUBLISHED: Memory = SHARED | {(Entry.PUBLISHED, 1): b"where the share lies"}
EVERYTHING: Memory = PUBLISHED | {(Entry.ADOPTED, 1): MODEL}


def due(
    play: Play,
    memory: Memory | None = None,
    *,
    disputes: bool = True,
    forbids: Forbids = lambda _: "",
) -> Duty:
    """What member 0 has to do, if this is what its journal holds."""
    known = memory or {}
    world = play.world
    study = world.catch_up().study(play.study)
    now = world.ledger(world.auditor).head().time

    def recall(entry: Entry, round: RoundId) -> bytes | None:
        return known.get((entry, round.number))

    return next_duty(study, now, me=play.members[0], recall=recall, disputes=disputes, forbids=forbids)


def _withheld(play: Play) -> Memory:
    """The total that stands was refused, and nobody has looked yet what it could be charged with."""
    name = refused(play)[Entry.WITHHELD, 1]
    return COMMITTED | {(Entry.WITHHELD, 1): name}


def refused(play: Play) -> Memory:
    """The total that stands was refused, and nothing found to charge its author with."""
    total = play.world.catch_up().round(play.round).total
    assert total is not None
    return {(entry, 1): name_of(total) for entry in (Entry.WITHHELD, Entry.UNPROVEN)}


def phase(play: Play) -> type[Phase]:
    return type(play.phase())


def test_nothing_is_due_before_all_have_accepted() -> None:
    play = in_memory().propose()
    assert isinstance(due(play), Wait)
    world = play.world
    for member in play.members[:2]:
        world.ledger(member).accept_study(play.study, named("spec"))
    assert "1 member" in str(due(play))


@pytest.mark.parametrize("others", [(), (1,), (1, 2)])
def test_while_members_commit_our_update_is_due_once(others: tuple[int, ...]) -> None:
    play = in_memory().start(4).commit(*others)
    assert due(play) == Submit(round=play.round)
    assert due(play, COMMITTED) == Submit(round=play.round), "a crash before the ledger took it"
    assert isinstance(due(play.commit(0), COMMITTED), Wait)
    assert phase(play) is Committing


def test_a_commitment_that_the_journal_does_not_remember_stops_the_node() -> None:
    play = in_memory().start().commit(0)
    for memory in ({}, {(Entry.TRAINED, 1): sha256(b"another")}, {(Entry.TRAINED, 2): ROOT}):
        with pytest.raises(
            Refused, match=r"round 1/1: the ledger shows a commitment of ours .* older backup"
        ):
            due(play, memory)


def test_what_was_committed_is_revealed_once() -> None:
    play = in_memory().start().commit(0, 1, 2)
    assert phase(play) is Revealing
    assert due(play, COMMITTED) == Reveal(round=play.round)
    assert isinstance(due(play.reveal(0), COMMITTED), Wait)


def test_who_has_not_committed_has_nothing_to_reveal() -> None:
    play = in_memory().start(4).commit(1, 2, 3).late()
    assert phase(play) is Revealing
    assert isinstance(due(play), Wait)


def test_while_the_aggregator_combines_members_look_for_themselves() -> None:
    play = in_memory().start().commit(0, 1, 2).reveal(0, 1, 2)
    assert phase(play) is Combining
    assert due(play, COMMITTED) == Fetch(round=play.round)


def opening() -> Play:
    return in_memory().start().commit(0, 1, 2).reveal(0, 1, 2).total(0, 1, 2)


def test_a_posted_total_wants_our_share_once() -> None:
    play = opening()
    assert phase(play) is Opening
    duty = due(play, COMMITTED)
    assert isinstance(duty, Share)
    assert (duty.round, duty.total.root) == (play.round, TOTAL)
    assert due(play, SHARED) == duty, "a crash before the ledger took the share: the same again"
    play.share(0)
    assert due(play, SHARED) == Publish(round=play.round), "its bytes, once it stands on the ledger"
    assert isinstance(due(play, PUBLISHED), Wait)


def test_a_withheld_share_stays_withheld_and_only_for_that_total() -> None:
    play = opening()
    assert isinstance(due(play, COMMITTED | refused(play)), Wait)
    another = COMMITTED | {(Entry.WITHHELD, 1): TOTAL}
    assert isinstance(due(play, another), Share), "its root alone is not the total that was refused"
    play.share(1, 2)
    assert isinstance(due(play, COMMITTED | refused(play)), Wait)


def test_a_refused_total_is_charged_once() -> None:
    play = opening()
    names = refused(play)
    withheld = COMMITTED | {(Entry.WITHHELD, 1): names[Entry.WITHHELD, 1]}
    assert due(play, withheld) == Dispute(round=play.round, total=names[Entry.WITHHELD, 1])
    before = withheld | {(Entry.UNPROVEN, 1): TOTAL}
    assert isinstance(due(play, before), Dispute), "another total of the same root was charged"
    play.late()
    ended = End(round=play.round, reason=Reason.NO_SHARES)
    assert due(play, withheld) == ended, "no dispute stands in the way of anything else"


def test_where_our_policy_says_so_nobody_is_charged() -> None:
    play = opening()
    assert isinstance(due(play, _withheld(play), disputes=False), Wait)
    late = opening().late()
    assert due(late, _withheld(late), disputes=False) == End(round=late.round, reason=Reason.NO_SHARES)


def test_a_wrong_total_that_others_have_opened_is_charged_even_in_a_finished_round() -> None:
    play = opening().share(1, 2)
    play.finish(play.aggregator)
    names = refused(play)
    assert due(play, _withheld(play)) == Adopt(round=play.round, last=False, may_share=False)
    play.next.commit(0)
    later = {(Entry.ADOPTED, 1): sha256(b"model"), (Entry.TRAINED, 2): COMMITTED[Entry.TRAINED, 1]}
    charged = Dispute(round=play.round, total=names[Entry.WITHHELD, 1])
    assert due(play, _withheld(play) | later) == charged
    assert isinstance(due(play, COMMITTED | names | later), Wait)


def test_what_was_withheld_or_not_proven_of_one_total_says_nothing_of_the_next() -> None:
    play = opening()
    for entries in ([Entry.WITHHELD], [Entry.WITHHELD, Entry.UNPROVEN]):
        memory = COMMITTED | dict.fromkeys([(entry, 1) for entry in entries], sha256(b"the total before it"))
        assert isinstance(due(play, memory), Share)
    stale = _withheld(play) | {(Entry.UNPROVEN, 1): sha256(b"the total before it")}
    assert due(play, stale) == Dispute(round=play.round, total=refused(play)[Entry.WITHHELD, 1])


def test_a_share_that_the_journal_does_not_remember_stops_the_node() -> None:
    play = opening().share(0)
    for memory in (
        COMMITTED,
        COMMITTED | refused(play),
        COMMITTED | {(Entry.SHARED, 1): sha256(b"another total")},
    ):
        with pytest.raises(Refused, match="a share of ours"):
            due(play, memory)


def test_a_member_concludes_where_the_aggregator_does_not() -> None:
    play = opening().share(0, 1)
    assert isinstance(due(play, PUBLISHED), Wait)
    play.late()
    assert phase(play) is Opening
    assert due(play, PUBLISHED) == Conclude(round=play.round)


def test_who_gave_no_share_concludes_as_well() -> None:
    play = opening().share(1, 2).late()
    assert due(play, COMMITTED) == Conclude(round=play.round)
    assert due(play, COMMITTED | refused(play)) == Conclude(round=play.round)


@pytest.mark.parametrize(
    ("play", "memory", "reason"),
    [
        (lambda: in_memory().start(4).commit(0, 1).late(), COMMITTED, Reason.TOO_FEW_COMMITS),
        (lambda: in_memory().start().commit(0, 1, 2).reveal(0).late(), COMMITTED, Reason.TOO_FEW_REVEALS),
        (lambda: in_memory().start().commit(0, 1, 2).reveal(0, 1, 2).late(), COMMITTED, Reason.NO_TOTAL),
        (lambda: opening().late(), COMMITTED, Reason.NO_SHARES),
        (lambda: opening().share(0).late(), PUBLISHED, Reason.TOO_FEW_SHARES),
        (lambda: opening().share(0, 1).late().late(), PUBLISHED, Reason.NO_RESULT),
    ],
    ids=lambda value: value.name if isinstance(value, Reason) else "",
)
def test_an_overdue_round_is_ended_for_the_one_lawful_reason(play, memory: Memory, reason: Reason) -> None:
    staged = play()
    assert phase(staged) is Overdue
    assert due(staged, memory) == End(round=staged.round, reason=reason)
    staged.abandon(staged.member(0), reason)
    assert due(staged, memory) == Submit(round=staged.next.round)


def test_a_proposed_result_is_looked_at_before_anything_else_happens() -> None:
    play = in_memory().start().finished()
    assert due(play, PUBLISHED) == Adopt(round=play.round, last=False, may_share=False)
    assert due(play, EVERYTHING) == Submit(round=play.next.round)


def test_who_missed_a_finished_round_adopts_it_too() -> None:
    play = in_memory().start(4)
    play.commit(1, 2, 3).late().reveal(1, 2, 3).total(1, 2, 3).share(1, 2).finish(play.aggregator)
    assert due(play) == Adopt(round=play.round, last=False, may_share=True)
    assert due(play, refused(play)) == Adopt(round=play.round, last=False, may_share=False)


def test_only_the_very_last_result_is_confirmed_by_word() -> None:
    play = in_memory().start(rounds=2).finished()
    second = play.next.finished()
    both = PUBLISHED | {(Entry.TRAINED, 2): ROOT, (Entry.SHARED, 2): TOTAL, (Entry.PUBLISHED, 2): b"cid"}
    assert due(second, both) == Adopt(round=play.round, last=False, may_share=False)
    first_known = both | {(Entry.ADOPTED, 1): MODEL}
    assert due(second, first_known) == Adopt(round=second.round, last=True, may_share=False)
    known = first_known | {(Entry.ADOPTED, 2): MODEL}
    assert due(second, known) == Confirm(round=second.round, model=MODEL), "a fork may have taken it back"
    left_behind = first_known | {(Entry.ADOPTED, 2): named("genesis")}
    assert due(second, left_behind) == Done(), "there is no model to confirm"
    assert due(second.confirm(0, model="result model"), known) == Done()


def test_an_old_round_that_the_journal_forgot_stops_the_node_in_every_later_one() -> None:
    play = in_memory().start().commit(0, 1, 2).reveal(0, 1, 2).total(0, 1, 2).share(0, 1)
    play.finish(play.aggregator)
    with pytest.raises(Refused, match="a share of ours"):
        due(play, COMMITTED | {(Entry.ADOPTED, 1): MODEL})
    assert due(play, EVERYTHING) == Submit(round=play.next.round)


def test_block_time_and_not_the_clock_on_the_wall_ends_a_window() -> None:
    play = in_memory().start(4).commit(0, 1, 2)
    play.world.advance(WINDOW)
    assert isinstance(due(play, COMMITTED), Wait)
    play.world.advance(1)
    assert due(play, COMMITTED) == Reveal(round=play.round)


def test_what_our_rules_forbid_is_waited_out_and_what_they_do_not_is_done() -> None:
    asked: list[Duty] = []

    def forbids(duty: Duty) -> str:
        asked.append(duty)
        return "a rule of ours"

    play = in_memory().start()
    forbidden = Wait(why="a rule of ours")
    assert due(play, forbids=forbids) == forbidden
    assert due(play.commit(0, 1, 2), COMMITTED, forbids=forbids) == forbidden
    assert due(play.reveal(0, 1, 2).total(0, 1, 2), COMMITTED, forbids=forbids) == forbidden
    assert [type(duty) for duty in asked] == [Submit, Reveal, Share]
    assert due(play.late(), COMMITTED, forbids=forbids) == End(round=play.round, reason=Reason.NO_SHARES)
    assert len(asked) == 3, "nobody asks before a round is ended"


def test_a_forbidden_share_is_not_added_to_a_finished_round_that_is_adopted_all_the_same() -> None:
    play = in_memory().start().commit(0, 1, 2).reveal(0, 1, 2).total(0, 1, 2).share(1, 2)
    play.finish(play.aggregator)
    assert due(play, COMMITTED) == Adopt(round=play.round, last=False, may_share=True)
    forbidden = due(play, COMMITTED, forbids=lambda _: "a rule of ours")
    assert forbidden == Adopt(round=play.round, last=False, may_share=False)


def test_a_fault_is_proven_though_our_rules_forbid_what_else_is_due() -> None:
    play = in_memory().start().commit(0, 1, 2).reveal(0, 1, 2).total(0, 1, 2)
    withheld = _withheld(play)
    ended = play.late().abandon(play.aggregator, Reason.NO_SHARES)
    assert isinstance(due(ended, withheld), Submit)
    assert isinstance(due(ended, withheld, forbids=lambda _: "a rule of ours"), Dispute)
