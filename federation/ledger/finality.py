"""Which block is final: deep enough, the same at enough nodes, on top of earlier ones (PROTOCOL §5.6)."""

from __future__ import annotations

from typing import Final

from ..digest import LedgerId
from ..errors import Refused, Unavailable
from .bookmark import Bookmark, Mark
from .ledger import Block
from .nodes import Node, Nodes
from .rpc import Rpc


class Finality:
    """Follows the chain's final end; what it has once called final stays so, beyond the process too.

    A block is final when `confirmations` blocks stand on it at `agreeing` nodes. A node that keeps up is
    waited for even where it is not needed, until it has not moved for `patience` seconds: a late one
    delays us, it is never outvoted. No number of nodes outweighs one that shows another block.
    """

    def __init__(
        self,
        nodes: Nodes,
        ledger: LedgerId,
        *,
        deployment_block: int,
        confirmations: int,
        agreeing: int,
        patience: float,
        bookmark: Bookmark,
    ) -> None:
        self._nodes = nodes
        self._ledger = ledger
        self._deployment_block = deployment_block
        self._confirmations = confirmations
        self._patience = patience
        self._bookmark = bookmark
        self._seen: dict[Node, int] = {}  # the final block of each when it last answered, by its own depth
        self._late: dict[Node, tuple[float, int]] = {}  # since when, and which block it has to reach
        self._known = bookmark.recall()
        self.agreeing: Final = agreeing
        self.panel: tuple[Node, ...] = ()  # the nodes that showed the newest final block
        if self._known is not None and self._known.ledger != ledger:
            expected, found = self._known.ledger.hex(), ledger.hex()
            problem = f"another chain or contract than before: expected ledger 0x{expected}, found 0x{found}"
            raise Refused(f"{problem}. {self._advice()}")

    @property
    def number(self) -> int:
        """Of the newest block that was final; -1 if none was asked for yet."""
        return -1 if self._known is None else self._known.number

    def head(self) -> Block:
        """The newest final block, never one before an earlier answer.

        Raises `Unavailable` while too few nodes show it, `Refused` when a block that was final is no longer
        there or two nodes show different ones: somebody has to look.
        """
        heights, troubles = self._nodes.each(Rpc.newest, at_least=self.agreeing)
        depths = {node: newest - self._confirmations for node, newest in heights.items()}
        floor = max(self.number, self._deployment_block)
        final = self._reached_by_enough(depths)
        number = max(floor, final)
        reached = (
            heights if number == floor else depths
        )  # whoever once had it final need not be as deep again
        able = [node for node in heights if reached[node] >= number]
        shown: dict[Node, Block] = {}
        for node in able:
            try:
                shown[node] = self._block(node, number)
            except Unavailable as trouble:
                troubles.append(trouble)
        if len(shown) < self.agreeing:
            raise self._too_few(shown, heights, troubles, number)
        self._compare(shown)
        self._compare_behind({node: depths[node] for node in heights if node not in able}, next(iter(shown)))
        self.panel, block = tuple(shown), next(iter(shown.values()))
        if number > self.number:
            self._known = Mark(ledger=self._ledger, number=number, hash=block.hash)
            if number <= final:  # a deployment that is not final yet is read, not remembered
                self._bookmark.move(self._known)
        return block

    def _reached_by_enough(self, depths: dict[Node, int]) -> int:
        """The newest block that is deep enough at `agreeing` nodes, and at all that keep up; -1 for none."""
        ordered = sorted(depths.values(), reverse=True)
        if len(ordered) < self.agreeing:
            return -1
        enough, now = ordered[self.agreeing - 1], self._nodes.now()
        waited_for = [enough]
        for node in self._nodes:
            is_new = node not in self._seen
            depth = depths.get(node, self._seen.get(node))
            if depth is None:
                continue  # has not answered yet: what enough nodes show goes without it
            self._seen[node] = depth
            since, goal = self._late.get(node, (now, enough))
            if depth >= goal:
                since, goal = now, enough  # it moves, if a few blocks behind the others
            if is_new and depth < goal:
                since = now - self._patience  # catching up when we start: it may take days
            self._late[node] = (since, goal)
            if depth >= goal or now - since < self._patience:
                waited_for.append(depth)
        return min(waited_for)

    def _block(self, node: Node, number: int) -> Block:
        """A block of the node's; raises `Refused` where the last final one is not on its chain any more."""
        known = self._known
        if known is not None:
            found = _asked(node, known.number)
            if found.hash != known.hash:
                problem = f"reorganised deeper than {self._confirmations} confirmations"
                was = f"block {known.number} was 0x{known.hash.hex()}, is 0x{found.hash.hex()}"
                raise Refused(f"{problem}: {was} at {node.shown}. {self._advice()}")
            if known.number == number:
                return found
        return _asked(node, number)

    def _compare(self, shown: dict[Node, Block]) -> None:
        (first, expected), *others = shown.items()
        for node, found in others:
            if found != expected:
                depth = f"both {self._confirmations} deep: {_said(expected)}, and {_said(found)}"
                where = f"{first.shown} and {node.shown} show different blocks {expected.number}"
                raise Refused(f"{where}, {depth}. {self._advice()}")

    def _compare_behind(self, depths: dict[Node, int], first: Node) -> None:
        """What nodes that are behind call final is ours, too: a fork shows before it has grown."""
        for node, depth in depths.items():
            if depth < self._deployment_block:
                continue
            try:
                both = {first: _asked(first, depth), node: _asked(node, depth)}
            except Unavailable:
                continue
            self._compare(both)

    def _too_few(
        self, shown: dict[Node, Block], heights: dict[Node, int], troubles: list[Unavailable], number: int
    ) -> Unavailable:
        for node, newest in heights.items():
            if newest < number:
                node.doubt()  # another chain, perhaps, and a younger one
                was = "was final" if self._known is not None else "is the deployment's"
                at = (
                    f"the node at {node.shown} is at block {newest}, block {number} {was}: is it catching up?"
                )
                troubles.append(Unavailable(at))
        if len(self._nodes) == 1:
            return troubles[0]
        said = "; ".join(map(str, troubles))
        return Unavailable(
            f"{len(shown)} of {len(self._nodes)} nodes agree, expected {self.agreeing}: {said}"
        )

    def _advice(self) -> str:
        ask = "Ask the other institutions which one they have, and mend or replace the node that is wrong"
        remove = (
            f"; where everybody has agreed on another chain, remove {self._bookmark.shown} and start again"
        )
        return ask + (remove if self._bookmark.recall() is not None else "")


def _asked(node: Node, number: int) -> Block:
    return node.ask(lambda rpc: rpc.block(number))


def _said(block: Block) -> str:
    return f"0x{block.hash.hex()} at {block.time} s"
