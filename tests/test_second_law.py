"""Calls drawn at random, at times drawn near the windows' ends: two readings of §5 take the same ones."""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from random import Random

import pytest

from federation.digest import CID_RAW, Cid, Digest, labelled, sha256
from federation.disputes import Charge, HeaderEvidence, KeyEvidence, LeafEvidence, binding_digest
from federation.errors import LedgerRejected
from federation.events import (
    Fault,
    Leaves,
    Motion,
    MotionKind,
    Reason,
    RoundId,
    Stake,
    StudyId,
    StudyTerms,
    Timestamp,
    Windows,
)
from federation.governance import LONGEST_MOTION
from federation.in_memory import InMemoryChain
from federation.ledger.ledger import Ledger
from federation.members import Address, Member, Role
from federation.seal import SealingKey

from . import second_ledger as second
from . import second_log as log
from .second_parts import Mismatch, tree_top
from .second_rehearsals import charge_of, line_of, terms_of, vote_of

MEMBERS = tuple(Address(bytes([k]) * 20) for k in (1, 2, 3, 4))
AGGREGATORS = tuple(Address(bytes([k]) * 20) for k in (0xA2, 0xA0, 0xA1))
OTHER, TREASURY = Address(b"\x51" * 20), Address(b"\x7e" * 20)
HEIRS = tuple(Address(bytes([k]) * 20) for k in (0xE1, 0xE2, 0xE3, 0xE4))
ACCOUNTS = (*MEMBERS, *AGGREGATORS, OTHER, TREASURY)
STUDY = StudyId(1)
CID = Cid(CID_RAW + bytes(32))
GWEI = 10**9
WINDOWS = Windows(10, 20, 7, 15)
ROUNDS = (0,) * 20 + (-1, 1)  # which round a call is about, from the newest
STEPS = (0,) * 90 + (1, 1, 2, 6, 7, 8, 14, 15, 16)  # seconds between calls
KEYS = tuple(labelled("a key", bytes([k])) for k in range(3))
ROOTS = [labelled("a root", bytes([k])) for k in range(3)]

MODULUS = b"\x7f" * 32
REST, LEDGER, SHAPE = sha256(b"rest"), labelled("a ledger"), labelled("a shape")
KEY = labelled("key", MODULUS, REST)
PATH = (labelled("left out"), labelled("beside"))


def root_over(leaf: bytes, index: int, size: int, path: tuple[bytes, ...]) -> Digest:
    return Digest(tree_top(sha256(b"\0" + leaf), index, size, path))


ZERO = bytes(2 * len(MODULUS))
BAD_UPDATE = root_over(ZERO, 1, 4, PATH)
BAD_TOTAL = root_over(b"no header", 0, 3, PATH)


def charges(round: RoundId, member: Address) -> list[Charge]:
    """Two that hold if the total, or this member's update, is the bad one; and one that never does."""
    key = KeyEvidence(modulus=MODULUS, rest=REST, other=Digest(bytes(32)), second=False)
    leaf = LeafEvidence(leaf=1, key=key, data=ZERO, path=PATH, witness=b"")
    header = HeaderEvidence(ledger=LEDGER, shape=SHAPE, header=b"no header", path=PATH)
    short = LeafEvidence(leaf=1, key=key, data=ZERO, path=PATH[:1], witness=b"")
    return [
        Charge(round=round, fault=Fault.LEAF, member=member, evidence=leaf),
        Charge(round=round, fault=Fault.HEADER, member=None, evidence=header),
        Charge(round=round, fault=Fault.LEAF, member=member, evidence=short),
    ]


def opinion(call: Callable[[], object], refusal: type[Exception]) -> Exception | None:
    """Why the call is refused, if it is."""
    try:
        call()
    except refusal as why:
        return why
    return None


Move = tuple[Callable[[Ledger], object], log.Call]


class Walk:
    """One contract, and a stranger who hears of each call that it took."""

    def __init__(self, seed: int) -> None:
        self.random, self.time = Random(seed), 1000
        roles = {
            **dict.fromkeys(MEMBERS, Role.INSTITUTION),
            **dict.fromkeys(AGGREGATORS, Role.AGGREGATOR),
            **dict.fromkeys((OTHER, TREASURY), Role.AUDITOR),
        }
        founders = [
            Member(address=address, role=role, sealing_key=SealingKey(bytes(32)), name="somebody")
            for address, role in roles.items()
        ]
        self.chain = InMemoryChain(founders, lambda: Timestamp(self.time))
        treasury = self.random.choice((TREASURY, Address(bytes(20))))
        self.terms = StudyTerms(
            digest=labelled("a study"),
            cid=CID,
            key=KEY,
            leaves=Leaves(suite=1, ciphertexts=2, chunks=0, binding=binding_digest(LEDGER, SHAPE)),
            members=MEMBERS,
            aggregators=AGGREGATORS[: 1 + seed % 3],
            threshold=2,
            minimum=3,
            rounds=self.random.randint(1, 2),
            windows=WINDOWS,
            stake=Stake(gwei=2, lock=9, treasury=treasury),
        )
        self.chain.ledger(MEMBERS[0]).create_study(self.terms)
        joined = [log.Line(self.time, member.address, line_of(member)) for member in founders]
        created = log.Line(self.time, MEMBERS[0], log.CreateStudy(terms_of(self.terms)))
        self.mine = second.Ledger(1, [*joined, created])
        self.weights = WEIGHTS | (VOTES if seed % 2 else {})
        self.motions: list[Motion] = []
        self.taken: Counter[str] = Counter()
        for member in MEMBERS[: 4 if seed % 8 else 3]:
            self.both("accept", member)
        for aggregator in AGGREGATORS:
            self.both("deposit", aggregator)

    @property
    def round(self) -> second.Round:
        """The newest, or the first."""
        return self.mine.rounds[-1] if self.mine.rounds else second.Round(terms_of(self.terms), 1)

    @property
    def id(self) -> RoundId:
        return RoundId(STUDY, self.number)

    def step(self) -> None:
        """One call, which both take or both refuse."""
        self.time += self.random.choice(STEPS)
        if self.random.random() < 0.05:
            near = [moment + late for moment in self.moments() for late in (0, 1) if moment >= self.time]
            self.time = self.random.choice(near or [self.time])
        names = [name for name, weight in self.weights.items() for _ in range(weight)]
        name = self.random.choice(names + 60 * [self.random.choice(self.apt())])
        likely = {
            "deposit": AGGREGATORS,
            "post_total": AGGREGATORS,
            "withdraw": ACCOUNTS,
            "dispute": ACCOUNTS,
            "follow": ACCOUNTS,
        }
        unlikely = self.random.random() < 0.1
        sender = self.acting(self.random.choice(ACCOUNTS if unlikely else likely.get(name, MEMBERS)))
        self.number = self.round.number + (self.round.over and name == "commit") + self.random.choice(ROUNDS)
        self.both(name, sender)

    def moments(self) -> list[int]:
        """At which something ends."""
        round, (commit, reveal, _, share) = self.round, WINDOWS
        found = [*self.mine.locks.values()]
        if round.commit_times and self.random.random() < 0.2:
            found += [round.commit_times[0] + commit, round.commit_times[0] + commit + reveal]
        if round.revealing_ended(self.time) is not None and len(round.reveals) >= self.terms.minimum:
            found += [moment for moment, _ in round.turns(self.time)]
        if round.total is not None:
            found += [round.total.time + share, round.total.time + 2 * share]
        return found

    def acting(self, name: Address) -> Address:
        """Mostly whoever acts in the seat by now."""
        if self.random.random() < 0.1:
            return self.random.choice((name, *HEIRS))
        accounts = [heir for heir in HEIRS if self.mine.names.get(heir) == name]
        return accounts[-1] if accounts else name

    def apt(self) -> list[str]:
        """What moves the round on."""
        if self.round.over or self.round.committing_ended(self.time) is None:
            return ["commit"]
        if self.round.revealing_ended(self.time) is None:
            return ["reveal"] * 6 + ["abandon"]
        if self.round.total is None:
            return ["post_total"] * 9 + ["abandon"]
        return ["dispute"] * 8 + ["post_share"] * 4 + ["finish"] + ["abandon"] * 4

    def both(self, name: str, sender: Address) -> None:
        """The call is taken by both, or refused by both."""
        self.sender = sender
        call, told = getattr(self, name)()
        line, after = log.Line(self.time, sender, told), deepcopy(self.mine)
        mine = opinion(lambda: after.take(line), Mismatch)
        theirs = opinion(lambda: call(self.chain.ledger(sender)), LedgerRejected)
        assert (mine is None) == (theirs is None), (line, mine, theirs)
        if theirs is None:
            self.mine = after
            self.taken[name] += 1
            self.taken["in another's seat"] += self.mine.names.get(sender, sender) != sender

    def accept(self) -> Move:
        digest = self.terms.digest
        return lambda ledger: ledger.accept_study(STUDY, digest), log.AcceptStudy(digest)

    def propose_key(self) -> Move:
        key = self.random.choice(KEYS)
        return lambda ledger: ledger.propose_key(STUDY, key, CID), log.ProposeKey(key, b"")

    def accept_key(self) -> Move:
        key, count = self.random.choice(KEYS), self.random.choice((2, 2, 2, 3))
        return lambda ledger: ledger.accept_key(STUDY, key, count), log.AcceptKey(key, count)

    def commit(self) -> Move:
        root, base = self.random.choice((BAD_UPDATE, *ROOTS)), ROOTS[0]
        told = log.CommitUpdate(self.number, root, base)
        return lambda ledger: ledger.commit_update(self.id, root, base), told

    def reveal(self) -> Move:
        return lambda ledger: ledger.reveal_update(self.id, CID), log.RevealUpdate(self.number)

    def post_total(self) -> Move:
        lawful = [member for member in self.round.reveals if member not in self.round.struck]
        some = self.random.sample(MEMBERS, self.random.randint(2, 4))
        members = self.random.choice((sorted(lawful), sorted(self.round.reveals), sorted(some), some))
        root = self.random.choice((BAD_TOTAL, BAD_TOTAL, ROOTS[0]))
        told = log.PostTotal(self.number, members, root)
        return lambda ledger: ledger.post_total(self.id, members, root, CID), told

    def post_share(self) -> Move:
        total = self.round.total
        root = total.root if total and self.random.random() < 0.9 else ROOTS[0]
        told = log.PostShare(self.number, root, ROOTS[1])
        return lambda ledger: ledger.post_share(self.id, ROOTS[1], CID, total=root), told

    def finish(self) -> Move:
        told = log.Finish(self.number, ROOTS[0], ROOTS[1])

        def call(ledger: Ledger) -> None:
            new = Cid(CID_RAW + self.random.randbytes(32))  # the same result at the same place is no proposal
            ledger.finish(self.id, ROOTS[0], ROOTS[1], opening_cid=new, model_cid=CID)

        return call, told

    def confirm(self) -> Move:
        told = log.Say(self.number, ROOTS[1])
        return lambda ledger: ledger.confirm_model(self.id, ROOTS[1]), told

    def abandon(self) -> Move:
        # One of the reasons that hold, or any.
        true = sorted(self.round.true_reasons(self.time))
        reason = Reason(self.random.choice(true or range(1, 7)))
        shares = self.mine.round(self.number).shares if 1 <= self.number <= len(self.mine.rounds) else {}
        told = log.Abandon(self.number, reason, tainted=bool(shares))
        return lambda ledger: ledger.abandon(self.id, reason), told

    def dispute(self) -> Move:
        charge = self.random.choice(charges(self.id, self.random.choice(MEMBERS)))
        there = 1 <= self.number <= len(self.mine.rounds)
        total = self.mine.round(self.number).total if there else None
        total = total or second.Total([], b"", bytes(20), 0)
        told = log.Dispute(
            self.number, charge_of(charge), self.mine.due(self.sender, total, charge_of(charge))
        )
        return lambda ledger: ledger.dispute(charge), told

    def deposit(self) -> Move:
        wei = self.random.choice((GWEI, 5 * GWEI))
        return lambda ledger: ledger.deposit_bond(STUDY, wei), log.DepositBond(wei)

    def withdraw(self) -> Move:
        wei = self.random.choice((1, GWEI, 2 * GWEI, self.mine.bonds.get(self.sender, 0)))
        return lambda ledger: ledger.withdraw_bond(STUDY, wei), log.WithdrawBond(wei)

    def vote(self) -> Move:
        if not self.motions or self.random.random() < 0.15:
            self.motions.append(self.motion())
        motion = self.motions[-1 if self.random.random() < 0.9 else 0]
        return lambda ledger: ledger.vote(motion), vote_of(motion)

    def motion(self) -> Motion:
        """About somebody that it can be about, or about anybody."""
        kind = self.random.choice((*MotionKind, MotionKind.REMOVE, MotionKind.SUSPEND, MotionKind.REPLACE))
        known = self.mine.roster.known
        subject = self.random.choice((*ACCOUNTS, *HEIRS))
        away = [account for account in ACCOUNTS if account in known and known[account].state == 2]
        if away and self.random.random() < 0.5:
            kind, subject = MotionKind.REINSTATE, self.random.choice(away)
        if kind in {MotionKind.SUPERSEDE, MotionKind.REMOVE} and self.random.random() < 0.5:
            kind = MotionKind.SUSPEND
        fresh = [heir for heir in HEIRS if heir not in known] or [HEIRS[0]]
        role = Role(known[subject].member.role if subject in known else self.random.randint(1, 3))
        heir = Member(address=fresh[0], role=role, sealing_key=SealingKey(bytes(32)), name="an heir")
        names = kind in {MotionKind.ADMIT, MotionKind.REPLACE} and self.random.random() < 0.95
        return Motion(
            kind=kind,
            expires=Timestamp(
                self.time + self.random.choice((0, 30, 100, LONGEST_MOTION, LONGEST_MOTION + 1))
            ),
            subject=subject,
            member=heir if names else None,
            value=self.random.choice((0, 1, 3, 257)),
            code=self.random.choice((ROOTS[0], Digest(bytes(32)))),
        )

    def follow(self) -> Move:
        roster = self.mine.roster.known
        moved = [who for who in roster if (roster[who].state != 1) != (who in self.mine.idle)]
        account = Address(
            self.random.choice(
                (*moved, *ACCOUNTS, *HEIRS) if self.random.random() < 0.5 else moved or ACCOUNTS
            )
        )
        found = roster.get(account)
        told = log.FollowRoster(account, found.state if found else 0, found.heir if found else None)
        return lambda ledger: ledger.follow_roster(STUDY, account), told


WEIGHTS = {  # how often each is tried
    "accept": 1,
    "propose_key": 1,
    "accept_key": 3,
    "commit": 6,
    "reveal": 6,
    "post_total": 8,
    "post_share": 3,
    "finish": 2,
    "confirm": 1,
    "abandon": 2,
    "dispute": 8,
    "deposit": 2,
    "withdraw": 6,
}
VOTES = {"vote": 9, "follow": 5}  # in every other walk
SEEDS = range(26)
STEPS_EACH = 900


@cache
def walked(seed: int) -> Walk:
    walk = Walk(seed)
    for _ in range(STEPS_EACH):
        walk.step()
    return walk


@pytest.mark.parametrize("seed", SEEDS)
def test_two_readings_of_the_law_take_the_same_calls(seed: int) -> None:
    """Each step compares them."""
    assert sum(walked(seed).taken.values()) > 10


def test_the_walks_go_everywhere() -> None:
    """Each call is taken often, and rounds end in each way."""
    walks = [walked(seed) for seed in SEEDS]
    taken = sum((walk.taken for walk in walks), Counter[str]())
    ends = {(round.end, int(round.reason)) for walk in walks for round in walk.mine.rounds}
    assert min(taken[name] for name in WEIGHTS | VOTES) >= 3
    states = {known.state for walk in walks for known in walk.mine.roster.known.values()}
    assert states == {1, 2, 3, 4}
    assert taken["in another's seat"] > 20
    assert {("Abandoned", 1), ("Abandoned", 2), ("Abandoned", 3), ("Abandoned", 4)} < ends
    assert {("Tainted", 5), ("Tainted", 6), ("Tainted", 7)} < ends
    assert any(len(round.faults) > 1 for walk in walks for round in walk.mine.rounds)


def test_a_round_that_a_proven_fault_has_tainted_takes_no_share() -> None:
    """§5: it is Tainted for good, and only Opening and Finished take shares."""
    walk = Walk(1)
    id, ledger = RoundId(STUDY, 1), walk.chain.ledger
    for member in MEMBERS:
        ledger(member).commit_update(id, BAD_UPDATE, ROOTS[0])
    for member in MEMBERS:
        ledger(member).reveal_update(id, CID)
    ledger(AGGREGATORS[0]).post_total(id, MEMBERS, ROOTS[0], CID)
    ledger(MEMBERS[0]).post_share(id, ROOTS[1], CID, total=ROOTS[0])
    ledger(OTHER).dispute(charges(id, MEMBERS[0])[0])
    with pytest.raises(LedgerRejected):
        ledger(MEMBERS[1]).post_share(id, ROOTS[1], CID, total=ROOTS[0])
