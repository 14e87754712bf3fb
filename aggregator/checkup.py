"""The aggregator examines itself: can it reach what it needs, and does what it did stand up to an audit?

Each examiner has a ledger and a store of its own, since neither is promised to bear several threads, and
works for one caller at a time, however many ask.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import BoundedSemaphore, Lock
from typing import Final

from federation.audience import PUBLIC
from federation.audit.observer import Observer
from federation.audit.report import verify
from federation.audit.view import LedgerView
from federation.digest import Digest
from federation.errors import TallyError, Unavailable
from federation.events import StudyId
from federation.ledger.ledger import Block, Ledger
from federation.runs import HERE
from federation.seal import SealingSecret
from federation.store.content import ContentStore, get_bytes, put_bytes

from .answers import AuditAnswer
from .portray import audit_answer

_PROBE: Final = b"tallystick: is this store here?\n"
_PROBE_EVERY: Final = 5.0  # seconds: however often somebody asks
_BUSY_AFTER: Final = 20.0  # seconds that a caller waits for another's examination
_MOST_WAITING: Final = 4  # callers, each of whom holds one of the service's 40 threads; the one at work too


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What answered; `head` is None if the ledger did not."""

    head: Block | None
    store: bool


class Probe:
    """Whether ledger and store answer; the store by writing and reading one fixed line."""

    def __init__(
        self, ledger: Ledger, store: ContentStore, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._clock = clock
        self._turns = Turns()
        self._found: tuple[float, Reach] | None = None

    def reach(self) -> Reach:
        """What answers now, or did within the last five seconds."""
        fresh = self._fresh()
        if fresh is not None:
            return fresh
        with self._turns.taken():
            fresh = self._fresh()
            if fresh is None:
                fresh = Reach(head=self._head(), store=self._store_answers())
                self._found = (self._clock(), fresh)
            return fresh

    def _fresh(self) -> Reach | None:
        found = self._found
        return None if found is None or self._clock() - found[0] >= _PROBE_EVERY else found[1]

    def _head(self) -> Block | None:
        try:
            return self._ledger.head()
        except TallyError:  # silent, or reorganised too deep: no ledger to work on either way
            return None

    def _store_answers(self) -> bool:
        try:
            return get_bytes(self._store, put_bytes(self._store, _PROBE), size=len(_PROBE)) == _PROBE
        except Unavailable:
            return False


class Auditor:
    """`tally audit` on the aggregator's own work; `every`: the fewest seconds between two audits."""

    def __init__(
        self,
        ledger: Ledger,
        store: ContentStore,
        secret: SealingSecret,
        *,
        audited_code: Digest,
        every: float,
        clock: Callable[[], float] = time.monotonic,
        executor: Executor = HERE,
        retain_rounds: int | None = None,
    ) -> None:
        self._executor = executor
        self._retain_rounds = retain_rounds
        self._ledger = ledger
        self._store = store
        self._secret = secret
        self._audited_code = audited_code
        self._every = every
        self._clock = clock
        self._turns = Turns()
        self._view = LedgerView(ledger)
        self._kept: dict[StudyId, tuple[float, AuditAnswer]] = {}

    def audit(self, study: StudyId) -> AuditAnswer:
        """The verdicts, at the newest final block or at one not older than `every` seconds.

        Raises `Unavailable` when ledger or store do not answer or another audit takes long, `Violation`
        where we are no reader of the study, and `LedgerRejected` for a study that is not there.
        """
        fresh = self._fresh(study)
        if fresh is not None:
            return fresh
        with self._turns.taken():
            fresh = self._fresh(study)
            if fresh is not None:
                return fresh
            self._view.read_on()
            _, answer = self._kept.get(study, (0.0, None))
            if answer is None or answer.head.number != self._view.head.number:
                answer = self._examine(study)
            self._kept[study] = (self._clock(), answer)
            return answer

    def _fresh(self, study: StudyId) -> AuditAnswer | None:
        made, answer = self._kept.get(study, (0.0, None))
        return answer if self._clock() - made < self._every else None

    def _examine(self, study: StudyId) -> AuditAnswer:
        observer = Observer(
            self._view,
            self._ledger,
            self._store,
            study,
            executor=self._executor,
            retain_rounds=self._retain_rounds,
        )
        key = PUBLIC
        if observer.agreement.spec.audience.is_sealed:
            key = observer.content_key(self._ledger.account, self._secret)
        return audit_answer(verify(observer.study_record(key), audited_code=self._audited_code))


class Turns:
    """One caller at a time is at work, a few wait, and the others are told at once to come back.

    Else a few who ask while ledger or store are slow would hold every thread, and nobody be answered at all.
    """

    def __init__(self) -> None:
        self._work = Lock()
        self._room = BoundedSemaphore(_MOST_WAITING)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """It is the caller's turn; raises `Unavailable` where others take too long or are too many."""
        if not self._room.acquire(blocking=False):
            raise Unavailable("enough others wait for an examination")
        try:
            if not self._work.acquire(timeout=_BUSY_AFTER):
                raise Unavailable("another examination is still at work")
            try:
                yield
            finally:
                self._work.release()
        finally:
            self._room.release()
