"""The service about itself: whether it lives, who may come in, and what it offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

from fastapi import FastAPI, Query, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from federation.members import parse_address, show_address
from federation.sign_in import AccountHex, Offer, Session, Signed

from .access import ANYBODY, MONITORING, OPERATOR, ROSTER, bearer, to
from .answers import HealthAnswer, ReadyAnswer, SessionAnswer, StatusAnswer
from .checkup import Probe
from .door import Door
from .portray import block_answer
from .work import Work

SIGN_IN_COST: Final = 10  # ordinary requests: it recovers a key from a signature
DOCUMENT_COST: Final = 5
SIGN_IN_BYTES: Final = 1024  # a signed challenge has about 300
AccountQuery = Annotated[AccountHex, Query(description="The account that is going to sign.")]


def add_service_routes(app: FastAPI, work: Work, probe: Probe, door: Door, wall: Callable[[], float]) -> None:
    """What does not ask for the ledger's facts."""
    _add_health(app, work, probe, wall)
    _add_door(app, door)

    @app.get("/v1/openapi.json", include_in_schema=False, **to(ROSTER, cost=DOCUMENT_COST))
    def openapi() -> JSONResponse:
        """What is offered here, as OpenAPI."""
        return JSONResponse(document(app))


def document(app: FastAPI) -> dict[str, object]:
    """The OpenAPI document, which tells how to bring a token."""
    made: dict[str, object] = get_openapi(title=app.title, version=app.version, routes=app.routes)
    components = made.setdefault("components", {})
    assert isinstance(components, dict)
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    return made


def _add_health(app: FastAPI, work: Work, probe: Probe, wall: Callable[[], float]) -> None:
    @app.get("/healthz", tags=["health"], **to(ANYBODY))
    def healthz() -> HealthAnswer:
        """The process is alive; says nothing about what it can reach."""
        return HealthAnswer(status="alive")

    ready = to(ANYBODY)
    ready["responses"][503] = {"model": ReadyAnswer, "description": "Something is out of reach."}

    @app.get("/readyz", tags=["health"], **ready)
    def readyz(response: Response) -> ReadyAnswer:
        """Ledger and store answer and the conductor is at work; 503 and the same body otherwise."""
        reach = probe.reach()
        answer = ReadyAnswer(ledger=reach.head is not None, store=reach.store, conductor=work.goes_on)
        if not (answer.ledger and answer.store and answer.conductor):
            response.status_code = 503
        return answer

    @app.get("/v1/status", tags=["health"], **to(ROSTER | MONITORING))
    def status() -> StatusAnswer:
        """The newest final block that was seen, and how old it is; nothing where the ledger is silent."""
        head = probe.reach().head
        return StatusAnswer(
            head=None if head is None else block_answer(head),
            head_age_seconds=None if head is None else max(0, int(wall()) - head.time),
        )


def _add_door(app: FastAPI, door: Door) -> None:
    @app.get("/v1/challenge", tags=["sign-in"], **to(ANYBODY, 422))
    def challenge(account: AccountQuery) -> Offer:
        """What an account has to sign to come in. Anybody is given one: it says nothing of the roster."""
        offered = door.challenge(parse_address(account))
        return Offer(
            service=offered.service,
            account=show_address(offered.account),
            nonce=f"0x{offered.nonce.hex()}",
            issued=offered.issued,
            expires=offered.expires,
        )

    @app.post(
        "/v1/session",
        status_code=201,
        tags=["sign-in"],
        **to(ANYBODY, 401, 403, 422, 503, cost=SIGN_IN_COST, body=SIGN_IN_BYTES),
    )
    def sign_in(signed: Signed) -> Session:
        """A token for whoever the account belongs to, if the ledger's roster gives it a role now."""
        return door.sign_in(signed.challenge(door.service), bytes.fromhex(signed.signature[2:]))

    @app.delete("/v1/session", status_code=204, tags=["sign-in"], **to(ROSTER))
    def sign_out(request: Request) -> None:
        """The token that this request brings is worth nothing any more."""
        door.sign_out(bearer(request))

    @app.get("/v1/sessions", tags=["sign-in"], **to(OPERATOR))
    def sessions() -> list[SessionAnswer]:
        """Who is signed in; tokens themselves are not kept."""
        return [
            SessionAnswer(
                account=show_address(stay.account), role=caller, since=stay.since, expires=stay.expires
            )
            for stay, caller in door.stays()
        ]
