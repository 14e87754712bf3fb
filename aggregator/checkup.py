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
from threading import Lock
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
        self._lock = Lock()
        self._found: tuple[float, Reach] | None = None

    def reach(self) -> Reach:
        """What answers now, or did within the last five seconds."""
        with _alone(self._lock):
            if self._found is None or self._clock() - self._found[0] >= _PROBE_EVERY:
                reach = Reach(head=self._head(), store=self._store_answers())
                self._found = (self._clock(), reach)
            return self._found[1]

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
        self._lock = Lock()
        self._view = LedgerView(ledger)
        self._kept: dict[StudyId, tuple[float, AuditAnswer]] = {}

    def audit(self, study: StudyId) -> AuditAnswer:
        """The verdicts, at the newest final block or at one not older than `every` seconds.

        Raises `Unavailable` when ledger or store do not answer or another audit takes long, `Violation`
        where we are no reader of the study, and `LedgerRejected` for a study that is not there.
        """
        with _alone(self._lock):
            made, answer = self._kept.get(study, (0.0, None))
            if answer is not None and self._clock() - made < self._every:
                return answer
            self._view.read_on()
            if answer is None or answer.head.number != self._view.head.number:
                answer = self._examine(study)
            self._kept[study] = (self._clock(), answer)
            return answer

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


@contextmanager
def _alone(lock: Lock) -> Iterator[None]:
    """The lock is held; raises `Unavailable` rather than let callers pile up behind a slow one."""
    if not lock.acquire(timeout=_BUSY_AFTER):
        raise Unavailable("another examination is still at work")
    try:
        yield
    finally:
        lock.release()
