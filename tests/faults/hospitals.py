"""What one hospital of four may do, or fail to do."""

from __future__ import annotations

from collections.abc import Callable

from federation.digest import Cid, sha256
from federation.errors import Refused
from federation.events import RoundId
from federation.rounds import Combining, Committing, Opening, Revealing
from federation.store.content import put_bytes
from federation.store.unixfs import cid_of
from federation.wire import Payload

from ..aggregator.stage import wrong_share
from ..node.ward import Node, others_act
from ..rehearsing import (
    C,
    D,
    commit_payload,
    flip,
    honest_payload,
)
from .cast import Cast
from .row import ALL, BUT_D, D_ALONE, WITHOUT_D, Deviate, Row, phase


def late(cast: Cast) -> None:
    """D comes when the first round's window has closed."""
    if cast.round.id.number > 1 or not isinstance(phase(cast), Committing):
        cast.lets(D, anyhow=True)


def gone_after_commit(cast: Cast) -> None:
    """D is never seen again."""
    if cast.once("committed"):
        cast.nodes[D].step()


def honest_again(cast: Cast) -> None:
    """D does what it should, without a node that would remember what it did before."""
    if not isinstance(phase(cast), Combining):
        others_act(cast.stage, (D,), finish_at=9)


class Twin:
    """Another machine of D's runs beside D, on a vault of its own."""

    def __init__(self) -> None:
        self.node: Node | None = None

    def __call__(self, cast: Cast) -> None:
        if self.node is None:
            self.node = Node(cast.stage, D, cast.folder / "twin")
        if "D's twin" not in cast.stopped:
            try:
                self.node.works()
            except Refused:
                cast.stopped.add("D's twin")


def committing(make: Callable[[Cast], Payload]) -> Deviate:
    """D commits to what `make` gives, and reveals it, in the first round; honest afterwards."""

    def plays(cast: Cast) -> None:
        round = cast.round
        if round.id.number > 1:
            honest_again(cast)
        elif isinstance(phase(cast), Committing) and D not in round.commits:
            commit_payload(cast.stage, D, make(cast))
        elif isinstance(phase(cast), Revealing) and D not in round.reveals:
            cast.stage.reveal(D, round.id)

    return plays


def revealing(make: Callable[[Cast, Payload], Cid]) -> Deviate:
    """D commits honestly, and reveals what `make` gives, in the first round."""

    def plays(cast: Cast) -> None:
        round = cast.round
        if round.id.number > 1:
            honest_again(cast)
        elif isinstance(phase(cast), Committing) and D not in round.commits:
            commit_payload(cast.stage, D, honest_payload(cast.stage, D))
        elif isinstance(phase(cast), Revealing) and D not in round.reveals:
            cid = make(cast, cast.stage.hospitals[D].payloads[round.id])
            cast.stage.ledger(D).reveal_update(round.id, cid)

    return plays


def stored(change: Callable[[bytes], bytes]) -> Deviate:
    """D reveals bytes that `change` makes of the right ones."""

    def reveals(cast: Cast, payload: Payload) -> Cid:
        return put_bytes(cast.stage.store, change(b"".join(payload.read())))

    return revealing(reveals)


def withheld(_: Cast, payload: Payload) -> Cid:
    return cid_of(payload.read())


def under_another_root(cast: Cast) -> None:
    """D commits to one thing, and reveals another that is well made."""
    round = cast.round
    if round.id.number > 1:
        honest_again(cast)
    elif isinstance(phase(cast), Committing) and D not in round.commits:
        payload = honest_payload(cast.stage, D)
        base = cast.stage.agreement.model_digest(cast.stage.base(round))
        cast.stage.hospitals[D].payloads[round.id] = payload
        cast.stage.ledger(D).commit_update(round.id, sha256(b"another root"), base)
    elif isinstance(phase(cast), Revealing) and D not in round.reveals:
        cast.stage.reveal(D, round.id)


def from_another_model(cast: Cast) -> None:
    """D says that it trained from a model that nobody else has."""
    round = cast.round
    if round.id.number > 1:
        honest_again(cast)
    elif isinstance(phase(cast), Committing) and D not in round.commits:
        payload = honest_payload(cast.stage, D)
        cast.stage.hospitals[D].payloads[round.id] = payload
        cast.stage.ledger(D).commit_update(round.id, payload.root(), sha256(b"another model"))
    elif isinstance(phase(cast), Revealing) and D not in round.reveals:
        cast.stage.reveal(D, round.id)


def the_same_again(cast: Cast) -> None:
    """D's update of the first round comes again in the second."""
    round = cast.round
    match phase(cast):
        case Committing() if D not in round.commits and not cast.stage.observer.study.is_complete:
            first = cast.stage.hospitals[D].payloads.get(RoundId(cast.stage.study, 1))
            commit_payload(cast.stage, D, first or honest_payload(cast.stage, D))
        case Revealing() if D not in round.reveals:
            cast.stage.reveal(D, round.id)


def a_false_share(cast: Cast) -> None:
    """D gives junk for a share, and is not seen again."""
    if isinstance(phase(cast), Opening) and cast.once("shared"):
        wrong_share(cast.stage, D, cast.round.id, b"no share of anything")
    elif "shared" not in cast.asked:
        cast.lets(D, anyhow=True)


def a_wrong_result(cast: Cast) -> None:
    """D is the first to propose a result, and it is invented."""
    if isinstance(phase(cast), Opening) and cast.once("proposed"):
        cid = put_bytes(cast.stage.store, b"no such thing")
        wrong = sha256(b"wrong opening"), sha256(b"wrong model")
        cast.stage.ledger(D).finish(cast.round.id, *wrong, opening_cid=cid, model_cid=cid)
    cast.lets(D, anyhow=True)


def a_false_objection(cast: Cast) -> None:
    """D objects to what is right."""
    cast.lets(D, anyhow=True)
    cast.stage.view.refresh()
    finished = cast.stage.observer.study.finished
    if finished and cast.once("objected"):
        (proposal,) = finished[0].proposals
        cast.stage.ledger(D).object_to_result(
            finished[0].id,
            proposed_opening=proposal.opening,
            proposed_model=proposal.model,
            found_opening=sha256(b"another opening"),
            found_model=sha256(b"another model"),
        )


MORE = bytes(1 << 20)  # far more than an update here has

HOSPITALS_FAULTS = (
    Row(fault="comes too late to commit", plays=late, away=D_ALONE, ends=(WITHOUT_D, ALL)),
    Row(
        fault="is gone after its commit",
        plays=gone_after_commit,
        away=D_ALONE,
        ends=(f"{WITHOUT_D}, D NO_REVEAL", WITHOUT_D),
        through=BUT_D,
        shown=(
            "tests/end_to_end/test_faults.py::test_a_node_killed_between_commit_and_reveal_is_left_out_and_the_round_ends",
        ),
    ),
    Row(fault="runs twice, on two vaults", plays=Twin(), ends=(ALL, ALL), stopped=frozenset({"D's twin"})),
    Row(
        fault="sends its update of an earlier round again",
        plays=the_same_again,
        away=D_ALONE,
        ends=(ALL, f"{WITHOUT_D}, D MALFORMED"),
        blamed=frozenset({"§9.3 D"}),
        through=BUT_D,
    ),
    Row(
        fault="sends another's update under its own name",
        plays=committing(lambda cast: honest_payload(cast.stage, C)),
        away=D_ALONE,
        ends=(f"{WITHOUT_D}, D MALFORMED", ALL),
        blamed=frozenset({"§9.3 D"}),
        through=BUT_D,
    ),
    Row(
        fault="reveals another payload than it committed to",
        plays=under_another_root,
        away=D_ALONE,
        ends=(f"{WITHOUT_D}, D ROOT_MISMATCH", ALL),
        blamed=frozenset({"§9.2 D"}),
        through=BUT_D,
    ),
    Row(
        fault="trains from another model",
        plays=from_another_model,
        away=D_ALONE,
        ends=(f"{WITHOUT_D}, D WRONG_BASE", ALL),
        blamed=frozenset({"§9.5 D"}),
        through=BUT_D,
    ),
    Row(
        fault="reveals where nothing lies",
        plays=revealing(withheld),
        away=D_ALONE,
        ends=(f"{WITHOUT_D}, D UNAVAILABLE", ALL),
        missing=frozenset({"§9.1 D"}),
        through=BUT_D,
    ),
    Row(
        fault="reveals a truncated payload",
        plays=stored(lambda data: data[:-1]),
        away=D_ALONE,
        ends=(f"{WITHOUT_D}, D MALFORMED", ALL),
        blamed=frozenset({"§9.3 D"}),
        through=BUT_D,
    ),
    Row(
        fault="reveals a payload that is too large",
        plays=stored(lambda data: data + MORE),
        away=D_ALONE,
        ends=(f"{WITHOUT_D}, D MALFORMED", ALL),
        blamed=frozenset({"§9.1 D", "§9.3 D"}),
        through=BUT_D,
    ),
    Row(
        fault="reveals a payload with one bit changed",
        plays=stored(flip),
        away=D_ALONE,
        ends=(f"{WITHOUT_D}, D ROOT_MISMATCH", ALL),
        blamed=frozenset({"§9.2 D"}),
        through=BUT_D,
        shown=(
            "tests/end_to_end/test_demo.py::test_other_bytes_than_committed_to_are_left_out_by_everybody",
        ),
    ),
    Row(
        fault="gives a false share, and is gone",
        plays=a_false_share,
        away=D_ALONE,
        ends=(ALL, WITHOUT_D),
        blamed=frozenset({"§9.9 D"}),
        through=BUT_D,
    ),
    Row(
        fault="proposes an invented result",
        plays=a_wrong_result,
        away=D_ALONE,
        ends=(ALL, ALL),
        blamed=frozenset({"§9.10 D", "§9.12 D"}),
        shown=(
            "tests/end_to_end/test_demo.py::test_a_wrong_result_draws_objections_and_the_right_one_replaces_it",
        ),
    ),
    Row(
        fault="objects to what is right",
        plays=a_false_objection,
        away=D_ALONE,
        ends=(ALL, ALL),
        blamed=frozenset({"§9.13 D"}),
    ),
)
