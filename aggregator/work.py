"""The conductor at work beside the API, in a thread of its own, until it is asked to stop or has to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Event, Thread
from typing import Final

from federation.errors import Unavailable
from federation.members import Address

from .conductor import Conductor
from .logbook import LOG, note

_PATIENCE: Final = 10.0  # seconds for a duty that is under way; then it is cut off, which it survives


class Work:
    """Runs a conductor; `when_it_ends` is called if it stops by itself, and `failure` then says why."""

    def __init__(
        self, conductor: Conductor, *, poll: float, longest: float, when_it_ends: Callable[[], None]
    ) -> None:
        self.conductor = conductor
        self.failure: Exception | None = None
        self._poll = poll
        self._longest = longest
        self._when_it_ends = when_it_ends
        self._stop = Event()
        self._thread = Thread(target=self._run, name="conductor", daemon=True)

    @property
    def goes_on(self) -> bool:
        """Whether duties are still being done."""
        return self._thread.is_alive()

    def role_of(self, account: Address) -> int:
        """The role in which the account may act on the ledger as it was last read; 0 for none.

        Raises `Unavailable` before it has been read at all.
        """
        if not self.conductor.has_read:
            raise Unavailable("the ledger has not been read yet")
        view = self.conductor.view
        with view.lock:
            return view.history.consortium.role_of(account)

    def start(self) -> None:
        """Duties are done from now on."""
        self._thread.start()

    def stop(self) -> None:
        """No further duty begins; waits a while for the one under way."""
        self._stop.set()
        self._thread.join(_PATIENCE)
        note("stopped" if not self.goes_on else "stopped in the middle of a duty: it will be done again")

    def _run(self) -> None:
        try:
            self.conductor.run(self._stop, poll=self._poll, longest=self._longest)
        except Exception as failure:  # the thread's last word; raised again by whoever started it
            LOG.log(logging.CRITICAL, "the conductor gives up: %s", type(failure).__name__)
            self.failure = failure
            self._when_it_ends()
