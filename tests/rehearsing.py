"""A whole study in memory: four hospitals, two of whom open, and a logistic regression on five features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from federation.arithmetic import IntVector, Model, Scale, Vector, apply, default_bits, mean, weigh
from federation.audience import EVERYBODY, PUBLIC
from federation.audit.checks import Finding, Weight
from federation.audit.observer import Observer
from federation.audit.record import RoundRecord, StudyRecord
from federation.audit.report import Report, verify
from federation.audit.view import LedgerView
from federation.ciphers import deal
from federation.ciphers.suite import Dealing
from federation.digest import labelled
from federation.events import NO_STAKE, RoundId, Stake, StudyId
from federation.members import ADDRESS_BYTES, Address
from federation.model import model_digest
from federation.opening import share_total
from federation.rehearsal import AGGREGATOR, AUDITOR, Hospital, Rehearsal, default_windows, seeded
from federation.runs import Held, whole
from federation.seal import ContentKey
from federation.study import StudySpec
from federation.submission import clip_update, encrypt_update, quantise_update
from federation.tasks.tabular import Feature, LogisticRegression
from federation.wire import Kind, Payload

from .ciphers.keys import dealt
from .ciphers.suites import joined, second_dealing

MILLION = 1_000_000
HOSPITALS = tuple(Address(bytes([index]) * 20) for index in (1, 2, 3, 4))
A, B, C, D = HOSPITALS
SAMPLES = {A: 120, B: 64, C: 90, D: 33}
WINDOW = 61  # seconds: a little more than any phase of `default_windows`
CONTENT_KEY = ContentKey(labelled("rehearsal content key"))
KINDS = ("plain", "paillier", "plain, sealed", "paillier, sealed")
JUDGED = ("paillier", "hybrid", "two dealers")  # kinds whose totals the contract judges
STANDBY = Address(b"\xa2" * 20)
GWEI = 10**9
STAKE = Stake(gwei=5, lock=100, treasury=Address(bytes(ADDRESS_BYTES)))


def task_of(features: int) -> LogisticRegression:
    """A logistic regression on so many numbers."""
    return LogisticRegression(
        label="outcome",
        positive="yes",
        negative="no",
        features=tuple(Feature(name=f"marker{k}", centre=0, scale=MILLION) for k in range(features)),
        epochs=1,
        batch=16,
        rate=MILLION // 10,
        l2=0,
    )


SCALE = Scale(clip=2 * MILLION, bound=MILLION, weight_cap=100, members=4, bits=default_bits(4))


Alter = Callable[[Payload], Payload]


@cache
def later_key(number: int, *, threshold: int = 2, members: int = 4) -> Dealing:
    """Another key of 256 bits for the same members, over primes of its own."""
    count = iter(range(1 << 8))

    def random(length: int) -> bytes:
        return labelled("a later key of tests", bytes([number, next(count)]))[:length]

    return deal(
        "paillier",
        bits=256,
        threshold=threshold,
        members=members,
        random=random,
        unsafe=True,
        processes=1,
    )


@cache
def key_of(suite: str) -> Dealing:
    """A key that protects nothing: 2 of 4 shares open."""
    if suite == "plain":
        return deal("plain", threshold=2, members=4, random=bytes, unsafe=True)
    if suite == "two dealers":
        return joined(dealt(256, 2, 4), second_dealing(2, 4))
    return dealt(256, 2, 4)


def spec_of(suite: str = "plain", *, rounds: int = 3, features: int = 5) -> StudySpec:
    """The agreed study, readable by all; "two dealers" is `hybrid` under their two keys."""
    task = task_of(features)
    return StudySpec(
        name="rehearsal",
        task=task.spec.name,
        task_parameters=task.spec.parameters,
        scale=SCALE,
        suite="hybrid" if suite == "two dealers" else suite,
        key=key_of(suite).public_key,
        members=HOSPITALS,
        aggregators=(AGGREGATOR,),
        threshold=2,
        minimum=3,
        rounds=rounds,
        windows=default_windows(),
        genesis=model_digest(task.initial(), task.shape_digest),
        audience=EVERYBODY,
        stake=NO_STAKE,
    )


def rehearse(kind: str = "plain", *, rounds: int = 3, features: int = 5) -> Rehearsal:
    """A study that all have accepted and nobody has trained for; `kind` is one of `KINDS`."""
    suite, _, sealed = kind.partition(", ")
    return Rehearsal(
        spec_of(suite, rounds=rounds, features=features),
        [hospital(address, suite) for address in HOSPITALS],
        content_key=CONTENT_KEY if sealed else PUBLIC,
    )


def rehearse_staked(kind: str, *, rounds: int = 3, features: int = 5) -> Rehearsal:
    """The same with two aggregators, each of which stands to lose what it has staked, and no more."""
    spec = spec_of(kind, rounds=rounds, features=features)
    spec = replace(spec, aggregators=(AGGREGATOR, STANDBY), stake=STAKE)
    rehearsal = Rehearsal(spec, [hospital(address, kind) for address in HOSPITALS])
    for aggregator in spec.aggregators:
        rehearsal.ledger(aggregator).deposit_bond(StudyId(1), STAKE.gwei * GWEI)
    return rehearsal


def staked(rehearsal: Rehearsal, account: Address) -> int:
    """What it has on the contract, in gwei."""
    rehearsal.view.refresh()
    return rehearsal.observer.study.bonds.of(account).amount // GWEI


def hospital(address: Address, suite: str) -> Hospital:
    """One that finds an update of its own in every round."""
    return Hospital(
        address=address,
        key_share=key_of(suite).key_shares[HOSPITALS.index(address)],
        seed=seeded(b"a secret of tests", address),
        samples=SAMPLES[address],
        train=training(address),
    )


def training(address: Address) -> Callable[[Model, RoundId], Vector]:
    """Pulls the model towards a point of the hospital's own: quick, and different every round."""

    def train(model: Model, round: RoundId) -> Vector:
        random = np.random.default_rng([address[0], round.number])
        update: Vector = (random.normal(size=model.size) - model.astype(np.float64)) / 3
        return update

    return train


def quantised(rehearsal: Rehearsal, address: Address, id: RoundId, base: Model) -> IntVector:
    """What a hospital would encrypt in this round."""
    one = rehearsal.hospitals[address]
    clipped = clip_update(rehearsal.agreement, one.train(base, id))
    weight = weigh(one.samples, SCALE)
    return quantise_update(rehearsal.agreement, id, clipped, member=address, weight=weight, seed=one.seed)


def in_the_clear(rehearsal: Rehearsal, id: RoundId, base: Model, members: tuple[Address, ...]) -> Model:
    """The model after a round, computed from plain integers by someone who sees every update."""
    summed = sum(quantised(rehearsal, address, id, base) for address in members)
    return apply(base, mean(np.asarray(summed), members=len(members), scale=SCALE))


def commit_payload(rehearsal: Rehearsal, address: Address, payload: Payload) -> RoundId:
    """The member commits to whatever bytes it likes, naming the right base model."""
    round = rehearsal.round()
    base = rehearsal.agreement.model_digest(rehearsal.base(round))
    rehearsal.hospitals[address].payloads[round.id] = payload
    rehearsal.ledger(address).commit_update(round.id, payload.root(), base)
    return round.id


def honest_payload(rehearsal: Rehearsal, address: Address, values: IntVector | None = None) -> Payload:
    """The update that the member would make now, or one of these values, well encrypted."""
    round = rehearsal.round()
    base = rehearsal.base(round)
    return encrypt_update(
        rehearsal.agreement,
        round.id,
        quantised(rehearsal, address, round.id, base) if values is None else values,
        member=address,
        base_model=rehearsal.agreement.model_digest(base),
        seed=rehearsal.hospitals[address].seed,
    )


def up_to_reveals(rehearsal: Rehearsal, members: tuple[Address, ...] = HOSPITALS) -> RoundId:
    """These commit and reveal, as they should; the others' time runs out."""
    for address in members:
        id = rehearsal.commit(address)
    return reveals(rehearsal, id, members)


def reveals(rehearsal: Rehearsal, id: RoundId, members: tuple[Address, ...] = HOSPITALS) -> RoundId:
    """These reveal; where somebody has not committed, its time runs out first."""
    if len(rehearsal.round(id).commits) < len(HOSPITALS):
        rehearsal.wait(WINDOW)
    for address in members:
        rehearsal.reveal(address, id)
    if len(rehearsal.round(id).reveals) < len(rehearsal.round(id).commits):
        rehearsal.wait(WINDOW)
    return id


def opened(rehearsal: Rehearsal, id: RoundId, *sharers: Address) -> RoundRecord:
    """From reveals to a result: total, two shares, and whoever should joins them."""
    rehearsal.post_total(id)
    for address in sharers or (A, B):
        rehearsal.post_share(address, id)
    rehearsal.finish(id)
    return rehearsal.record(id)


def post_total(
    rehearsal: Rehearsal,
    id: RoundId,
    total: Payload,
    members: tuple[Address, ...] = HOSPITALS,
    *,
    by: Address | None = None,
) -> None:
    """An aggregator posts whatever it likes: unless told otherwise the one whose turn is first."""
    cid = rehearsal.store.put(total.read())
    first, *_ = rehearsal.round(id).turns
    rehearsal.ledger(by or first).post_total(id, members, total.root(), cid)


def share_anyway(
    rehearsal: Rehearsal, address: Address, id: RoundId, total: Payload, alter: Alter | None = None
) -> None:
    """A member gives a share of whatever it likes, without looking at anything."""
    agreement = rehearsal.agreement_of(id)
    key_share = rehearsal.hospitals[address].share_of(agreement.suite.key_digest)
    share = share_total(agreement, id, total, member=address, key_share=key_share)
    if alter is not None:
        share = alter(share)
    cid = rehearsal.put(Kind.SHARE, id, whole(share))
    rehearsal.ledger(address).post_share(id, share.root(), cid, total=total.root())


def altered(payload: Payload, leaf: int, change: Callable[[bytes], bytes]) -> Payload:
    """The same payload but for one leaf between header and tail, which keeps its width."""
    data, start = bytearray(whole(payload.leaves)), 0
    for run in payload.shape.parts:
        if run.first <= leaf < run.first + run.count:
            start += (leaf - run.first) * run.width
            data[start : start + run.width] = change(bytes(data[start : start + run.width]))
            return replace(payload, leaves=Held(bytes(data)))
        start += run.size
    raise AssertionError(leaf)


def flip(data: bytes, position: int = -1) -> bytes:
    """The same with one bit changed."""
    changed = bytearray(data)
    changed[position] ^= 1
    return bytes(changed)


def audit(record: StudyRecord) -> Report:
    """The audit of a study whose contract is the right one."""
    return verify(record, audited_code=record.code)


def audited(rehearsal: Rehearsal) -> Report:
    """The audit of all that ledger and store hold now."""
    return audit(rehearsal.study_record())


def seen_afresh(rehearsal: Rehearsal) -> Observer:
    """The study through the eyes of one who was never there before."""
    ledger = rehearsal.ledger(AUDITOR)
    view = LedgerView(ledger)
    view.refresh()
    return Observer(view, ledger, rehearsal.store, rehearsal.study)


@dataclass(frozen=True, slots=True)
class Blame:
    """What a test expects of a finding: which clause, against whom."""

    clause: str
    culprit: Address | None


def faults(report: Report) -> set[Blame]:
    """Who is said to have broken what."""
    return _blames(report, Weight.FAULT)


def unknowns(report: Report) -> set[Blame]:
    """What could not be judged, and who failed to keep what it depends on."""
    return _blames(report, Weight.UNKNOWN)


def _blames(report: Report, weight: Weight) -> set[Blame]:
    return {Blame(f.clause, f.culprit) for f in _all(report) if f.weight is weight}


def _all(report: Report) -> Iterator[Finding]:
    return (finding for claim in report.claims for finding in claim.findings)


def last(record: StudyRecord) -> RoundRecord:
    """The newest round."""
    return record.rounds[-1]
