"""What the first of two aggregators may do, or fail to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from federation.admission import Admission
from federation.audit.record import RoundRecord
from federation.combination import combine
from federation.digest import sha256
from federation.errors import LedgerRejected
from federation.members import Address
from federation.rehearsal import AGGREGATOR, Rehearsal
from federation.rounds import Combining, Opening
from federation.runs import Held, whole
from federation.store.content import put_bytes
from federation.store.unixfs import cid_of
from federation.wire import Code, Exclusion, Payload

from ..rehearsing import (
    GWEI,
    HOSPITALS,
    STAKE,
    A,
    B,
    C,
    D,
    flip,
    post_total,
    rehearse_staked,
)
from .cast import Cast
from .row import ALL, Deviate, Row, phase

Forge = Callable[[Rehearsal, RoundRecord], Payload]


def posting(forge: Forge, members: tuple[Address, ...] = HOSPITALS) -> Deviate:
    """The first aggregator posts in the first round what `forge` gives; it is honest afterwards."""

    def plays(cast: Cast) -> None:
        stage, round = cast.stage, cast.round
        if round.id.number > 1:
            cast.serve(AGGREGATOR, anyhow=True)
        elif isinstance(phase(cast), Combining) and cast.once("posted"):
            post_total(stage, round.id, forge(stage, stage.record(round.id)), members)
            stake = STAKE.gwei * GWEI  # what it will have to stake again
            stage.ledger(AGGREGATOR).deposit_bond(round.id.study, stake)

    return plays


def right(stage: Rehearsal, record: RoundRecord) -> Payload:
    return combine(stage.agreement, record.id, record.admission)


def without_d(code: Code | None) -> Forge:
    """D's sound update is left out, with this reason or none."""

    def forge(stage: Rehearsal, record: RoundRecord) -> Payload:
        kept = {member: update for member, update in record.admission.admitted.items() if member != D}
        said = () if code is None else (Exclusion(member=D, code=code),)
        roots = {member: record.round.commits[member].root for member in kept}
        return combine(stage.agreement, record.id, Admission(admitted=kept, roots=roots, excluded=said))

    return forge


def summing(*members: Address) -> Forge:
    """The right header over the sum of these updates."""

    def forge(stage: Rehearsal, record: RoundRecord) -> Payload:
        capsules = [record.admission.admitted[member].first_part for member in members]
        run = stage.agreement.suite.layout.capsule
        leaves = stage.agreement.suite.combine(run, capsules)
        return replace(right(stage, record), leaves=Held(leaves))

    return forge


def one_bit(stage: Rehearsal, record: RoundRecord) -> Payload:
    total = right(stage, record)
    return replace(total, leaves=Held(flip(whole(total.leaves), 3)))


def two_totals(cast: Cast) -> None:
    """The right total, and at once another one, which the ledger does not take."""
    if isinstance(phase(cast), Combining) and cast.once("posted"):
        stage, id = cast.stage, cast.round.id
        record = stage.record(id)
        post_total(stage, id, right(stage, record))
        try:
            post_total(stage, id, one_bit(stage, record))
        except LedgerRejected as rejected:
            assert rejected.rule == "TotalAlreadyPosted"  # noqa: PT017  # it has to be rejected, and only so
        else:
            raise AssertionError("a second total was taken")
    elif cast.round.id.number > 1 or not isinstance(phase(cast), Combining):
        cast.serve(AGGREGATOR, anyhow=True)


def never_in_its_turn(_: Cast) -> None:
    """The first aggregator does nothing at all."""


def hides_its_total(cast: Cast) -> None:
    """The right root stands on the ledger, and its bytes nowhere."""
    stage, round = cast.stage, cast.round
    if isinstance(phase(cast), Combining) and round.id.number == 1 and cast.once("posted"):
        total = right(stage, stage.record(round.id))
        stage.ledger(AGGREGATOR).post_total(round.id, HOSPITALS, total.root(), cid_of(total.read()))
    elif round.id.number > 1:
        cast.serve(AGGREGATOR, anyhow=True)


def proposes_a_wrong_result(cast: Cast) -> None:
    """Its total is right, and the result that it proposes is invented."""
    stage, round = cast.stage, cast.round
    if round.id.number == 1 and isinstance(phase(cast), Opening) and len(round.shares) > 1:
        cid = put_bytes(stage.store, b"no such thing")
        wrong = sha256(b"wrong opening"), sha256(b"wrong model")
        stage.ledger(AGGREGATOR).finish(round.id, *wrong, opening_cid=cid, model_cid=cid)
    elif round.id.number > 1 or isinstance(phase(cast), Combining):
        cast.serve(AGGREGATOR, anyhow=True)


STAKED = partial(rehearse_staked, "paillier", rounds=2)
FIRST_ALONE = frozenset({AGGREGATOR})
PROVEN = frozenset({"§9.17 aggregator"})
BY_OTHER = f"{ALL} by the other"


def forged(fault: str, forge: Forge) -> Row:
    """A total that is proven wrong before the court, taken back, and posted again by the other."""
    return Row(
        fault=fault,
        plays=posting(forge),
        away=FIRST_ALONE,
        begins=STAKED,
        ends=(BY_OTHER, ALL),
        blamed=PROVEN,
        shown=(
            "tests/end_to_end/test_demo.py::test_a_wrong_total_is_proven_taken_back_and_the_other_aggregator_finishes_the_round",
        ),
    )


def dropped(fault: str, code: Code | None) -> Row:
    """A total of three that no court can judge, since it is their sum: nobody shares in it."""
    return Row(
        fault=fault,
        plays=posting(without_d(code), (A, B, C)),
        away=FIRST_ALONE,
        begins=STAKED,
        ends=("abandoned NO_SHARES", ALL, ALL),
        blamed=frozenset({"§9.6 aggregator", "§9.8 aggregator"}),
    )


AGGREGATORS_FAULTS = (
    dropped("drops an update", None),
    dropped("drops an update, and says that it was never revealed", Code.NO_REVEAL),
    dropped("drops an update, and says that its proof fails", Code.PROOF_FAILED),
    replace(
        dropped("calls an update unavailable at once", Code.UNAVAILABLE),
        blamed=frozenset({"§9.16 aggregator"}),
    ),
    forged("swaps one update for another", summing(A, A, B, C)),
    forged("counts one update twice", summing(A, A, B, C, D)),
    forged("weighs one update three times", summing(A, B, B, B, C, D)),
    forged("changes one bit", one_bit),
    Row(fault="posts two totals", plays=two_totals, away=FIRST_ALONE, begins=STAKED, ends=(ALL, ALL)),
    Row(
        fault="posts a total and hides its bytes",
        plays=hides_its_total,
        away=FIRST_ALONE,
        begins=STAKED,
        ends=(ALL, ALL),
        missing=frozenset({"§9.1 aggregator"}),
    ),
    Row(
        fault="is never there",
        plays=never_in_its_turn,
        away=FIRST_ALONE,
        begins=STAKED,
        ends=(BY_OTHER, ALL),
    ),
    Row(
        fault="proposes an invented result",
        plays=proposes_a_wrong_result,
        away=FIRST_ALONE,
        begins=STAKED,
        ends=(ALL, ALL),
        blamed=frozenset({"§9.10 aggregator", "§9.12 aggregator"}),
    ),
)
