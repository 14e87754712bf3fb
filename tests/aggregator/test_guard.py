"""Nobody asks more often, sends more, or takes more time than the service can bear."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event

import pytest

from aggregator import connections, guard
from aggregator.buckets import Buckets, network_of
from aggregator.checkup import Turns
from aggregator.door import MOST_SIGNED
from aggregator.ledger_routes import AUDIT_COST
from aggregator.problems import Problem
from aggregator.server import read_monitor_token, server_of
from aggregator.service_routes import SIGN_IN_BYTES, SIGN_IN_COST
from aggregator.settings import ServiceSettings
from federation.errors import Refused, Unavailable
from federation.members import Role
from federation.sign_in import CHALLENGE_SECONDS

from ..rehearsing import rehearse
from .callers import OPERATOR_KEY, key, offered, signed
from .certificates import issue
from .live import Clock, Live, alive


def test_a_bucket_lets_through_its_burst_and_then_what_flows_in() -> None:
    clock = Clock()
    buckets = Buckets(burst=3, per_second=2, clock=clock)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b") == 0, "everybody has a bucket"
    clock.now += 0.5
    assert [buckets.take("a"), buckets.take("a")] == [0, 0.5]
    clock.now += 1000
    assert [buckets.take("a", 3), buckets.take("a")] == [0, 0.5], "no bucket holds more than a burst"


def test_what_is_refused_costs_nothing() -> None:
    clock = Clock()
    buckets = Buckets(burst=3, per_second=1, clock=clock)
    buckets.take("a", 2)
    assert [buckets.take("a", 3) for _ in range(5)] == [2] * 5
    assert buckets.take("a", 1) == 0


def test_a_clock_that_goes_back_gives_nobody_more() -> None:
    clock = Clock()
    buckets = Buckets(burst=2, per_second=1, clock=clock)
    buckets.take("a", 2)
    clock.now -= 100
    assert buckets.take("a") > 0


def test_only_so_many_are_remembered_and_the_silent_are_forgotten_first() -> None:
    buckets = Buckets(burst=1, per_second=1e-9, most=2, clock=Clock())
    assert [buckets.take(name) for name in ("a", "b")] == [0, 0]
    assert buckets.take("a") > 0
    assert buckets.take("c") == 0
    assert len(buckets._levels) == 2
    assert buckets.take("a") > 0, "it asked last, before c"
    assert buckets.take("b") == 0, "forgotten"


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::1", "2001:db8:1:2::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_one_machine_s_many_addresses_are_one(client: str, network: str) -> None:
    assert network_of(client) == network


def test_a_network_that_asks_too_often_is_told_when_to_come_back() -> None:
    clock = Clock()
    with alive(rehearse("plain"), clients=Buckets(burst=30, per_second=2, clock=clock)) as live:
        answers = [live.client.get(path) for path in ("/healthz", "/nothing") * 15]
        late = live.client.get("/healthz")
        clock.now += 1
        again = live.client.get("/healthz")
    assert {answer.status_code for answer in answers} == {200, 404}
    assert (late.status_code, late.headers["retry-after"]) == (429, "1")
    assert Problem.model_validate_json(late.content).status == 429
    assert again.status_code == 200


def test_signing_in_and_audits_count_for_many_requests_and_accounts_apart_from_networks() -> None:
    clock = Clock()
    clients = Buckets(burst=200, per_second=1, clock=clock)
    accounts = Buckets(burst=2 * AUDIT_COST, per_second=1, clock=clock)
    with alive(rehearse("plain"), clients=clients, accounts=accounts) as live:
        live.admit("auditor", Role.AUDITOR)
        token = {"Authorization": f"Bearer {live.sign_in(key('auditor'))}"}
        audits = [live.client.get("/v1/studies/1/audit", headers=token) for _ in range(3)]
        operator = {"Authorization": f"Bearer {live.sign_in(key('operator'))}"}
        assert live.client.get("/v1/studies", headers=operator).status_code == 200, "another account"
        refused = [live.client.post("/v1/session", json={}).status_code for _ in range(200 // SIGN_IN_COST)]
    assert [audit.status_code for audit in audits] == [200, 200, 429]
    assert audits[2].headers["retry-after"] == str(AUDIT_COST)
    assert set(refused) == {422, 429}
    assert refused[-1] == 429


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with alive(rehearse("plain")) as live:
        yield live


def spoken(live: Live, request: bytes) -> bytes:
    """How the service's answer to these very bytes begins."""
    with socket.create_connection(("127.0.0.1", int(live.url.rpartition(":")[2])), timeout=20) as wire:
        wire.sendall(request)
        return wire.recv(1 << 16)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /v1/session HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (SIGN_IN_BYTES + 1), 413),
        (b"POST /v1/session HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999\r\n\r\n", 413),
        (b"POST /v1/session HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", 411),
        (b"GET /v1/studies HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n", 413),
        (b"GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx", 413),
        (b"POST /v1/session HTTP/1.1\r\nhost: x\r\ncontent-length: nine\r\n\r\n", 400),
        (b"POST /v1/session HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nhost: x\r\n" + b"a: " + b"b" * 20_000, 400),
        (b"nonsense\r\n\r\n", 400),
    ],
)
def test_what_is_too_much_is_refused_before_it_is_read(live: Live, request_: bytes, status: int) -> None:
    assert spoken(live, request_).startswith(b"HTTP/1.1 %d" % status)
    assert live.client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"\\ud800": 1}',
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"[" * 1000,
        b"\xff\xfe",
        b'{"issued": 1e999}',
        b"9" * 1000,
    ],
)
def test_a_body_that_is_no_sign_in_is_a_problem_document(live: Live, body: bytes) -> None:
    answer = live.client.post("/v1/session", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert Problem.model_validate_json(answer.content).status == 422


def test_a_body_that_does_not_come_is_not_waited_for(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.05)
    with socket.create_connection(("127.0.0.1", int(live.url.rpartition(":")[2])), timeout=20) as wire:
        wire.sendall(b"POST /v1/session HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhalf")
        assert wire.recv(1 << 16).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET /healthz HTT",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\nrefused, and not read",
    ],
)
def test_whoever_says_nothing_more_is_not_waited_for(
    live: Live, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(connections, "IDLE_SECONDS", 0.05)
    with reached(live) as wire:
        wire.sendall(said)
        assert heard_to_the_end(wire).startswith(b"HTTP/1.1 " if b"1000" in said else b"")
    assert live.client.get("/healthz").status_code == 200


def reached(live: Live) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(live.url.rpartition(":")[2])), timeout=20)


def heard_to_the_end(wire: socket.socket) -> bytes:
    """All that the service says before it hangs up."""
    heard = b""
    with suppress(ConnectionResetError):
        while piece := wire.recv(1 << 16):
            heard += piece
    return heard


def test_one_network_cannot_hold_all_connections_but_a_named_proxy_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "MOST_OF_NETWORK", 5)
    asked = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    for proxies, heard in (((), b""), (("127.0.0.1",), b"HTTP/1.1 200")):
        with alive(rehearse("plain"), settings={"proxies": proxies}) as live, ExitStack() as held:
            for _ in range(5):
                held.enter_context(reached(live))
            with reached(live) as wire, suppress(ConnectionError):
                wire.sendall(asked)
                assert heard_to_the_end(wire)[:12] == heard


def test_what_asks_to_become_something_else_is_counted_as_well() -> None:
    asked = (
        b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with alive(rehearse("plain"), clients=Buckets(burst=30, per_second=1e-6)) as live:
        answers = [spoken(live, asked)[:12] for _ in range(31)]
    assert answers == [b"HTTP/1.1 200"] * 30 + [b"HTTP/1.1 429"]


def test_those_who_wait_for_an_examination_leave_threads_to_others() -> None:
    turns, done = Turns(), Event()

    def examine() -> str:
        try:
            with turns.taken():
                done.wait(20)
        except Unavailable as trouble:
            return str(trouble)
        return "examined"

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(examine) for _ in range(8)]
        sent_away = [one.result() for _, one in zip(range(4), as_completed(asked), strict=False)]
        done.set()  # not before: nobody was done
    assert sent_away == ["enough others wait for an examination"] * 4
    assert sorted(one.result() for one in asked) == sorted([*sent_away, *["examined"] * 4])


def test_whom_somebody_asks_for_is_believed_of_named_proxies_only(live: Live) -> None:
    for proxies, apart in (((), False), (("192.0.2.9",), False), (("127.0.0.1",), True)):
        clients = Buckets(burst=30, per_second=1e-6)
        with alive(rehearse("plain"), settings={"proxies": proxies}, clients=clients) as service:
            answers = [
                service.client.get("/healthz", headers={"X-Forwarded-For": f"192.0.2.{n}"}) for n in range(40)
            ]
        assert ({answer.status_code for answer in answers} == {200}) is apart


# ---------------------------------------------------------------- settings


def test_a_service_that_others_hear_has_a_certificate_or_says_that_it_needs_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="would read tokens"):
        ServiceSettings(host="0.0.0.0")
    with pytest.raises(ValueError, match="both or neither"):
        ServiceSettings(certificate=tmp_path)
    for way in ({"proxies": ["10.0.0.1"]}, {"in_the_clear": True}, {"certificate": "c", "key": "k"}):
        assert ServiceSettings.model_validate({"host": "0.0.0.0", **way}).host == "0.0.0.0"


def test_the_service_knows_by_which_name_it_is_asked() -> None:
    tls = {"certificate": "c", "key": "k"}
    assert ServiceSettings().known_as == "http://127.0.0.1:8420"
    assert ServiceSettings.model_validate({"host": "::", "port": 443, **tls}).url == "https://[::1]:443"
    assert ServiceSettings.model_validate({"host": "::", "port": 443, **tls}).known_as == "https://[::1]"
    assert ServiceSettings(origin="https://Sums.example/").known_as == "https://sums.example"


@pytest.mark.parametrize(
    "text", ["", "short", "x" * 31, "words with spaces are not one token at all", "é" * 40]
)
def test_a_monitor_s_token_that_is_easily_guessed_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(Refused, match="openssl rand"):
        read_monitor_token(ServiceSettings(monitor_token_file=tmp_path / "token"))


def test_a_monitor_s_token_is_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("m" * 32 + "\nrest")
    assert read_monitor_token(ServiceSettings(monitor_token_file=tmp_path / "token")) == "m" * 32
    assert read_monitor_token(ServiceSettings()) == ""


def test_a_certificate_that_is_none_is_refused_by_its_name(live: Live, tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("not PEM")
    (tmp_path / "k.pem").write_text("not PEM")
    for certificate in ("c.pem", "missing.pem"):
        settings = ServiceSettings(certificate=tmp_path / certificate, key=tmp_path / "k.pem")
        with pytest.raises(Refused, match=certificate):
            server_of(live.app, settings)


def test_no_old_tls_is_spoken(live: Live, tmp_path: Path) -> None:
    config = server_of(live.app, ServiceSettings.model_validate(issue(tmp_path).settings)).config
    config.load()
    assert config.ssl is not None
    assert config.ssl.minimum_version >= ssl.TLSVersion.TLSv1_2
    for cipher in config.ssl.get_ciphers():
        assert cipher["aead"]
        assert cipher["kea"] in {"kx-ecdhe", "kx-any"}, "no session can be read with the key of a later day"


def test_one_account_that_signs_in_without_end_is_told_to_wait(live: Live) -> None:
    for _ in range(MOST_SIGNED):
        live.sign_in(OPERATOR_KEY)
    again = signed(offered(live.client, OPERATOR_KEY), live.door, OPERATOR_KEY)
    answer = live.client.post("/v1/session", json=again.model_dump())
    assert (answer.status_code, answer.headers["retry-after"]) == (429, str(CHALLENGE_SECONDS))
