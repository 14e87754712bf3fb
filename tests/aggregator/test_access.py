"""Every route is open to whom docs/api.md says, over HTTP, and to nobody else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from aggregator.access import matrix
from aggregator.door import Caller
from aggregator.problems import Problem

from ..rehearsing import HOSPITALS, rehearse
from .callers import MONITOR_TOKEN, key
from .live import Live, alive, everybody
from .matrix import YES, committed, is_committed
from .stage import conductor, hospitals_reveal, hospitals_share, works

AS = {  # what each of them is to the service now
    "nobody": Caller.STRANGER,
    "forged": Caller.STRANGER,
    "expired": Caller.STRANGER,
    "suspended": Caller.STRANGER,
    "removed": Caller.STRANGER,
    "replaced": Caller.STRANGER,
    "monitor": Caller.MONITOR,
    "institution": Caller.INSTITUTION,
    "heir": Caller.INSTITUTION,
    "auditor": Caller.AUDITOR,
    "aggregator": Caller.AGGREGATOR,
    "operator": Caller.OPERATOR,
}


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    stage = rehearse("plain")
    aggregator = conductor(stage)
    id = hospitals_reveal(stage)
    works(aggregator)
    hospitals_share(stage, id, HOSPITALS[:2])
    works(aggregator)
    with alive(stage) as live:
        yield live


@pytest.fixture(scope="module")
def tokens(live: Live) -> dict[str, str]:
    """What each brings; nothing at all for nobody."""
    return everybody(live) | {"nobody": "", "forged": "Zm9yZ2Vk" * 6, "monitor": MONITOR_TOKEN}


def test_the_page_has_the_table_that_the_routes_declare(live: Live) -> None:
    assert is_committed(live.app), "python -m tests.aggregator.matrix writes it"


def test_a_route_that_declares_nothing_is_noticed_and_open_to_nobody() -> None:
    with alive(rehearse("plain")) as live:

        @live.app.get("/v1/forgotten")
        def forgotten() -> str:
            return "a secret"

        token = {"Authorization": f"Bearer {live.sign_in(key('operator'))}"}
        answer = live.client.get("/v1/forgotten", headers=token)
        with pytest.raises(ValueError, match="forgotten"):
            list(matrix(live.app))
    assert answer.status_code == 403
    assert "secret" not in answer.text


def test_what_is_no_route_of_ours_is_noticed() -> None:
    app = FastAPI()
    with pytest.raises(ValueError, match="says nothing"):
        list(matrix(app))


@pytest.mark.parametrize("who", AS)
def test_every_route_answers_every_caller_as_the_page_says(
    live: Live, tokens: dict[str, str], who: str
) -> None:
    for (method, path), cells in committed().items():
        # Signing out would end the others' visits.
        leaving = (method, path) == ("DELETE", "/v1/session") and cells[AS[who]] == YES
        token = live.sign_in(key(who)) if leaving else tokens[who]
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = live.client.request(method, path.format(study=1, number=1), headers=headers)
        if cells[AS[who]] == YES:
            expected = {"POST": 422, "DELETE": 204}.get(method, 422 if path == "/v1/challenge" else 200)
            assert answer.status_code == expected, (method, path, answer.text)
        else:
            assert answer.status_code == int(cells[AS[who]]), (method, path, answer.text)
            assert Problem.model_validate_json(answer.content).status == answer.status_code
            assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)


def test_a_stranger_learns_nothing_of_the_ledger(live: Live) -> None:
    record = live.stage.round(
        live.stage.record(live.stage.view.history.study(live.stage.study).rounds[0].id).id
    )
    assert record.total is not None
    known = [record.total.root, live.stage.view.head.hash, live.stage.ledger(HOSPITALS[0]).id, *HOSPITALS]
    for (method, path), cells in committed().items():
        answer = live.client.request(method, path.format(study=1, number=1))
        told = answer.text + str(answer.headers)
        assert not [fact for fact in known if fact.hex() in told], (path, cells)


def test_other_methods_and_other_paths_are_closed_to_everybody(live: Live, tokens: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {tokens['operator']}"}
    routes = committed()
    for path in {path for _, path in routes}:
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
            if (method, path) not in routes:
                answer = live.client.request(method, path.format(study=1, number=1), headers=headers)
                assert answer.status_code == 405, (method, path)
    for path in (
        "/",
        "/docs",
        "/redoc",
        "/openapi.json",
        "/v1",
        "/v1/",
        "/v1//studies",
        "/v1/studies/",
        "/metrics/..",
    ):
        assert live.client.get(path, headers=headers).status_code == 404, path


def test_no_page_of_another_site_may_read_answers(live: Live, tokens: dict[str, str]) -> None:
    site = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "GET"}
    asked = live.client.options("/v1/studies", headers=site)
    read = live.client.get("/v1/studies", headers=site | {"Authorization": f"Bearer {tokens['auditor']}"})
    assert asked.status_code == 405
    assert read.status_code == 200
    for answer in (asked, read):
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer",
        "Basic YTpi",
        "Bearer a b",
        "Token x",
        "Bearer " + "x" * 8000,
        "Bearer \u00e9",
    ],
)
def test_what_is_no_token_is_a_stranger_s(live: Live, authorization: str) -> None:
    headers = [(b"authorization", authorization.encode("latin-1"))]
    assert live.client.get("/v1/studies", headers=headers).status_code == 401


def test_the_operator_sees_who_is_signed_in_but_no_token(live: Live, tokens: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {tokens['operator']}"}
    answer = live.client.get("/v1/sessions", headers=headers)
    roles = {entry["account"]: entry["role"] for entry in answer.json()}
    assert roles[key("auditor").address.lower()] == "auditor"
    assert roles[key("operator").address.lower()] == "operator"
    assert key("removed").address.lower() not in {a for a, role in roles.items() if role != "stranger"}
    assert not [token for token in tokens.values() if token and token in answer.text]
