"""Leaves in runs: the piece that work on a payload is done in.

A payload can be larger than a machine's memory. So nobody holds one: leaves come and go a `Run` at a time,
in order, and whoever needs them again reads them again. Work on a run is a pure function, which any
`concurrent.futures.Executor` can carry.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Final, ParamSpec, Protocol, TypeVar

RUN_BYTES: Final = 1 << 20  # the most bytes of leaves handled in one piece
_AHEAD: Final = 8  # runs under way at once, whatever the executor's size: what bounds memory

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Consecutive leaves of one width; `first` counts from the payload's leaf 1 (leaf 0 is the header)."""

    first: int
    count: int
    width: int  # bytes a leaf

    @property
    def size(self) -> int:
        """Bytes."""
        return self.count * self.width


def in_runs(parts: Iterable[Run], *, most: int = RUN_BYTES) -> Iterator[Run]:
    """The same leaves in pieces of at most `RUN_BYTES` and `most` leaves, in order; none crosses a part."""
    for part in parts:
        step = min(most, max(1, RUN_BYTES // max(1, part.width)))
        for offset in range(0, part.count, step):
            count = min(step, part.count - offset)
            yield Run(first=part.first + offset, count=count, width=part.width)


class Readable(Protocol):
    """Bytes that can be read as often as needed, and are the same each time."""

    def read(self) -> Iterator[bytes]:
        """All of them in order, a piece at a time."""


class Content(Readable, Protocol):
    """Bytes of known length, of which any end can be read alone; `Unavailable` where a store fails."""

    @property
    def size(self) -> int:
        """Bytes."""

    def read_from(self, start: int) -> Iterator[bytes]:
        """What follows the first `start` bytes."""


@dataclass(frozen=True, slots=True)
class Held:
    """A `Content` in memory."""

    data: bytes

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    def read(self) -> Iterator[bytes]:
        """All at once."""
        yield self.data

    def read_from(self, start: int) -> Iterator[bytes]:
        """What follows the first `start` bytes, at once."""
        yield self.data[start:]


def whole(readable: Readable) -> bytes:
    """All of it, for what is known to be small."""
    return b"".join(readable.read())


def regroup(pieces: Iterable[bytes], sizes: Iterable[int]) -> Iterator[bytes]:
    """The same bytes in pieces of these sizes; stops where the bytes do, whatever follows is left unread."""
    source = iter(pieces)
    pending = memoryview(b"")
    for size in sizes:
        parts: list[memoryview] = []
        missing = size
        while missing:
            if not pending:
                piece = next(source, None)
                if piece is None:
                    return
                if len(piece) == size == missing:  # the usual case costs no copy
                    yield piece
                    break
                pending = memoryview(piece)
            part, pending = pending[:missing], pending[missing:]
            parts.append(part)
            missing -= len(part)
        else:
            yield b"".join(parts)


class Here(Executor):
    """An executor that does at once what it is given, in this thread: no pool, no pickling."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """`fn`'s result, or what it raised."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # handed on by `Future.result`, as every executor does
            future.set_exception(error)
        return future


HERE: Final = Here()


def in_order(
    executor: Executor, function: Callable[..., T], calls: Iterable[tuple[object, ...]]
) -> Iterator[T]:
    """function(*call) for each of `calls`, in their order, a bounded number of them under way at once."""
    waiting: deque[Future[T]] = deque()
    ahead = 0 if isinstance(executor, Here) else _AHEAD
    try:
        for call in calls:
            waiting.append(executor.submit(function, *call))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
