"""The laws of disputes, turns and bonds (PROTOCOL §5.7, §5.8): in memory, on Anvil and on Ganache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pytest

from federation.ciphers.ring.element import LEAF_BYTES, PRIMES
from federation.digest import Digest, LedgerId, labelled
from federation.disputes import NO_KEY, Charge, HeaderEvidence, LeafEvidence, SumEvidence
from federation.events import Fault, Leaves, Reason, Stake, StudyId, Windows
from federation.ledger.ledger import Ledger
from federation.members import Address
from federation.merkle import leaf_digest, prove_leaf, root_of
from federation.rounds import Abandoned, Combining, Finished, Opening, Overdue, Tainted
from federation.wire import Binding, total_header, update_header

from ..worlds import CIPHERTEXTS, WINDOW, Play, World, in_memory, named, on_devnet, rejects, start_devnet

GWEI = 10**9
STAKE = 5  # gwei
CHUNKS = 64  # of one block of `hybrid`, here without a capsule
LEDGER, SHAPE = LedgerId(named("ledger")), named("shape")
LEAVES = Leaves(suite=2, ciphertexts=0, chunks=CHUNKS, binding=labelled("binding", LEDGER, SHAPE))
NOBODY = Address(bytes(20))


@pytest.fixture(scope="module", params=["in memory", "anvil", "ganache"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    if request.param == "in memory":
        yield in_memory()
        return
    with start_devnet(request.param, tmp_path_factory.mktemp("ledger")) as chain:
        yield on_devnet(chain)


def chunk(value: int) -> bytes:
    return value.to_bytes(4, "little") * (LEAF_BYTES // 4)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A round whose updates and total are real trees, of three members."""

    play: Play
    updates: list[list[bytes]]  # leaves of each member's tree
    total: list[bytes]

    @property
    def root(self) -> Digest:
        return root_of(self.total)

    @property
    def roots(self) -> list[Digest]:
        return [root_of(update) for update in self.updates]

    def up_to_total(self, by: Address | None = None) -> Case:
        self.play.commit(0, 1, 2, roots=self.roots).reveal(0, 1, 2).total(0, 1, 2, by=by, root=self.root)
        return self

    def wrong_sum(self, leaf: int = 1) -> Charge:
        paths = [step for tree in (*self.updates, self.total) for step in prove_leaf(tree, leaf)]
        evidence = SumEvidence(
            leaf=leaf,
            found=leaf_digest(self.total[leaf]),
            key=NO_KEY,
            leaves=b"".join(update[leaf] for update in self.updates),
            paths=tuple(paths),
        )
        return Charge(round=self.play.round, fault=Fault.SUM, member=None, evidence=evidence)

    def malformed(self, who: int, leaf: int) -> Charge:
        update = self.updates[who]
        path = tuple(prove_leaf(update, leaf))
        evidence = LeafEvidence(leaf=leaf, key=NO_KEY, data=update[leaf], path=path, witness=b"")
        member = self.play.members[who]
        return Charge(round=self.play.round, fault=Fault.LEAF, member=member, evidence=evidence)

    def wrong_header(self, who: int | None = None) -> Charge:
        tree = self.total if who is None else self.updates[who]
        path = tuple(prove_leaf(tree, 0))
        evidence = HeaderEvidence(ledger=LEDGER, shape=SHAPE, header=tree[0], path=path)
        member = None if who is None else self.play.members[who]
        return Charge(round=self.play.round, fault=Fault.HEADER, member=member, evidence=evidence)


def case_of(play: Play, *, wrong: Sequence[int] = (), excess: int | None = None) -> Case:
    """Lawful payloads, but for the total's leaves in `wrong` and the first leaf of the member `excess`."""
    binding = Binding(
        ledger=LEDGER, round=play.round, suite="hybrid", key=named("first key"), shape=SHAPE, leaves=CHUNKS
    )
    updates = []
    for index, member in enumerate(play.members):
        header = update_header(binding, member=member, base_model=named("genesis"))
        body = [chunk(PRIMES[0] - 1 - index if leaf == 0 else leaf + index) for leaf in range(CHUNKS)]
        if index == excess:
            body[0] = chunk(PRIMES[0])
        updates.append([header, *body, b"proof"])
    roots = [root_of(update) for update in updates]
    header = total_header(binding, members=list(zip(play.members, roots, strict=True)), excluded=[])
    sums = [chunk(-6 % PRIMES[0])] + [chunk(3 * leaf + 3) for leaf in range(1, CHUNKS)]
    for leaf in wrong:
        sums[leaf - 1] = chunk(leaf)
    return Case(play=play, updates=updates, total=[header, *sums])


def staked(
    world: World, *, treasury: Address = NOBODY, lock: int = 0, wrong: Sequence[int] = (1,), **terms: object
) -> Case:
    """A study with two aggregators, both of which have staked enough."""
    stake = Stake(gwei=STAKE, lock=lock, treasury=treasury)
    aggregators = (world.aggregator, world.standby)
    play = world.start(leaves=LEAVES, aggregators=aggregators, stake=stake, **terms)
    for aggregator in aggregators:
        ledger = world.ledger(aggregator)
        ledger.deposit_bond(play.study, STAKE * GWEI)
    return case_of(play, wrong=wrong)


def bond(play: Play, who: Address) -> int:
    return play.world.catch_up().study(play.study).bonds.of(who).amount


# ---------------------------------------------------------------- what a proof leads to


def test_a_wrong_total_is_taken_back_and_the_second_aggregator_finishes_the_round(world: World) -> None:
    case = staked(world).up_to_total()
    play, challenger = case.play, world.stranger  # anyone may prove a fault
    assert isinstance(play.phase(), Opening)
    world.ledger(challenger).dispute(case.wrong_sum())
    assert isinstance(play.phase(), Combining)
    assert (bond(play, world.aggregator), bond(play, challenger)) == (0, STAKE * GWEI)
    with rejects("FaultyAggregator", play.round, world.aggregator):
        play.total(0, 1, 2, root=case.root)
    right = case_of(play)
    play.total(0, 1, 2, by=world.standby, root=right.root).share(0, 1, of=right.root)
    play.finish(world.ledger(world.standby))
    round = world.catch_up().round(play.round)
    assert isinstance(play.phase(), Finished)
    assert [fault.aggregator for fault in round.faults] == [world.aggregator]
    assert [total.root for total in round.rescinded] == [case.root]
    assert round.verdict is None


def test_a_wrong_total_in_which_somebody_shared_taints_the_round(world: World) -> None:
    case = staked(world).up_to_total()
    case.play.share(0, of=case.root)
    case.play.member(1).dispute(case.wrong_sum())
    assert case.play.phase() == Tainted(reason=Reason.FAULT_PROVEN)
    with rejects("RoundEnded", case.play.round):
        case.play.abandon(case.play.aggregator, Reason.NO_RESULT)
    case.play.next.commit(0)


def test_a_finished_round_stays_finished_and_its_aggregator_pays(world: World) -> None:
    case = staked(world).up_to_total()
    case.play.share(0, 1, of=case.root).finish(case.play.member(0))
    case.play.member(1).dispute(case.wrong_sum())
    assert isinstance(case.play.phase(), Finished)
    verdict = world.catch_up().round(case.play.round).verdict
    assert verdict is not None
    assert (verdict.fault, verdict.leaf, verdict.slashed) == (Fault.SUM, 1, STAKE * GWEI)
    assert bond(case.play, world.aggregator) == 0
    with rejects("FaultAlreadyProven", case.play.round):
        case.play.member(2).dispute(case.wrong_sum())


def test_a_member_whose_admitted_update_is_malformed_is_in_no_further_total(world: World) -> None:
    lawful = staked(world, n=4, minimum=3)
    play = replace(lawful.play, members=lawful.play.members[:4])
    case = case_of(play, excess=2)
    play.commit(0, 1, 2, 3, roots=case.roots).reveal(0, 1, 2, 3).total(0, 1, 2, 3, root=case.root)
    play.member(0).dispute(case.malformed(2, 1))
    round = world.catch_up().round(play.round)
    assert round.faults[-1].member == play.members[2]
    with rejects("NotRevealed", play.round, play.members[2]):
        play.total(0, 1, 2, by=world.standby)
    play.total(0, 1, 3, by=world.standby)
    assert isinstance(play.phase(), Opening)


def test_a_round_with_too_few_sound_updates_left_is_ended(world: World) -> None:
    lawful = staked(world)
    case = case_of(lawful.play, excess=1).up_to_total()
    case.play.member(0).dispute(case.malformed(1, 1))
    world.advance(1)
    assert case.play.phase() == Overdue(reason=Reason.TOO_FEW_REVEALS)
    case.play.abandon(case.play.member(0), Reason.TOO_FEW_REVEALS)
    assert isinstance(case.play.phase(), Abandoned)


@pytest.mark.parametrize("who", [None, 1])
def test_a_header_of_another_round_is_proven(world: World, who: int | None) -> None:
    lawful = staked(world, wrong=())
    play = lawful.play
    foreign = case_of(replace(play, number=7))
    if who is None:
        case = Case(play=play, updates=lawful.updates, total=[foreign.total[0], *lawful.total[1:]])
    else:
        updates = [list(update) for update in lawful.updates]
        updates[who][0] = foreign.updates[who][0]
        case = Case(play=play, updates=updates, total=lawful.total)
    case.up_to_total()
    play.member(0).dispute(case.wrong_header(who))
    world.advance(1)
    # Of three members, the minimum, the one at fault cannot be spared.
    assert isinstance(play.phase(), Combining if who is None else Overdue)
    assert world.catch_up().round(play.round).faults[-1].fault is Fault.HEADER


def test_after_the_fault_of_the_last_aggregator_nobody_combines(world: World) -> None:
    case = staked(world).up_to_total()
    case.play.member(0).dispute(case.wrong_sum())
    case.play.total(0, 1, 2, by=world.standby, root=case.root)
    case.play.member(0).dispute(case.wrong_sum())
    world.advance(1)
    assert case.play.phase() == Overdue(reason=Reason.NO_TOTAL)
    case.play.abandon(case.play.member(0), Reason.NO_TOTAL)


# ---------------------------------------------------------------- what is no proof


def test_a_right_total_is_never_convicted(world: World) -> None:
    case = staked(world, wrong=(5,)).up_to_total()
    with rejects("SumIsRight"):
        case.play.member(0).dispute(case.wrong_sum(1))
    with rejects("LeafIsSound"):
        case.play.member(0).dispute(case.malformed(0, 1))
    for who in (None, 0):
        with rejects("HeaderIsRight"):
            case.play.member(0).dispute(case.wrong_header(who))
    assert isinstance(case.play.phase(), Opening)
    case.play.member(0).dispute(case.wrong_sum(5))


def test_of_several_malformed_summands_the_first_member_is_named(world: World) -> None:
    """And not the one whose fault lies first in its chunk; such a charge is one of a leaf."""
    case = staked(world, wrong=())
    updates = [list(update) for update in case.updates]
    excess = PRIMES[0].to_bytes(4, "little")
    updates[1][1] = updates[1][1][:-4] + excess
    updates[2][1] = excess + updates[2][1][4:]
    case = replace(case, updates=updates).up_to_total()
    with rejects("MalformedLeaf", 1):
        case.play.member(0).dispute(case.wrong_sum())


def test_evidence_of_other_payloads_proves_nothing(world: World) -> None:
    case = staked(world, wrong=()).up_to_total()
    other = case_of(case.play, wrong=(1,), excess=1)
    with rejects("NotInTree", 3):
        case.play.member(0).dispute(replace(case, total=other.total).wrong_sum())
    with rejects("NotInTree", 0):
        case.play.member(0).dispute(other.malformed(1, 1))
    with rejects("NoSuchLeaf", 1, CHUNKS, 0):
        case.play.member(0).dispute(case.wrong_sum(0))
    with rejects("NotInTotal", case.play.round, world.stranger):
        case.play.member(0).dispute(replace(case.malformed(1, 1), member=world.stranger))
    long = replace(case.wrong_sum().evidence, paths=(*case.wrong_sum().evidence.paths, SHAPE))
    with rejects("PathsTooLong"):
        case.play.member(0).dispute(replace(case.wrong_sum(), evidence=long))


def test_there_is_nothing_to_prove_before_a_total_and_after_it_was_taken_back(world: World) -> None:
    case = staked(world)
    with rejects("NotOpened", case.play.round):
        case.play.member(0).dispute(case.wrong_sum())
    case.play.commit(0, 1, 2, roots=case.roots).reveal(0, 1, 2)
    with rejects("NoTotal", case.play.round):
        case.play.member(0).dispute(case.wrong_sum())
    case.play.total(0, 1, 2, root=case.root)
    case.play.member(0).dispute(case.wrong_sum())
    with rejects("NoTotal", case.play.round):
        case.play.member(1).dispute(case.wrong_sum())


def test_a_suite_that_the_court_does_not_know_is_not_judged(world: World) -> None:
    case = staked(world)
    unknown = LEAVES._replace(suite=0)
    play = world.start(leaves=unknown, aggregators=(world.aggregator,))
    case = case_of(play, wrong=(1,)).up_to_total()
    with rejects("NotJudged", 0):
        play.member(0).dispute(case.wrong_sum())


def test_a_share_on_its_way_does_not_count_for_the_next_total(world: World) -> None:
    case = staked(world).up_to_total()
    case.play.member(0).dispute(case.wrong_sum())
    right = case_of(case.play)
    case.play.total(0, 1, 2, by=world.standby, root=right.root)
    with rejects("WrongTotal", case.play.round, right.root, case.root):
        case.play.share(0, of=case.root)
    case.play.share(0, of=right.root)


# ---------------------------------------------------------------- turns


def test_the_second_aggregator_takes_over_when_the_first_misses_its_window(world: World) -> None:
    play = staked(world).play.commit(0, 1, 2).reveal(0, 1, 2)
    with rejects("NotYourTurn", play.round):
        play.total(0, 1, 2, by=world.standby)
    play.late()
    assert isinstance(play.phase(), Combining)
    play.total(0, 1, 2, by=world.standby).share(0, 1).finish(world.ledger(world.standby))
    assert isinstance(play.phase(), Finished)


def test_the_first_aggregator_may_still_post_in_the_second_ones_turn(world: World) -> None:
    play = staked(world).play.commit(0, 1, 2).reveal(0, 1, 2).late()
    play.total(0, 1, 2)
    assert isinstance(play.phase(), Opening)


def test_after_the_last_turn_the_round_is_overdue(world: World) -> None:
    play = staked(world).play.commit(0, 1, 2).reveal(0, 1, 2).late().late()
    assert play.phase() == Overdue(reason=Reason.NO_TOTAL)
    with rejects("CombineWindowClosed", play.round):
        play.total(0, 1, 2, by=world.standby)
    play.abandon(world.ledger(world.standby), Reason.NO_TOTAL)


def test_a_proven_fault_gives_the_next_aggregator_a_whole_window(world: World) -> None:
    case = staked(world, windows=Windows(WINDOW, WINDOW, WINDOW, 5 * WINDOW)).up_to_total()
    case.play.late().late()
    case.play.member(0).dispute(case.wrong_sum())
    assert isinstance(case.play.phase(), Combining)
    case.play.total(0, 1, 2, by=world.standby)


def test_each_round_begins_with_the_next_aggregator(world: World) -> None:
    """Whoever posts a root without bytes as soon as its turn comes stops no more than its own rounds."""
    first = staked(world, rounds=3, wrong=()).play.commit(0, 1, 2).reveal(0, 1, 2)
    first.total(0, 1, 2).late().abandon(world.ledger(world.standby), Reason.NO_SHARES)
    second = first.next.commit(0, 1, 2).reveal(0, 1, 2)
    with rejects("NotYourTurn", second.round):
        second.total(0, 1, 2)
    second.total(0, 1, 2, by=world.standby).share(0, 1).finish(world.ledger(world.standby))
    assert isinstance(second.phase(), Finished)
    third = second.next.commit(0, 1, 2).reveal(0, 1, 2)
    with rejects("NotYourTurn", third.round):
        third.total(0, 1, 2, by=world.standby)
    third.total(0, 1, 2)


def test_in_the_second_round_the_first_aggregator_comes_last(world: World) -> None:
    play = staked(world, rounds=3, wrong=()).play.finished().next.commit(0, 1, 2).reveal(0, 1, 2).late()
    play.total(0, 1, 2)
    assert isinstance(play.phase(), Opening)


def test_after_a_fault_in_the_second_round_the_first_aggregator_follows(world: World) -> None:
    case = case_of(staked(world, rounds=3).play.finished().next, wrong=(1,)).up_to_total(by=world.standby)
    case.play.member(0).dispute(case.wrong_sum())
    with rejects("FaultyAggregator", case.play.round, world.standby):
        case.play.total(0, 1, 2, by=world.standby)
    case.play.total(0, 1, 2)


# ---------------------------------------------------------------- bonds


def test_nobody_posts_a_total_without_the_stake(world: World) -> None:
    stake = Stake(gwei=10**6, lock=0, treasury=NOBODY)
    play = world.start(aggregators=(world.standby,), stake=stake).commit(0, 1, 2).reveal(0, 1, 2)
    with rejects("BondTooSmall", 10**6 * GWEI):
        play.total(0, 1, 2, by=world.standby)


def test_what_is_slashed_goes_to_the_treasury_where_the_study_has_one(world: World) -> None:
    case = staked(world, treasury=world.auditor).up_to_total()
    case.play.member(0).dispute(case.wrong_sum())
    assert bond(case.play, world.auditor) == STAKE * GWEI
    world.ledger(world.auditor).withdraw_bond(case.play.study, STAKE * GWEI)
    assert bond(case.play, world.auditor) == 0


def test_a_bond_is_locked_until_its_totals_can_no_longer_be_disputed(world: World) -> None:
    play, mine = staked(world, lock=WINDOW, wrong=()).up_to_total().play, STAKE * GWEI
    ledger: Ledger = world.ledger(world.aggregator)
    with rejects("BondLocked"):
        ledger.withdraw_bond(play.study, mine)
    world.advance(WINDOW + 1)
    with rejects("BondTooSmall", mine + 1, mine):
        ledger.withdraw_bond(play.study, mine + 1)
    with rejects("ZeroAmount"):
        ledger.withdraw_bond(play.study, 0)
    ledger.withdraw_bond(play.study, mine)
    assert bond(play, world.aggregator) == 0


def test_only_a_studys_own_aggregators_stake_in_it(world: World) -> None:
    study = world.start(aggregators=(world.standby,)).study
    for who in (world.institutions[0], world.auditor, world.stranger, world.aggregator):
        with rejects("NotAggregator", who):
            world.ledger(who).deposit_bond(study, 1)
    with rejects("NotAggregator", world.standby):
        world.ledger(world.standby).deposit_bond(StudyId(study + 1), 1)
    with rejects("ZeroAmount"):
        world.ledger(world.standby).deposit_bond(study, 0)


def test_no_other_study_reaches_a_bond(world: World) -> None:
    """Friends of the aggregator convict it in a study of their own; the treasury of this one is paid all."""
    case = staked(world, treasury=world.auditor, lock=10 * WINDOW).up_to_total()
    sham = staked(world, treasury=world.stranger).up_to_total()
    world.ledger(world.stranger).dispute(sham.wrong_sum())
    assert bond(sham.play, world.stranger) == STAKE * GWEI
    with rejects("BondTooSmall", STAKE * GWEI, 0):  # what it was awarded there is not here
        world.ledger(world.stranger).withdraw_bond(case.play.study, STAKE * GWEI)
    world.ledger(world.stranger).withdraw_bond(sham.play.study, STAKE * GWEI)
    case.play.member(0).dispute(case.wrong_sum())
    assert bond(case.play, world.auditor) == STAKE * GWEI


def test_a_lock_holds_in_its_own_study_only(world: World) -> None:
    staked(world, lock=10 * WINDOW, wrong=()).up_to_total()
    other = staked(world)
    world.ledger(world.aggregator).withdraw_bond(other.play.study, STAKE * GWEI)
    assert bond(other.play, world.aggregator) == 0


def test_a_study_has_one_to_three_aggregators_and_none_twice(world: World) -> None:
    with rejects("BadTerms", "aggregators", 1, 3, 0):
        world.propose(aggregators=())
    with rejects("DuplicateMember", world.standby):
        world.propose(aggregators=(world.standby, world.standby))
    world.propose(aggregators=(world.standby, world.aggregator))


def test_whoever_accepts_a_key_counts_its_ciphertexts_alike(world: World) -> None:
    play = world.start().propose_key(0, "second key").accept_key("second key", 0)
    with rejects("WrongCiphertexts", play.study, named("second key"), CIPHERTEXTS, CIPHERTEXTS + 1):
        play.member(1).accept_key(play.study, named("second key"), CIPHERTEXTS + 1)
