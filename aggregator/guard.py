"""What holds for every request before a route is known: its rate, its body, the headers of its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from math import ceil
from typing import Final

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .buckets import Buckets, network_of
from .problems import HEADERS, problem

BODY_SECONDS: Final = 10.0  # to send a body of a few hundred bytes
_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")


class Guard:
    """Refuses who asks too often, and bodies but for `bodies`: the most bytes, by method and path.

    Nothing is read of a body that is refused, and no more held than is allowed.
    """

    def __init__(
        self, app: ASGIApp, *, bodies: Mapping[tuple[str, str], int], clients: Buckets, over_tls: bool
    ) -> None:
        self._app = app
        self._bodies = bodies
        self._clients = clients
        self._headers = (*HEADERS, _HSTS) if over_tls else HEADERS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None and _length(_headers(scope)):
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    receive = _again(await _whole(receive))
            except TimeoutError:
                refusal = problem(HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time")
        if refusal is not None:
            await refusal(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        client = scope.get("client")
        wait = self._clients.take(network_of(client[0] if client else ""))
        if wait:
            seconds = str(ceil(wait))
            detail = f"too often: try again in {seconds} s"
            return problem(HTTPStatus.TOO_MANY_REQUESTS, detail, {"Retry-After": seconds})
        headers = _headers(scope)
        most = self._bodies.get((scope["method"], scope["path"]), 0)
        if b"transfer-encoding" in headers:
            status = HTTPStatus.LENGTH_REQUIRED if most else HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            return problem(status, "a body has to say its length first" if most else "no body is taken here")
        if _length(headers) > most:
            said = f"expected at most {most} bytes" if most else "no body is taken here"
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, said)
        return None


def _headers(scope: Scope) -> dict[bytes, bytes]:
    return dict(scope["headers"])


def _length(headers: Mapping[bytes, bytes]) -> int:
    """As declared; more than anything for what is no number."""
    text = headers.get(b"content-length", b"0")
    return int(text) if text.isdigit() and len(text) < 10 else 10**10


async def _whole(receive: Receive) -> list[Message]:
    """The request up to the end of its body, or to where its sender went away."""
    messages = [await receive()]
    while messages[-1]["type"] == "http.request" and messages[-1].get("more_body", False):
        messages.append(await receive())
    return messages


def _again(messages: list[Message]) -> Receive:
    """Gives the messages in order; afterwards nobody is there any more."""
    left = iter(messages)

    async def receive() -> Message:
        return next(left, {"type": "http.disconnect"})

    return receive
