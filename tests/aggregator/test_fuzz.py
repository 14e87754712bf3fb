"""Whatever anybody sends, the service neither breaks nor answers otherwise than it documents.

Requests come from the OpenAPI document, valid and invalid ones, and from bytes; what once was of interest
is kept as explicit examples. About 20 s.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aggregator.access import matrix
from aggregator.problems import Problem
from aggregator.service_routes import SIGN_IN_BYTES, document
from federation.members import Role

from ..rehearsing import HOSPITALS, rehearse
from .callers import OPERATOR_KEY, key, offered, signed
from .live import Live, alive
from .stage import conductor, hospitals_reveal, hospitals_share, works

FEW = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,  # the same requests each time
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


# What is wrong may be too long as well: 413, which is not on schemathesis's own list.
REFUSING = schemathesis.Config.from_dict(
    {"checks": {"negative_data_rejection": {"expected-statuses": ["4xx", "5xx"]}}}
)


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    stage = rehearse("plain")
    aggregator = conductor(stage)
    id = hospitals_reveal(stage)
    works(aggregator)
    hospitals_share(stage, id, HOSPITALS[:2])
    works(aggregator)
    with alive(stage) as live:
        live.admit("auditor", Role.AUDITOR)
        yield live
        assert live.client.get("/readyz").status_code == 200, "it has survived"


@pytest.fixture(scope="module")
def operations(live: Live) -> list[schemathesis.APIOperation]:
    """All that the OpenAPI document offers."""
    documented = schemathesis.openapi.from_dict(document(live.app), config=REFUSING)
    found = [operation.ok() for operation in documented.get_all_operations()]
    assert {(found.method.upper(), found.path) for found in found} == {
        (line.method, line.path) for line in matrix(live.app) if line.path != "/v1/openapi.json"
    }
    return found


@pytest.mark.parametrize("known", [True, False], ids=["somebody we know", "a stranger"])
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_every_answer_is_a_documented_one(
    live: Live, operations: list[schemathesis.APIOperation], known: bool, mode: schemathesis.GenerationMode
) -> None:
    """Statuses, content types, headers and bodies; and nothing opens without the token that it asks for."""
    token = live.sign_in(OPERATOR_KEY)
    taking = [operation for operation in operations if operation.body or any(operation.iter_parameters())]
    assert len(taking) > 8
    # What takes nothing cannot be asked wrongly.
    for operation in taking if mode is schemathesis.GenerationMode.NEGATIVE else operations:

        @FEW
        @given(case=operation.as_strategy(mode))
        def answers(case: schemathesis.Case) -> None:
            leaving = known and case.method.upper() == "DELETE"
            bearer = live.sign_in(key("auditor")) if leaving else token
            headers = {"Authorization": f"Bearer {bearer}"} if known else {}
            case.call_and_validate(base_url=live.url, headers=headers, timeout=60)

        answers()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "account": JSON | st.just("0x" + "a1" * 20),
        "nonce": JSON | st.just("0x" + "5f" * 32),
        "issued": JSON | st.integers(0, 2**53 - 1),
        "signature": JSON | st.binary(min_size=65, max_size=65).map(lambda raw: "0x" + raw.hex()),
        "extra": JSON,
    },
)
BODIES = st.binary(max_size=64) | (JSON | FIELDS).map(lambda value: json.dumps(value).encode())


@settings(max_examples=150, deadline=None)
@given(body=BODIES)
@example(b"")
@example(b'{"account": 1}')
@example(b"[" * SIGN_IN_BYTES)
@example(b'{"issued": 1e999}')
@example(b'{"issued": ' + b"9" * 900 + b"}")
@example(b'{"account": "\\ud800"}')
@example(b"\x00\xff" * 30)
@example(b"x" * (SIGN_IN_BYTES + 1))
@example(
    json.dumps(
        {
            "account": "0x" + "a1" * 20,
            "nonce": "0x" + "5f" * 32,
            "issued": 2**53 - 1,
            "signature": "0x" + "11" * 65,
        }
    ).encode()
)
def test_no_body_signs_anybody_in_or_breaks_anything(live: Live, body: bytes) -> None:
    answer = live.client.post("/v1/session", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in {400, 401, 413, 422}
    assert Problem.model_validate_json(answer.content).status == answer.status_code


@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, 299), mask=st.integers(1, 255))
def test_one_altered_byte_of_a_sound_sign_in_opens_nothing(live: Live, place: int, mask: int) -> None:
    sound = signed(offered(live.client, key("auditor")), live.door, key("auditor"))
    body = bytearray(sound.model_dump_json().encode())
    body[place % len(body)] ^= mask
    answer = live.client.post(
        "/v1/session", content=bytes(body), headers={"content-type": "application/json"}
    )
    if answer.status_code == 201:  # the same words, written otherwise: one hexadecimal digit in upper case
        assert json.loads(body) != json.loads(sound.model_dump_json())
        assert bytes(body).lower() == sound.model_dump_json().encode().lower()
    else:
        assert answer.status_code in {400, 401, 422}
