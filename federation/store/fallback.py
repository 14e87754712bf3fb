"""Several stores as one: our own first, those of others where it fails.

All of them are believed alike, not at all: each checks every block, so it does not matter who gave it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NoReturn

from ..digest import Cid, show_cid
from ..errors import Unavailable
from .content import Absent, ContentStore


class FallbackStore:
    """A `ContentStore` that writes to `own`, and reads from it or else from the first of `others` that can.

    What others keep is theirs: nothing is put there or discarded there. A `Violation` comes out at once,
    since the bytes match the CID and everybody has the same.
    """

    def __init__(self, own: ContentStore, others: Sequence[ContentStore]) -> None:
        self._own = own
        self._stores = (own, *others)

    def put(self, chunks: Iterable[bytes]) -> Cid:
        """See `ContentStore`; into our own store alone."""
        return self._own.put(chunks)

    def get(self, cid: Cid, *, size: int, start: int = 0) -> Iterator[bytes]:
        """See `ContentStore`; where one store stops, the next goes on.

        When all have failed, what each of them said; `Absent` if all of them answered.
        """
        at, failures = start, []
        for store in self._stores:
            try:
                for piece in store.get(cid, size=size, start=at):
                    at += len(piece)
                    yield piece
            except Unavailable as failure:
                failures.append(failure)
            else:
                return
        _fail(f"nobody gave {show_cid(cid)}", failures)

    def has(self, cid: Cid) -> bool:
        """See `ContentStore`; whether any of them has it. `Unavailable` where none has and one is silent."""
        failures: list[Unavailable] = []
        for store in self._stores:
            try:
                if store.has(cid):
                    return True
            except Unavailable as failure:
                failures.append(failure)
        if failures:
            _fail(f"not known whether anybody has {show_cid(cid)}", failures)
        return False

    def discard(self, contents: Collection[Cid], *, kept: Collection[Cid]) -> None:
        """See `ContentStore`; from our own store alone."""
        self._own.discard(contents, kept=kept)


def _fail(problem: str, failures: Sequence[Unavailable]) -> NoReturn:
    if len(failures) == 1:
        raise failures[0]
    kind = Absent if all(isinstance(failure, Absent) for failure in failures) else Unavailable
    raise kind(f"{problem}: " + "; ".join(map(str, failures))) from failures[-1]
