"""The bytes that members exchange: headers, payloads and their roots (PROTOCOL §4).

A payload is `length(4) ‖ header ‖ leaves ‖ tail`. Nothing in it is believed: each party computes
the header it expects from the ledger and the study and compares bytes; sizes follow from that
header and the suite's layout, so they are known before a byte is fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from . import cbor
from .digest import Digest, LedgerId
from .errors import Malformed
from .events import RoundId
from .members import ADDRESS_BYTES, Address
from .merkle import RootHasher

VERSION: Final = 1
HEADER_LIMIT: Final = 4096  # bytes
_LENGTH_BYTES: Final = 4


class Kind(IntEnum):
    """What a payload is."""

    UPDATE = 1
    TOTAL = 2
    SHARE = 3
    OPENING = 4
    MODEL = 5  # a safetensors file; only its sealing context names a kind


class Code(IntEnum):
    """Why a committed update is not in the total: a closed list (PROTOCOL §5.2)."""

    NO_REVEAL = 1
    ROOT_MISMATCH = 2
    MALFORMED = 3
    PROOF_FAILED = 4
    UNAVAILABLE = 5
    WRONG_BASE = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """A member that committed and is left out; `leaf` and `rule` only for MALFORMED."""

    member: Address
    code: Code
    leaf: int = 0
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What every payload of one round is bound to."""

    ledger: LedgerId
    round: RoundId
    suite: str
    key: Digest
    shape: Digest
    leaves: int  # capsule and body leaves of an update


def update_header(binding: Binding, *, member: Address, base_model: Digest) -> bytes:
    """Leaf 0 of the update that `member` trained from `base_model`."""
    return _header(binding, Kind.UPDATE, {5: member, 10: base_model})


def total_header(
    binding: Binding, *, members: list[tuple[Address, Digest]], excluded: list[Exclusion]
) -> bytes:
    """Leaf 0 of a total: whose updates (by root) are in it, and who is left out and why; both increasing."""
    listed: list[cbor.Value] = [[member, root] for member, root in members]
    left_out: list[cbor.Value] = [[e.member, int(e.code), e.leaf, e.rule] for e in excluded]
    return _header(binding, Kind.TOTAL, {12: listed, 13: left_out})


def share_header(binding: Binding, *, member: Address, total: Digest) -> bytes:
    """Leaf 0 of `member`'s share of the opening of the total with this root."""
    return _header(binding, Kind.SHARE, {5: member, 11: total})


def opening_header(binding: Binding, *, total: Digest) -> bytes:
    """Leaf 0 of the opening; it names no author, so that all who join rightly propose one digest."""
    return _header(binding, Kind.OPENING, {11: total})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Runs of equal leaves, then a tail: all that is needed to cut a payload, always from the study."""

    leaves: tuple[tuple[int, int], ...]  # (count, bytes a leaf)
    tail: int  # bytes behind the leaves
    tail_in_tree: bool  # whether the tail is the tree's last leaf

    def size(self, header: bytes) -> int:
        """Bytes of a whole payload with this header."""
        return _LENGTH_BYTES + len(header) + sum(n * width for n, width in self.leaves) + self.tail

    @property
    def size_limit(self) -> int:
        """The most bytes that any payload of this shape has: checked before a byte is fetched."""
        return _LENGTH_BYTES + HEADER_LIMIT + sum(n * width for n, width in self.leaves) + self.tail


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A payload, cut; nothing is checked but its size."""

    header: bytes
    leaves: bytes  # all leaves, one after another
    tail: bytes
    shape: Shape

    def encode(self) -> bytes:
        """The bytes that are stored."""
        return len(self.header).to_bytes(_LENGTH_BYTES, "big") + self.header + self.leaves + self.tail

    def root(self) -> Digest:
        """RFC 6962 root over header, leaves and, where it counts, the tail."""
        hasher = self._hash_leaves()
        if self.shape.tail_in_tree:
            hasher.add(self.tail)
        return hasher.root()

    def root_before_tail(self) -> Digest:
        """RFC 6962 root over header and leaves: what a submission proof is bound to."""
        return self._hash_leaves().root()

    def _hash_leaves(self) -> RootHasher:
        hasher = RootHasher()
        hasher.add(self.header)
        position = 0
        for count, width in self.shape.leaves:
            for _ in range(count):
                hasher.add(self.leaves[position : position + width])
                position += width
        return hasher


def cut(data: bytes, shape: Shape) -> Payload:
    """The payload in `data`; raises `Malformed` unless its size is what its header's length makes it.

    The header is returned as found: comparing it is the caller's next step, after the root has
    shown that it is its author's.
    """
    length = int.from_bytes(data[:_LENGTH_BYTES], "big")
    if len(data) < _LENGTH_BYTES or length > HEADER_LIMIT:
        raise Malformed(0, "header length", expected=f"at most {HEADER_LIMIT} bytes", found=length)
    start, end = _LENGTH_BYTES + length, len(data) - shape.tail
    payload = Payload(header=data[_LENGTH_BYTES:start], leaves=data[start:end], tail=data[end:], shape=shape)
    expected = shape.size(payload.header)
    if len(data) != expected:
        raise Malformed(0, "size", expected=f"{expected} bytes", found=f"{len(data)} bytes")
    return payload


def excluded_in(header: bytes) -> list[Exclusion]:
    """The exclusions that a total's header claims; raises `Violation` for anything but such a header."""
    match cbor.decode(header, limit=HEADER_LIMIT):
        case {1: Kind.TOTAL, 13: list() as listed}:
            return [_exclusion(line) for line in listed]
        case _:
            raise Malformed(0, "header", expected="the header of a total", found="another one")


def _exclusion(line: cbor.Value) -> Exclusion:
    match line:
        case [bytes() as member, int() as code, int() as leaf, str() as rule] if (
            code in set(Code) and len(member) == ADDRESS_BYTES
        ):
            return Exclusion(member=Address(member), code=Code(code), leaf=leaf, rule=rule)
        case _:
            raise Malformed(0, "header", expected="exclusions [member, code, leaf, rule]", found=repr(line))


def _header(binding: Binding, kind: Kind, particular: dict[int, cbor.Value]) -> bytes:
    common: dict[int, cbor.Value] = {
        0: VERSION,
        1: int(kind),
        2: binding.ledger,
        3: binding.round.study,
        4: binding.round.number,
        6: binding.suite,
        7: binding.key,
        8: binding.shape,
        9: binding.leaves,
    }
    return cbor.encode(common | particular)
