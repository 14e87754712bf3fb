"""A content store whose answers are told to whoever watches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from ..digest import Cid
from ..telemetry import Telemetry
from .content import ContentStore


class WatchedStore:
    """The same `ContentStore`, with each operation told as it ends."""

    def __init__(self, inner: ContentStore, telemetry: Telemetry) -> None:
        self._inner = inner
        self._telemetry = telemetry

    def put(self, chunks: Iterable[bytes]) -> Cid:
        """See `ContentStore`."""
        with self._telemetry.asking_store("put"):
            return self._inner.put(chunks)

    def get(self, cid: Cid, *, size: int, start: int = 0) -> Iterator[bytes]:
        """See `ContentStore`."""
        with self._telemetry.asking_store("get"):
            yield from self._inner.get(cid, size=size, start=start)

    def has(self, cid: Cid) -> bool:
        """See `ContentStore`."""
        with self._telemetry.asking_store("has"):
            return self._inner.has(cid)

    def discard(self, contents: Collection[Cid], *, kept: Collection[Cid]) -> None:
        """See `ContentStore`."""
        with self._telemetry.asking_store("discard"):
            self._inner.discard(contents, kept=kept)
