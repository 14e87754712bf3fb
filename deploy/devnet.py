"""A real chain on the loopback interface, for tests, the demo and a first look.

Anvil and Ganache are two independent implementations of the EVM; whatever runs on both owes
nothing to the quirks of one. The accounts are the well-known ones of development chains:
never give them anything of value.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self, assert_never, cast

import httpx
from eth_account import Account
from web3.types import RPCResponse

from federation.errors import Refused, Unavailable
from federation.members import Address, show_address

from .node_runtime import install

Kind = Literal["anvil", "ganache"]

ANVIL_STATE: Final = "anvil.json"
LOOPBACK: Final = "127.0.0.1"
CHAIN_ID: Final = 31337
MNEMONIC: Final = "test test test test test test test test test test test junk"
ACCOUNTS: Final = 10
BALANCE: Final = 1_000_000  # Ether in each account
BLOCK_GAS: Final = 30_000_000
READY_SECONDS: Final = 30.0
CALL_SECONDS: Final = 30.0
STOP_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.02
LOG_BYTES: Final = 600  # of the log's end that an error message quotes

# The chain must not outlive us, however we die: a watcher reads the pipe whose other end we hold,
# and kills the chain if the pipe closes before a line came. The chain takes the shell's place.
_WATCHED: Final = 'exec 3<&0; ( read -r _ <&3 || kill -9 $$ ) 2>/dev/null & exec "$@" </dev/null 3<&-'


@dataclass(slots=True, kw_only=True)
class Devnet:
    """A running chain; a context manager that stops it.

    Started again in the same directory, it goes on from its last block; `kill` may lose the
    blocks of the last second.
    """

    kind: Kind
    url: str
    chain_id: int
    funded: tuple[bytes, ...]  # private keys of accounts that hold `BALANCE` Ether each
    log: Path
    _process: subprocess.Popen[bytes] = field(repr=False)
    # Without the environment's settings: a proxy has no business with the loopback interface.
    _http: httpx.Client = field(
        default_factory=lambda: httpx.Client(timeout=CALL_SECONDS, trust_env=False), repr=False
    )

    @classmethod
    def start(
        cls,
        kind: Kind,
        *,
        directory: Path,
        block_time: int | None = None,
        chain_id: int = CHAIN_ID,
        port: int = 0,
    ) -> Self:
        """The chain answers; `block_time` in seconds, None for a block with every transaction.

        Port 0 takes a free one. Raises `Unavailable`, quoting the program's log.
        """
        directory.mkdir(parents=True, exist_ok=True)
        _keep_first_genesis(directory / ANVIL_STATE)
        chosen = port or _free_port()
        log = directory / f"{kind}.log"
        arguments = _arguments(kind, directory, chosen, chain_id)
        if block_time is not None:
            option = "--block-time" if kind == "anvil" else "--miner.blockTime"
            arguments = [*arguments, option, str(block_time)]
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own constant script and pinned programs
                ["/bin/sh", "-c", _WATCHED, "sh", *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a terminal's Ctrl-C is ours to handle
            )
        found = cls(
            kind=kind,
            url=f"http://{LOOPBACK}:{chosen}",
            chain_id=chain_id,
            funded=_well_known_keys(),
            log=log,
            _process=process,
        )
        try:
            found._wait_until_ready()
        except BaseException:
            found.kill()
            raise
        return found

    def fund(self, address: Address, wei: int) -> None:
        """`address` holds `wei` more, in a mined block."""
        self.fund_all([address], wei)

    def fund_all(self, addresses: Sequence[Address], wei: int) -> None:
        """Each address holds `wei` more, in a mined block; all of them are waited for together."""
        purse = Account.from_key(self.funded[-1]).address
        first = int(str(self.rpc("eth_getTransactionCount", purse, "pending")), 16)
        sent = [
            # With its nonce: a busy Ganache gives two transfers one, and mines only one of them.
            self.rpc(
                "eth_sendTransaction",
                {
                    "from": purse,
                    "to": show_address(address),
                    "value": hex(wei),
                    "gas": hex(21_000),
                    "nonce": hex(nonce),
                },
            )
            for nonce, address in enumerate(addresses, start=first)
        ]
        deadline = time.monotonic() + CALL_SECONDS
        for transfer in sent:
            while self.rpc("eth_getTransactionReceipt", transfer) is None:
                if time.monotonic() > deadline:
                    raise Unavailable(f"{self.kind} mined no block in {CALL_SECONDS:.0f} s")
                time.sleep(POLL_SECONDS)

    def advance(self, seconds: int) -> None:
        """A new block stands at least `seconds` of block time after the last one."""
        self.rpc("evm_increaseTime", seconds)
        self.rpc("evm_mine")

    def rpc(self, method: str, *arguments: object) -> object:
        """The node's answer to one JSON-RPC call; `Refused` for its errors, `Unavailable` for silence."""
        if self._http.is_closed:
            raise Unavailable(f"{self.kind} at {self.url} was stopped")
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": arguments}
        try:
            answer = cast("RPCResponse", self._http.post(self.url, json=call).json())
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"{self.kind} at {self.url} does not answer {method}: {error}") from error
        if "error" in answer:
            raise Refused(f"{self.kind} refused {method}: {answer['error']}")
        return answer["result"]

    def stop(self) -> None:
        """The chain has written its state and ended; stopping twice is harmless."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """The chain was cut off, as by a power failure."""
        self._end(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _end(self, how: signal.Signals) -> None:
        process = self._process
        if process.stdin is None or process.stdin.closed:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # The line tells the watcher not to kill what may by now be another process of that id.
        with suppress(BrokenPipeError), process.stdin as watcher:
            watcher.write(b"\n")
        self._http.close()

    def _wait_until_ready(self) -> None:
        # The log, and not an answer on the port: another program may hold the port and answer.
        ready = f"istening on {self.url.removeprefix('http://')}".encode()
        deadline = time.monotonic() + READY_SECONDS
        while ready not in self.log.read_bytes():
            if (code := self._process.poll()) is not None:
                raise Unavailable(f"{self.kind} ended with code {code}; its log says: {self._last_words()}")
            if time.monotonic() > deadline:
                waited = f"{self.kind} was not ready in {READY_SECONDS:.0f} s"
                raise Unavailable(f"{waited}; its log says: {self._last_words()}")
            time.sleep(POLL_SECONDS)
        found = int(str(self.rpc("eth_chainId")), 16)
        if found != self.chain_id:
            raise Unavailable(f"{self.url} is another chain: expected id {self.chain_id}, found {found}")

    def _last_words(self) -> str:
        return self.log.read_bytes()[-LOG_BYTES:].decode(errors="replace").strip() or "nothing"


def _arguments(kind: Kind, directory: Path, port: int, chain_id: int) -> Sequence[str]:
    packages = install()
    match kind:
        case "anvil":
            return [
                str(packages.anvil),
                *("--host", LOOPBACK, "--port", str(port), "--chain-id", str(chain_id)),
                *("--hardfork", "prague"),  # the program's default is later than what consortia run
                *("--mnemonic", MNEMONIC, "--accounts", str(ACCOUNTS), "--balance", str(BALANCE)),
                *("--gas-limit", str(BLOCK_GAS)),
                *("--state", str(directory / ANVIL_STATE), "--state-interval", "1"),
                "--preserve-historical-states",
            ]
        case "ganache":
            return [
                *packages.ganache,
                *("--server.host", LOOPBACK, "--server.port", str(port)),
                *("--chain.chainId", str(chain_id), "--chain.networkId", str(chain_id)),
                *("--chain.hardfork", "shanghai"),  # its newest
                *("--wallet.mnemonic", MNEMONIC, "--wallet.totalAccounts", str(ACCOUNTS)),
                *("--wallet.defaultBalance", str(BALANCE)),
                *("--miner.blockGasLimit", str(BLOCK_GAS)),
                *("--database.dbPath", str(directory / "ganache")),
            ]
        case _:
            assert_never(kind)


def _keep_first_genesis(state: Path) -> None:
    """Anvil's state file holds one block 0: that of the chain's first start.

    Each start adds a block 0 of its own to the file, and the start after that takes any of them for
    the genesis: from then on ledger ids would change, and nothing that was sealed would open.
    """
    try:
        found = json.loads(state.read_bytes())
        blocks = found["blocks"]
        genesis = [block for block in blocks if int(block["header"]["number"], 16) == 0]
        if len(genesis) < 2:
            return
        first = min(genesis, key=lambda block: int(block["header"]["timestamp"], 16))
    except (OSError, ValueError, KeyError, TypeError):
        return  # none yet, or another layout: Anvil itself says what is wrong with it
    found["blocks"] = [block for block in blocks if block is first or block not in genesis]
    fresh = state.with_suffix(".new")
    fresh.write_text(json.dumps(found))
    fresh.replace(state)


@cache
def _well_known_keys() -> tuple[bytes, ...]:
    Account.enable_unaudited_hdwallet_features()
    paths = (f"m/44'/60'/0'/0/{index}" for index in range(ACCOUNTS))
    return tuple(bytes(Account.from_mnemonic(MNEMONIC, account_path=path).key) for path in paths)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
