"""The ledger as one reader has followed it: events in, history out (PROTOCOL §9)."""

from __future__ import annotations

from threading import Lock

from ..errors import LedgerRejected, Unavailable
from ..events import Event, Timestamp
from ..law import History
from ..ledger.ledger import Block, Ledger
from .record import Unlawful


class LedgerView:
    """The final events of one ledger, followed as they come; derived state that can always be rebuilt.

    One thread refreshes; others may read `history` and `head` while they hold `lock`, which is never
    held while the ledger is asked.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.history = History()
        self.lock = Lock()
        self.unlawful: Unlawful | None = None
        self._ledger = ledger
        self._head: Block | None = None
        self._last: Event | None = None

    def refresh(self) -> None:
        """Takes in all events up to the newest final block.

        Raises `Unavailable` when the chain does not answer and `Violation` for an event that the
        law forbids: then the chain runs another contract than ours.
        """
        self.read_on()
        if self.unlawful is not None:
            raise self.unlawful.violation()

    def read_on(self) -> None:
        """As `refresh`, for auditors: stops before the first unlawful event and keeps it in `unlawful`."""
        head = self._ledger.head()
        after = -1 if self._head is None else self._head.number
        events = self._ledger.events(after, head.number)
        with self.lock:
            for event in events:
                if self.unlawful is None:
                    self._follow(event)
            self._head = head

    def _follow(self, event: Event) -> None:
        last = self._last
        try:
            if last is not None and not (last.at < event.at and last.time <= event.time):
                raise LedgerRejected("OutOfOrder", (last.at, event.at))
            self.history.follow(event)
        except LedgerRejected as fault:
            self.unlawful = Unlawful(event=event, fault=fault)
        self._last = event

    @property
    def head(self) -> Block:
        """The block this view stands at."""
        if self._head is None:
            self.refresh()
        if self._head is None:
            raise Unavailable("the ledger has no block yet")
        return self._head

    @property
    def now(self) -> Timestamp:
        """Block time: the only clock of the protocol."""
        return self.head.time
