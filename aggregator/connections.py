"""Connections that are waited for, but not for long: whoever holds many and says nothing keeps nobody out."""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

from .buckets import network_of

MOST_CONNECTIONS: Final = 200  # at once; beyond, whoever asks is answered 503
MOST_OF_NETWORK: Final = 50  # of these; one network cannot have them all
IDLE_SECONDS: Final = 20.0  # for a request's line and headers, or until some of an answer has been taken


class Connection(H11Protocol):
    """HTTP/1.1 that ends where its client neither asks nor listens for `IDLE_SECONDS`, or holds too many.

    A proxy that the settings name asks for many networks, so it may hold more than one has.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """One more, or none where its network has enough of them."""
        super().connection_made(transport)
        if self._is_one_too_many():
            transport.abort()
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is waited for any more."""
        self._go_on()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Once a request has come, it is for us to hurry; bytes that are no request buy no time."""
        super().data_received(data)
        if self._is_asked():
            self._go_on()

    def on_response_complete(self) -> None:
        """The next request is waited for, and that this answer is taken."""
        super().on_response_complete()
        if not self._is_asked():
            self._wait()

    def pause_writing(self) -> None:
        """The client takes nothing of an answer."""
        super().pause_writing()
        self._wait()

    def resume_writing(self) -> None:
        """It has taken some."""
        super().resume_writing()
        if self._is_asked():
            self._go_on()

    def _is_asked(self) -> bool:
        if self.cycle is None:  # so uvicorn begins, and does not say so
            return False
        return not (self.cycle.response_complete or self.flow.write_paused)

    def _is_one_too_many(self) -> bool:
        if self.client is None or self.client[0] in (self.config.forwarded_allow_ips or ()):
            return False
        ours = network_of(self.client[0])
        others = (other.client for other in self.connections if isinstance(other, Connection))
        return sum(other is not None and network_of(other[0]) == ours for other in others) > MOST_OF_NETWORK

    def _wait(self) -> None:
        self._go_on()
        self._deadline = self.loop.call_later(IDLE_SECONDS, self.transport.abort)

    def _go_on(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
