"""The contract's words: calls into bytes, bytes into values, reverts into rules (PROTOCOL §5).

Pure. `RoundLedger.json` is the audited build; every name and type below is read from its ABI.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final, NotRequired, TypedDict, cast

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.crypto import keccak

from ..digest import CID_BYTES, Cid, Digest, sha256
from ..disputes import Charge, HeaderEvidence, KeyEvidence, LeafEvidence, SumEvidence
from ..errors import LedgerRejected, Refused, Violation
from ..events import Fault, Motion, RoundId, StudyId, StudyTerms
from ..members import ADDRESS_BYTES, Address, Member, parse_address

CLAUSE: Final = "§5"
PANIC: Final = keccak(b"Panic(uint256)")[:4]  # Solidity's own: overflow, index out of range …


class Parameter(TypedDict):
    """One input of a function, event or error, as the ABI's JSON has it."""

    name: str
    type: str
    internalType: str
    components: NotRequired[list[Parameter]]
    indexed: NotRequired[bool]


class _Entry(TypedDict):
    type: str
    name: NotRequired[str]
    inputs: NotRequired[list[Parameter]]


class _Code(TypedDict):
    abi: list[_Entry]
    deployedBytecode: str


class _Build(_Code):
    bytecode: str
    court: _Code


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A function, event or error."""

    name: str
    parameters: tuple[Parameter, ...]

    @property
    def types(self) -> list[str]:
        """The canonical types of its parameters."""
        return [_spelt(parameter) for parameter in self.parameters]

    @property
    def hash(self) -> bytes:
        """An event's topic; its first four bytes select a function or an error."""
        return keccak(f"{self.name}({','.join(self.types)})".encode())


def audited_code_digest() -> Digest:
    """SHA-256 of the code that an audited contract runs, and its court behind it."""
    codes = (_build()["deployedBytecode"], _build()["court"]["deployedBytecode"])
    return sha256(b"".join(bytes.fromhex(code.removeprefix("0x")) for code in codes))


def audited_creation() -> bytes:
    """What an audited contract is created from, before its roster: what it holds before anyone calls."""
    return bytes.fromhex(_build()["bytecode"].removeprefix("0x"))


def court_of(contract: Address) -> Address:
    """Where the contract's court stands: it is the first thing that the contract created."""
    name = keccak(b"\xd6\x94" + contract + b"\x01")  # of the list [contract, nonce 1], RLP
    return Address(name[-ADDRESS_BYTES:])


def call_data(function: str, *arguments: object) -> bytes:
    """The bytes of a call; raises `Refused` for a value that the contract's types cannot hold."""
    signature = _signatures("function")[function]
    try:
        return signature.hash[:4] + encode(signature.types, arguments)
    except (EncodingError, TypeError, ValueError) as error:
        raise Refused(f"{function} cannot carry these values: {error}") from error


def round_of(word: int) -> RoundId:
    """The inverse of `round_word`."""
    return RoundId(StudyId(word >> 32), word & 0xFFFFFFFF)


def round_word(round: RoundId) -> int:
    """The contract's `RoundId`: the study above the number, 32 bits each."""
    if not (0 <= round.study < 2**32 and 0 <= round.number < 2**32):
        raise Refused(f"expected study and round below 2^32, found {round}")
    return round.study << 32 | round.number


def cid_words(cid: Cid) -> tuple[bytes, bytes]:
    """The contract's `ContentId`."""
    if len(cid) != CID_BYTES:
        raise Refused(f"expected a CID of {CID_BYTES} bytes, found {len(cid)}")
    return cid[:4], cid[4:]


def terms_words(terms: StudyTerms) -> tuple[object, ...]:
    """The contract's `StudyTerms`."""
    numbers = (terms.threshold, terms.minimum, terms.rounds, tuple(terms.windows), tuple(terms.stake))
    who = (terms.members, terms.aggregators)
    return (terms.digest, cid_words(terms.cid), terms.key, tuple(terms.leaves), *who, *numbers)


def motion_words(motion: Motion) -> tuple[object, ...]:
    """The contract's `Motion`; one that names no member has a line of zeros."""
    member = motion.member
    nobody: tuple[object, ...] = (bytes(ADDRESS_BYTES), 0, bytes(32), bytes(32))
    line = (
        nobody
        if member is None
        else (member.address, int(member.role), member.sealing_key, name_word(member))
    )
    return int(motion.kind), motion.subject, line, motion.value, motion.code, motion.expires


def motion_id(motion: Motion) -> Digest:
    """Keccak-256 of the motion's one encoding: how the contract tells motions apart."""
    (parameter,) = _signatures("function")["vote"].parameters
    return Digest(keccak(encode([_spelt(parameter)], [motion_words(motion)])))


def name_word(member: Member) -> bytes:
    """A member's name as the roster has it; `check_name` has bounded it."""
    return member.name.encode("ascii").ljust(32, b"\0")


def dispute_call(charge: Charge) -> tuple[str, tuple[object, ...]]:
    """The court's function for this charge, and its arguments."""
    evidence, round, member = charge.evidence, round_word(charge.round), charge.member
    against: tuple[object, ...] = (round,) if member is None else (round, member)
    match charge.fault, evidence:
        case Fault.SUM, SumEvidence() if member is None:
            key = _key_words(evidence.key)
            sums = (evidence.leaf, evidence.found, key, evidence.leaves, evidence.paths)
            return "disputeSum", (*against, sums)
        case Fault.LEAF | Fault.PROOF, LeafEvidence() if member is not None:
            key = _key_words(evidence.key)
            name = "disputeLeaf" if charge.fault is Fault.LEAF else "disputeProof"
            leaf = (evidence.leaf, key, evidence.data, evidence.path, evidence.witness)
            return name, (*against, leaf)
        case Fault.HEADER, HeaderEvidence():
            name = "disputeTotalHeader" if member is None else "disputeHeader"
            header = (evidence.ledger, evidence.shape, evidence.header, evidence.path)
            return name, (*against, header)
        case _:
            raise Refused(f"no dispute of {charge.fault.name} takes {type(evidence).__name__}")


def _key_words(key: KeyEvidence) -> tuple[object, ...]:
    return key.modulus, key.rest, key.other, key.second


def rejection_of(data: bytes) -> Refused | None:
    """What a revert with this data means; None when it is no error of the contract."""
    if data[:4] == PANIC:
        return Refused(f"the contract failed on its own assertion: {data.hex()}")
    signature = by_hash("error", 4).get(data[:4])
    if signature is None:
        return None
    values = values_of(signature.parameters, data[4:], signature.name)
    return LedgerRejected(signature.name, tuple(_ours(p, values[p["name"]]) for p in signature.parameters))


def values_of(parameters: Sequence[Parameter], data: bytes, name: str) -> dict[str, object]:
    """The decoded values by name; INVARIANT: `data` is their one encoding."""
    types = [_spelt(parameter) for parameter in parameters]
    try:
        values = decode(types, data)
    except (DecodingError, OverflowError) as error:
        raise Violation(CLAUSE, f"the chain gave a malformed {name}: {error}") from error
    if encode(types, values) != data:
        raise Violation(CLAUSE, f"the chain gave a {name} that is not the one encoding of its values")
    return dict(zip((p["name"] for p in parameters), values, strict=True))


def _ours(parameter: Parameter, value: object) -> object:
    match parameter["internalType"], value:
        case "RoundId", int():
            return round_of(value)
        case "address", str():
            return parse_address(value)
        case _:
            return value


def _spelt(parameter: Parameter) -> str:
    """The canonical spelling of a type, tuples unfolded."""
    if "components" not in parameter:
        return parameter["type"]
    inner = ",".join(map(_spelt, parameter["components"]))
    return parameter["type"].replace("tuple", f"({inner})", 1)


@cache
def _build() -> _Build:
    text = resources.files(__package__).joinpath("RoundLedger.json").read_text()
    return cast("_Build", json.loads(text))


@cache
def _signatures(kind: str) -> Mapping[str, Signature]:
    return {
        entry["name"]: Signature(name=entry["name"], parameters=tuple(entry.get("inputs", ())))
        for entry in (*_build()["abi"], *_build()["court"]["abi"])
        if entry["type"] == kind and "name" in entry
    }


@cache
def by_hash(kind: str, length: int = 32) -> Mapping[bytes, Signature]:
    """All events, or with length 4 all errors, by their hash."""
    return {signature.hash[:length]: signature for signature in _signatures(kind).values()}
