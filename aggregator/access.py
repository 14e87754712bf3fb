"""Which route is open to whom: said where a route is registered, enforced and documented from there.

    app.get("/v1/studies", tags=["ledger"], **to(ROSTER))(studies)

A route that says nothing is open to nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from typing import Final, TypedDict

from fastapi import FastAPI, HTTPException, Request
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from .buckets import Buckets, network_of
from .door import STRANGER, Caller, Door, NotProven, Visitor
from .problems import documented

Circle = frozenset[Caller]

ANYBODY: Final[Circle] = frozenset(Caller)
ROSTER: Final[Circle] = frozenset({Caller.INSTITUTION, Caller.AUDITOR, Caller.AGGREGATOR, Caller.OPERATOR})
EXAMINERS: Final[Circle] = frozenset({Caller.INSTITUTION, Caller.AUDITOR, Caller.OPERATOR})
MONITORING: Final[Circle] = frozenset({Caller.MONITOR, Caller.OPERATOR})
OPERATOR: Final[Circle] = frozenset({Caller.OPERATOR})

_WHO: Final = "x-open-to"
_COST: Final = "x-cost"
_BODY: Final = "x-body-bytes"


class Declared(TypedDict):
    """What a route is registered with."""

    openapi_extra: dict[str, object]
    responses: dict[int | str, dict[str, object]]


def to(circle: Circle, *problems: int, cost: int = 1, body: int = 0) -> Declared:
    """Open to this circle. `problems`: statuses it may answer with besides those of every such route.

    `cost`: of how many ordinary requests it takes the place in the rates; `body`: the most bytes it takes.
    """
    extra: dict[str, object] = {_WHO: [caller.value for caller in Caller if caller in circle], _COST: cost}
    common = [429] if circle == ANYBODY else [401, 403, 429]
    if circle != ANYBODY:
        extra["security"] = [{"bearer": []}]
    if body:
        extra[_BODY] = body
        common += [400, 408, 411]
    return Declared(openapi_extra=extra, responses=documented(*common, 413, *problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What one route has declared."""

    circle: Circle
    cost: int = 1
    body: int = 0


def access_of(route: BaseRoute) -> Access:
    """As declared by `to`; open to nobody where nothing was."""
    extra: Mapping[str, object] = (route.openapi_extra or {}) if isinstance(route, APIRoute) else {}
    match extra.get(_WHO), extra.get(_COST), extra.get(_BODY, 0):
        case list() as who, int() as cost, int() as body:
            return Access(circle=frozenset(map(Caller, who)), cost=cost, body=body)
        case _:
            return Access(circle=frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One method of one route, and who may call it."""

    method: str
    path: str
    circle: Circle


def matrix(app: FastAPI) -> Iterator[Line]:
    """Who may call what, of everything that the service answers to.

    Raises `ValueError` for a route that has declared nothing, or that is none of ours to guard.
    """
    for route in app.routes:
        access = access_of(route)
        if not isinstance(route, APIRoute) or not access.circle:
            raise ValueError(f"{route} says nothing of who may call it: register it with `to`")
        for method in sorted(route.methods or ()):
            yield Line(method=method, path=route.path_format, circle=access.circle)


def bodies(app: FastAPI) -> dict[tuple[str, str], int]:
    """The most bytes of a body, by method and path, for those that take one."""
    taking = [(route, access_of(route).body) for route in app.routes if isinstance(route, APIRoute)]
    return {(method, route.path): most for route, most in taking if most for method in route.methods or ()}


class Gate:
    """A dependency of all routes: lets in whom the route is open to, as often as the rates allow."""

    def __init__(self, door: Door, accounts: Buckets, clients: Buckets) -> None:
        self._door = door
        self._accounts = accounts  # by account
        self._clients = clients  # by network; one request is taken before a route is known

    def __call__(self, request: Request) -> None:
        """Raises what becomes 401, 403 or 429."""
        route = request.scope.get("route")
        access = access_of(route) if isinstance(route, BaseRoute) else Access(circle=frozenset())
        is_public = Caller.STRANGER in access.circle
        visitor = STRANGER if is_public else self._visitor(request)
        if visitor.account is None:
            self._take(self._clients, network_of(client_of(request)), access.cost - 1)
        else:
            self._take(self._accounts, visitor.account.hex(), access.cost)
        if visitor.caller not in access.circle:
            raise HTTPException(403, f"not open to whom you come as: {visitor.caller}")

    def _visitor(self, request: Request) -> Visitor:
        token = bearer(request)
        if not token:
            raise NotProven("§10.7", "sign in first: this is open to known accounts only")
        return self._door.visitor(token)

    @staticmethod
    def _take(buckets: Buckets, key: str, cost: int) -> None:
        wait = buckets.take(key, cost)
        if wait:
            seconds = str(ceil(wait))
            raise HTTPException(429, f"too often: try again in {seconds} s", {"Retry-After": seconds})


def bearer(request: Request) -> str:
    """The token that a request brings, or nothing."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def client_of(request: Request) -> str:
    """The address that a request comes from; empty for none, as of a local socket."""
    return "" if request.client is None else request.client.host
