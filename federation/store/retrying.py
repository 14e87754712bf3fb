"""A store that is asked again when it gave no answer: a few times, after random pauses that grow.

`Unavailable` alone is worth another try. A store that answered without the content (`Absent`) would say
the same a second later, and neither a `Violation` nor a `Refused` passes by itself. What lasts longer
than these pauses is for the loops of node and aggregator, which come back to every duty.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from ..digest import Cid
from ..errors import Unavailable
from .content import Absent, ContentStore

PAUSE_SECONDS: Final = 0.5  # the most before the second try; doubled before each further one
LONGEST_PAUSE_SECONDS: Final = 8.0

T = TypeVar("T")


class RetryingStore:
    """A `ContentStore` that asks `store` up to `attempts` times; the last failure comes out unchanged.

    Each pause is drawn between nothing and its bound: else all nodes of a consortium would come back to a
    restarted daemon in the same moment.
    """

    def __init__(
        self, store: ContentStore, *, attempts: int, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._store = store
        self._attempts = attempts
        self._sleep = sleep

    def put(self, chunks: Iterable[bytes]) -> Cid:
        """See `ContentStore`; not tried again once something of a source that runs but once was taken."""
        source = _Source(chunks)
        return self._persist(lambda: self._store.put(source), while_true=lambda: source.is_whole)

    def get(self, cid: Cid, *, size: int, start: int = 0) -> Iterator[bytes]:
        """See `ContentStore`; goes on where it was, so nothing that arrived is fetched twice."""
        at, pieces = start, self._store.get(cid, size=size, start=start)

        def take() -> bytes | None:
            nonlocal pieces
            try:
                return next(pieces, None)
            except Unavailable:
                pieces = self._store.get(cid, size=size, start=at)
                raise

        while (piece := self._persist(take)) is not None:
            at += len(piece)
            yield piece

    def has(self, cid: Cid) -> bool:
        """See `ContentStore`."""
        return self._persist(lambda: self._store.has(cid))

    def discard(self, contents: Collection[Cid], *, kept: Collection[Cid]) -> None:
        """See `ContentStore`; once: it may take minutes, and whoever discards comes back to it."""
        self._store.discard(contents, kept=kept)

    def _persist(self, call: Callable[[], T], *, while_true: Callable[[], bool] = lambda: True) -> T:
        def is_worth_it(error: BaseException) -> bool:
            return isinstance(error, Unavailable) and not isinstance(error, Absent) and while_true()

        retrying = Retrying(
            retry=retry_if_exception(is_worth_it),
            wait=wait_random_exponential(multiplier=PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS),
            stop=stop_after_attempt(self._attempts),
            sleep=self._sleep,
            reraise=True,
        )
        return retrying(call)


class _Source:
    """Chunks, and whether they can still be had from the first on."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._runs_once = iter(chunks) is chunks
        self._taken = False

    @property
    def is_whole(self) -> bool:
        return not (self._runs_once and self._taken)

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._taken = True
            yield chunk
