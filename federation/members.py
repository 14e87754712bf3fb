"""Who takes part: addresses, roles and the roster of a consortium (PROTOCOL §1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NewType

from .errors import Refused

Address = NewType("Address", bytes)  # 20 bytes, an Ethereum account
SealingKey = NewType("SealingKey", bytes)  # 32 bytes, an X25519 public key

ADDRESS_BYTES: Final = 20


class Role(IntEnum):
    """What a member may do; the numbers are the contract's."""

    INSTITUTION = 1
    AGGREGATOR = 2
    AUDITOR = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One line of the roster."""

    address: Address
    role: Role
    sealing_key: SealingKey
    name: str  # for people only; at most 31 ASCII characters, never compared


def show_address(address: bytes) -> str:
    """`0x` and 40 lower-case hexadecimal digits."""
    return "0x" + address.hex()


def parse_address(text: str) -> Address:
    """The inverse of `show_address`, either case; raises `Refused`."""
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError as error:
        raise Refused(f"expected an address of 40 hexadecimal digits, found {text!r}") from error
    if len(raw) != ADDRESS_BYTES:
        raise Refused(f"expected an address of 20 bytes, found {len(raw)} in {text!r}")
    return Address(raw)
