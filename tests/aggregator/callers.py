"""Who may come to the service, with keys of their own, and how they are let in."""

from __future__ import annotations

from eth_account import Account
from eth_account.signers.local import LocalAccount
from httpx import Client

from aggregator.buckets import Buckets
from aggregator.door import Door
from aggregator.work import Work
from federation.members import ADDRESS_BYTES, Address, parse_address
from federation.rehearsal import AGGREGATOR, Rehearsal
from federation.sign_in import Offer, Place, Session, Signed, sign

SERVICE = "https://sums.example"
MONITOR_TOKEN = "a token that only monitoring holds".replace(" ", "-")


def key(name: str) -> LocalAccount:
    """An Ethereum account that is always the same."""
    account: LocalAccount = Account.from_key(name.encode().rjust(32, b"\x01"))
    return account


def address_of(account: LocalAccount) -> Address:
    return parse_address(account.address)


OPERATOR_KEY = key("operator")


def place_of(stage: Rehearsal) -> Place:
    return Place(ledger=stage.ledger(AGGREGATOR).id, chain_id=0, contract=Address(bytes(ADDRESS_BYTES)))


def door_of(stage: Rehearsal, work: Work, **about: object) -> Door:
    """The door of a service whose operator has a key that we know."""
    given: dict[str, object] = {"service": SERVICE, "monitor_token": MONITOR_TOKEN, **about}
    return Door(place=place_of(stage), me=address_of(OPERATOR_KEY), role_of=work.role_of, **given)  # type: ignore[arg-type]  # names are checked at run time


def plenty() -> Buckets:
    """Nobody asks this often."""
    return Buckets(burst=1e9, per_second=1e9)


def signed(offer: Offer, door: Door, account: LocalAccount) -> Signed:
    """What the account sends back."""
    draft = Signed(account=offer.account, nonce=offer.nonce, issued=offer.issued, signature="0x" + "00" * 65)
    made = sign(door.place, draft.challenge(door.service), account)
    return draft.model_copy(update={"signature": f"0x{made.hex()}"})


def offered(client: Client, account: LocalAccount) -> Offer:
    """A challenge for the account."""
    answer = client.get("/v1/challenge", params={"account": account.address})
    assert answer.status_code == 200, answer.text
    return Offer.model_validate_json(answer.content)


def sign_in(client: Client, door: Door, account: LocalAccount) -> Session:
    """The account is signed in."""
    answer = client.post("/v1/session", json=signed(offered(client, account), door, account).model_dump())
    assert answer.status_code == 201, answer.text
    return Session.model_validate_json(answer.content)
