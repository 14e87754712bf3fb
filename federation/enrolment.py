"""The public files that parties hand each other: enrolments, and a dealer's key (PROTOCOL §1, §7.11).

Institutions, aggregators and auditors all write the same enrolment, and all who need one read it here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from .dealing import PublicKey, decode_public_key
from .errors import Refused, Violation
from .identity import Identity, create_identity, read_file, sealing_key_hex
from .members import Address, Member, Role, SealingKey, parse_address, show_address

NAME_LIMIT: Final = 31  # characters: the contract keeps 32 bytes, and the last is zero
SEALING_KEY_BYTES: Final = 32
FILE_LIMIT: Final = 4096  # bytes: nested deeply enough, JSON exhausts the stack of whoever reads it
_SHOWN: Final = 40  # characters of a wrong value that a message quotes


def enrol(directory: Path, password: str, *, role: Role, name: str, random: Callable[[int], bytes]) -> Member:
    """New keys lie in `directory`; their owner under `name`, which is checked before any key is made."""
    check_name(name)
    return enrolled(create_identity(directory, password, random), role, name)


def enrolled(identity: Identity, role: Role, name: str) -> Member:
    """The public half of an identity; raises `Refused` for a name that no roster takes."""
    key = SealingKey(bytes.fromhex(sealing_key_hex(identity)))
    return Member(address=identity.address, role=role, sealing_key=key, name=check_name(name))


def show_enrolment(member: Member) -> str:
    """The file's text: JSON on one line."""
    return json.dumps(
        {
            "address": show_address(member.address),
            "role": member.role.name.lower(),
            "sealing_key": member.sealing_key.hex(),
            "name": member.name,
        }
    )


def read_enrolment(path: Path) -> Member:
    """The member in an enrolment file; raises `Refused`, naming the file, what was expected and found."""
    data = read_file(path)
    if len(data) > FILE_LIMIT:
        raise Refused(f"{path}: expected an enrolment of at most {FILE_LIMIT} bytes, found {len(data)}")
    try:
        document: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path}: expected an enrolment in JSON, found no JSON") from error
    match document:
        case {
            "address": str() as address,
            "role": str() as role,
            "sealing_key": str() as key,
            "name": str() as name,
        }:
            pass
        case _:
            expected = "an enrolment with the texts address, role, sealing_key and name"
            raise Refused(f"{path}: expected {expected}, found something else")
    try:
        return Member(
            address=parse_address(address), role=_role(role), sealing_key=_key(key), name=check_name(name)
        )
    except Refused as error:
        raise Refused(f"{path}: {error}") from error


def read_enrolments(paths: Iterable[Path]) -> list[Member]:
    """The members in these files, in order; raises `Refused` for one that two files name."""
    members: list[Member] = []
    sources: dict[Address, Path] = {}
    for path in paths:
        member = read_enrolment(path)
        if member.address in sources:
            both = f"{sources[member.address]} and {path}"
            raise Refused(f"expected each member once, found {show_address(member.address)} in {both}")
        sources[member.address] = path
        members.append(member)
    return members


def read_public_key(path: Path, *, expected: str = "a public key of `tally keys`") -> PublicKey:
    """The document in the file; raises `Refused` for any other, naming file and what was `expected`."""
    try:
        return decode_public_key(read_file(path))
    except Violation as error:
        raise Refused(f"{path}: expected {expected}: {error}") from error


def check_name(name: str) -> str:
    """`name`, if a roster takes it: 1 … 31 printable ASCII characters; raises `Refused`."""
    if not (0 < len(name) <= NAME_LIMIT and name.isascii() and name.isprintable()):
        expected = f"a name of 1 … {NAME_LIMIT} printable ASCII characters"
        raise Refused(f"expected {expected}, found {len(name)}: {_quoted(name)}")
    return name


def _role(text: str) -> Role:
    roles = {role.name.lower(): role for role in Role}
    if text not in roles:
        raise Refused(f"expected a role among {', '.join(roles)}, found {_quoted(text)}")
    return roles[text]


def _key(text: str) -> SealingKey:
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError as error:
        raise Refused(f"expected a sealing_key in hexadecimal digits, found {_quoted(text)}") from error
    if len(raw) != SEALING_KEY_BYTES:
        raise Refused(f"expected a sealing_key of {SEALING_KEY_BYTES} bytes, found {len(raw)}")
    return SealingKey(raw)


def _quoted(text: str) -> str:
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
