"""The bytes that members exchange: headers, payloads and their roots (PROTOCOL §4).

A payload is `length(4) ‖ header ‖ leaves ‖ tail`, and its leaves can be too many to hold: they are read,
or computed, a run at a time. Nothing in it is believed: each party computes
the header it expects from the ledger and the study and compares bytes; sizes follow from that
header and the suite's layout, so they are known before a byte is fetched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from typing import Final

from . import cbor
from .digest import Digest, LedgerId
from .errors import Malformed
from .events import RoundId
from .members import ADDRESS_BYTES, Address
from .merkle import RootHasher, trees_over
from .runs import Content, Readable, Run, in_runs, regroup

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
    """Parts of equal leaves, then a tail: all that is needed to cut a payload, always from the study."""

    parts: tuple[Run, ...]
    tail: int  # bytes behind the leaves
    tail_in_tree: bool  # whether the tail is the tree's last leaf

    def size(self, header: bytes) -> int:
        """Bytes of a whole payload with this header."""
        return _LENGTH_BYTES + len(header) + self.leaves_size + self.tail

    @property
    def size_limit(self) -> int:
        """The most bytes that any payload of this shape has: checked before a byte is fetched."""
        return _LENGTH_BYTES + HEADER_LIMIT + self.leaves_size + self.tail

    @property
    def leaves_size(self) -> int:
        """Bytes of all leaves."""
        return sum(part.size for part in self.parts)

    def runs(self) -> Iterator[Run]:
        """The leaves in pieces, in order."""
        return in_runs(self.parts)


@dataclass(frozen=True, kw_only=True)  # without slots: what costs a pass over the leaves is done once
class Payload:
    """A payload, cut; nothing is checked but its size."""

    header: bytes
    leaves: Readable
    tail: bytes
    shape: Shape

    def runs(self) -> Iterator[tuple[Run, bytes]]:
        """The leaves, a run at a time, in order."""
        runs = list(self.shape.runs())
        return zip(runs, regroup(self.leaves.read(), (run.size for run in runs)), strict=True)

    def read(self) -> Iterator[bytes]:
        """The bytes that are stored, a piece at a time."""
        yield len(self.header).to_bytes(_LENGTH_BYTES, "big") + self.header
        yield from (data for _, data in self.runs())
        yield self.tail

    @cached_property
    def first_part(self) -> bytes:
        """All leaves of the first part: of an update or a total its capsule, which anyone can hold."""
        size = self.shape.parts[0].size
        return b"".join(regroup(self.leaves.read(), (size,)))

    def root(self) -> Digest:
        """RFC 6962 root over header, leaves and, where it counts, the tail."""
        hasher = self._trunk.copy()
        if self.shape.tail_in_tree:
            hasher.add(self.tail)
        return hasher.root()

    def root_before_tail(self) -> Digest:
        """RFC 6962 root over header and leaves: what a submission proof is bound to."""
        return self._trunk.root()

    @cached_property
    def _trunk(self) -> RootHasher:
        hasher = RootHasher()
        hasher.add(self.header)
        for run, data in self.runs():
            hasher.extend(trees_over(data, run.width, first=run.first))
        return hasher

    def know_trunk(self, trunk: RootHasher) -> None:
        """Spares a pass over the leaves: `trunk` is the tree up to the tail, which the caller has hashed."""
        vars(self)["_trunk"] = trunk

    def with_tail(self, tail: bytes) -> Payload:
        """The same header and leaves with this tail."""
        made = replace(self, tail=tail)
        made.know_trunk(self._trunk)
        return made


def cut(content: Content, shape: Shape) -> Payload:
    """The payload in `content`; raises `Malformed` unless its size is what its header's length makes it.

    The header is returned as found: comparing it is the caller's next step, after the root has
    shown that it is its author's.
    """
    header = header_at_start(content.read())
    expected = shape.size(header)
    if content.size != expected:
        raise Malformed(0, "size", expected=f"{expected} bytes", found=f"{content.size} bytes")
    tail = b"".join(content.read_from(content.size - shape.tail))
    leaves = _Behind(content, _LENGTH_BYTES + len(header), shape.leaves_size)
    return Payload(header=header, leaves=leaves, tail=tail, shape=shape)


def header_at_start(pieces: Iterable[bytes]) -> bytes:
    """The header of the payload that begins so, as found; reads no further. Raises `Malformed`."""
    start = bytearray()
    for piece in pieces:
        start += memoryview(piece)[: _LENGTH_BYTES + HEADER_LIMIT - len(start)]
        if len(start) == _LENGTH_BYTES + HEADER_LIMIT:
            break
    length = int.from_bytes(start[:_LENGTH_BYTES], "big")
    if len(start) < _LENGTH_BYTES or length > HEADER_LIMIT:
        raise Malformed(0, "header length", expected=f"at most {HEADER_LIMIT} bytes", found=length)
    header = bytes(start[_LENGTH_BYTES : _LENGTH_BYTES + length])
    if len(header) != length:
        raise Malformed(0, "size", expected=f"a header of {length} bytes", found=f"{len(header)} bytes")
    return header


@dataclass(frozen=True, slots=True)
class _Behind:
    """The leaves in a stored payload."""

    content: Content
    start: int
    size: int

    def read(self) -> Iterator[bytes]:
        missing = self.size
        for piece in self.content.read_from(self.start):
            if missing:
                yield piece[:missing]
            missing = max(0, missing - len(piece))


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
