"""The laws of every ledger (PROTOCOL §5): in memory, on Anvil and on Ganache.

One contract a ledger, one study a test: what earlier tests left behind must not matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from federation.digest import Cid, Digest
from federation.events import Reason, ResultObjected, RoundId, StudyId, Windows
from federation.law import History
from federation.members import Role
from federation.rounds import (
    Abandoned,
    Combining,
    Committing,
    Epoch,
    Finished,
    Opening,
    Overdue,
    Revealing,
    Tainted,
)

from ..worlds import (
    CIPHERTEXTS,
    WINDOW,
    Play,
    World,
    cid,
    in_memory,
    named,
    on_devnet,
    rejects,
    start_devnet,
    timeless,
)

ZERO = Digest(bytes(32))
BAD_CID = Cid(bytes.fromhex("01711220") + named("cbor"))


@pytest.fixture(scope="module", params=["in memory", "anvil", "ganache"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if request.param == "in memory":
        yield in_memory()
        return
    with start_devnet(request.param, tmp_path_factory.mktemp("ledger")) as chain:
        yield on_devnet(chain)


# ---------------------------------------------------------------- the way of a round


def test_a_round_goes_from_commit_to_a_confirmed_model(world: World) -> None:
    play = world.start(5)
    play.commit(0, 1)
    assert isinstance(play.phase(), Committing)
    play.commit(2, 3, 4)
    assert isinstance(play.phase(), Revealing)
    play.reveal(0, 1, 2, 3)
    assert isinstance(play.phase(), Revealing)
    play.reveal(4)
    assert isinstance(play.phase(), Combining)
    play.total(0, 1, 3)
    assert isinstance(play.phase(), Opening)
    play.share(0, 4)
    assert world.catch_up().round(play.round).opened
    play.finish(play.member(2))
    assert isinstance(play.phase(), Finished)
    play.confirm(0)
    study = world.catch_up().study(play.study)
    assert study.settled_model(study.rounds[0]) is None
    play.confirm(1)
    assert world.catch_up().study(play.study).settled_model(study.rounds[0]) == named("result model")


def test_the_roster_names_every_founder(world: World) -> None:
    roster = world.catch_up().roster
    assert set(roster) == {*world.institutions, world.aggregator, world.standby, world.auditor}
    assert roster[world.aggregator].role == Role.AGGREGATOR
    assert roster[world.institutions[2]].name == "site 2"
    assert roster[world.institutions[2]].sealing_key == named("key 2")


def test_all_commits_close_the_window_early(world: World) -> None:
    play = world.start().commit(0, 1)
    with rejects("CommitWindowOpen", play.round):
        play.reveal(0)
    play.commit(2).reveal(0)


def test_all_reveals_close_the_window_early(world: World) -> None:
    play = world.start().commit(0, 1, 2).reveal(0, 1)
    with rejects("RevealWindowOpen", play.round):
        play.total(0, 1)
    play.reveal(2).total(0, 1, 2)


def test_the_round_goes_on_without_those_who_miss_a_deadline(world: World) -> None:
    play = world.start(5).commit(0, 1, 2, 3).late()
    with rejects("CommitWindowClosed", play.round):
        play.commit(4)
    play.reveal(0, 1, 2).late()
    with rejects("RevealWindowClosed", play.round):
        play.reveal(3)
    with rejects("NotCommitted", play.round, play.members[4]):
        play.reveal(4)
    play.total(0, 1, 2).share(3, 4).finish(play.member(4))
    assert isinstance(play.phase(), Finished)


def test_the_last_proposal_may_come_after_the_shares_window(world: World) -> None:
    play = world.start().commit(0, 1, 2).reveal(0, 1, 2).total(0, 1, 2).share(0, 1).late()
    assert isinstance(play.phase(), Opening)
    play.finish(play.aggregator)


def test_a_second_study_runs_beside_the_first(world: World) -> None:
    first, second = world.start(), world.start(4)
    assert second.study == first.study + 1
    first.commit(0)
    second.commit(0, 1, 2, 3)
    first.commit(1, 2)
    assert isinstance(first.phase(), Revealing)
    second.reveal(0, 1, 2, 3).total(0, 1, 2, 3)
    assert (type(first.phase()), type(second.phase())) == (Revealing, Opening)


def test_the_next_round_opens_when_one_ends_and_no_more_than_agreed(world: World) -> None:
    play = (
        world.start(rounds=1)
        .commit(0, 1)
        .late()
        .abandon(world.ledger(world.aggregator), Reason.TOO_FEW_COMMITS)
    )
    with rejects("WrongRound", play.next.round, play.next.next.round):
        play.next.next.commit(0)
    play.next.finished()
    with rejects("StudyComplete", play.study):
        play.next.next.commit(0)


def test_a_base_model_named_by_later_commits_settles_a_result(world: World) -> None:
    play = world.start().finished()
    play.next.commit(0, 1, base="result model").commit(2, base="a lie")
    study = world.catch_up().study(play.study)
    assert study.settled_model(study.rounds[0]) == study.rounds[1].base_model() == named("result model")


def test_competing_results_and_objections_are_all_recorded(world: World) -> None:
    play = world.start().finished().finish(world.ledger(world.institutions[0]), "another")
    play.object(1).object(2, "another").confirm(1, 2, model="another model")
    round = world.catch_up().round(play.round)
    assert [proposal.opening for proposal in round.proposals] == [named("result"), named("another")]
    objection = round.objections[play.members[1]]
    assert isinstance(objection, ResultObjected)
    assert (objection.proposed_opening, objection.found_model) == (named("result"), named("other model"))
    study = world.catch_up().study(play.study)
    assert study.settled_model(round) == named("another model")


# ---------------------------------------------------------------- key epochs

FIRST = Epoch(first=1, key=named("first key"), ciphertexts=7, cids=())


def test_a_key_that_all_accepted_rules_from_the_round_after_the_next(world: World) -> None:
    play = world.start().propose_key(0, "second key").accept_key("second key", 2, 0)
    study = world.catch_up().study(play.study)
    assert study.epochs == [FIRST]  # one is missing
    play.accept_key("second key", 1)
    world.catch_up()
    second = Epoch(first=2, key=named("second key"), ciphertexts=CIPHERTEXTS, cids=(cid("key document"),))
    assert study.epochs == [FIRST, second]
    play.commit(0).propose_key(1, "third key").accept_key("third key", 0, 1, 2)
    world.catch_up()
    assert study.epochs[2:] == [
        Epoch(first=3, key=named("third key"), ciphertexts=CIPHERTEXTS, cids=(cid("key document"),))
    ]
    assert [study.key_of(number) for number in (1, 2, 3, 9)] == [
        named(f"{which} key") for which in ("first", "second", "third", "third")
    ]


def test_the_next_round_keeps_its_key_even_when_none_is_open(world: World) -> None:
    """A commit to it may be on its way under the key before."""
    play = world.start().finished()
    play.propose_key(0, "second key").accept_key("second key", 0, 1, 2)
    study = world.catch_up().study(play.study)
    assert (study.key_of(2), study.key_of(3)) == (named("first key"), named("second key"))


def test_keys_are_pending_side_by_side_and_stay_so_when_one_is_adopted(world: World) -> None:
    play = world.start().propose_key(0, "one").propose_key(0, "another")
    play.accept_key("another", 0, 1).accept_key("one", 0, 1, 2)
    study = world.catch_up().study(play.study)
    assert study.key_of(2) == named("one")
    assert len(study.candidates[named("another")].accepted) == 2
    play.accept_key("another", 2)  # before any round: `one` will never have ruled
    world.catch_up()
    assert [(epoch.first, epoch.key) for epoch in study.epochs[1:]] == [
        (2, named("one")),
        (2, named("another")),
    ]
    assert study.key_of(2) == study.key_of(3) == named("another")


def test_a_proposal_with_a_useless_place_keeps_no_usable_one_out(world: World) -> None:
    play = world.start().propose_key(1, "second key", "nothing").propose_key(0, "second key")
    play.propose_key(2, "second key").accept_key("second key", 0, 1, 2)
    (_, epoch) = world.catch_up().study(play.study).epochs
    assert epoch.cids == (cid("nothing"), cid("key document"))


def test_a_key_is_proposed_and_accepted_once_by_each_member(world: World) -> None:
    play = world.start().propose_key(0, "second key")
    key, document = named("second key"), cid("key document")
    with rejects("KeyAlreadyProposed", play.study, key, play.members[0]):
        play.member(0).propose_key(play.study, key, BAD_CID)
    play.accept_key("second key", 0)
    with rejects("KeyAlreadyAccepted", play.study, key, play.members[0]):
        play.accept_key("second key", 0)
    play.accept_key("second key", 1, 2)
    with rejects("KeyAlreadyAccepted", play.study, key, play.members[2]):
        play.accept_key("second key", 2)
    with rejects("KeyAlreadyProposed", play.study, key, play.members[0]):
        play.propose_key(0, "second key")
    for adopted in ("first key", "second key"):
        with rejects("KeyAlreadyAdopted", play.study, named(adopted)):
            play.member(1).propose_key(play.study, named(adopted), document)
    with rejects("KeyAlreadyAdopted", play.study, named("first key")):
        play.accept_key("first key", 1)


def test_only_members_of_a_running_study_choose_keys(world: World) -> None:
    play = world.propose(rounds=1)
    with rejects("NotAccepted", play.study):
        play.propose_key(0, "second key")
    with rejects("NotAccepted", play.study):
        play.accept_key("second key", 0)
    for member in play.members:
        world.ledger(member).accept_study(play.study, named("spec"))
    for outsider in (world.aggregator, world.auditor, world.stranger, world.institutions[4]):
        other = Play(world=world, study=play.study, members=(outsider,))
        with rejects("NotInStudy", play.study, outsider):
            other.propose_key(0, "second key")
        with rejects("NotInStudy", play.study, outsider):
            other.accept_key("second key", 0)
    play.propose_key(0, "second key").finished()
    with rejects("StudyComplete", play.study):
        play.propose_key(0, "third key")
    with rejects("StudyComplete", play.study):
        play.accept_key("second key", 0)


def test_a_key_that_nobody_proposed_is_not_accepted(world: World) -> None:
    play = world.start()
    with rejects("KeyNotProposed", play.study, named("second key")):
        play.accept_key("second key", 0)
    with rejects("KeyNotProposed", play.study, ZERO):
        play.member(0).accept_key(play.study, ZERO, CIPHERTEXTS)
    with rejects("ZeroDigest"):
        play.member(0).propose_key(play.study, ZERO, cid("key document"))
    with rejects("MalformedCid", BAD_CID[:4]):
        play.member(0).propose_key(play.study, named("second key"), BAD_CID)


# ---------------------------------------------------------------- how rounds end without a result


def _stuck(play: Play, reason: Reason) -> Play:
    match reason:
        case Reason.TOO_FEW_COMMITS:
            return play.commit(0, 1).late()
        case Reason.TOO_FEW_REVEALS:
            return play.commit(0, 1, 2).reveal(0, 1).late()
        case Reason.NO_TOTAL:
            return play.commit(0, 1, 2).reveal(0, 1, 2).late()
        case Reason.NO_SHARES:
            return play.commit(0, 1, 2).reveal(0, 1, 2).total(0, 1, 2).late()
        case Reason.TOO_FEW_SHARES:
            return play.commit(0, 1, 2).reveal(0, 1, 2).total(0, 1, 2).share(2).late()
        case Reason.NO_RESULT:
            return play.commit(0, 1, 2).reveal(0, 1, 2).total(0, 1, 2).share(1, 2).late().late()


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.FAULT_PROVEN])
def test_a_stuck_round_ends_for_its_own_reason_and_for_no_other(world: World, reason: Reason) -> None:
    play = _stuck(world.start(), reason)
    assert play.phase() == Overdue(reason=reason)
    other = Reason(reason % 6 + 1)
    with rejects("WrongReason", reason, other):
        play.abandon(play.member(0), other)
    play.abandon(play.member(0), reason)
    ended = Tainted if reason >= Reason.TOO_FEW_SHARES else Abandoned
    assert play.phase() == ended(reason=reason)
    with rejects("RoundEnded", play.round):
        play.abandon(play.aggregator, reason)
    play.next.commit(1)
    assert isinstance(play.next.phase(), Committing)


def test_nothing_can_be_added_to_an_abandoned_round(world: World) -> None:
    play = _stuck(world.start(), Reason.TOO_FEW_COMMITS).abandon(world.ledger(world.aggregator), Reason(1))
    with rejects("WrongRound", play.next.round, play.round):
        play.commit(2)
    with rejects("AlreadyCommitted", play.round, play.members[0]):
        play.commit(0)
    with rejects("TooFewContributors", 3, 2):
        play.reveal(0)
    with rejects("RoundEnded", play.round):
        play.total(0, 1, 2)
    with rejects("NoTotal", play.round):
        play.share(0)
    with rejects("RoundEnded", play.round):
        play.finish(play.aggregator)
    with rejects("NotFinished", play.round):
        play.confirm(0)
    with rejects("NotFinished", play.round):
        play.object(0)


def test_nothing_can_be_added_to_a_tainted_round(world: World) -> None:
    play = _stuck(world.start(), Reason.NO_RESULT).abandon(world.ledger(world.aggregator), Reason.NO_RESULT)
    with rejects("TotalAlreadyPosted", play.round):
        play.total(0, 1, 2)
    with rejects("OpenWindowClosed", play.round):
        play.share(0)
    with rejects("RoundEnded", play.round):
        play.finish(play.aggregator)


# ---------------------------------------------------------------- refusals: studies


@pytest.mark.parametrize(
    ("n", "changes", "values"),
    [
        (2, {}, ("members", 3, 32, 2)),
        (3, {"threshold": 1}, ("threshold", 2, 2, 1)),
        (4, {"threshold": 3, "minimum": 4}, ("threshold", 2, 2, 3)),
        (5, {"minimum": 2}, ("minimum", 3, 5, 2)),
        (5, {"minimum": 6}, ("minimum", 3, 5, 6)),
        (3, {"rounds": 0}, ("rounds", 1, 2**32 - 1, 0)),
        (3, {"windows": Windows(0, 1, 1, 1)}, ("windows.commit", 1, 2**32 - 1, 0)),
        (3, {"windows": Windows(1, 0, 1, 1)}, ("windows.reveal", 1, 2**32 - 1, 0)),
        (3, {"windows": Windows(1, 1, 0, 1)}, ("windows.combine", 1, 2**32 - 1, 0)),
        (3, {"windows": Windows(1, 1, 1, 0)}, ("windows.open", 1, 2**32 - 1, 0)),
    ],
)
def test_unsound_terms_are_refused_by_name(
    world: World, n: int, changes: dict[str, object], values: tuple[object, ...]
) -> None:
    with rejects("BadTerms", *values):
        world.propose(n, **changes)


def test_a_study_needs_the_right_people(world: World) -> None:
    a, b, c = world.institutions[:3]
    with rejects("NotOnRoster", world.stranger):
        world.ledger(world.stranger).create_study(world.terms())
    with rejects("WrongRole", a, Role.AGGREGATOR, Role.INSTITUTION):
        world.propose(aggregators=(a,))
    with rejects("WrongRole", world.auditor, Role.INSTITUTION, Role.AUDITOR):
        world.propose(members=tuple(sorted((a, b, world.auditor))))
    with rejects("WrongRole", world.stranger, Role.INSTITUTION, 0):
        world.propose(members=tuple(sorted((a, b, world.stranger))))
    with rejects("MembersNotIncreasing", 1):
        world.propose(members=(b, a, c))
    with rejects("MembersNotIncreasing", 2):
        world.propose(members=(a, b, b))


def test_a_study_needs_digests_and_a_cid_of_ours(world: World) -> None:
    with rejects("ZeroDigest"):
        world.propose(digest=ZERO)
    with rejects("ZeroDigest"):
        world.propose(key=ZERO)
    with rejects("MalformedCid", BAD_CID[:4]):
        world.propose(cid=BAD_CID)


def test_a_study_is_accepted_once_by_each_member_and_by_digest(world: World) -> None:
    play = world.propose()
    member = play.member(0)
    with rejects("NotInStudy", play.study, world.aggregator):
        play.aggregator.accept_study(play.study, named("spec"))
    with rejects("NotInStudy", 10_000, play.members[0]):
        member.accept_study(StudyId(10_000), named("spec"))
    with rejects("WrongDigest", named("spec"), named("another spec")):
        member.accept_study(play.study, named("another spec"))
    member.accept_study(play.study, named("spec"))
    with rejects("AlreadyAccepted", play.study, play.members[0]):
        member.accept_study(play.study, named("another spec"))
    with rejects("NotAccepted", play.study):
        play.commit(0)


# ---------------------------------------------------------------- refusals: who


def test_only_those_in_the_study_are_heard(world: World) -> None:
    play = world.start().finished()
    outsiders = [world.stranger, world.auditor, world.institutions[4]]
    for outsider in outsiders:
        other = Play(world=world, study=play.study, members=(outsider,))
        with rejects("NotInStudy", play.study, outsider):
            other.commit(0)
        with rejects("NotInStudy", play.study, outsider):
            other.reveal(0)
        with rejects("NotAggregator", outsider):
            other.member(0).post_total(play.round, play.members, named("total"), cid("total"))
        with rejects("NotInStudy", play.study, outsider):
            other.share(0)
        with rejects("NotInStudy", play.study, outsider):
            other.finish(other.member(0), "another")
        with rejects("NotInStudy", play.study, outsider):
            other.confirm(0)
        with rejects("NotInStudy", play.study, outsider):
            other.object(0)
        with rejects("NotInStudy", play.study, outsider):
            other.abandon(other.member(0), Reason.NO_RESULT)


def test_the_aggregator_has_no_members_vote(world: World) -> None:
    play = world.start()
    as_member = Play(world=world, study=play.study, members=(world.aggregator,))
    for act in (as_member.commit, as_member.reveal, as_member.share, as_member.confirm, as_member.object):
        with rejects("NotInStudy", play.study, world.aggregator):
            act(0)


def test_a_round_that_nobody_opened_takes_nothing_but_a_commit(world: World) -> None:
    play = world.start()
    acts = (play.reveal, play.total, play.share, play.confirm, play.object)
    for act in acts:
        with rejects("NotOpened", play.round):
            act(0)
    with rejects("NotOpened", play.round):
        play.finish(play.aggregator)
    with rejects("NotOpened", play.round):
        play.abandon(play.aggregator, Reason.NO_TOTAL)
    with rejects("WrongRound", play.round, play.next.round):
        play.next.commit(0)
    with rejects("WrongRound", play.round, RoundId(play.study, 0)):
        replace(play, number=0).commit(0)


# ---------------------------------------------------------------- refusals: twice, when and what


def test_whatever_is_sent_twice_is_answered_already(world: World) -> None:
    play = world.start().finished().confirm(0).object(1)
    with rejects("AlreadyCommitted", play.round, play.members[0]):
        play.commit(0)
    with rejects("AlreadyRevealed", play.round, play.members[0]):
        play.reveal(0)
    with rejects("TotalAlreadyPosted", play.round):
        play.total(0, 1, 2)
    with rejects("AlreadyShared", play.round, play.members[0]):
        play.share(0)
    with rejects("AlreadyProposed", play.round, world.aggregator):
        play.finish(play.aggregator, "another")
    with rejects("AlreadyConfirmed", play.round, play.members[0]):
        play.confirm(0, model="another model")
    with rejects("AlreadyObjected", play.round, play.members[1]):
        play.object(1)


def test_each_phase_refuses_the_calls_of_the_others(world: World) -> None:
    play = world.start(4).commit(0, 1, 2)
    with rejects("CommitWindowOpen", play.round):
        play.reveal(0)
    with rejects("RevealWindowOpen", play.round):
        play.total(0, 1, 2)
    with rejects("NotYet", play.round):
        play.abandon(play.aggregator, Reason.TOO_FEW_COMMITS)
    play.late().reveal(0, 1, 2)
    with rejects("NoTotal", play.round):
        play.share(0)
    with rejects("TooFewShares", 2, 0):
        play.finish(play.aggregator)
    play.total(0, 1, 2).share(3)
    with rejects("TooFewShares", 2, 1):
        play.finish(play.aggregator)
    with rejects("NotFinished", play.round):
        play.confirm(0)
    with rejects("NotFinished", play.round):
        play.object(0)
    play.late()
    with rejects("OpenWindowClosed", play.round):
        play.share(0)


def test_a_finished_round_takes_shares_without_a_deadline(world: World) -> None:
    """Else a false share and a true one would let their senders finish with a result nobody can refute."""
    play = world.start().commit(0, 1, 2).reveal(0, 1, 2).total(0, 1, 2).share(0, 1)
    play.finish(play.aggregator)
    play.late().share(2)
    assert play.members[2] in world.catch_up().round(play.round).shares
    with rejects("AlreadyShared", play.round, play.members[2]):
        play.share(2)
    with rejects("RoundEnded", play.round):
        play.late().late().abandon(play.aggregator, Reason.NO_RESULT)


def test_a_total_that_comes_too_late_is_refused(world: World) -> None:
    play = world.start().commit(0, 1, 2).reveal(0, 1, 2).late()
    with rejects("CombineWindowClosed", play.round):
        play.total(0, 1, 2)


def test_a_reveal_of_too_small_a_set_is_refused(world: World) -> None:
    play = world.start().commit(0, 1).late()
    with rejects("TooFewContributors", 3, 2):
        play.reveal(0)


def test_a_total_names_revealed_members_in_order_and_enough_of_them(world: World) -> None:
    play = world.start(5).commit(0, 1, 2, 3).late().reveal(0, 1, 2).late()
    with rejects("NotRevealed", play.round, play.members[3]):
        play.total(0, 1, 2, 3)
    with rejects("TooFewContributors", 3, 2):
        play.total(0, 1)
    with rejects("MembersNotIncreasing", 1):
        play.total(1, 0, 2)
    with rejects("MembersNotIncreasing", 2):
        play.total(0, 1, 1)
    with rejects("NotRevealed", play.round, world.aggregator):
        members = sorted((*play.members[:3], world.aggregator))
        play.aggregator.post_total(play.round, members, named("total"), cid("total"))
    play.total(0, 1, 2)


def test_a_result_already_proposed_is_refused_unless_its_content_lies_elsewhere(world: World) -> None:
    play = world.start().finished()
    first = world.catch_up().round(play.round).proposals[0]
    with rejects("SameResult", play.round):
        play.finish(play.member(0))
    play.member(0).finish(
        play.round, first.opening, first.model, opening_cid=first.opening_cid, model_cid=cid("elsewhere")
    )
    assert len(world.catch_up().round(play.round).proposals) == 2


def test_empty_digests_and_foreign_cids_are_refused_everywhere(world: World) -> None:
    play = world.start()
    round, a = play.round, play.member(0)
    with rejects("ZeroDigest"):
        a.commit_update(round, ZERO, named("genesis"))
    play.commit(0, 1, 2)
    with rejects("MalformedCid", BAD_CID[:4]):
        a.reveal_update(round, BAD_CID)
    play.reveal(0, 1, 2)
    with rejects("ZeroDigest"):
        play.aggregator.post_total(round, play.members, ZERO, cid("total"))
    with rejects("MalformedCid", BAD_CID[:4]):
        play.aggregator.post_total(round, play.members, named("total"), BAD_CID)
    play.total(0, 1, 2)
    with rejects("ZeroDigest"):
        a.post_share(round, ZERO, cid("share"), total=named("total"))
    with rejects("MalformedCid", BAD_CID[:4]):
        a.post_share(round, named("share"), BAD_CID, total=named("total"))
    play.share(0, 1)
    x, good = named("x"), cid("x")
    for opening, model in ((ZERO, x), (x, ZERO)):
        with rejects("ZeroDigest"):
            a.finish(round, opening, model, opening_cid=good, model_cid=good)
    for opening_cid, model_cid in ((BAD_CID, good), (good, BAD_CID)):
        with rejects("MalformedCid", BAD_CID[:4]):
            a.finish(round, x, x, opening_cid=opening_cid, model_cid=model_cid)
    play.finish(a)
    with rejects("ZeroDigest"):
        a.confirm_model(round, ZERO)


# ---------------------------------------------------------------- reading


def test_events_read_in_pieces_are_those_read_at_once(world: World) -> None:
    world.start().finished()
    ledger = world.ledger(world.institutions[1])
    head = ledger.head()
    whole = ledger.events(-1, head.number)
    pieces = [
        event for n in range(0, head.number + 1, 7) for event in ledger.events(n - 1, min(n + 6, head.number))
    ]
    assert pieces == whole
    assert [event.at for event in whole] == sorted({event.at for event in whole})
    assert [event.time for event in whole] == sorted(event.time for event in whole)


def test_a_receipt_says_where_its_event_stands(world: World) -> None:
    play = world.start()
    receipt = play.member(0).commit_update(play.round, named("root"), named("genesis"))
    (event,) = world.ledger(world.auditor).events(receipt.at.block - 1, receipt.at.block)
    assert (receipt.call, receipt.at) == ("commitUpdate", event.at)
    assert event.sender == play.members[0]


def test_a_refused_call_leaves_no_trace(world: World) -> None:
    play = world.start()
    world.catch_up()
    before = len(world.seen)
    with rejects("ZeroDigest"):
        play.member(0).commit_update(play.round, ZERO, ZERO)
    world.catch_up()
    assert len(world.seen) == before


def test_everybody_sees_the_same_ledger(world: World) -> None:
    a, b = world.ledger(world.institutions[0]), world.ledger(world.stranger)
    assert (a.id, a.head().number) == (b.id, b.head().number)
    assert a.events(-1, a.head().number) == b.events(-1, b.head().number)
    assert (a.account, b.account) == (world.institutions[0], world.stranger)


def test_the_head_stands_at_the_time_of_the_clock(world: World) -> None:
    ledger = world.ledger(world.auditor)
    before = ledger.head()
    world.advance(WINDOW)
    after = ledger.head()
    assert after.time >= before.time + WINDOW
    assert after.number > before.number


def test_every_ledger_tells_the_same_story(world: World) -> None:
    """Event by event and phase by phase, apart from when and where."""
    here, reference = world.another(), in_memory(world.cast)
    assert _story(here) == _story(reference)
    assert timeless(here.seen) == timeless(reference.seen)
    retold = History()
    for event in here.seen:
        retold.follow(event)
    assert retold == here.history


def _story(world: World) -> list[str]:
    """Two studies with everything that can happen, and the phase after each step."""
    first, second = world.start(5), world.start(3, rounds=1)
    one, two, three = first, first.next, first.next.next
    steps = [
        lambda: one.commit(0, 1, 2, 3).late(),
        lambda: one.reveal(3, 1, 0).late(),
        lambda: one.propose_key(2, "second key").accept_key("second key", 4, 0, 1, 3, 2),
        lambda: one.total(0, 1, 3),
        lambda: one.share(4).late(),
        lambda: one.abandon(one.aggregator, Reason.TOO_FEW_SHARES),
        lambda: two.commit(0).late(),
        lambda: two.abandon(two.member(4), Reason.TOO_FEW_COMMITS),
        lambda: three.commit(0, 1, 2, 3, 4, base="genesis").reveal(0, 1, 2, 3, 4),
        lambda: three.total(0, 2, 4).share(1, 3),
        lambda: three.finish(three.member(1)).finish(three.aggregator, "another"),
        lambda: three.object(0, "another").confirm(2, 3, 4),
        second.finished,
    ]
    return [str(type(step().phase())) for step in steps]
