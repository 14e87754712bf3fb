"""What the contract has recorded, read from a chain that may reorganise (PROTOCOL §5.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from typing import Final

from ..errors import Refused, Unavailable, Violation
from ..events import Event, LogPosition, Timestamp
from ..members import Address
from .abi import CLAUSE
from .decoding import event_of
from .finality import Finality
from .nodes import Node, Nodes
from .rpc import BlockMissing, Log, NodeRefusal, Rpc

SPAN_BLOCKS: Final = 1000  # of the first query for logs; halved when a node finds that too much
MOST_SPAN_BLOCKS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Page:
    """One node's answer about a range of blocks."""

    logs: Sequence[Log]
    times: Mapping[bytes, Timestamp]  # of the blocks that hold them, by hash


class Reader:
    """Reads one contract; what is final is read from every node that showed the final block."""

    def __init__(self, nodes: Nodes, contract: Address, finality: Finality, *, deployment_block: int) -> None:
        self._nodes = nodes
        self._contract = contract
        self._finality = finality
        self._deployment_block = deployment_block
        self._span = SPAN_BLOCKS
        self._times: dict[bytes, Timestamp] = {}  # by block hash

    def events(self, after: int, until: int) -> Sequence[Event]:
        """All events of blocks `after + 1` … `until`, in order.

        Raises `Violation` for logs that the contract cannot have written, and `Refused` where two nodes
        have different ones.
        """
        events: list[Event] = []
        first = max(after + 1, self._deployment_block)
        while first <= until:
            last = min(first + self._span - 1, until)
            try:
                page = self._page(first, last)
            except NodeRefusal:  # "too many blocks", "too many results": every node has its own words
                if last == first:
                    raise
                self._span = (last - first + 1) // 2
                continue
            self._times |= page.times
            events += self.decoded(page.logs, first, last)
            first = last + 1
            self._span = min(self._span + self._span // 4 + 1, MOST_SPAN_BLOCKS)
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

    def _page(self, first: int, last: int) -> _Page:
        """What one node holds of these blocks, or where they are final all nodes that showed the last."""
        if last > self._finality.number or not self._finality.panel:
            return self._nodes.first(lambda rpc: self._page_of(rpc, first, last, newest=rpc.newest()))
        pages = self._pages(first, last)
        if _different(pages):
            pages = self._pages(first, last)  # a node behind a balancer may have been two, one of them late
        if difference := _different(pages):
            raise Refused(
                f"{difference}: one of them hides or invents events. Ask the other institutions what they "
                "have, remove the node that is wrong from the settings, and start again"
            )
        return next(iter(pages.values()))

    def _pages(self, first: int, last: int) -> dict[Node, _Page]:
        pages: dict[Node, _Page] = {}
        troubles: list[Unavailable] = []
        for node in self._finality.panel:
            try:
                pages[node] = node.ask(lambda rpc: self._page_of(rpc, first, last, newest=last))
            except NodeRefusal:
                raise
            except Unavailable as trouble:
                troubles.append(trouble)
        if len(pages) < self._finality.agreeing:
            raise troubles[0]
        return pages

    def _page_of(self, rpc: Rpc, first: int, last: int, *, newest: int) -> _Page:
        if newest < last:  # it would leave out what it does not have, and say nothing
            raise BlockMissing(
                f"the node at {rpc.shown} is at block {newest}, asked up to {last}: is it behind?"
            )
        logs = rpc.logs(self._contract, first, last)
        hashes = {log.block: log.block_hash for log in logs}
        times = {block.hash: block.time for block in rpc.blocks(list(hashes))}
        for number, hash in hashes.items():
            if hash not in times:
                raise Unavailable(f"block {number} was replaced while it was read: try again")
        return _Page(logs=logs, times=times)

    def _time(self, log: Log) -> Timestamp:
        if log.block_hash not in self._times:
            block = self._nodes.first(lambda rpc: rpc.block(log.block))
            if block.hash != log.block_hash:
                raise Unavailable(f"block {log.block} was replaced while it was read: try again")
            self._times[block.hash] = block.time
        return self._times[log.block_hash]


def _different(pages: Mapping[Node, _Page]) -> str | None:
    """Where two nodes differ, and how; None if all say the same."""
    (first, expected), *others = pages.items()
    for node, found in others:
        for ours, theirs in zip_longest(expected.logs, found.logs):
            if ours != theirs:
                where = f"{first.shown} and {node.shown} have different logs"
                return f"{where}: {_said(ours)}, and {_said(theirs)}"
        if expected.times != found.times:
            return f"{first.shown} and {node.shown} have different times of the same blocks"
    return None


def _said(log: Log | None) -> str:
    return "none" if log is None else f"entry {log.index} of block {log.block}"
