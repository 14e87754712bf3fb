"""Files as IPFS sees them: cut into blocks, named by one CID, read back and checked (PROTOCOL §6).

One layout only, the one of `ipfs add --cid-version=1 --raw-leaves --chunker=size-262144`:
leaves of 256 KiB, at most 174 links a node, a balanced tree in which only the right edge is not
full; a file of at most one chunk is its own leaf. A file's size therefore fixes every byte of
every node except the CIDs in it. `walk` demands exactly those bytes, so one content has one CID,
and cycles, deep chains, overlong varints and wrong declared sizes cannot be written down.
Pure: no I/O; the blocks come and go through the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from ..digest import CID_BYTES, CID_DAG_PB, CID_RAW, Cid, sha256
from ..errors import Violation

CHUNK_BYTES: Final = 256 * 1024  # of a leaf; only the last may be shorter
WIDTH: Final = 174  # links of a node; only the right edge has fewer
NODE_BYTES: Final = (
    16 * 1024
)  # no node of this layout is longer: 174 times at most 52 (link) + 10 (size) bytes
CLAUSE: Final = "§6"


class Block(NamedTuple):
    """Some bytes and their name: a leaf (a piece of the file) or a node (links to blocks)."""

    cid: Cid
    data: bytes


class _Child(NamedTuple):
    cid: Cid
    size: int  # bytes of the file below
    stored: int  # bytes of all blocks below and of the child itself ("Tsize")


def cut(chunks: Iterable[bytes]) -> Iterator[Block]:
    """Yields every block of the file, children before parents: leaves in the file's order, the root last.

    `chunks` may have any lengths. Holds one chunk and one list of links per level.
    """
    levels: list[list[_Child]] = [[]]
    for leaf in _leaves(chunks):
        block = Block(Cid(CID_RAW + sha256(leaf)), leaf)
        yield block
        levels[0].append(_Child(block.cid, len(leaf), len(leaf)))
        for height in range(len(levels)):
            if len(levels[height]) == WIDTH:
                yield _close(levels, height)
    for height, level in enumerate(levels):  # grows while the right edge is closed upwards
        if level and (height + 1 < len(levels) or len(level) > 1):
            yield _close(levels, height)


def cid_of(chunks: Iterable[bytes]) -> Cid:
    """The CID under which any IPFS node with this layout would store the file."""
    for block in cut(chunks):
        root = block.cid
    return root


def is_leaf(cid: Cid) -> bool:
    """Whether `cid` names bare bytes rather than a node; raises `Violation` if it is no CID of ours."""
    if len(cid) != CID_BYTES or cid[:4] not in (CID_RAW, CID_DAG_PB):
        raise Violation(CLAUSE, "not a CIDv1 (raw or dag-pb, SHA-256)", expected=CID_RAW, found=cid[:64])
    return cid[:4] == CID_RAW


def walk(cid: Cid, fetch: Callable[[Cid, int], bytes], *, size: int, start: int = 0) -> Iterator[bytes]:
    """Yields the file's bytes in order from `start` on; the whole file has at most `size` of them.

    Blocks that lie before `start` are not fetched.

    `fetch(cid, most)` returns a block whose hash it has checked and which is at most `most` bytes
    long, or raises. Raises `Violation` (without culprit: whoever published the CID is known to the
    caller) for a file that is longer than `size` or not in this layout. Sizes are compared before
    a child is fetched, and every child must be as long as its parent said.
    """
    if is_leaf(cid):
        yield fetch(cid, min(size, CHUNK_BYTES))[start:]
        return
    root = fetch(cid, NODE_BYTES)
    declared, height = _shape(cid, root)
    if declared > size:
        raise Violation(CLAUSE, "content is larger than allowed", expected=f"at most {size}", found=declared)
    for leaf, skipped in _below(root, declared, height, start, fetch):
        yield leaf[skipped:]


def blocks_of(cid: Cid, fetch: Callable[[Cid], bytes | None]) -> Iterator[Cid]:
    """The names of all blocks of a file, children before parents; leaves are not fetched.

    `fetch(cid)` returns a node whose hash it has checked, or None: nothing is known of what lies below one
    that is gone. Raises `Violation` for a node that is not in this layout.
    """
    node = None if is_leaf(cid) else fetch(cid)
    if node is not None:
        yield from _names_below(node, *_shape(cid, node), fetch)
    yield cid


def _names_below(node: bytes, size: int, height: int, fetch: Callable[[Cid], bytes | None]) -> Iterator[Cid]:
    for cid, length in _open(node, size, height):
        child = fetch(cid) if height > 1 else None
        if child is not None:
            yield from _names_below(child, length, height - 1, fetch)
        yield cid


def links_in(node: bytes) -> list[Cid]:
    """What a node links to, in the file's order; raises `Violation` for what is no node."""
    return _parse(node)[1]


def _below(
    node: bytes, size: int, height: int, start: int, fetch: Callable[[Cid, int], bytes]
) -> Iterator[tuple[bytes, int]]:
    """Leaves that reach beyond `start`, each with how many of its bytes lie before."""
    for cid, length in _open(node, size, height):
        skipped = min(start, length)
        start -= skipped
        if skipped == length:
            continue
        if height > 1:
            yield from _below(fetch(cid, NODE_BYTES), length, height - 1, skipped, fetch)
            continue
        leaf = fetch(cid, length)
        if len(leaf) != length:
            raise Violation(CLAUSE, "leaf is shorter than declared", expected=length, found=len(leaf))
        yield leaf, skipped


def _open(node: bytes, size: int, height: int) -> list[tuple[Cid, int]]:
    """The links of `node`, each with the file bytes below it.

    INVARIANT: the node is byte for byte what `cut` writes for `size` bytes at this height.
    """
    _, cids = _parse(node)
    sizes = _sizes_below(size, height)
    if len(cids) != len(sizes):
        raise Violation(CLAUSE, "wrong number of links", expected=len(sizes), found=len(cids))
    stored = (_stored(length, height - 1) for length in sizes)
    if _encode([_Child(*child) for child in zip(cids, sizes, stored, strict=True)]) != node:
        raise Violation(CLAUSE, f"not the one encoding of a node over {size} bytes")
    for cid in cids:
        if is_leaf(cid) != (height == 1):
            raise Violation(CLAUSE, f"wrong kind of block {height} levels above the file", found=cid[:4])
    return list(zip(cids, sizes, strict=True))


def _leaves(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Cuts at multiples of `CHUNK_BYTES`; one empty leaf for an empty file."""
    pending = bytearray()
    empty = True
    for chunk in chunks:
        rest = memoryview(chunk)
        while len(pending) + len(rest) >= CHUNK_BYTES:
            missing = CHUNK_BYTES - len(pending)
            leaf, rest = bytes(pending) + rest[:missing], rest[missing:]
            pending.clear()
            empty = False
            yield leaf
        pending += rest
    if pending or empty:
        yield bytes(pending)


def _close(levels: list[list[_Child]], height: int) -> Block:
    """Replaces the links waiting at `height` by one node, which waits one level higher."""
    if height + 1 == len(levels):
        levels.append([])
    children = levels[height]
    data = _encode(children)
    block = Block(Cid(CID_DAG_PB + sha256(data)), data)
    stored = len(data) + sum(child.stored for child in children)
    levels[height + 1].append(_Child(block.cid, sum(child.size for child in children), stored))
    children.clear()
    return block


def _shape(cid: Cid, root: bytes) -> tuple[int, int]:
    """The size that a root declares for the file, and how many levels the tree has above its leaves."""
    size, _ = _parse(root)
    height = _height(size)
    if height == 0:
        raise Violation(CLAUSE, "a file of one chunk must be a bare leaf", expected=CID_RAW, found=cid[:4])
    return size, height


def _height(size: int) -> int:
    height = 0
    while CHUNK_BYTES * WIDTH**height < size:
        height += 1
    return height


def _sizes_below(size: int, height: int) -> list[int]:
    full = CHUNK_BYTES * WIDTH ** (height - 1)
    return [min(full, size - start) for start in range(0, size, full)]


@lru_cache(maxsize=64)
def _stored(size: int, height: int) -> int:
    if height == 0:
        return size
    below = [(length, _stored(length, height - 1)) for length in _sizes_below(size, height)]
    node = _encode([_Child(Cid(bytes(CID_BYTES)), *sizes) for sizes in below])
    return len(node) + sum(stored for _, stored in below)


# dag-pb: PBNode {links = 2: {hash = 1, name = 2, tsize = 3}, data = 1}, the links written first;
# UnixFS in its data: {type = 1: 2 "file", filesize = 3, blocksizes = 4}.


def _encode(children: Sequence[_Child]) -> bytes:
    links = (
        _message(2, _message(1, child.cid) + _message(2, b"") + _number(3, child.stored))
        for child in children
    )
    size = sum(child.size for child in children)
    sizes = (_number(4, child.size) for child in children)
    return b"".join(links) + _message(1, _number(1, 2) + _number(3, size) + b"".join(sizes))


def _message(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def _number(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def varint(value: int) -> bytes:
    """The number in groups of seven bits, lowest first, as protobuf and CAR have it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _parse(node: bytes) -> tuple[int, list[Cid]]:
    """The declared file size and the CIDs linked to; `_open` compares all the rest."""
    try:
        cids = [Cid(_first(link, 1).payload) for number, _, link in _fields(node) if number == 2]
        return _first(_first(node, 1).payload, 3).value, cids
    except ValueError as error:
        raise Violation(CLAUSE, "not a dag-pb node of a UnixFS file") from error


class _Field(NamedTuple):
    number: int
    value: int  # of a number; the length of a message
    payload: bytes  # of a message; empty for a number


def _first(message: bytes, number: int) -> _Field:
    for field in _fields(message):
        if field.number == number:
            return field
    raise ValueError(f"field {number} is missing")


def _fields(message: bytes) -> Iterator[_Field]:
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        value, at = _read_varint(message, at)
        match key & 7:
            case 0:
                yield _Field(key >> 3, value, b"")
            case 2:
                if value > len(message) - at:
                    raise ValueError("field is cut off")
                yield _Field(key >> 3, value, message[at : at + value])
                at += value
            case other:
                raise ValueError(f"wire type {other}")


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):  # lengths and sizes below 2^63, so at most nine bytes
        if at >= len(message):
            break
        value |= (message[at] & 0x7F) << shift
        at += 1
        if message[at - 1] < 0x80:
            return value, at
    raise ValueError("varint is cut off or too long")
