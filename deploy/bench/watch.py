"""Each step of a round watched: seconds, peak memory, and bytes in and out of the store."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field

from federation.digest import Cid
from federation.store.directory import DirectoryStore


@dataclass(slots=True)
class Metered:
    """A store on disk that counts what goes in and out."""

    store: DirectoryStore
    sent: int = 0
    read: int = 0

    def put(self, chunks: Iterable[bytes]) -> Cid:
        """See `ContentStore`."""
        return self.store.put(self._counted(chunks))

    def get(self, cid: Cid, *, size: int, start: int = 0) -> Iterator[bytes]:
        """See `ContentStore`."""
        for piece in self.store.get(cid, size=size, start=start):
            self.read += len(piece)
            yield piece

    def has(self, cid: Cid) -> bool:
        """See `ContentStore`."""
        return self.store.has(cid)

    def discard(self, contents: Collection[Cid], *, kept: Collection[Cid]) -> None:
        """See `ContentStore`."""
        self.store.discard(contents, kept=kept)

    def _counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for piece in chunks:
            self.sent += len(piece)
            yield piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One step of one party, in one of the two runs."""

    party: str
    step: str
    wall: float
    core: float
    peak: int
    sent: int
    read: int


@dataclass(slots=True, kw_only=True)
class Watch:
    """Watches steps."""

    store: Metered
    taken: list[Taken] = field(default_factory=list)

    def step(self, party: str, step: str, work: Callable[[], object]) -> None:
        """`work` is done, and what it took is written down; its peak is 0 where nothing traces."""
        gc.collect()
        sent, read = self.store.sent, self.store.read
        tracemalloc.reset_peak()
        held, _ = tracemalloc.get_traced_memory()
        wall, core = time.monotonic(), time.process_time()
        work()
        wall, core = time.monotonic() - wall, time.process_time() - core
        peak = tracemalloc.get_traced_memory()[1] - held
        self.taken.append(
            Taken(
                party=party,
                step=step,
                wall=wall,
                core=core,
                peak=peak,
                sent=self.store.sent - sent,
                read=self.store.read - read,
            )
        )
