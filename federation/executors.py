"""Where work on runs is done: in this process, in processes beside it, or on a Dask cluster.

Used by the entry points, as `endpoints` is; everything else takes a `concurrent.futures.Executor` and
gives it pure functions of what can be pickled. Results do not depend on the place. A Dask cluster is
trusted with nothing secret, but it is trusted: whoever can reach its scheduler runs code on it, and through
what it answers in this process. So it belongs into the aggregator's own network.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from types import TracebackType
from typing import Final, ParamSpec, TypeVar
from urllib.parse import urlsplit

from .errors import Refused, Unavailable
from .runs import Here

P = ParamSpec("P")
T = TypeVar("T")

EXPECTED: Final = '"here", "processes", "processes:N" with N in 1 … 999, or "dask://HOST:PORT"'
ANSWER_SECONDS: Final = 10.0  # for a scheduler's first answer, and for that of a worker behind it
_NICENESS: Final = 10  # so that a daemon's own threads, and people, come before its workers
_LARGE_CALL: Final = "1 GiB"  # a call carries its runs; Dask's own warning starts at 10 MB


def open_executor(setting: str) -> Executor:
    """An executor for public work, to be used in a `with` block; leaving it ends what it started.

    Raises `Refused` for an unknown setting or missing software, `Unavailable` where no cluster answers.
    An `Unavailable` from a future names a lost worker or cluster; the next submission finds a new one.
    """
    if setting == "here":
        return Here()
    if found := re.fullmatch(r"processes(?::([1-9][0-9]{0,2}))?", setting):
        workers = int(found[1]) if found[1] else _spare_processors()
        return _Elsewhere(lambda: _start_processes(workers))
    if setting.startswith("dask://"):
        address = _scheduler(setting)
        return _Elsewhere(lambda: _connect(address))
    raise Refused(f"executor: expected {EXPECTED}, found {setting!r}")


def open_local_executor(setting: str) -> Executor:
    """The same for work on secrets, which never leave this machine: raises `Refused` for a cluster."""
    if setting.startswith("dask:"):
        raise Refused(
            'executor: expected "here" or "processes", found a Dask cluster: this work needs secrets (seeds, '
            "updates, key shares), which never leave this machine"
        )
    return open_executor(setting)


@dataclass(slots=True, kw_only=True)
class _Engine:
    """A foreign executor while it lives, and how it fails."""

    executor: Executor
    close: Callable[[], object]  # what remains to be closed when the executor is shut down
    killed: tuple[type[Exception], ...]  # by which it says that a worker died of the call
    lost: bool = False  # it takes no more calls

    def shut(self, *, wait: bool, cancel: bool) -> None:
        """Calls that run are waited for if `wait`, the others given up if `cancel`."""
        if isinstance(self.executor, ProcessPoolExecutor):
            self.executor.shutdown(wait=wait, cancel_futures=cancel)
        elif not self.lost:  # Dask's would ask the scheduler
            self.executor.shutdown(wait=wait and not cancel)
        self.close()


class _Elsewhere(Executor):
    """Calls are done by an engine, failures come back in our families, and a lost engine is replaced."""

    def __init__(self, start: Callable[[], _Engine]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._closed = False
        self._engine = start()

    def submit(self, task: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        with self._lock:
            if self._closed:
                raise RuntimeError("no calls after shutdown")
            try:
                inner = self._hand_over(task, *args, **kwargs)
            except OSError as error:
                raise Unavailable(f"executor: no worker could be started or reached: {error}") from error
            engine = self._engine
        outer: Future[T] = Future()
        inner.add_done_callback(lambda done: self._pass_on(engine, done, outer))
        outer.add_done_callback(lambda done: inner.cancel() if done.cancelled() else None)
        return outer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._lock:
            closed, self._closed = self._closed, True
        if not closed:
            self._engine.shut(wait=wait, cancel=cancel_futures)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown(cancel_futures=error is not None)  # nobody will take the results

    def _hand_over(self, task: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if not self._engine.lost:
            try:
                return self._engine.executor.submit(task, *args, **kwargs)
            except BrokenExecutor:  # a worker died between two calls
                self._engine.lost = True
        self._engine.shut(wait=False, cancel=True)
        self._engine = self._start()
        return self._engine.executor.submit(task, *args, **kwargs)

    def _pass_on(self, engine: _Engine, inner: Future[T], outer: Future[T]) -> None:
        if inner.cancelled() and self._closed:
            outer.cancel()
        if not outer.set_running_or_notify_cancel():
            return
        try:
            result = inner.result()
        except (BrokenExecutor, CancelledError) as error:  # cancelled, and not by us: its scheduler is gone
            engine.lost = True
            outer.set_exception(_lost(error))
        except engine.killed as error:
            outer.set_exception(_lost(error))
        except BaseException as error:
            outer.set_exception(error)
        else:
            outer.set_result(result)


def _lost(error: BaseException) -> Unavailable:
    made = Unavailable(
        "executor: a worker ended in the middle of a call (killed, or out of memory?), or its cluster is gone"
    )
    made.__cause__ = error
    return made


def _spare_processors() -> int:
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, usable - 1)


def _start_processes(workers: int) -> _Engine:
    """Started afresh: a fork would copy locks that other threads hold, and with them every secret in memory.

    A fresh process imports the module that was started as a script, unless that is a package's `__main__`;
    ours do nothing when they are imported.
    """
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _settle_in)
    return _Engine(executor=pool, close=lambda: None, killed=())


def _settle_in() -> None:
    os.nice(_NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker waits on a queue whose writing end it holds itself: it would outlive a killed parent."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _scheduler(setting: str) -> str:
    try:
        parts = urlsplit(setting)
        sound = bool(parts.hostname and parts.port and not parts.username)
    except ValueError as error:
        raise Refused(f"executor: expected {EXPECTED}: {error}") from error
    if not sound or setting != f"dask://{parts.netloc}":
        raise Refused(f"executor: expected dask://HOST:PORT and nothing else, found {setting!r}")
    return f"tcp://{parts.netloc}"


def _connect(address: str) -> _Engine:
    """A cluster whose scheduler answers, and a worker behind it that runs this very version."""
    try:
        import dask  # noqa: PLC0415 - only who has a cluster installs it
        import distributed  # noqa: PLC0415
    except ImportError as error:
        raise Refused('executor: expected Dask for dask://: install "tallystick[dask]"') from error
    dask.config.set({"distributed.admin.large-graph-warning-threshold": _LARGE_CALL})
    try:
        client = distributed.Client(address, timeout=ANSWER_SECONDS, set_as_default=False)
    except OSError as error:
        raise Unavailable(f"executor: no Dask scheduler answers at {address}") from error
    try:
        found = client.submit(version, "tallystick", pure=False).result(ANSWER_SECONDS)
    except TimeoutError as error:
        client.close()
        raise Unavailable(f"executor: no worker of the Dask scheduler at {address} answers") from error
    except ImportError as error:
        client.close()
        raise Refused(f"executor: expected tallystick on the workers of {address}, found none") from error
    if found != version("tallystick"):
        client.close()
        raise Refused(f"executor: expected workers with tallystick {version('tallystick')}, found {found}")
    # `pure` would name a call by a hash of its arguments and answer from memory
    executor: Executor = client.get_executor(pure=False)
    return _Engine(executor=executor, close=client.close, killed=(distributed.KilledWorker,))
