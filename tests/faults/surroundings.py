"""What store, chain and disk may do to parties that are honest."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable

from federation.errors import Unavailable
from federation.in_memory import InMemoryStore
from federation.ledger.ledger import Block
from federation.members import Address
from federation.rounds import Revealing

from ..rehearsing import (
    A,
    D,
    flip,
)
from .cast import Cast
from .row import ALL, WITHOUT_D, Deviate, Row, phase


def spoiling(change: Callable[[bytes], bytes] | None) -> Deviate:
    """What the store has of D's update in the first round is lost, or becomes other bytes."""

    def plays(cast: Cast) -> None:
        round, store = cast.round, cast.stage.store
        assert isinstance(store, InMemoryStore)
        if D in round.reveals and cast.once("spoilt"):
            cid = round.reveals[D].cid
            kept = store._blocks.pop(cid)
            if change is not None:
                store._blocks[cid] = change(kept)

    return plays


def away_store(site: Address, turns: int) -> Deviate:
    """The store does not answer this node for so many turns."""

    def plays(cast: Cast) -> None:
        cast.turns += 1
        cast.nodes[site].store.silent = cast.turns <= turns

    return plays


def no_answer() -> Block:
    raise Unavailable("the chain does not answer")


def away_chain(cast: Cast) -> None:
    """The chain does not answer A for a whole round."""
    ledger = cast.nodes[A].ledger
    if cast.round.id.number == 1:
        ledger.head = no_answer
    else:
        vars(ledger).pop("head", None)


def away_for_hours(cast: Cast) -> None:
    """Nobody sees chain or store for ten hours, with all updates committed."""
    if isinstance(phase(cast), Revealing) and cast.once("away"):
        cast.stage.wait(36_000)


def an_old_backup(cast: Cast) -> None:
    """In the second round A's machine is lost, and an old copy of its vault brought back."""
    node, copy = cast.nodes[A], cast.folder / "copy"
    if cast.round.id.number == 1 and not copy.exists():
        shutil.copytree(node.folder, copy)
    elif cast.round.id.number == 2 and A in cast.round.commits and cast.once("lost"):
        node.kill()
        shutil.rmtree(node.folder)
        shutil.copytree(copy, node.folder)
        node.start()


def a_full_disk(cast: Cast) -> None:
    """A's disk is full in the first round until its daemon has stopped; then somebody makes room."""
    if cast.once("full"):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # the kernel refuses every byte
        try:
            cast.lets(A, anyhow=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    elif cast.once("room"):
        cast.come_back(A)
        cast.away.remove(A)


WORLD_FAULTS = (
    Row(
        fault="the store loses an update for good",
        plays=spoiling(None),
        ends=(f"{WITHOUT_D}, D UNAVAILABLE", ALL),
        missing=frozenset({"§9.1 D"}),
    ),
    Row(
        fault="the store gives other bytes for an update",
        plays=spoiling(flip),
        ends=(f"{WITHOUT_D}, D UNAVAILABLE", ALL),
        missing=frozenset({"§9.1 D"}),
    ),
    Row(
        fault="the store gives fewer bytes",
        plays=spoiling(lambda data: data[:-1]),
        ends=(f"{WITHOUT_D}, D UNAVAILABLE", ALL),
        missing=frozenset({"§9.1 D"}),
    ),
    Row(
        fault="the store gives far too many bytes",
        plays=spoiling(lambda data: data + bytes(3 << 20)),
        ends=(f"{WITHOUT_D}, D UNAVAILABLE", ALL),
        missing=frozenset({"§9.1 D"}),
    ),
    Row(fault="the store is away from one hospital for a while", plays=away_store(A, 2), ends=(ALL, ALL)),
    Row(
        fault="the store is away from one hospital for a round",
        plays=away_store(A, 7),
        ends=("BCD finished, A NO_REVEAL", ALL),
    ),
    Row(
        fault="the chain is away from one hospital for a round",
        plays=away_chain,
        ends=("BCD finished, A NO_REVEAL", ALL),
    ),
    Row(
        fault="chain and store are away from everybody for ten hours",
        plays=away_for_hours,
        ends=("abandoned TOO_FEW_REVEALS", ALL, ALL),
    ),
    Row(
        fault="a vault comes back from an old backup",
        plays=an_old_backup,
        ends=(ALL, "BCD finished, A NO_REVEAL"),
        stopped=frozenset({"A"}),
        through=frozenset("BCD"),
    ),
    Row(
        fault="a hospital's disk is full, and somebody makes room",
        plays=a_full_disk,
        away=frozenset({A}),
        ends=(ALL, ALL),
        stopped=frozenset({"A"}),
    ),
)
