"""Errors of the API as RFC 9457 documents, and which of them a route may answer with."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from federation.errors import LedgerRejected, TallyError, Unavailable
from federation.sign_in import CHALLENGE_SECONDS

from .door import NoRole, NotProven, TooOften

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = "5"
HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_MEANINGS: Final = {
    400: "The body is not text in UTF-8.",
    401: "Not signed in, or not any more; or what was signed does not prove who signs in.",
    403: "Known, but this is not open to that role; or the roster gives the account no role now.",
    404: "The ledger knows no such study, round or model.",
    408: "The body took too long to arrive.",
    409: "This aggregator cannot examine that study: it is not among its readers.",
    411: "A body has to say its length first.",
    413: "A body where none is taken, or a longer one.",
    422: "A number or field is not of the form that it should have.",
    429: "Too often; the header Retry-After says when to try again.",
    503: "Ledger or store did not answer; try again.",
}


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


def documented(*statuses: int) -> dict[int | str, dict[str, object]]:
    """What a route's documentation says of them."""
    content = {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {status: {"description": _MEANINGS[status], "content": content} for status in sorted(statuses)}


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
            case NotProven():
                return problem(HTTPStatus.UNAUTHORIZED, error.problem, {"WWW-Authenticate": "Bearer"})
            case NoRole():
                return problem(HTTPStatus.FORBIDDEN, str(error))
            case TooOften():
                again = {"Retry-After": str(CHALLENGE_SECONDS)}
                return problem(HTTPStatus.TOO_MANY_REQUESTS, str(error), again)
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
        headers = {name.decode(): value.decode() for name, value in HEADERS}
        return problem(
            HTTPStatus.INTERNAL_SERVER_ERROR, "a defect of this service; its log says more", headers
        )
