"""Contents as CAR files (version 1): one file that any IPFS tool takes in, and that proves itself.

The root's name, then each block once, parents before children and in the file's order: the order of
`ipfs dag export`. Nothing in it is chosen, so whichever store a content comes from, its CAR is the same
byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

from ..digest import CID_BYTES, Cid, show_cid
from ..errors import Refused
from .content import BLOCK_BYTES, Absent, ContentStore, verified
from .unixfs import Block, cut, is_leaf, links_in, varint, walk

# {"roots": [CID], "version": 1} as DAG-CBOR, which has one encoding: a CID is a byte string under tag 42.
_BEFORE_ROOT: Final = bytes.fromhex("a265726f6f747381d82a582500")
_AFTER_ROOT: Final = bytes.fromhex("6776657273696f6e01")
_HEADER_BYTES: Final = len(_BEFORE_ROOT) + CID_BYTES + len(_AFTER_ROOT)
_VARINT_BYTES: Final = 4  # enough for any block


def car_of(store: ContentStore, cid: Cid, *, size: int) -> Iterator[bytes]:
    """Yields the CAR of a content of at most `size` bytes, in order; errors as of `ContentStore.get`.

    Reads the content twice, first for the nodes, which a CAR has before what they lead to: holds those,
    a name for each block, and one leaf.
    """
    nodes = {block.cid: block.data for block in cut(store.get(cid, size=size)) if not is_leaf(block.cid)}
    leaves = (block for block in cut(store.get(cid, size=size)) if is_leaf(block.cid))
    yield varint(_HEADER_BYTES) + _BEFORE_ROOT + cid + _AFTER_ROOT
    written: set[Cid] = set()
    for block in _in_order(cid, nodes, leaves):
        if block.cid not in written:
            written.add(block.cid)
            yield varint(CID_BYTES + len(block.data)) + block.cid + block.data


def put_car(store: ContentStore, car: BinaryIO, *, size: int) -> Cid:
    """The content of a CAR is stored, and this is its CID.

    `car` is read from its beginning and has to be seekable. Raises `Refused` for a file that is cut off,
    altered, or in another order than `car_of` writes; `Violation` where the blocks match their names and
    yet are more than `size` bytes or in no lawful layout; `Unavailable` as `ContentStore.put`. The root is
    stored last, so of a bad file nothing is ever complete.
    """
    opened = _Car(car)
    return store.put(opened.content(size))


def _in_order(cid: Cid, nodes: dict[Cid, bytes], leaves: Iterator[Block]) -> Iterator[Block]:
    if is_leaf(cid):
        yield next(leaves)
        return
    yield Block(cid, nodes[cid])
    for child in links_in(nodes[cid]):
        yield from _in_order(child, nodes, leaves)


class _Car:
    """A CAR, read block by block in the order in which a walk asks for them."""

    def __init__(self, car: BinaryIO) -> None:
        self._car = car
        self._places: dict[Cid, tuple[int, int]] = {}  # of blocks read: position and length
        header = self._take(self._length("a header"), "a header")
        root = Cid(header[len(_BEFORE_ROOT) : -len(_AFTER_ROOT)])
        if header != _BEFORE_ROOT + root + _AFTER_ROOT or len(header) != _HEADER_BYTES:
            raise Refused("expected a CAR of version 1 with one root, found something else")
        self.root = root

    def content(self, size: int) -> Iterator[bytes]:
        """Yields what the root leads to, every block of it checked, and no byte behind it."""
        yield from walk(self.root, self._block, size=size)
        if self._car.read(1):
            raise Refused(f"expected the end of the CAR after {show_cid(self.root)}, found more")

    def _block(self, cid: Cid, most: int) -> bytes:
        try:
            return verified(cid, (self._bytes_of(cid),), most=most)
        except Absent as error:
            raise Refused(f"the CAR is damaged: {show_cid(cid)} has other bytes in it") from error

    def _bytes_of(self, cid: Cid) -> bytes:
        what = show_cid(cid)
        if cid in self._places:  # a block stands in a CAR once, wherever the content repeats it
            back = self._car.tell()
            position, length = self._places[cid]
            self._car.seek(position)
            data = self._take(length, what)
            self._car.seek(back)
            return data
        length = self._length(what) - CID_BYTES
        found = self._take(CID_BYTES, what)
        if found != cid:
            raise Refused(f"expected the block {what} next in the CAR, found {show_cid(Cid(found))}")
        self._places[cid] = (self._car.tell(), length)
        return self._take(length, what)

    def _length(self, what: str) -> int:
        value = 0
        for place in range(_VARINT_BYTES):
            byte = self._take(1, what)[0]
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                break
        if not CID_BYTES <= value <= CID_BYTES + BLOCK_BYTES:  # before anything of that size is read
            raise Refused(f"expected {what} in the CAR, found a length of {value} bytes")
        return value

    def _take(self, length: int, what: str) -> bytes:
        data = self._car.read(length)
        if len(data) != length:
            raise Refused(f"the CAR is cut off: expected {what}, found the end of the file")
        return data
