"""Signing in at an aggregator's service with an Ethereum key, made alike by both sides (PROTOCOL §10.7).

The service offers a challenge, the account signs it as EIP-712 typed data, and the service gives a token
for a while. What is signed names ledger, service and account: it opens no other door.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Final
from urllib.parse import urlsplit

from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_keys.exceptions import BadSignature
from pydantic import BaseModel, ConfigDict, Field

from .digest import LedgerId
from .errors import Refused, Violation
from .members import ADDRESS_BYTES, Address, parse_address, show_address

CHALLENGE_SECONDS: Final = 120  # that a challenge may be signed and sent back
MOST_SKEW_SECONDS: Final = 300  # between the service's clock and ours; the rounds go by block time, not by it
NONCE_BYTES: Final = 32
SIGNATURE_BYTES: Final = 65
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_FIELDS: Final = (
    ("service", "string"),
    ("account", "address"),
    ("nonce", "bytes32"),
    ("issued", "uint64"),
    ("expires", "uint64"),
)

AccountHex = Annotated[str, Field(pattern=rf"^0x[0-9a-fA-F]{{{2 * ADDRESS_BYTES}}}$")]
_NonceHex = Annotated[str, Field(pattern=rf"^0x[0-9a-f]{{{2 * NONCE_BYTES}}}$")]
_SignatureHex = Annotated[str, Field(pattern=rf"^0x[0-9a-fA-F]{{{2 * SIGNATURE_BYTES}}}$")]
_Seconds = Annotated[int, Field(ge=0, lt=2**53)]  # since 1970; what JSON holds exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The ledger whose roster says who may enter."""

    ledger: LedgerId
    chain_id: int
    contract: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What an account signs to enter one service, once."""

    service: str  # its origin, as `origin_of` writes it
    account: Address
    nonce: bytes
    issued: int  # seconds since 1970, by the service's clock

    @property
    def expires(self) -> int:
        """The last second in which it opens anything."""
        return self.issued + CHALLENGE_SECONDS


class Offer(BaseModel):
    """A challenge as the service sends it; who signs names its own ledger, and the service that it asked."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "service": "https://sums.example",
                    "account": "0x" + "a1" * ADDRESS_BYTES,
                    "nonce": "0x" + "5f" * NONCE_BYTES,
                    "issued": 1_767_225_600,
                    "expires": 1_767_225_600 + CHALLENGE_SECONDS,
                }
            ]
        },
    )
    service: str = Field(max_length=300)
    account: AccountHex
    nonce: _NonceHex
    issued: _Seconds
    expires: _Seconds


class Signed(BaseModel):
    """The challenge, signed: 65 bytes r, s, v with v 27 or 28."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "account": "0x" + "a1" * ADDRESS_BYTES,
                    "nonce": "0x" + "5f" * NONCE_BYTES,
                    "issued": 1_767_225_600,
                    "signature": "0x" + "11" * 64 + "1b",
                }
            ]
        },
    )
    account: AccountHex
    nonce: _NonceHex
    issued: _Seconds
    signature: _SignatureHex

    def challenge(self, service: str) -> Challenge:
        """What was signed, if it was at this service."""
        return Challenge(
            service=service,
            account=parse_address(self.account),
            nonce=bytes.fromhex(self.nonce[2:]),
            issued=self.issued,
        )


class Session(BaseModel):
    """For requests as `Authorization: Bearer TOKEN`, up to the second `expires`; `role` is the ledger's."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "token": "k3J1cXVpZXQgbm93LCB0aGlzIGlzIGp1c3QgYSB0b2tlbg",
                    "account": "0x" + "a1" * ADDRESS_BYTES,
                    "role": "institution",
                    "expires": 1_767_226_500,
                }
            ]
        },
    )
    token: str = Field(max_length=300)
    account: AccountHex
    role: str
    expires: _Seconds


def origin_of(url: str) -> str:
    """Scheme and host in lower case, and the port unless it is the scheme's own; raises `Refused`."""
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, (parts.hostname or "").lower(), parts.port
    except ValueError as error:
        raise Refused("expected http(s)://HOST or http(s)://HOST:PORT, found another address") from error
    if scheme not in _DEFAULT_PORTS or not host:
        raise Refused("expected http(s)://HOST or http(s)://HOST:PORT, found another address")
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}" + ("" if port in {None, _DEFAULT_PORTS[scheme]} else f":{port}")


def is_in_the_clear(url: str) -> bool:
    """Whether others on the way could read a token: plain HTTP to another machine."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_this_machine(parts.hostname or "")


def is_this_machine(host: str) -> bool:
    """Whether nobody else hears what is said there."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_offer(offer: Offer, *, service: str, account: Address, now: int) -> Challenge:
    """The challenge, if it is one that we asked for; `now` is our own clock's time.

    Raises `Violation` for one that would open another door than that of `service`, or open it to somebody
    else, or for longer; `Refused` where the clocks differ too much to tell.
    """
    challenge = Challenge(
        service=service, account=account, nonce=bytes.fromhex(offer.nonce[2:]), issued=offer.issued
    )
    if offer.service != service:
        raise Refused(
            f"the service calls itself by another address: expected {service}, found {offer.service!r}. "
            "Ask it there if you trust that address; else its settings have a wrong `origin`"
        )
    if parse_address(offer.account) != account or offer.expires != challenge.expires:
        raise Violation("§10.7", "the service offers another challenge than the one asked for")
    skew = abs(offer.issued - now)
    if skew > MOST_SKEW_SECONDS:
        raise Refused(
            f"the service's clock and ours differ by {skew} s: expected at most {MOST_SKEW_SECONDS}. "
            "Set the one that is wrong"
        )
    return challenge


def sign(place: Place, challenge: Challenge, account: LocalAccount) -> bytes:
    """65 bytes that prove the account's consent to enter there, once."""
    return bytes(account.sign_message(_typed(place, challenge)).signature)


def check_signature(place: Place, challenge: Challenge, signature: bytes) -> None:
    """The account of the challenge has signed it; raises `Violation` otherwise."""
    if len(signature) != SIGNATURE_BYTES or signature[-1] not in {27, 28}:
        raise Violation("§10.7", f"expected a signature of {SIGNATURE_BYTES} bytes, the last one 27 or 28")
    try:
        signer = Account.recover_message(_typed(place, challenge), signature=signature)
    except (BadSignature, ValueError) as error:  # no point of the curve, or r or s out of range
        raise Violation("§10.7", "the signature is nobody's") from error
    if parse_address(signer) != challenge.account:
        raise Violation("§10.7", "the account has not signed this challenge of this service and ledger")


def _typed(place: Place, challenge: Challenge) -> SignableMessage:
    return encode_typed_data(
        domain_data={
            "name": "Tallystick",
            "version": "1",
            "chainId": place.chain_id,
            "verifyingContract": show_address(place.contract),
            "salt": place.ledger,  # chains share ids and first addresses (§2.4)
        },
        message_types={"SignIn": [{"name": name, "type": kind} for name, kind in _FIELDS]},
        message_data={
            "service": challenge.service,
            "account": show_address(challenge.account),
            "nonce": challenge.nonce,
            "issued": challenge.issued,
            "expires": challenge.expires,
        },
    )
