"""A bookmark of a ledger in a small file, replaced as a whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from .digest import DIGEST_BYTES, LedgerId
from .errors import Refused
from .identity import make_folder, read_file, write_secret
from .ledger.bookmark import Mark
from .members import Address

_VERSION: Final = 1


def bookmark_file(folder: Path, *, chain_id: int, contract: Address) -> BookmarkFile:
    """The bookmark of what settings call one contract; another chain behind the same words shares its file,
    and so is noticed.
    """
    return BookmarkFile(folder / f"bookmark-{chain_id}-{contract.hex()}.json")


class BookmarkFile:
    """One file, not worth a backup: an older one only knows less."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def shown(self) -> str:
        return str(self._path)

    def recall(self) -> Mark | None:
        if not self._path.exists():
            return None
        try:
            document: object = json.loads(read_file(self._path))
            match document:
                case {
                    "version": 1,
                    "ledger": str() as ledger,
                    "block": int() as number,
                    "hash": str() as hash,
                }:
                    mark = Mark(
                        ledger=LedgerId(bytes.fromhex(ledger)), number=number, hash=bytes.fromhex(hash)
                    )
                    if len(mark.ledger) == len(mark.hash) == DIGEST_BYTES and number >= 0:
                        return mark
        except ValueError:
            pass  # said below
        raise Refused(f"{self._path}: expected a bookmark of version {_VERSION}, found something else")

    def move(self, mark: Mark) -> None:
        # Under a name of this process first: a second one may be writing, and neither may tear the other's.
        partial = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        document = {
            "version": _VERSION,
            "ledger": mark.ledger.hex(),
            "block": mark.number,
            "hash": mark.hash.hex(),
        }
        make_folder(self._path.parent)
        write_secret(partial, json.dumps(document).encode())
        try:
            partial.replace(self._path)  # lost by a power cut, it leaves the mark before it
        except OSError as error:
            raise Refused(f"{self._path}: cannot be written: {error.strerror}") from error
