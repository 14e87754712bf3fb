"""Real chains seen through nodes that alter what they pass on, and the contract opened on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
from eth_account import Account
from eth_account.signers.local import LocalAccount

from deploy.devnet import Devnet
from federation.ledger.chain import ChainLedger, connect
from federation.members import Address

from .worlds import World, keys

Answer = dict[str, object]
Tamper = Callable[[str, list[object], Answer], Answer]  # method, parameters, the node's answer


class Silence(Exception):
    """Raised by what alters an answer: there is none."""


def untouched(_method: str, _parameters: list[object], answer: Answer) -> Answer:
    return answer


@contextmanager
def node_that(
    chain: Devnet | Callable[[], Devnet], tamper: Tamper = untouched, *, batches: bool = True
) -> Iterator[str]:
    """The URL of a node that passes everything on, and alters the answers; which chain it is may change."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            target = chain if isinstance(chain, Devnet) else chain()
            answer = httpx.post(target.url, json=asked, timeout=20).json()
            if isinstance(asked, list) and not batches:
                answer = {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "one at a time"}}
                asked = {"method": "batch", "params": []}
            batch = [(asked, answer)] if isinstance(asked, dict) else list(zip(asked, answer, strict=True))
            try:
                told = [tamper(one["method"], one["params"], said) for one, said in batch]
            except Silence:
                self.close_connection = True
                return
            body = json.dumps(told[0] if isinstance(asked, dict) else told).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def no_mining(chain: Devnet) -> Iterator[None]:
    chain.rpc("evm_setAutomine", False)
    try:
        yield
    finally:
        chain.rpc("evm_setAutomine", True)
        chain.rpc("evm_mine")


def contract_of(world: World) -> tuple[Address, int]:
    """Where the world's contract stands."""
    assert world.deployment is not None
    return world.deployment.address, world.deployment.block


def opened(world: World, url: str, account: LocalAccount | None = None, **settings) -> ChainLedger:
    """The world's contract through another node or with other settings."""
    contract, block = contract_of(world)
    chosen = {"confirmations": 0, "mined_within": 20, "replaced_after": 20} | settings
    return connect(url, contract, account, deployment_block=block, **chosen)


def account_of(chain: Devnet, address: Address) -> LocalAccount:
    account: LocalAccount = Account.from_key(keys(chain)[address])
    return account
