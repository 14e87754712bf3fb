"""Several nodes of one chain: the first that answers is asked, the others bear witness (PROTOCOL §5.6).

Whatever a node says counts only once it has shown that it serves the contract, the chain and the code
that were agreed on: at first, and again whenever it has been silent, since what answers then may be
another chain behind the same address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final, TypeVar

from ..digest import Digest, sha256
from ..errors import Refused, Unavailable
from ..members import Address, show_address
from ..telemetry import SILENT, Attempt, Outcome, Telemetry
from .abi import audited_code_digest, audited_creation, court_of
from .rpc import BlockMissing, Call, Fees, Mined, NodeRefusal, Rpc

REST_SECONDS: Final = 30.0  # that a silent node is left alone, if there are others

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a node serves; the same for all nodes of one chain, and for as long as we run."""

    chain_id: int
    genesis: bytes  # hash of block 0
    deployed: bytes  # hash of the block that the contract was deployed in
    code: Digest  # SHA-256 of the code that runs at the contract's address

    def difference(self, other: Place) -> str | None:
        """The first thing in which they differ, and both values; None if they are the same."""
        for what, ours, theirs in (
            ("chain id", str(self.chain_id), str(other.chain_id)),
            ("genesis block", f"0x{self.genesis.hex()}", f"0x{other.genesis.hex()}"),
            ("deployment block", f"0x{self.deployed.hex()}", f"0x{other.deployed.hex()}"),
            ("contract code", self.code.hex(), other.code.hex()),
        ):
            if ours != theirs:
                return f"{what} {ours}, then {theirs}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What people have agreed on; None means: whatever the first node shows."""

    contract: Address
    deployment_block: int
    chain_id: int | None
    code: Digest | None
    code_name: str = "the audited build"

    def found_at(self, rpc: Rpc) -> Place:
        """What the node serves; raises `Refused` if it is not as expected, `Unavailable` if it is behind."""
        chain_id = rpc.chain_id()
        if self.chain_id is not None and chain_id != self.chain_id:
            raise Refused(f"wrong chain at {rpc.shown}: expected chain id {self.chain_id}, found {chain_id}")
        newest = rpc.newest()
        if newest < self.deployment_block:
            behind = f"at block {newest}, before the deployment at {self.deployment_block}"
            raise BlockMissing(f"the node at {rpc.shown} is {behind}: is it still catching up?")
        contract, code = show_address(self.contract), rpc.code(self.contract)
        if not code:
            raise Refused(f"there is no contract at {contract} on chain {chain_id} ({rpc.shown})")
        digest = sha256(code + rpc.code(court_of(self.contract)))
        if self.code is not None and digest != self.code:
            problem = f"the code at {contract} is not {self.code_name} ({rpc.shown})"
            raise Refused(f"{problem}: expected SHA-256 {self.code.hex()}, found {digest.hex()}")
        if digest == audited_code_digest():
            self._check_creation(rpc)
        genesis, deployed = rpc.block(0).hash, rpc.block(self.deployment_block).hash
        return Place(chain_id=chain_id, genesis=genesis, deployed=deployed, code=digest)

    def _check_creation(self, rpc: Rpc) -> None:
        """Raises `Refused` unless the audited code created the contract.

        Another may leave the same code behind and, in its storage, a court or bonds of the deployer's own.
        """
        contract, block = show_address(self.contract), self.deployment_block
        created = rpc.creation(self.contract, block)
        if not created:
            problem = f"{contract} was not deployed in block {block} by a transaction of its own"
            raise Refused(f"{problem} ({rpc.shown})")
        if not created.startswith(audited_creation()):
            problem = f"{contract} runs the audited build and was not created by it ({rpc.shown})"
            raise Refused(f"{problem}: whoever deployed it may have written a court or bonds of his own")


class Node:
    """One node, believed only while it serves `nodes.place`."""

    def __init__(self, rpc: Rpc, nodes: Nodes) -> None:
        self._rpc = rpc
        self._nodes = nodes
        self._is_trusted = False
        self.rests_until = 0.0  # on the clock of `nodes`

    @property
    def shown(self) -> str:
        """Its address without path or credentials."""
        return self._rpc.shown

    def ask(self, what: Callable[[Rpc], Answer]) -> Answer:
        """The answer; raises what `what` raises, and `Refused` where another chain answers than before."""
        with self._nodes.telemetry.asking_node(self.shown) as attempt:
            return self._ask(what, attempt)

    def _ask(self, what: Callable[[Rpc], Answer], attempt: Attempt) -> Answer:
        try:
            if not self._is_trusted:
                self._nodes.recognise(self._rpc)
                self._is_trusted = True
            return what(self._rpc)
        except NodeRefusal:
            attempt.outcome = Outcome.REFUSED  # an answer, too
            raise
        except BlockMissing:
            self.doubt()
            raise
        except Unavailable:
            self.doubt()
            self.rests_until = self._nodes.now() + REST_SECONDS
            raise

    def doubt(self) -> None:
        """Before its next answer it shows once more which chain it serves."""
        self._is_trusted = False


class Nodes:
    """All nodes that the settings name, in that order; also the one node that a `Sender` sends through."""

    def __init__(
        self,
        rpcs: Sequence[Rpc],
        expected: Expected,
        *,
        clock: Callable[[], float] = monotonic,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self._expected = expected
        self._place: tuple[str, Place] | None = None  # and who showed it first
        self._nodes: Final = tuple(Node(rpc, self) for rpc in rpcs)
        self.now: Final = clock
        self.telemetry: Final = telemetry

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def place(self) -> Place:
        """What they all serve."""
        if self._place is None:
            self.first(lambda rpc: rpc.chain_id())
        if self._place is None:  # pragma: no cover  # whoever answers has shown its place
            raise Unavailable("no node has answered yet")
        return self._place[1]

    def recognise(self, rpc: Rpc) -> None:
        """The node serves the one place; raises `Refused` where it does not."""
        found = self._expected.found_at(rpc)
        if self._place is None:
            self._place = (rpc.shown, found)
            return
        first, place = self._place
        if difference := place.difference(found):
            advice = "find out which chain is the consortium's, remove the other from the settings"
            problem = f"{first} and now {rpc.shown} serve different chains: {difference}"
            raise Refused(f"{problem}: {advice}, and start again")

    def first(self, ask: Callable[[Rpc], Answer]) -> Answer:
        """The answer of the first node that gives one; an error that a node answers with is an answer."""
        trouble: Unavailable | None = None
        for node in self._awake():
            try:
                return node.ask(ask)
            except NodeRefusal:
                raise
            except Unavailable as error:
                trouble = trouble or error
        raise trouble or Unavailable("no node is named")

    def each(
        self, ask: Callable[[Rpc], Answer], *, at_least: int
    ) -> tuple[dict[Node, Answer], list[Unavailable]]:
        """What each of them answers, and the troubles of those that do not.

        One that was silent a moment ago is spared, unless without it fewer than `at_least` are left.
        """
        answers: dict[Node, Answer] = {}
        troubles: list[Unavailable] = []
        for node in self._awake(at_least):
            try:
                answers[node] = node.ask(ask)
            except Unavailable as error:
                troubles.append(error)
        return answers, troubles

    def _awake(self, at_least: int = 1) -> Sequence[Node]:
        awake = [node for node in self._nodes if node.rests_until <= self.now()]
        return awake if len(awake) >= at_least else self._nodes

    def nonce(self, account: Address) -> int:
        """See `Rpc.nonce`."""
        return self.first(lambda rpc: rpc.nonce(account))

    def fees(self) -> Fees:
        """See `Rpc.fees`."""
        return self.first(lambda rpc: rpc.fees())

    def send(self, raw: bytes) -> None:
        """See `Rpc.send`."""
        self.first(lambda rpc: rpc.send(raw))

    def mined(self, hash: bytes, contract: Address) -> Mined | None:
        """See `Rpc.mined`."""
        return self.first(lambda rpc: rpc.mined(hash, contract))

    def estimate(self, call: Call) -> int:
        """See `Rpc.estimate`."""
        return self.first(lambda rpc: rpc.estimate(call))

    def replay(self, call: Call, block: int) -> None:
        """See `Rpc.replay`."""
        self.first(lambda rpc: rpc.replay(call, block))
