"""One node's JSON-RPC interface, with web3's shapes and exceptions left behind.

Nothing here knows the contract. Every failure is `Unavailable`, or `NodeRefusal` (one of them) when
the node did answer, but with an error. Messages name the node without path or credentials.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, cast
from urllib.parse import urlsplit

from eth_typing import BlockNumber
from hexbytes import HexBytes
from web3 import HTTPProvider, Web3
from web3.exceptions import (
    BlockNotFound,
    ContractLogicError,
    TransactionIndexingInProgress,
    TransactionNotFound,
    Web3Exception,
    Web3RPCError,
)
from web3.middleware import ExtraDataToPOAMiddleware
from web3.types import BlockData, LogReceipt, TxParams, Wei

from ..errors import Unavailable
from ..events import Timestamp
from ..members import Address
from .ledger import Block

TOGETHER: Final = 100  # blocks in one question


class NodeRefusal(Unavailable):
    """The node answered with an error; `revert` is what the contract said, if it was the contract."""

    def __init__(self, message: str, *, said: str, revert: bytes | None) -> None:
        self.said = said
        self.revert = revert
        super().__init__(message)


class BlockMissing(Unavailable):
    """The node answers, but has no such block: it is behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a contract, signed or only tried."""

    sender: Address
    to: Address
    data: bytes
    wei: int = 0  # that goes with it


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """One entry of a block's log."""

    block: int
    block_hash: bytes
    index: int  # within the block
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Mined:
    """A transaction's fate."""

    hash: bytes
    block: int
    succeeded: bool
    gas: int  # used
    logs: tuple[Log, ...]  # of the called contract only


@dataclass(frozen=True, slots=True, kw_only=True)
class Fees:
    """What we pay for a unit of gas, in wei; `tip` is None on chains without a base fee."""

    price: int  # at most, where there is a base fee
    tip: int | None
    least: int  # below it nothing is mined now: the base fee, or what the node asks where there is none

    def capped(self, most: int) -> Fees:
        """The same, but never more than `most`."""
        tip = None if self.tip is None else min(self.tip, most)
        return replace(self, price=min(self.price, most), tip=tip)

    def raised(self) -> Fees:
        """A quarter more, which every node takes as a replacement; where gas is free it stays free."""
        if self.price == 0:
            return self
        tip = None if self.tip is None else self.tip * 5 // 4 + 1
        return replace(self, price=self.price * 5 // 4 + 1, tip=tip)


class Rpc:
    """One node, asked over HTTP; `timeout` in seconds for each answer."""

    def __init__(self, url: str, *, timeout: float) -> None:
        parts = urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
        self.shown: Final = f"{parts.scheme}://{parts.hostname}{port}"  # a path may be somebody's key
        # Retrying is the callers' business: they know what is still worth doing.
        provider = HTTPProvider(url, request_kwargs={"timeout": timeout}, exception_retry_configuration=None)
        self._web3 = Web3(provider)
        self._takes_batches = True
        # Consortium chains sign their blocks in extraData, which web3 otherwise refuses to read.
        self._web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)

    def chain_id(self) -> int:
        """The chain's id, as transactions name it."""
        with self._asking("its chain id"):
            return self._web3.eth.chain_id

    def newest(self) -> int:
        """The number of the newest block."""
        with self._asking("its newest block"):
            return self._web3.eth.block_number

    def block(self, number: int) -> Block:
        """The block of this number; `Unavailable` if the node has none (yet)."""
        with self._asking(f"block {number}"):
            return _block(self._web3.eth.get_block(BlockNumber(number)))

    def blocks(self, numbers: Sequence[int]) -> Sequence[Block]:
        """The blocks of these numbers; asked for together, which is several times as fast as one by one."""
        found: list[Block] = []
        for start in range(0, len(numbers), TOGETHER):
            some = numbers[start : start + TOGETHER]
            if len(some) > 1 and self._takes_batches:
                try:
                    found += self._together(some)
                    continue
                except BlockMissing:
                    raise
                except Unavailable:  # not every node takes several questions at once
                    found += [self.block(number) for number in some]
                    self._takes_batches = False
            else:
                found += [self.block(number) for number in some]
        return found

    def _together(self, numbers: Sequence[int]) -> Sequence[Block]:
        with self._asking(f"blocks {numbers[0]} to {numbers[-1]}"), self._web3.batch_requests() as batch:
            for number in numbers:
                batch.add(self._web3.eth.get_block(BlockNumber(number)))
            return [_block(cast("BlockData", block)) for block in batch.execute()]

    def code(self, address: Address) -> bytes:
        """The code that runs at the address; empty for an account without."""
        with self._asking("the contract's code"):
            return bytes(self._web3.eth.get_code(Web3.to_checksum_address(address)))

    def creation(self, contract: Address, number: int) -> bytes:
        """What the contract was created from; empty where no transaction of this block did it."""
        with self._asking(f"the transactions of block {number}"):
            wanted = Web3.to_checksum_address(contract)
            block = self._web3.eth.get_block(BlockNumber(number), full_transactions=True)
            for sent in block["transactions"]:
                if isinstance(sent, bytes) or sent.get("to"):
                    continue
                if self._web3.eth.get_transaction_receipt(sent["hash"])["contractAddress"] == wanted:
                    return bytes(sent["input"])
            return b""

    def logs(self, contract: Address, first: int, last: int) -> Sequence[Log]:
        """What the contract logged in blocks `first` … `last`, in the node's order."""
        with self._asking(f"the logs of blocks {first} to {last}"):
            wanted = Web3.to_checksum_address(contract)
            found = self._web3.eth.get_logs(
                {"address": wanted, "fromBlock": BlockNumber(first), "toBlock": BlockNumber(last)}
            )
            return [_log(entry) for entry in found if entry["address"] == wanted]

    def estimate(self, call: Call) -> int:
        """The gas that the call would use now."""
        with self._asking("what the call costs"):
            return self._web3.eth.estimate_gas(_parameters(call))

    def replay(self, call: Call, block: int) -> None:
        """The call passes on the state after this block, else `NodeRefusal`."""
        with self._asking("why the call failed"):
            self._web3.eth.call(_parameters(call), block_identifier=BlockNumber(block))

    def fees(self) -> Fees:
        """What the node thinks is enough; twice the base fee outlasts six full blocks."""
        with self._asking("its fees"):
            base = self._web3.eth.get_block("latest").get("baseFeePerGas")
            if base is None:
                price = self._web3.eth.gas_price
                return Fees(price=price, tip=None, least=price)
            tip = self._web3.eth.max_priority_fee
            return Fees(price=2 * base + tip, tip=tip, least=base)

    def nonce(self, account: Address) -> int:
        """How many transactions of the account are mined."""
        with self._asking("the account's nonce"):
            return self._web3.eth.get_transaction_count(Web3.to_checksum_address(account), "latest")

    def balance(self, account: Address) -> int:
        """What the account holds, in wei."""
        with self._asking("the account's balance"):
            return self._web3.eth.get_balance(Web3.to_checksum_address(account))

    def send(self, raw: bytes) -> None:
        """The node has taken the signed transaction."""
        with self._asking("to send a transaction"):
            self._web3.eth.send_raw_transaction(HexBytes(raw))

    def mined(self, hash: bytes, contract: Address) -> Mined | None:
        """The transaction's fate; None while it has none."""
        with self._asking("a receipt"):
            try:
                receipt = self._web3.eth.get_transaction_receipt(HexBytes(hash))
            except (TransactionNotFound, TransactionIndexingInProgress):
                return None
            ours = Web3.to_checksum_address(contract)
            return Mined(
                hash=hash,
                block=receipt["blockNumber"],
                succeeded=receipt["status"] == 1,
                gas=receipt["gasUsed"],
                logs=tuple(_log(entry) for entry in receipt["logs"] if entry["address"] == ours),
            )

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        try:
            yield
        except BlockNotFound as error:
            raise BlockMissing(f"the node at {self.shown} does not have {what}: is it behind?") from error
        except (ContractLogicError, Web3RPCError) as error:
            said = _said(error)
            message = f"the node at {self.shown} was asked {what} and answered: {said}"
            raise NodeRefusal(message, said=said, revert=_revert(error)) from error
        except (Web3Exception, ValueError, TypeError, KeyError) as error:
            problem = f"the answer from {self.shown} about {what} is not that of an Ethereum node"
            raise Unavailable(f"{problem}: is the URL right?") from error
        except OSError as error:  # what `requests` raises is one, too
            problem = f"no answer from the node at {self.shown} ({type(error).__name__})"
            raise Unavailable(f"{problem}: is it running, and is the URL right?") from error


def _parameters(call: Call) -> TxParams:
    return {
        "from": Web3.to_checksum_address(call.sender),
        "to": Web3.to_checksum_address(call.to),
        "data": HexBytes(call.data),
        "value": Wei(call.wei),
    }


def _block(block: BlockData) -> Block:
    return Block(number=block["number"], hash=bytes(block["hash"]), time=Timestamp(block["timestamp"]))


def _log(entry: LogReceipt) -> Log:
    return Log(
        block=entry["blockNumber"],
        block_hash=bytes(entry["blockHash"]),
        index=entry["logIndex"],
        topics=tuple(bytes(topic) for topic in entry["topics"]),
        data=bytes(entry["data"]),
    )


def _said(error: ContractLogicError | Web3RPCError) -> str:
    """The node's own words, on one line and not for ever."""
    response = error.rpc_response if isinstance(error, Web3RPCError) else None
    answered = response.get("error") if response else None
    said = answered.get("message") if isinstance(answered, dict) else None
    return " ".join(str(said or error.message).split())[:200]


def _revert(error: ContractLogicError | Web3RPCError) -> bytes | None:
    """What the contract said: Anvil, geth and Besu give it bare, Ganache inside an object.

    None when it was not the contract that failed; empty when it failed without a word.
    """
    data: object
    if isinstance(error, ContractLogicError):
        data = error.data
    else:
        answered = error.rpc_response.get("error") if error.rpc_response else None
        data = answered.get("data") if isinstance(answered, dict) else None
    if isinstance(data, dict):
        data = data.get("result")
    if isinstance(data, str) and data.startswith("0x"):
        return bytes.fromhex(data[2:])
    return b"" if isinstance(error, ContractLogicError) else None
