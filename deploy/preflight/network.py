"""Checks of what is asked over the network: Ethereum nodes, the contract, the store, the account's Ether."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from federation.bonds import show_ether
from federation.digest import Digest
from federation.endpoints import LedgerSettings
from federation.errors import Refused, Unavailable
from federation.ledger.abi import audited_code_digest
from federation.ledger.nodes import Expected, Place
from federation.ledger.rpc import Rpc
from federation.members import Address, parse_address, show_address
from federation.store.content import ContentStore, get_bytes
from federation.store.unixfs import cid_of

from .lines import Doubt

ANSWER_SECONDS: Final = 10.0
PROBE_BYTES: Final = 4096
NODE_GAS: Final = 300_000  # a round: commit, reveal, share, confirmation; and now and then a result
AGGREGATOR_GAS: Final = 500_000  # a round: total and result, or its end


def nodes_of(settings: LedgerSettings) -> list[Rpc]:
    """All that the settings name."""
    return [Rpc(url, timeout=ANSWER_SECONDS) for url in (settings.url, *settings.also)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What one node showed; all parties can compare it."""

    rpc: Rpc
    place: Place
    newest: int  # block time of its newest block, final or not

    def __str__(self) -> str:
        place = self.place
        code = f"code {place.code.hex()}"
        return f"{self.rpc.shown}: chain {place.chain_id}, genesis 0x{place.genesis.hex()}, {code}"


def serves(rpc: Rpc, settings: LedgerSettings) -> Served:
    """What the node serves; raises `Refused` unless it is chain, contract and code of the settings."""
    code = audited_code_digest() if settings.code is None else Digest(bytes.fromhex(settings.code))
    expected = Expected(
        contract=parse_address(settings.contract),
        deployment_block=settings.deployment_block,
        chain_id=settings.chain_id,
        code=code,
        code_name="the audited build" if settings.code is None else "the one that `code` names",
    )
    place = expected.found_at(rpc)
    return Served(rpc=rpc, place=place, newest=rpc.block(rpc.newest()).time)


def one_chain(places: Mapping[str, Place]) -> str:
    """Every node serves the same."""
    (first, expected), *others = places.items()
    for shown, found in others:
        if difference := expected.difference(found):
            raise Refused(f"{first} and {shown} serve different chains: {difference}")
    return f"{len(places)} nodes serve one chain"


def keeps(store: ContentStore) -> str:
    """Fresh bytes go in under the CID that follows from them, and come back."""
    data = secrets.token_bytes(PROBE_BYTES)
    cid = store.put((data,))
    if cid != cid_of((data,)):
        raise Refused("the store named what it took by another CID than the one that follows from it")
    if get_bytes(store, cid, size=PROBE_BYTES) != data:
        raise Unavailable("the store gave other bytes than it took")
    return f"{PROBE_BYTES} bytes went in and came back under the right CID"


def ether(rpc: Rpc, account: Address, *, rounds: int, gas: int) -> str:
    """The account can pay for `rounds` rounds at today's price of gas."""
    held, price = rpc.balance(account), rpc.fees().price
    shown, needed = show_address(account), rounds * gas * price
    if price == 0:
        return f"gas is free on this chain; {shown} holds {show_ether(held)}"
    if held < gas * price:
        raise Refused(f"{shown} holds {show_ether(held)}; one round takes about {show_ether(gas * price)}")
    if held < needed:
        raise Doubt(f"{shown} holds {show_ether(held)}; {rounds} rounds may take {show_ether(needed)}")
    return f"{shown} holds {show_ether(held)}; {rounds} rounds may take {show_ether(needed)}"
