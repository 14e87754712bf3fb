"""`python -m deploy.tamper CHEAT node|aggregator run …`: one party of the demo that breaks the protocol.

It runs the honest program with one step replaced, once, in the second round: what a bribed
administrator could do. The others are not told, and have to find out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from enum import StrEnum
from typing import Final, assert_never
from unittest.mock import patch

import numpy as np

import node.daemon
from aggregator import conductor
from aggregator.combine import combine_admitted
from aggregator.unseal import open_total
from federation.audit.record import RoundRecord
from federation.errors import Violation
from federation.events import RoundId
from federation.ledger.ledger import Receipt
from federation.members import Address
from federation.result import Result
from federation.runs import Held, whole
from federation.wire import Payload
from node.seat import Seat
from node.submit import prepare, reveal

from . import tally
from .consortium import AGGREGATORS

ROUND: Final = 2  # its number


class Cheat(StrEnum):
    """Which step goes wrong."""

    PAYLOAD = "payload"  # a hospital reveals other bytes than it committed to
    TOTAL = "total"  # an aggregator posts a sum with one ciphertext changed
    OPENING = "opening"  # an aggregator proposes another opened sum
    MODEL = "model"  # an aggregator proposes another model than the sum leads to


def cheater(cheat: Cheat) -> str:
    """The party that cheats, by the name of its folder; of the aggregators the one that comes first then."""
    return "hospital-2" if cheat is Cheat.PAYLOAD else AGGREGATORS[(ROUND - 1) % len(AGGREGATORS)]


def main(arguments: list[str]) -> None:
    """`tally` with the step replaced that the first argument names."""
    sys.argv = ["tally", *arguments[1:]]
    with ExitStack() as stack:
        match Cheat(arguments[0]):
            case Cheat.PAYLOAD:
                stack.enter_context(patch.object(node.daemon, "reveal", _reveal_other_bytes))
            case Cheat.TOTAL:
                stack.enter_context(patch.object(conductor, "combine_admitted", _combine_otherwise))
            case Cheat.OPENING:
                stack.enter_context(patch.object(conductor, "open_total", _open_otherwise))
            case Cheat.MODEL:
                stack.enter_context(patch.object(conductor, "open_total", _learn_otherwise))
            case unknown:
                assert_never(unknown)
        tally.main()


def _reveal_other_bytes(seat: Seat, round: RoundId) -> Receipt:
    if round.number != ROUND:
        return reveal(seat, round)
    payload, _ = prepare(seat, round)
    return seat.ledger.reveal_update(round, seat.store.put(_altered(payload).read()))


def _combine_otherwise(record: RoundRecord, me: Address) -> Payload:
    total = combine_admitted(record, me)
    return _altered(total) if record.id.number == ROUND else total


def _open_otherwise(record: RoundRecord, accuse: Callable[[Violation], None]) -> Result:
    result = open_total(record, accuse)
    return replace(result, opening=_altered(result.opening)) if record.id.number == ROUND else result


def _learn_otherwise(record: RoundRecord, accuse: Callable[[Violation], None]) -> Result:
    result = open_total(record, accuse)
    if record.id.number != ROUND:
        return result
    model = result.model.copy()
    model[0] += np.float32(0.5)
    return replace(result, model=model)


def _altered(payload: Payload) -> Payload:
    """One bit of the last leaf is another."""
    leaves = whole(payload.leaves)
    return replace(payload, leaves=Held(leaves[:-1] + bytes([leaves[-1] ^ 1])))


if __name__ == "__main__":
    main(sys.argv[1:])
