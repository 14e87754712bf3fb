"""The API tells what the ledger says, as documented, and nothing that is nobody's business."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic, sleep

import numpy as np
import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel

from aggregator import answers
from aggregator.app import create_app
from aggregator.checkup import Auditor, Probe
from aggregator.problems import Problem
from aggregator.work import Work
from federation.audit.charges import find_charge
from federation.combination import combine
from federation.digest import Cid, Digest, sha256
from federation.errors import Refused, Unavailable
from federation.ledger.ledger import Block, Ledger
from federation.rehearsal import AGGREGATOR, Rehearsal, sealing_secret
from federation.runs import whole
from federation.store.content import ContentStore

from ..rehearsing import (
    HOSPITALS,
    STAKE,
    STANDBY,
    A,
    C,
    altered,
    flip,
    post_total,
    rehearse,
    rehearse_staked,
)
from .callers import OPERATOR_KEY, door_of, plenty, sign_in
from .stage import (
    Patchy,
    ReadThrough,
    conductor,
    hospitals_reveal,
    hospitals_share,
    sealed_with_us,
    works,
    wrong_share,
)

ROUTES = (
    "/healthz",
    "/readyz",
    "/v1/status",
    "/v1/sessions",
    "/v1/studies",
    "/v1/studies/1",
    "/v1/studies/1/members",
    "/v1/studies/1/rounds",
    "/v1/studies/1/rounds/1",
    "/v1/studies/1/models",
    "/v1/studies/1/models/1",
    "/v1/studies/1/audit",
    "/v1/openapi.json",
)


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    now: float = 0

    def __call__(self) -> float:
        return self.now


class MuteLedger(ReadThrough):
    """Has stopped answering."""

    def head(self) -> Block:
        raise Unavailable("http://10.0.0.7:8545 does not answer")


class BrokenLedger(ReadThrough):
    """Something that a person has to look at."""

    def head(self) -> Block:
        raise Refused("reorganised deeper than 3 confirmations")


@contextmanager
def served(
    stage: Rehearsal,
    *,
    ledger: Ledger | None = None,
    store: ContentStore | None = None,
    clock: Clock | None = None,
    audited_code: Digest | None = None,
) -> Iterator[TestClient]:
    """The service over this study, its conductor having caught up; time stands still unless `clock` moves."""
    ledger, store, clock = ledger or stage.ledger(AGGREGATOR), store or stage.store, clock or Clock()
    working = conductor(stage, ledger=ledger, store=store)
    work = Work(working, poll=0.005, longest=0.005, when_it_ends=lambda: None)
    secret, code = sealing_secret(AGGREGATOR), audited_code or ledger.code_digest
    auditor = Auditor(ledger, store, secret, audited_code=code, every=60, clock=clock)
    door = door_of(stage, work)
    app = create_app(
        work,
        Probe(ledger, store, clock=clock),
        auditor,
        door,
        accounts=plenty(),
        clients=plenty(),
        wall=lambda: stage.ledger(AGGREGATOR).head().time + 7,
    )
    with TestClient(app, raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {sign_in(client, door, OPERATOR_KEY).token}"
        if not isinstance(ledger, MuteLedger | BrokenLedger):
            until(lambda: working.has_read and working.view.head == stage.ledger(AGGREGATOR).head())
        yield client


def until(holds: object) -> None:
    """Gives the conductor's thread its turn."""
    assert callable(holds)
    deadline = monotonic() + 20  # seconds; far more than it takes
    while not holds():
        assert monotonic() < deadline, "the conductor never got there"
        sleep(0.005)


def played(stage: Rehearsal) -> Rehearsal:
    """One finished round, and a second in which everyone has revealed."""
    aggregator = conductor(stage)
    id = hospitals_reveal(stage)
    works(aggregator)
    hospitals_share(stage, id)
    works(aggregator)
    hospitals_reveal(stage)
    works(aggregator)
    return stage


def test_every_route_answers() -> None:
    with served(played(rehearse("plain"))) as client:
        for route in ROUTES:
            response = client.get(route)
            assert response.status_code == 200, (route, response.text)
            assert response.headers["content-type"] == "application/json"
            assert response.headers["x-content-type-options"] == "nosniff"
            assert response.headers["cache-control"] == "no-store"


def test_a_round_shows_who_has_done_what() -> None:
    stage = played(rehearse("plain"))
    with served(stage) as client:
        first = client.get("/v1/studies/1/rounds/1").json()
        second = client.get("/v1/studies/1/rounds/2").json()
    round = stage.round(stage.record(stage.round().id).id)
    assert first["phase"] == {"name": "finished", "closes": None, "reason": None}
    assert [part["shared"] is not None for part in first["parts"]] == [True, True, False, False]
    assert len(first["proposals"]) == 1
    assert second["phase"]["name"] == "opening"
    assert round.total is not None
    assert second["total"]["root"] == "0x" + round.total.root.hex()
    assert second["parts"][0]["member"] == "0x" + A.hex()
    assert second["parts"][0]["root"] == "0x" + round.commits[A].root.hex()


def test_bonds_turns_and_proven_faults_are_shown() -> None:
    stage = rehearse_staked("paillier")
    id = hospitals_reveal(stage)
    record = stage.record(id)
    wrong = altered(combine(record.agreement, id, record.admission), 1, flip)
    post_total(stage, id, wrong)
    charge = find_charge(stage.record(id))
    assert charge is not None
    stage.ledger(C).dispute(charge)
    with served(stage) as client:
        study = client.get("/v1/studies/1").json()
        round = client.get(f"/v1/studies/1/rounds/{id.number}").json()
    assert study["stake_gwei"] == STAKE.gwei
    first, second = study["aggregators"]
    assert (first["address"], first["bond_gwei"]) == ("0x" + AGGREGATOR.hex(), 0)
    assert first["locked_until"] == stage.time + STAKE.lock
    assert (second["address"], second["bond_gwei"], second["locked_until"]) == (
        "0x" + STANDBY.hex(),
        STAKE.gwei,
        None,
    )
    assert round["phase"]["name"] == "combining"
    assert round["turns"] == [{"aggregator": "0x" + STANDBY.hex(), "begins": stage.time}]
    assert round["total"] is None
    assert [(line["aggregator"], line["root"]) for line in round["taken_back"]] == [
        ("0x" + AGGREGATOR.hex(), "0x" + wrong.root().hex())
    ]
    (fault,) = round["faults"]
    assert {key: fault[key] for key in fault if key != "block"} == {
        "fault": "SUM",
        "leaf": 1,
        "aggregator": "0x" + AGGREGATOR.hex(),
        "member": None,
        "challenger": "0x" + C.hex(),
        "slashed_gwei": STAKE.gwei,
        "beneficiary": "0x" + C.hex(),
    }


def test_a_model_is_settled_once_members_trained_from_it() -> None:
    stage = rehearse("plain")
    aggregator = conductor(stage)
    id = hospitals_reveal(stage)
    works(aggregator)
    hospitals_share(stage, id)
    works(aggregator)
    with served(stage) as client:
        before = client.get("/v1/studies/1/models/1").json()
        hospitals_reveal(stage)
        until(lambda: client.get("/v1/studies/1/models/1").json()["settled"])
        after = client.get("/v1/studies/1/models/1").json()
    assert before["settled"] is False
    assert after["digest"] == before["digest"] == "0x" + (stage.record(id).model_digest or b"").hex()


def test_why_rounds_failed_is_counted() -> None:
    stage = rehearse("plain")
    stage.commit(A)
    stage.wait(61)
    works(conductor(stage))
    with served(stage) as client:
        assert client.get("/v1/studies/1").json()["ended"] == {"TOO_FEW_COMMITS": 1}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/studies/9", 404),
        ("GET", "/v1/studies/1/rounds/9", 404),
        ("GET", "/v1/studies/1/models/2", 404),
        ("GET", "/v1/studies/9/audit", 404),
        ("GET", "/v1/nothing", 404),
        ("POST", "/v1/studies", 405),
        ("DELETE", "/v1/studies/1", 405),
        ("GET", "/v1/studies/zero", 422),
        ("GET", "/v1/studies/0", 422),
        ("GET", f"/v1/studies/{2**80}", 422),
    ],
)
def test_every_error_is_a_problem_document(method: str, path: str, status: int) -> None:
    with served(played(rehearse("plain"))) as client:
        response = client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert Problem.model_validate_json(response.content).status == status


def test_a_defect_is_a_problem_document_that_tells_nothing() -> None:
    class Defective(Patchy):
        def put(self, _: object) -> Cid:
            raise ZeroDivisionError("a secret")

    with served(rehearse("plain"), store=Defective()) as client:
        response = client.get("/readyz")
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "secret" not in response.text


def test_nothing_takes_a_body() -> None:
    with served(rehearse("plain")) as client:
        whole = client.request("GET", "/v1/studies", content=b"x" * 10)
        streamed = client.request("GET", "/v1/studies", content=iter([b"x"] * 10))
    for response in (whole, streamed):
        assert response.status_code == 413
        assert Problem.model_validate_json(response.content).status == 413


def test_a_silent_ledger_makes_the_service_unready_but_not_dead_and_names_no_address() -> None:
    stage = rehearse("plain")
    with served(stage, ledger=MuteLedger(stage.ledger(AGGREGATOR))) as client:
        assert client.get("/healthz").status_code == 200
        ready = client.get("/readyz")
        studies = client.get("/v1/studies")
        audit = client.get("/v1/studies/1/audit")
    assert ready.status_code == 503
    assert answers.ReadyAnswer.model_validate_json(ready.content).ledger is False
    for response in (studies, audit):
        assert response.status_code == 503
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["retry-after"]
        assert "10.0.0.7" not in response.text


def test_a_silent_store_makes_the_service_unready_and_is_asked_again_later() -> None:
    stage, clock = rehearse("plain"), Clock()
    store = Patchy(inner=stage.store, silent=True)
    with served(stage, store=store, clock=clock) as client:
        assert client.get("/readyz").json()["store"] is False
        store.silent = False
        assert client.get("/readyz").status_code == 503, "asked too soon: the last answer holds"
        clock.now += 6
        assert client.get("/readyz").status_code == 200
        assert client.get("/v1/status").json()["head_age_seconds"] == 7


def test_a_conductor_that_gave_up_makes_the_service_unready() -> None:
    stage = rehearse("plain")
    ended: list[bool] = []
    broken = conductor(stage, ledger=BrokenLedger(stage.ledger(AGGREGATOR)))
    work = Work(broken, poll=0.005, longest=0.005, when_it_ends=lambda: ended.append(True))
    ledger, store = stage.ledger(AGGREGATOR), stage.store
    auditor = Auditor(ledger, store, sealing_secret(AGGREGATOR), audited_code=ledger.code_digest, every=60)
    door = door_of(stage, work)
    app = create_app(work, Probe(ledger, store), auditor, door, accounts=plenty(), clients=plenty())
    with TestClient(app) as client:
        until(lambda: ended)
        until(lambda: not work.goes_on)
        ready = client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["conductor"] is False
    assert isinstance(work.failure, Refused)


def test_the_audit_holds_and_says_what_it_does_not_prove() -> None:
    with served(played(rehearse("plain"))) as client:
        audit = client.get("/v1/studies/1/audit").json()
    assert audit["sound"] is True
    verdicts = {claim["name"]: claim["verdict"] for claim in audit["claims"]}
    assert set(verdicts.values()) <= {"holds", "unchecked"}
    assert verdicts["total_is_the_sum"] == verdicts["openings_are_right"] == "holds"
    said = {claim["name"]: (claim["clause"], claim["statement"]) for claim in audit["claims"]}
    assert said["contributors_reach_the_minimum"] == (
        "§9.7",
        "no sum of fewer updates than agreed was ever posted.",
    )
    clause, statement = said["nobody_is_called_unavailable_lightly"]
    assert clause == "§9.16"
    assert statement.endswith("a node that held the bytes gives no share."), "the whole first paragraph"
    assert "honestly" in audit["not_proved"]


def test_the_audit_names_a_foreign_contract_and_a_wrong_share() -> None:
    stage = rehearse("plain")
    aggregator = conductor(stage)
    id = hospitals_reveal(stage)
    works(aggregator)
    wrong_share(stage, A, id, b"wrong")
    with served(stage, audited_code=sha256(b"another build")) as client:
        audit = client.get("/v1/studies/1/audit").json()
    found = {(f["clause"], f["culprit"]) for claim in audit["claims"] for f in claim["findings"]}
    assert audit["sound"] is False
    assert {("§9.20", None), ("§9.9", "0x" + A.hex())} <= found


def test_an_audit_is_repeated_only_after_a_while_and_for_a_new_block() -> None:
    stage, clock = rehearse("plain"), Clock()
    with served(stage, clock=clock) as client:
        first = client.get("/v1/studies/1/audit").json()
        hospitals_reveal(stage)
        again = client.get("/v1/studies/1/audit").json()
        clock.now += 61
        later = client.get("/v1/studies/1/audit").json()
    assert again["head"] == first["head"]
    assert later["head"]["number"] > first["head"]["number"]


def test_an_audit_of_a_study_we_cannot_read_is_refused() -> None:
    with served(rehearse("plain, sealed")) as client:
        response = client.get("/v1/studies/1/audit")
    assert response.status_code == 409
    assert response.headers["content-type"] == "application/problem+json"


def test_openapi_documents_every_answer_with_an_example_that_is_one() -> None:
    stage = rehearse("plain")
    with served(stage) as client:
        document = client.get("/v1/openapi.json").json()
    named = {name: kind for name, kind in vars(answers).items() if _is_answer(kind)}
    for name, kind in named.items():
        schema = document["components"]["schemas"][name]
        assert schema["examples"], name
        for example in schema["examples"]:
            kind.model_validate(example)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["description"], path
            problems = {s: answer for s, answer in operation["responses"].items() if s >= "400"}
            assert {"413", "429"} <= problems.keys(), path
            if "security" in operation:
                assert {"401", "403"} <= problems.keys(), path
            if path.startswith("/v1/studies"):
                assert {"404", "422", "503"} <= problems.keys(), path
            for status, answer in problems.items():
                if (path, status) != ("/readyz", "503"):
                    schema = answer["content"]["application/problem+json"]["schema"]
                    Problem.model_validate(schema["examples"][0])


def test_no_answer_holds_a_key_a_payload_or_a_sum() -> None:
    stage = played(sealed_with_us(rounds=3))
    with served(stage) as client:
        bodies = "\n".join(client.get(route).text for route in ROUTES)
    record = stage.record(stage.view.history.study(stage.study).rounds[0].id)
    assert record.opening is not None
    assert isinstance(record.model, np.ndarray)
    assert isinstance(record.summed, np.ndarray)
    secrets = [
        stage.content_key,
        sealing_secret(AGGREGATOR),
        record.opening.first_part[:64],
        record.model.tobytes(),
        *(stage.hospitals[address].seed for address in HOSPITALS),
        *(bytes(stage.hospitals[address].key_share) for address in HOSPITALS),
        *(whole(content)[-64:] for content in record.updates.values()),
        *(data[-32:] for data in record.shares.values()),
    ]
    for secret in secrets:
        for shown in (secret.hex(), base64.b64encode(secret).decode(), repr(secret)):
            assert shown not in bodies
    large = [str(value) for value in record.summed if abs(value) > 10_000]  # no height, number or count is
    assert large
    for value in large:
        assert value not in bodies


def _is_answer(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in {BaseModel, answers.Answer}
