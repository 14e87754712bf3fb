"""What the contract has recorded, read from a chain that may reorganise (PROTOCOL §5)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from ..errors import Refused, Unavailable, Violation
from ..events import Event, LogPosition, Timestamp
from ..members import Address
from .abi import CLAUSE
from .decoding import event_of
from .ledger import Block
from .rpc import Log, NodeRefusal, Rpc

SPAN_BLOCKS: Final = 1000  # of one query for logs; halved when a node finds that too much


class Reader:
    """Reads one contract; a block is final when `confirmations` blocks stand on it."""

    def __init__(self, rpc: Rpc, contract: Address, *, deployment_block: int, confirmations: int) -> None:
        self._rpc = rpc
        self._contract = contract
        self._deployment_block = deployment_block
        self._confirmations = confirmations
        self._final: Block | None = None
        self._times: dict[bytes, Timestamp] = {}  # by block hash

    def head(self) -> Block:
        """The newest block that is final at the configured depth, never one before an earlier answer.

        Raises `Refused` when a block that was final is no longer there: somebody has to look.
        """
        newest = self._rpc.newest()
        known = self._final
        if known is not None:
            if newest < known.number:
                where = f"the node at {self._rpc.shown} is at block {newest}, block {known.number} was final"
                raise Unavailable(f"{where}: is it catching up?")
            found = self._rpc.block(known.number)
            if found.hash != known.hash:
                problem = f"reorganised deeper than {self._confirmations} confirmations"
                was = f"block {known.number} was 0x{known.hash.hex()}, is 0x{found.hash.hex()}"
                raise Refused(f"{problem}: {was}")
        number = max(newest - self._confirmations, self._deployment_block)
        if known is None or number > known.number:
            self._final = known = self._rpc.block(number)
        return known

    def events(self, after: int, until: int) -> Sequence[Event]:
        """All events of blocks `after + 1` … `until`, in order.

        Raises `Violation` for logs that the contract cannot have written.
        """
        events: list[Event] = []
        first, span = max(after + 1, self._deployment_block), SPAN_BLOCKS
        while first <= until:
            last = min(first + span - 1, until)
            try:
                logs = self._rpc.logs(self._contract, first, last)
            except NodeRefusal:  # "too many blocks", "too many results": every node has its own words
                if last == first:
                    raise
                span = (last - first + 1) // 2
                continue
            events += self.decoded(logs, first, last)
            first = last + 1
        return events

    def decoded(self, logs: Sequence[Log], first: int, last: int) -> Sequence[Event]:
        """The events among logs of blocks `first` … `last`; topics of nobody's are passed over."""
        events: list[Event] = []
        before = LogPosition(first, -1)
        for log in logs:
            at = LogPosition(log.block, log.index)
            if not before < at < LogPosition(last + 1, 0):
                raise Violation(CLAUSE, "the node's logs are out of order", expected=before, found=at)
            before = at
            event = event_of(log.topics, log.data, at=at, time=partial(self._time, log))
            if event is not None:
                events.append(event)
        return events

    def _time(self, log: Log) -> Timestamp:
        if log.block_hash not in self._times:
            block = self._rpc.block(log.block)
            if block.hash != log.block_hash:
                raise Unavailable(f"block {log.block} was replaced while it was read: try again")
            self._times[block.hash] = block.time
        return self._times[log.block_hash]
