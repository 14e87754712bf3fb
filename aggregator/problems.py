"""Errors of the API as RFC 9457 documents, and what holds for every answer: headers, and no bodies in."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from federation.errors import LedgerRejected, TallyError, Unavailable

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = "5"
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Problem(BaseModel):
    """RFC 9457: `type` is always about:blank, so `title` is the status's own phrase."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={
            "examples": [
                {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "there is no study 7"}
            ]
        },
    )
    type: str = "about:blank"
    title: str
    status: int
    detail: str


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The document; `detail` must hold nothing that a stranger may not read."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return JSONResponse(
        body.model_dump(), status_code=status, media_type=MEDIA_TYPE, headers=dict(headers or {})
    )


def answer_with_problems(app: FastAPI) -> None:
    """Every error that a route can raise becomes a problem document."""

    @app.exception_handler(HTTPException)
    def _http(_: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, where)

    @app.exception_handler(TallyError)
    def _ours(_: Request, error: TallyError) -> JSONResponse:
        match error:
            case LedgerRejected(rule="UnknownStudy" | "NotOpened"):
                return problem(HTTPStatus.NOT_FOUND, "the ledger knows no such study or round")
            case Unavailable():
                # The message may name an internal address: it is for the log, not for strangers.
                return problem(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "ledger, store or an examination did not answer in time",
                    {"Retry-After": RETRY_AFTER_SECONDS},
                )
            case _:
                return problem(HTTPStatus.CONFLICT, "this aggregator cannot examine that study")

    @app.exception_handler(Exception)
    def _defect(_: Request, __: Exception) -> JSONResponse:
        # Answered outside of `Guard`, so it brings the headers along.
        headers = {name.decode(): value.decode() for name, value in _HEADERS}
        return problem(
            HTTPStatus.INTERNAL_SERVER_ERROR, "a defect of this service; its log says more", headers
        )


class Guard:
    """Refuses whatever carries a body, since nothing here takes one, and adds the headers of every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        headers = dict(scope["headers"])
        if b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0":
            refusal = problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "no request here has a body")
            await refusal(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)
