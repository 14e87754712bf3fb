"""Rounds rehearsed in memory, put down as the plain data that a stranger's verifier starts from."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache

from federation.audience import PUBLIC
from federation.digest import Cid
from federation.disputes import Charge, HeaderEvidence, KeyEvidence, LeafEvidence, SumEvidence
from federation.events import (
    NOBODY,
    BondDeposited,
    BondWithdrawn,
    Event,
    FaultProven,
    KeyAccepted,
    KeyProposed,
    MemberJoined,
    ModelConfirmed,
    Motion,
    ResultObjected,
    ResultProposed,
    RoundAbandoned,
    RoundId,
    RoundTainted,
    SeatFollowed,
    SharePosted,
    Stake,
    StudyAccepted,
    StudyCreated,
    StudyId,
    StudyTerms,
    TotalPosted,
    UpdateCommitted,
    UpdateRevealed,
    Voted,
)
from federation.members import Address, Member
from federation.rehearsal import AGGREGATOR, Rehearsal
from federation.store.content import get_bytes

from . import second_judge as judge
from . import second_log as log
from .ciphers.suites import two_dealers
from .rehearsing import CONTENT_KEY, HOSPITALS, hospital, spec_of
from .second_study import Facts, Study
from .second_suites import Suite
from .second_verifier import verify

FEATURES = (
    30  # with bias and weight 32 values: four plaintexts of nine lanes, the last not full; or one block
)
SHAPE = (("weight", (FEATURES,)), ("bias", (1,)))
GENESIS = (bytes(4 * FEATURES), bytes(4))  # §8.8
SUITES = ("paillier", "hybrid", "hybrid of two dealers")
TREASURY = Address(b"\x7e" * 20)
GWEI = 10**9  # wei
BONDED = {
    "aggregators": (
        AGGREGATOR,
        Address(b"\xa2" * 20),
        Address(b"\xa1" * 20),
    ),  # in the order of their turns in the first round
    "stake": Stake(gwei=5, lock=1000, treasury=TREASURY),
}


def rehearsed(kind: str, **changes: object) -> Rehearsal:
    """A study that all have accepted; `kind` is one of `SUITES`, or it with ", sealed".

    Unless told otherwise it has one aggregator, and no stake.
    """
    suite, _, sealed = kind.partition(", ")
    spec = spec_of(suite.partition(" of ")[0], rounds=6, features=FEATURES)
    hospitals = [hospital(address, spec.suite) for address in HOSPITALS]
    if suite == "hybrid of two dealers":
        dealing = two_dealers(2, 4).dealing
        spec = replace(spec, key=dealing.public_key)
        hospitals = [
            replace(one, key_share=share) for one, share in zip(hospitals, dealing.key_shares, strict=True)
        ]
    spec = replace(spec, **changes)
    return Rehearsal(spec, hospitals, content_key=CONTENT_KEY if sealed else PUBLIC)


def facts_of(
    rehearsal: Rehearsal,
    number: int,
    base: tuple[bytes, ...],
    *,
    features: int = FEATURES,
    charges: Iterable[Charge] = (),
) -> Facts:
    """What ledger and store say of one round; `charges` are those that were proven, in their order."""

    def fetch(cid: Cid) -> bytes:
        return get_bytes(rehearsal.store, cid, size=1 << 20)

    round = rehearsal.round(RoundId(StudyId(1), number))
    told = round.proposals[0] if round.proposals else None
    return Facts(
        ledger=rehearsal.agreement.ledger,
        study=1,
        round=number,
        log=list(log_of(rehearsal, charges)),
        document=fetch(round.terms.cid),
        shape=(("weight", (features,)), ("bias", (1,))),
        base=base,
        reveals={m: fetch(event.cid) for m, event in round.reveals.items()},
        total=fetch(round.total.cid) if round.total else b"",
        shares={m: fetch(event.cid) for m, event in round.shares.items()},
        opening=fetch(told.opening_cid) if told else b"",
        model=fetch(told.model_cid) if told else b"",
        content_key=CONTENT_KEY if rehearsal.agreement.spec.audience.is_sealed else None,
    )


def log_of(rehearsal: Rehearsal, charges: Iterable[Charge] = ()) -> Iterator[log.Line]:
    """The ledger's calls as a stranger writes them down."""
    ledger, evidence = rehearsal.ledger(HOSPITALS[0]), iter(charges)
    for event in ledger.events(-1, ledger.head().number):
        call = call_of(event, rehearsal, evidence)
        if call is not None and getattr(call, "study", 1) == 1:  # bonds of other studies are another's
            yield log.Line(event.time, event.sender, call)


def call_of(event: Event, rehearsal: Rehearsal, charges: Iterator[Charge]) -> log.Call | None:
    """The call behind an event; of a dispute its evidence too, if it is at hand."""
    match event:
        case MemberJoined(member=member):
            return line_of(member)
        case KeyProposed(key=key, cid=cid):
            return log.ProposeKey(key, get_bytes(rehearsal.store, cid, size=1 << 16))
        case FaultProven(round=round):
            charge = next(charges, None)
            return log.Dispute(round.number, charge and charge_of(charge), sentence_of(event))
    return CALLS[type(event)](event)


CALLS: dict[type[Event], Callable[[Event], log.Call]] = {
    StudyCreated: lambda event: log.CreateStudy(terms_of(event.terms)),
    StudyAccepted: lambda event: log.AcceptStudy(event.digest),
    KeyAccepted: lambda event: log.AcceptKey(event.key, event.ciphertexts),
    UpdateCommitted: lambda event: log.CommitUpdate(event.round.number, event.root, event.base_model),
    UpdateRevealed: lambda event: log.RevealUpdate(event.round.number),
    TotalPosted: lambda event: log.PostTotal(event.round.number, event.members, event.root),
    SharePosted: lambda event: log.PostShare(event.round.number, event.total, event.digest),
    ResultProposed: lambda event: log.Finish(event.round.number, event.opening, event.model),
    ModelConfirmed: lambda event: log.Say(event.round.number, event.model),
    ResultObjected: lambda event: log.Say(event.round.number, b""),
    RoundAbandoned: lambda event: log.Abandon(event.round.number, event.reason, tainted=False),
    RoundTainted: lambda event: log.Abandon(event.round.number, event.reason, tainted=True),
    BondDeposited: lambda event: log.DepositBond(event.amount, event.study),
    Voted: lambda event: vote_of(event.motion),
    SeatFollowed: lambda event: log.FollowRoster(event.account, event.state, event.heir),
    BondWithdrawn: lambda event: log.WithdrawBond(event.amount, event.study),
}


def terms_of(terms: StudyTerms) -> log.Terms:
    return log.Terms(
        digest=terms.digest,
        key=terms.key,
        institutions=terms.members,
        aggregators=terms.aggregators,
        threshold=terms.threshold,
        minimum=terms.minimum,
        rounds=terms.rounds,
        windows=terms.windows,
        stake=tuple(terms.stake),
        leaves=tuple(terms.leaves),
    )


def line_of(member: Member) -> log.Member:
    return log.Member(member.address, member.role, member.sealing_key, member.name.encode())


def vote_of(motion: Motion) -> log.Vote:
    nobody = log.Member(NOBODY, 0, bytes(32), b"")
    member = nobody if motion.member is None else line_of(motion.member)
    return log.Vote(motion.kind, motion.subject, member, motion.value, motion.code, motion.expires)


def sentence_of(event: FaultProven) -> log.Sentence:
    return log.Sentence(
        aggregator=event.aggregator,
        member=event.member,
        fault=event.fault,
        leaf=event.leaf,
        slashed=event.slashed,
        beneficiary=event.beneficiary,
    )


def charge_of(charge: Charge) -> judge.Charge:
    """The same evidence in a stranger's words."""
    evidence: judge.Sums | judge.Piece | judge.Head
    match charge.evidence:
        case SumEvidence() as told:
            evidence = judge.Sums(told.leaf, told.found, modulus_of(told.key), told.leaves, told.paths)
        case LeafEvidence() as told:
            evidence = judge.Piece(told.leaf, modulus_of(told.key), told.data, told.path, told.witness)
        case HeaderEvidence() as told:
            evidence = judge.Head(told.ledger, told.shape, told.header, told.path)
    leaf = getattr(evidence, "leaf", 0)
    return judge.Charge(charge.fault, charge.member, leaf, evidence)


def modulus_of(key: KeyEvidence) -> judge.Modulus:
    return judge.Modulus(key.modulus, key.rest, key.other, key.second)


@cache
def second_round(kind: str) -> Facts:
    """An honest round that is not a study's first."""
    rehearsal = rehearsed(kind)
    rehearsal.run_round()
    rehearsal.run_round()
    base = verify(facts_of(rehearsal, 1, GENESIS))
    return facts_of(rehearsal, 2, tuple(base))


def suite_of(facts: Facts) -> Suite:
    """The suite under the round's key, for its layout."""
    return Study(facts).suite
