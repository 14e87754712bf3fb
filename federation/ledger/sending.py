"""Transactions of one account: signed here, sent, replaced while they wait, waited for.

Our calls go one after another, each with the first nonce that is not mined. So whatever an
earlier run left behind, stuck for want of fees, is overtaken by the next call and can block nothing;
a call that is lost that way is made again by whoever still wants it, since the contract takes
each at most once.
"""

from __future__ import annotations

from threading import Lock
from time import monotonic, sleep
from typing import Final

from eth_account.signers.local import LocalAccount
from eth_account.types import TransactionDictType

from ..bonds import WEI_PER_GWEI
from ..errors import Refused, Unavailable
from ..members import Address, parse_address, show_address
from .nodes import Nodes
from .rpc import Call, Fees, Mined, NodeRefusal

FIRST_POLL_SECONDS: Final = 0.005
LAST_POLL_SECONDS: Final = 1.0

# Nodes say these in words only. The nonce is taken: by us (a copy, or what we are about to replace) …
_WAITING: Final = ("already known", "already imported", "known transaction", "underpriced", "less than block")
_TAKEN: Final = (
    "nonce too low",
    "nonce is too low",
    "nonce below",
    "correct nonce",
    "be replaced",
)  # … or by a mined one
_POOR: Final = ("insufficient funds", "enough funds", "insufficient balance", "upfront cost")


class Overtaken(Unavailable):
    """Somebody else sent as this account at the same time; what we tried may no longer make sense."""


class Sender:
    """Sends as `account` on one chain; safe to use from many threads, which then take turns.

    A call that waits longer than `patience` seconds is replaced by one that pays more, but never more
    than `most` wei for a unit of gas; after `timeout` seconds it becomes `Unavailable`.
    """

    def __init__(
        self,
        nodes: Nodes,
        account: LocalAccount,
        contract: Address,
        *,
        chain_id: int,
        patience: float,
        timeout: float,
        most: int,
    ) -> None:
        self._rpc = nodes
        self._account = account
        self._contract = contract  # whose logs are wanted, whoever is called
        self._chain_id = chain_id
        self._patience = patience
        self._timeout = timeout
        self._most = most
        self._lock = Lock()
        self.address: Final = parse_address(account.address)

    def send(self, call: Call, gas: int) -> Mined:
        """The call is mined, whether it succeeded or not.

        Raises `Refused` for an account without ether, `Overtaken`, or `Unavailable`: while gas costs more
        than we pay, or with the transaction's hash when nothing is known of its fate.
        """
        with self._lock:
            nonce, fees = self._rpc.nonce(self.address), self._fees()
            sent: list[bytes] = []
            end = monotonic() + self._timeout
            while True:
                sent.append(self._send_once(call, gas=gas, nonce=nonce, fees=fees))
                mined = self._wait(sent, nonce=nonce, end=min(end, monotonic() + self._patience))
                if mined is not None:
                    return mined
                if monotonic() > end:
                    late = f"sent as 0x{sent[-1].hex()}; not mined in {self._timeout:.0f} s"
                    capped = f" at the most that `most_gwei` allows, {_gwei(self._most)}"
                    raise Unavailable(late + capped * (fees.price == self._most))
                fees = fees.raised().capped(self._most)

    def _fees(self) -> Fees:
        """What we offer first; a node that lies about its fees costs us no more than `most`."""
        fees = self._rpc.fees()
        if fees.least > self._most:
            asked = f"gas costs {_gwei(fees.least)} gwei now, `most_gwei` allows {_gwei(self._most)}"
            raise Unavailable(f"{asked}: not sent; wait until it is cheaper, or allow more")
        return fees.capped(self._most)

    def _send_once(self, call: Call, *, gas: int, nonce: int, fees: Fees) -> bytes:
        """The transaction's hash; the node has this one or another with the same nonce."""
        transaction: TransactionDictType = {
            "to": call.to,
            "data": call.data,
            "gas": gas,
            "nonce": nonce,
            "chainId": self._chain_id,
            "value": call.wei,
        }
        if fees.tip is None:
            transaction |= {"gasPrice": fees.price}
        else:
            transaction |= {"maxFeePerGas": fees.price, "maxPriorityFeePerGas": fees.tip}
        signed = self._account.sign_transaction(transaction)
        try:
            self._rpc.send(bytes(signed.raw_transaction))
        except NodeRefusal as refusal:
            refuse_if_poor(refusal, self.address)
            if not _says(refusal, (*_WAITING, *_TAKEN)):
                raise
        return bytes(signed.hash)

    def _wait(self, sent: list[bytes], *, nonce: int, end: float) -> Mined | None:
        """Whichever of our transactions was mined; None at `end`."""
        pause = FIRST_POLL_SECONDS
        taken = False
        while True:
            for hash in reversed(sent):
                if mined := self._rpc.mined(hash, self._contract):
                    return mined
            if taken:
                raise Overtaken(f"another transaction of {show_address(self.address)} took nonce {nonce}")
            if monotonic() > end:
                return None
            # Asked before the receipts are asked for once more: they may be a moment late.
            taken = self._rpc.nonce(self.address) > nonce
            sleep(pause)
            pause = min(2 * pause, LAST_POLL_SECONDS)


def refuse_if_poor(refusal: NodeRefusal, account: Address) -> None:
    """Raises `Refused` if the node refused because the account cannot pay."""
    if _says(refusal, _POOR):
        raise Refused(f"account {show_address(account)} has no ether: fund it") from refusal


def _gwei(wei: int) -> str:
    return f"{wei / WEI_PER_GWEI:.9g}"


def _says(refusal: NodeRefusal, phrases: tuple[str, ...]) -> bool:
    return any(phrase in refusal.said.lower() for phrase in phrases)
