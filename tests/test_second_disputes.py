"""Disputed rounds: a stranger follows turns, verdicts and bonds, and names what is forged about them."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache

import pytest

from federation.audit.charges import find_charge
from federation.disputes import Charge
from federation.events import Fault, RoundId, Stake, StudyId
from federation.evidence import sum_evidence
from federation.members import Address
from federation.rehearsal import Rehearsal
from federation.runs import Held, whole
from federation.wire import Payload, total_header, update_header

from .rehearsing import (
    HOSPITALS,
    A,
    B,
    Blame,
    C,
    D,
    audited,
    commit_payload,
    faults,
    flip,
    honest_payload,
    reveals,
    share_anyway,
)
from .second_capsule import Key
from .second_hybrid import PRIMES
from .second_ledger import NOBODY, Ledger
from .second_log import Dispute, Line, PostShare, PostTotal, WithdrawBond
from .second_parts import Mismatch
from .second_rehearsals import BONDED, GENESIS, GWEI, SUITES, TREASURY, charge_of, facts_of, rehearsed
from .second_study import Facts
from .second_verifier import verify
from .test_second_verifier import logged, said

FIRST, SECOND, THIRD = BONDED["aggregators"]
WIDTH = 32  # of a modulus, bytes
STAKE, SPARE = 5 * GWEI, 2 * GWEI
STRANGER = Address(b"\x51" * 20)


@dataclass
class Trial:
    """Round 1 of a study whose three aggregators have a little more than the stake, up to its reveals."""

    kind: str
    spoil: Callable[[Rehearsal, Payload], Payload] = lambda _, payload: payload  # D's update
    changes: dict[str, object] = field(default_factory=dict)
    charges: list[Charge] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rehearsal = rehearsed(self.kind, **{**BONDED, **self.changes})
        for aggregator in (FIRST, SECOND, THIRD):
            self.rehearsal.ledger(aggregator).deposit_bond(StudyId(1), STAKE + SPARE)
        commit_payload(self.rehearsal, D, self.spoil(self.rehearsal, honest_payload(self.rehearsal, D)))
        for member in (A, B, C):
            self.id = self.rehearsal.commit(member)
        reveals(self.rehearsal, self.id)

    @property
    def due(self) -> Payload:
        """The one lawful total."""
        total = self.rehearsal.record(self.id).recomputed_total
        assert total is not None
        return total

    @property
    def naming_all(self) -> Payload:
        """A total that admits everybody who revealed, whatever its leaves are."""
        commits = self.rehearsal.round(self.id).commits
        members = [(member, commits[member].root) for member in HOSPITALS]
        binding = self.rehearsal.agreement.binding(self.id)
        return replace(self.due, header=total_header(binding, members=members, excluded=[]))

    def post(self, by: Address, total: Payload | None = None, members: tuple[Address, ...] = ()) -> Payload:
        """An aggregator posts the lawful total, or any other."""
        total = total or self.due
        members = members or tuple(self.rehearsal.record(self.id).admission.admitted)
        cid = self.rehearsal.store.put(total.read())
        self.rehearsal.ledger(by).post_total(self.id, members, total.root(), cid)
        return total

    def dispute(self, by: Address = C) -> Charge:
        """Somebody proves what the package finds to charge."""
        charge = find_charge(self.rehearsal.record(self.id))
        assert charge is not None
        self.rehearsal.ledger(by).dispute(charge)
        self.charges.append(charge)
        return charge

    def finish(self) -> None:
        for member in (A, B):
            self.rehearsal.post_share(member, self.id)
        self.rehearsal.finish(self.id)

    @property
    def facts(self) -> Facts:
        return facts_of(self.rehearsal, 1, GENESIS, charges=self.charges)

    @property
    def ledger(self) -> Ledger:
        """As a stranger reads it."""
        return Ledger(1, self.facts.log)


def wrong_leaf(total: Payload, at: int = -1) -> Payload:
    """One bit of it is another."""
    return replace(total, leaves=Held(flip(whole(total.leaves), at)))


def part_of(update: Payload, at: int, data: bytes) -> Payload:
    """Other bytes in its leaves."""
    leaves = whole(update.leaves)
    end = at % len(leaves) + len(data)
    return replace(update, leaves=Held(leaves[: end - len(data)] + data + leaves[end:]))


def other_round(rehearsal: Rehearsal, update: Payload) -> Payload:
    """D's update says that it is for round 2."""
    binding = rehearsal.agreement.binding(RoundId(rehearsal.study, 2))
    base = rehearsal.agreement.spec.genesis
    return replace(update, header=update_header(binding, member=D, base_model=base))


def response_too_large(update: Payload) -> Payload:
    """z is n or more, in the proof for the last dealer."""
    one = 3 * WIDTH + WIDTH // 2 + 37
    at = len(update.tail) - one + 2 * WIDTH
    return replace(update, tail=update.tail[:at] + b"\xff" * WIDTH + update.tail[at + WIDTH :])


SPOILED: dict[str, tuple[Fault, tuple[str, ...], Callable[[Rehearsal, Payload], Payload]]] = {
    "a leaf of zeros": (Fault.LEAF, SUITES, lambda _, u: part_of(u, 2 * WIDTH, bytes(2 * WIDTH))),
    "a leaf beyond the square": (Fault.LEAF, SUITES, lambda _, u: part_of(u, 0, b"\xff" * 2 * WIDTH)),
    "a leaf that shares a factor": (Fault.LEAF, ("paillier",), lambda r, u: part_of(u, 0, multiple(r))),
    "a residue beyond its prime": (
        Fault.LEAF,
        SUITES[1:],
        lambda _, u: part_of(u, -4, PRIMES[1].to_bytes(4, "little")),
    ),
    "another round's header": (Fault.HEADER, SUITES, other_round),
    "a proof out of range": (Fault.PROOF, SUITES, lambda _, u: response_too_large(u)),
}


def multiple(rehearsal: Rehearsal) -> bytes:
    """Seven times the modulus, as a ciphertext."""
    return (7 * Key(rehearsal.agreement.spec.key).n).to_bytes(2 * WIDTH, "big")


# ---------------------------------------------------------------- §5.7 to §5.9 on real rounds


@cache
def after_a_wrong_sum(kind: str) -> Trial:
    """The first aggregator's total is wrong; the second's is finished."""
    trial = Trial(kind)
    trial.post(FIRST, wrong_leaf(trial.due))
    trial.dispute()
    trial.post(SECOND)
    trial.finish()
    return trial


@pytest.mark.parametrize("kind", SUITES)
def test_a_round_whose_first_total_was_taken_back_is_accepted(kind) -> None:
    trial = after_a_wrong_sum(kind)
    verify(trial.facts)
    round = trial.ledger.round(1)
    assert round.total is not None
    assert (round.total.aggregator, round.guilty, round.struck) == (SECOND, [FIRST], [])
    assert [told.fault for _, told in round.faults] == [Fault.SUM]
    assert trial.ledger.bonds == {FIRST: SPARE, SECOND: STAKE + SPARE, THIRD: STAKE + SPARE, TREASURY: STAKE}
    assert not {blame for blame in faults(audited(trial.rehearsal)) if blame.clause != "§9.17"}


@pytest.mark.parametrize(("kind", "what"), [(kind, what) for what in SPOILED for kind in SPOILED[what][1]])
def test_a_member_whose_update_is_proven_bad_is_struck_and_the_round_goes_on_without(kind, what) -> None:
    fault, _, spoil = SPOILED[what]
    trial = Trial(kind, spoil)
    trial.post(FIRST, trial.naming_all, HOSPITALS)
    with pytest.raises(Mismatch) as found:
        verify(trial.facts)
    assert found.value.culprit == D
    assert trial.dispute().fault is fault
    assert trial.ledger.round(1).struck == [D]
    trial.post(SECOND)
    trial.finish()
    verify(trial.facts)


@pytest.mark.parametrize("kind", SUITES)
def test_a_wrong_header_of_a_total_is_proven_and_nobody_is_struck(kind) -> None:
    trial = Trial(kind)
    trial.post(FIRST, replace(trial.due, header=trial.due.header.replace(bytes(D), bytes(A))))
    assert trial.dispute().fault is Fault.HEADER
    round = trial.ledger.round(1)
    assert (round.guilty, round.struck) == ([FIRST], [])


def test_a_member_who_was_not_struck_may_be_left_out_or_listed_later() -> None:
    """Whom the header of a disputed total left out does not bind the next aggregator."""
    trial = Trial("paillier")
    trial.post(FIRST, wrong_leaf(trial.due), (A, B, C))
    trial.dispute()
    trial.post(SECOND)
    trial.finish()
    verify(trial.facts)


def test_a_round_is_tainted_when_a_fault_is_proven_after_a_share() -> None:
    trial = Trial("paillier")
    total = trial.post(FIRST, wrong_leaf(trial.due))
    share_anyway(trial.rehearsal, A, trial.id, total)
    trial.dispute()
    round = trial.ledger.round(1)
    assert (round.end, round.reason) == ("Tainted", 7)
    assert {Blame("§9.8", FIRST), Blame("§9.17", FIRST)} <= faults(audited(trial.rehearsal))
    with pytest.raises(Mismatch) as found:
        verify(trial.facts)
    assert (found.value.clause, found.value.culprit) == ("§5.3", FIRST)
    trial.rehearsal.commit(A)
    assert len(trial.ledger.rounds) == 2


def test_a_finished_round_stays_finished_and_its_aggregator_pays() -> None:
    trial = Trial("paillier")
    total = trial.post(FIRST, wrong_leaf(trial.due))
    for member in (A, B):
        share_anyway(trial.rehearsal, member, trial.id, total)
    nothing = trial.due.root()
    cid = trial.rehearsal.store.put(total.read())
    trial.rehearsal.ledger(FIRST).finish(trial.id, nothing, nothing, opening_cid=cid, model_cid=cid)
    trial.dispute(by=STRANGER)
    ledger = trial.ledger
    assert ledger.round(1).end == ""
    assert ledger.bonds[TREASURY] == STAKE
    with pytest.raises(Mismatch) as found:
        verify(trial.facts)
    assert found.value.culprit == FIRST


def test_without_a_treasury_whoever_proves_the_fault_gets_the_stake_or_what_there_is_of_it() -> None:
    trial = Trial("paillier", changes={"stake": Stake(gwei=5, lock=0, treasury=Address(NOBODY))})
    trial.post(FIRST, wrong_leaf(trial.due))
    trial.rehearsal.wait(1)
    trial.rehearsal.ledger(FIRST).withdraw_bond(StudyId(1), 4 * GWEI)  # nothing is locked any more
    trial.dispute(by=STRANGER)
    trial.rehearsal.ledger(STRANGER).withdraw_bond(StudyId(1), 3 * GWEI)
    assert trial.ledger.bonds[FIRST] == trial.ledger.bonds[STRANGER] == 0


def test_a_round_ends_when_no_aggregator_is_left() -> None:
    trial = Trial("paillier")
    for aggregator in (FIRST, SECOND, THIRD):
        trial.post(aggregator, wrong_leaf(trial.due))
        trial.dispute()
    trial.rehearsal.wait(1)
    trial.rehearsal.ledger(A).abandon(trial.id, reason=3)
    round = trial.ledger.round(1)
    assert (round.end, round.guilty) == ("Abandoned", [FIRST, SECOND, THIRD])


def test_a_later_aggregator_may_post_when_its_turn_has_begun_and_the_first_one_still() -> None:
    for waits, poster in ((61, SECOND), (121, THIRD), (180, FIRST)):
        trial = Trial("paillier")
        trial.rehearsal.wait(waits)
        trial.post(poster)
        trial.finish()
        verify(trial.facts)


# ---------------------------------------------------------------- what a lying node may tell of it


def at(facts: Facts, kind: type, change: Callable[[Line], list[Line]], number: int = 0) -> Facts:
    """The so-manieth call of its kind became these."""
    line = [line for line in facts.log if isinstance(line.call, kind)][number]
    return logged(facts, lambda told: change(told) if told is line else [told])


def judged(facts: Facts, **changes: object) -> Facts:
    """The sentence says something else."""

    def change(line: Line) -> list[Line]:
        sentence = replace(line.call.sentence, **changes)
        return [replace(line, call=replace(line.call, sentence=sentence))]

    return at(facts, Dispute, change)


def unproven(facts: Facts) -> Facts:
    """The evidence is that of the right total, which was posted second; so nothing is wrong with its leaf."""
    trial = after_a_wrong_sum("paillier")
    record = trial.rehearsal.record(trial.id)
    updates = list(record.admission.admitted.values())
    evidence = sum_evidence(record.agreement.suite_name, 4, updates=updates, total=trial.due)
    charge = charge_of(Charge(round=trial.id, fault=Fault.SUM, member=None, evidence=evidence))
    shown = at(facts, Dispute, lambda line: [replace(line, call=replace(line.call, charge=charge))])
    return at(shown, PostTotal, lambda line: [replace(line, call=replace(line.call, root=trial.due.root()))])


def earlier(facts: Facts, seconds: int) -> Facts:
    """The second total and the dispute before it never were; the second aggregator posts so late."""
    posted = [line for line in facts.log if isinstance(line.call, PostTotal)][1].time
    facts = at(facts, PostTotal, lambda _: [])
    facts = at(facts, Dispute, lambda _: [])
    ends = range(len(facts.log))
    start = next(k for k in ends if isinstance(facts.log[k].call, PostTotal))
    moved = [
        replace(line, time=line.time - posted + facts.log[start - 1].time + seconds)
        for line in facts.log[start:]
    ]
    return replace(facts, log=[*facts.log[:start], *moved])


def withdrawn(facts: Facts, by: bytes, seconds: int) -> Facts:
    """At the end the sender takes what it can, so long after the last total."""
    last = [line for line in facts.log if isinstance(line.call, PostTotal)][-1]
    return replace(facts, log=[*facts.log, Line(last.time + seconds, by, WithdrawBond(1))])


def first_root(facts: Facts) -> bytes:
    """Of the total that was taken back."""
    return next(line.call.root for line in facts.log if isinstance(line.call, PostTotal))


FORGED: dict[str, tuple[str, Callable[[Facts], Facts]]] = {
    "a fault without proof": ("§5.7", unproven),
    "a fault of another kind": ("§5.7", lambda f: judged(f, fault=2)),
    "a fault of another leaf": ("§5.7", lambda f: judged(f, leaf=1)),
    "a fault of a member": ("§5.7", lambda f: judged(f, member=A)),
    "a fault of another aggregator": ("§5.7", lambda f: judged(f, aggregator=SECOND)),
    "a smaller slash": ("§5.9", lambda f: judged(f, slashed=STAKE - 1)),
    "a larger slash": ("§5.9", lambda f: judged(f, slashed=STAKE + SPARE)),
    "a slash for the challenger": ("§5.9", lambda f: judged(f, beneficiary=C)),
    "a fault told twice": ("§5.7", lambda f: at(f, Dispute, lambda line: [line, line])),
    "a fault of no total": (
        "§5.7",
        lambda f: at(f, PostTotal, lambda _: []),
    ),
    "a total of the aggregator at fault": (
        "§5.8",
        lambda f: at(f, PostTotal, lambda line: [replace(line, sender=FIRST)], 1),
    ),
    "a total beside one that stands": ("§5", lambda f: at(f, Dispute, lambda _: [])),
    "a total before its turn": ("§5.8", lambda f: earlier(f, 0)),
    "a total in the last second before its turn": ("§5.8", lambda f: earlier(f, 60)),
    "a total after the last turn": ("§5.8", lambda f: earlier(f, 181)),
    "a total of the third before its turn": (
        "§5.8",
        lambda f: at(f, PostTotal, lambda line: [replace(line, sender=THIRD)], 1),
    ),
    "a total without stake": (
        "§5.9",
        lambda f: logged(
            f,
            lambda line: (
                [replace(line, sender=A)]
                if line.sender == SECOND and not hasattr(line.call, "round")
                else [line]
            ),
        ),
    ),
    "a share for the total that was taken back": (
        "§5.4",
        lambda f: said(f, PostShare, A, total=first_root(f)),
    ),
    "a withdrawal under lock": ("§5.9", lambda f: withdrawn(f, SECOND, 1000)),
    "a withdrawal under the lock of one who was slashed": ("§5.9", lambda f: withdrawn(f, FIRST, 1000)),
    "a withdrawal of more than there is": ("§5.9", lambda f: withdrawn(f, STRANGER, 2000)),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_account_of_a_dispute_is_found(what: str) -> None:
    clause, forge = FORGED[what]
    with pytest.raises(Mismatch) as found:
        verify(forge(after_a_wrong_sum("paillier").facts))
    assert (found.value.clause, found.value.culprit) == (clause, None), found.value


def test_the_evidence_itself_is_judged_and_not_what_is_made_of_it() -> None:
    with pytest.raises(Mismatch, match="SumIsRight"):
        verify(unproven(after_a_wrong_sum("paillier").facts))


LAWFUL: dict[str, Callable[[Facts], Facts]] = {
    "a withdrawal after the lock": lambda f: withdrawn(f, SECOND, 1001),
    "a withdrawal of one who posted nothing": lambda f: withdrawn(f, THIRD, 0),
    "a withdrawal of the treasury": lambda f: withdrawn(f, TREASURY, 0),
    "a turn that has begun": lambda f: earlier(f, 61),
    "the last second of the last turn": lambda f: earlier(f, 180),
    "events without evidence": lambda f: at(
        f, Dispute, lambda line: [replace(line, call=replace(line.call, charge=None))]
    ),
}


@pytest.mark.parametrize("what", LAWFUL)
def test_what_is_lawful_of_bonds_and_turns_is_accepted(what: str) -> None:
    verify(LAWFUL[what](after_a_wrong_sum("paillier").facts))


def test_a_struck_member_is_in_no_further_total() -> None:
    trial = Trial("paillier", SPOILED["a leaf of zeros"][2])
    trial.post(FIRST, trial.naming_all, HOSPITALS)
    trial.dispute()
    trial.post(SECOND)
    facts = at(
        trial.facts, PostTotal, lambda line: [replace(line, call=replace(line.call, members=HOSPITALS))], 1
    )
    with pytest.raises(Mismatch, match="a struck member"):
        verify(facts)


def test_a_fault_of_a_total_that_is_right_is_found_by_events_alone() -> None:
    """§9.17: no evidence is at hand, the total stands, and it is the one that is recomputed."""
    trial = after_a_wrong_sum("paillier")
    facts = trial.facts
    told = next(line for line in facts.log if isinstance(line.call, Dispute))
    sentence = replace(told.call.sentence, aggregator=SECOND)
    forged = Line(facts.log[-1].time, C, Dispute(1, None, sentence))
    with pytest.raises(Mismatch) as found:
        verify(replace(facts, log=[*facts.log, forged]))
    assert (found.value.clause, found.value.culprit) == ("§9.17", None)
