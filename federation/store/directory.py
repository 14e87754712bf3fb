"""A folder as content store: one file a block, named by its CID.

Several processes may share the folder: a file appears complete or not at all (written beside,
synced, renamed), and two writers of one name write the same bytes.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Final

from ..digest import Cid, show_cid
from ..errors import Refused, Unavailable, Violation
from .content import BLOCK_BYTES, Absent, verified
from .unixfs import NODE_BYTES, Block, blocks_of, cut, is_leaf, walk

PIECE_BYTES: Final = 64 * 1024  # read at once


class DirectoryStore:
    """A `ContentStore` in a folder, which is made if need be; `Refused` if that cannot be done.

    Every block is hashed when it is read: disks rot, and others may write to the folder. A process
    killed while writing may leave a file whose name begins with a dot; nothing ever reads it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Refused(f"cannot use {path} as content store: {error.strerror}") from error

    def put(self, chunks: Iterable[bytes]) -> Cid:
        """See `ContentStore`; every block is on the disk before its parent is."""
        for block in cut(chunks):
            if not self.has(block.cid):
                self._write(block)
        return block.cid

    def get(self, cid: Cid, *, size: int, start: int = 0) -> Iterator[bytes]:
        """See `ContentStore`."""
        return walk(cid, self._block, size=size, start=start)

    def has(self, cid: Cid) -> bool:
        """See `ContentStore`."""
        try:
            self._block(cid, BLOCK_BYTES)
        except Absent:
            return False
        return True

    def discard(self, contents: Collection[Cid], *, kept: Collection[Cid]) -> None:
        """See `ContentStore`; roots go last, so that one who is killed finds the rest again."""
        spared = {name for cid in kept for name in self._names(cid)}
        try:
            for cid in contents:
                for name in self._names(cid):
                    if name not in spared:
                        self._place(name).unlink(missing_ok=True)
        except OSError as error:
            raise Unavailable(f"cannot remove files in {self._path}: {error.strerror}") from error

    def _names(self, cid: Cid) -> Iterator[Cid]:
        """Of its blocks, as far as their nodes are here."""
        try:
            yield from blocks_of(cid, self._node)
        except Violation:  # never put here: `put` knows one layout
            return

    def _node(self, cid: Cid) -> bytes | None:
        try:
            return self._block(cid, NODE_BYTES)
        except Absent:
            return None

    def _block(self, cid: Cid, most: int) -> bytes:
        return verified(cid, self._pieces(cid), most=most)

    def _pieces(self, cid: Cid) -> Iterator[bytes]:
        try:
            with self._place(cid).open("rb", buffering=0) as file:
                while piece := file.read(PIECE_BYTES):
                    yield piece
        except FileNotFoundError as error:
            raise Absent(f"{show_cid(cid)} is not in {self._path}") from error
        except OSError as error:
            raise Unavailable(f"cannot read {show_cid(cid)} in {self._path}: {error.strerror}") from error

    def _place(self, cid: Cid) -> Path:
        # No path traversal: 36 checked bytes, spelt in a-z and 2-7. The last letter but two and the
        # next are evenly spread over 1,024 folders; the first ones are the same for all.
        is_leaf(cid)
        name = show_cid(cid)
        return self._path / name[-3:-1] / name

    def _write(self, block: Block) -> None:
        place = self._place(block.cid)
        beside = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
        try:
            if not place.parent.exists():
                place.parent.mkdir(exist_ok=True)
                _sync_folder(self._path)
            try:
                with beside.open("xb") as file:
                    file.write(block.data)
                    file.flush()
                    os.fsync(file.fileno())
                beside.replace(place)
            finally:
                beside.unlink(missing_ok=True)  # a full disk must not stay full of halves
            _sync_folder(place.parent)
        except OSError as error:
            raise Unavailable(f"cannot write to {self._path}: {error.strerror}") from error


def _sync_folder(path: Path) -> None:
    """The names in the folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
