"""The content store as everybody uses it: bytes in, CID out, and back, believing nobody (PROTOCOL §6).

A store is trusted with nothing: it may lie, omit or replay. Every block is hashed before one of
its bytes is used. Two implementations obey one suite of laws (`tests/laws/test_content_store.py`):
`directory.py`, a folder, and `ipfs.py`, a daemon with the Kubo RPC; both give the same CIDs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from ..digest import Cid, show_cid
from ..errors import Unavailable, Violation
from ..runs import RUN_BYTES, Content, Held
from .unixfs import CLAUSE

BLOCK_BYTES: Final = 2 * 1024 * 1024  # the largest block that IPFS nodes exchange; more is no block


class Absent(Unavailable):
    """This store answered, but not with this content: it has none, or bytes that do not match the CID.

    Another endpoint may have it, or this one later.
    """


class ContentStore(Protocol):
    """Keeps bytes under the name that follows from them.

    Whose fault a failure is decides its class, so that all nodes blame alike:
    `Unavailable` if this store gave no, too few or wrong bytes for a CID (then `Absent`) or no answer;
    `Violation` (§6, no culprit) if the bytes do match the CID, yet are more than allowed or not in the
    layout of `unixfs`: that is the doing of whoever published the CID.
    """

    def put(self, chunks: Iterable[bytes]) -> Cid:
        """The content is stored durably, and this is its CID.

        Streams: holds a few chunks, whatever the total. Storing the same content again changes
        nothing and repairs what was damaged. `Unavailable`: not, or only partly, stored; put again.
        Whatever `chunks` raises comes out unchanged.
        """

    def get(self, cid: Cid, *, size: int, start: int = 0) -> Iterator[bytes]:
        """Yields the content in order from byte `start` on.

        An author who declares more than `size` bytes for the whole of it is a `Violation`.

        Lazy: the first block is fetched, and the first error raised, when the first piece is asked
        for. Every block is checked before its bytes are yielded, and nothing follows a bad one; yet
        only the end of the iteration says that the content is complete.
        """

    def has(self, cid: Cid) -> bool:
        """Whether the root block is here, intact, without asking elsewhere where the store can avoid it.

        The root is written last, so the rest was here once; only `get` proves that it still is.
        """

    def discard(self, contents: Collection[Cid], *, kept: Collection[Cid]) -> None:
        """Nothing of `contents` is kept here any more, but for blocks that belong to one of `kept` as well.

        Whoever publishes a CID chooses it, and could choose somebody else's: hence `kept`. A second call
        changes nothing; what is not here, or in no lawful layout, is passed over. `Unavailable`: done in
        part, or not known; call again.
        """


def put_bytes(store: ContentStore, data: bytes) -> Cid:
    """`data` is stored, and this is its CID."""
    return store.put((data,))


def get_bytes(store: ContentStore, cid: Cid, *, size: int) -> bytes:
    """The whole content, at most `size` bytes; errors as of `ContentStore.get`."""
    return b"".join(store.get(cid, size=size))


def open_content(store: ContentStore, cid: Cid, *, size: int) -> Content:
    """A content that was all there just now, and has at most `size` bytes; errors as of `ContentStore.get`.

    What fits into a run is held; more is read again from the store, and checked again, each time.
    """
    length, held = 0, bytearray()
    for piece in store.get(cid, size=size):
        length += len(piece)
        if length <= RUN_BYTES:
            held += piece
    return Held(bytes(held)) if length <= RUN_BYTES else _Stored(store=store, cid=cid, size=length)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """A `Content` that stays in its store."""

    store: ContentStore
    cid: Cid
    size: int

    def read(self) -> Iterator[bytes]:
        return self.store.get(self.cid, size=self.size)

    def read_from(self, start: int) -> Iterator[bytes]:
        return self.store.get(self.cid, size=self.size, start=start)


def verified(cid: Cid, pieces: Iterable[bytes], *, most: int) -> bytes:
    """The block that `pieces` add up to: it matches `cid` and is at most `most` bytes long.

    Never holds more than `most` bytes and one piece. A longer answer is still hashed, up to
    `BLOCK_BYTES`, because its hash tells a lying store (`Absent`) from an author who published
    more than the rules allow (`Violation`).
    """
    held = bytearray()
    length = 0
    hasher = hashlib.sha256()
    for piece in pieces:
        length += len(piece)
        if length > BLOCK_BYTES:
            raise Absent(f"the store gave more than {BLOCK_BYTES} bytes for the block {show_cid(cid)}")
        hasher.update(piece)
        if length <= most:
            held += piece
    if hasher.digest() != cid[-hasher.digest_size :]:
        raise Absent(f"the store gave {length} bytes for {show_cid(cid)} which do not match it")
    if length > most:
        raise Violation(CLAUSE, "block is larger than allowed", expected=f"at most {most}", found=length)
    return bytes(held)
