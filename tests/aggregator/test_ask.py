"""A party asks a service: over TLS, in its own name, and signing nothing that it did not mean to."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from federation import ask as ask_module
from federation.ask import Asker, trusting, trusting_exactly
from federation.errors import Refused, Unavailable, Violation
from federation.members import Role
from federation.sign_in import Signed, check_signature

from ..rehearsing import rehearse
from .callers import OPERATOR_KEY, key, place_of
from .certificates import Issued, issue
from .live import Live, alive


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Issued:
    return issue(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def live(issued: Issued) -> Iterator[Live]:
    with alive(rehearse("plain"), settings=issued.settings, trust=issued.authority) as live:
        live.admit("auditor", Role.AUDITOR)
        yield live


def asker(live: Live, trust: ssl.SSLContext) -> Asker:
    return Asker(live.url, tls=trust, wall=live.clock, proxied=False)


def test_a_member_asks_over_tls_and_leaves(live: Live, issued: Issued) -> None:
    with asker(live, trusting(issued.authority)) as asking:
        with pytest.raises(Refused, match="401"):
            asking.get("/v1/studies")
        session = asking.sign_in(place_of(live.stage), key("auditor"))
        assert session.role == "auditor"
        assert [study["study"] for study in json.loads(asking.get("/v1/studies"))["studies"]] == [1]
        with pytest.raises(Refused, match="404"):
            asking.get("/v1/studies/7")
        with pytest.raises(Refused, match="403"):
            asking.get("/v1/sessions")
        asking.sign_out()
        with pytest.raises(Refused, match="401"):
            asking.get("/v1/studies")


def test_the_operator_trusts_exactly_its_own_certificate(live: Live, issued: Issued, tmp_path: Path) -> None:
    chain = tmp_path / "chain.pem"
    chain.write_bytes(issued.certificate.read_bytes() + issued.authority.read_bytes())
    for pem in (issued.certificate, chain):
        with asker(live, trusting_exactly(pem)) as asking:
            assert json.loads(asking.ready())["conductor"] is True
            assert asking.sign_in(place_of(live.stage), OPERATOR_KEY).role == "operator"
            assert json.loads(asking.get("/v1/sessions"))
    sibling = issue(tmp_path / "sibling")
    with (
        asker(live, trusting_exactly(sibling.certificate)) as asking,
        pytest.raises(Refused, match="--trust"),
    ):
        asking.ready()


def test_a_certificate_of_nobody_we_know_or_for_another_name_is_not_trusted(
    live: Live, issued: Issued, tmp_path: Path
) -> None:
    for context in (ssl.create_default_context(), trusting(issue(tmp_path / "other").authority)):
        with asker(live, context) as asking, pytest.raises(Refused, match="--trust"):
            asking.ready()
    elsewhere = issue(tmp_path / "elsewhere", addresses=("192.0.2.1",))
    with (
        alive(rehearse("plain"), settings=elsewhere.settings, trust=None) as other,
        asker(other, trusting(elsewhere.authority)) as asking,
        pytest.raises(Refused, match="--trust"),
    ):
        asking.ready()


def test_browsers_are_told_to_stay_with_tls(live: Live) -> None:
    assert "max-age" in live.client.get("/healthz").headers["strict-transport-security"]


def test_what_is_no_pem_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "junk.pem").write_bytes(b"\xff junk")
    for trust in (trusting, trusting_exactly):
        with pytest.raises(Refused, match=r"junk\.pem"):
            trust(tmp_path / "junk.pem")


def test_a_token_is_not_sent_where_others_hear_it() -> None:
    with pytest.raises(Refused, match="expected https"):
        Asker("http://sums.example")
    with Asker("http://sums.example", in_the_clear=True):
        pass


@pytest.mark.parametrize(
    "path", ["v1/studies", "//evil.example/x", "https://evil.example/", "/v1/ studies", "/a\n"]
)
def test_only_paths_of_the_service_are_asked(live: Live, issued: Issued, path: str) -> None:
    with (
        asker(live, trusting(issued.authority)) as asking,
        pytest.raises(Refused, match="such as /v1/studies"),
    ):
        asking.get(path)


def test_where_nobody_listens_is_tried_again_later() -> None:
    with (
        Asker("http://127.0.0.1:1", proxied=False) as asking,
        pytest.raises(Unavailable, match="no aggregator"),
    ):
        asking.ready()


# ---------------------------------------------------------------- services that are not ours

Reply = Callable[[str, bytes], tuple[int, bytes]]


@contextmanager
def somebody(reply: Reply, *, encoding: str = "identity") -> Iterator[str]:
    """Another service, at the address that comes out."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", 0))
            status, body = reply(self.path, self.rfile.read(length))
            self.send_response(status)
            self.send_header("location", "https://evil.example/")
            self.send_header("content-length", str(len(body)))
            self.send_header("content-encoding", encoding)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *arguments: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_service_that_passes_anothers_challenge_on_gets_no_signature(live: Live) -> None:
    account = key("auditor")
    posted: list[bytes] = []

    def relay(path: str, body: bytes) -> tuple[int, bytes]:
        if body:
            posted.append(body)
            return 401, b""
        answer = live.client.get(path)
        return answer.status_code, answer.content

    with (
        somebody(relay) as url,
        Asker(url, proxied=False, wall=live.clock) as asking,
        pytest.raises(Refused, match="another address"),
    ):
        asking.sign_in(place_of(live.stage), account)
    assert posted == []


def test_a_service_that_lies_about_its_name_gets_a_signature_that_opens_nothing_elsewhere(live: Live) -> None:
    account = key("auditor")
    posted: list[bytes] = []
    here: list[str] = []

    def relay(path: str, body: bytes) -> tuple[int, bytes]:
        if body:
            posted.append(body)
            answer = live.client.post(
                "/v1/session", content=body, headers={"content-type": "application/json"}
            )
        else:
            answer = live.client.get(path)
        return answer.status_code, answer.content.replace(live.url.encode(), here[0].encode())

    with somebody(relay) as url, Asker(url, proxied=False, wall=live.clock) as asking:
        here.append(url)
        with pytest.raises(Refused, match="401"):
            asking.sign_in(place_of(live.stage), account)
    signed = Signed.model_validate_json(posted[0])
    signature = bytes.fromhex(signed.signature[2:])
    check_signature(place_of(live.stage), signed.challenge(here[0]), signature)
    with pytest.raises(Violation):
        check_signature(place_of(live.stage), signed.challenge(live.url), signature)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"", Violation),
        (200, b"[]", Violation),
        (200, b"[" * 100_000, Violation),
        (200, b"\xff", Violation),
        (302, b"", Refused),
        (404, b"", Refused),
        (429, b"", Unavailable),
        (500, b"", Unavailable),
    ],
)
def test_whatever_a_service_answers_is_one_of_our_errors(
    status: int, body: bytes, error: type[Exception]
) -> None:
    with (
        somebody(lambda *_: (status, body)) as url,
        Asker(url, proxied=False) as asking,
        pytest.raises(error),
    ):
        asking.sign_in(place_of(rehearse("plain")), OPERATOR_KEY)


def test_no_answer_is_held_that_has_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask_module, "MOST_BYTES", 1 << 20)
    with (
        somebody(lambda *_: (200, b"x" * (2 << 20))) as url,
        Asker(url, proxied=False) as asking,
        pytest.raises(Unavailable, match="more than"),
    ):
        asking.get("/v1/studies")
    with somebody(lambda *_: (200, b"x" * (1 << 20))) as url, Asker(url, proxied=False) as asking:
        assert len(asking.get("/v1/studies")) == 1 << 20


def test_an_answer_that_was_folded_up_is_not_unfolded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask_module, "MOST_BYTES", 1 << 20)
    bomb = gzip.compress(gzip.compress(b" " * (8 << 20)))
    assert len(bomb) < 1 << 10
    with (
        somebody(lambda *_: (200, bomb), encoding="gzip, gzip") as url,
        Asker(url, proxied=False) as asking,
    ):
        assert len(asking.get("/v1/studies")) <= len(bomb)
