"""A daemon that is away, broken or hostile: an HTTP server that speaks just enough of the Kubo RPC to lie."""

from __future__ import annotations

import json
import re
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from federation.digest import show_cid
from federation.errors import Refused, Unavailable, Violation
from federation.store.authorization import header_value, read_authorization
from federation.store.content import Absent, get_bytes, put_bytes
from federation.store.ipfs import ANSWER_BYTES, IpfsStore
from federation.store.unixfs import CHUNK_BYTES, cid_of, cut

CONTENT = b"".join(bytes([i]) * CHUNK_BYTES for i in range(3)) + b"the last leaf"
BLOCKS = list(cut([CONTENT]))
ROOT = BLOCKS[-1].cid


class Rpc(BaseHTTPRequestHandler):
    """Answers `add` and `block/get`; `server.lie(self, call)` may answer first, and then returns True."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        url = urlsplit(self.path)
        call = url.path.removeprefix("/api/v0/")
        self.query = {name: values[0] for name, values in parse_qs(url.query).items()}
        body = self.read_body()
        self.server.calls.append((call, self.query, dict(self.headers)))
        if self.server.lie(self, call):
            return
        if call == "add":
            boundary = re.search(r'boundary="?([^";]+)', self.headers["Content-Type"])[1].encode()
            content = body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--" + boundary, 1)[0]
            blocks = list(cut([content]))
            self.server.blocks |= {show_cid(block.cid): block.data for block in blocks}
            self.say({"Name": "bytes", "Hash": show_cid(blocks[-1].cid), "Size": "0"})
        elif call == "pin/rm":
            self.unpin()
        elif call == "repo/gc":
            self.answer(b"")
        elif self.query["arg"] in self.server.blocks:
            self.answer(self.server.blocks[self.query["arg"]])
        else:
            self.say({"Message": "block was not found locally", "Code": 0, "Type": "error"}, status=500)

    def unpin(self):
        if self.query["arg"] in self.server.blocks:
            self.say({"Pins": [self.query["arg"]]})
        else:
            problem = {"Message": "not pinned or pinned indirectly", "Code": 0, "Type": "error"}
            self.say(problem, status=500)

    def do_GET(self):
        self.do_POST()

    def read_body(self):
        body = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while length := int(self.rfile.readline(), 16):
                body += self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
        return body

    def say(self, value, status=200):
        self.answer(json.dumps(value).encode() + b"\n", status=status, kind="application/json")

    def answer(self, data, *, status=200, kind="application/octet-stream", **headers):
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class Daemon(ThreadingHTTPServer):
    def handle_error(self, *_):
        """Clients that hang up are part of the tests."""


@contextmanager
def serving(lie):
    with Daemon(("127.0.0.1", 0), Rpc) as server:
        server.daemon_threads = True
        server.block_on_close = False
        server.lie = lie
        server.calls = []
        server.blocks = {show_cid(block.cid): block.data for block in BLOCKS}
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@contextmanager
def store_at(port, **options):
    store = IpfsStore(f"/ip4/127.0.0.1/tcp/{port}", **{"timeout": 5.0, **options})
    try:
        yield store
    finally:
        store.close()


@contextmanager
def store_facing(lie, **options):
    with serving(lie) as server, store_at(server.server_port, **options) as store:
        store.server = server
        yield store


def honest(rpc, call):
    return False


def on(call, answer):
    """A lie about one call only."""

    def lie(rpc, called):
        if called == call:
            answer(rpc)
        return called == call

    return lie


def test_an_honest_daemon_is_believed_and_asked_for_the_agreed_layout():
    with store_facing(honest) as store:
        assert put_bytes(store, CONTENT) == ROOT
        assert get_bytes(store, ROOT, size=len(CONTENT)) == CONTENT
        assert store.has(ROOT)
        (add, *gets, has) = store.server.calls
        layout = {"cid-version": "1", "raw-leaves": "true", "chunker": "size-262144", "pin": "true"}
        assert add[1].items() >= layout.items()
        assert {call for call, _, _ in gets} == {"block/get"}
        assert has[1]["offline"] == "true"


def test_a_daemon_that_is_not_there_is_named_with_its_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with store_at(port) as store:
        for attempt in (
            lambda: put_bytes(store, b"x"),
            lambda: store.has(ROOT),
            lambda: get_bytes(store, ROOT, size=len(CONTENT)),
        ):
            with pytest.raises(Unavailable) as caught:
                attempt()
            assert not isinstance(caught.value, Absent)
            assert str(caught.value) == (
                f"no IPFS daemon answers at /ip4/127.0.0.1/tcp/{port} (ConnectionError): "
                "start it, or correct the address"
            )


def test_a_daemon_that_says_nothing_is_given_up():
    quiet = threading.Event()
    with store_facing(lambda *_: quiet.wait(30), timeout=0.2) as store:
        with pytest.raises(Unavailable, match="no IPFS daemon answers"):
            put_bytes(store, b"x")
        with pytest.raises(Unavailable, match=r"no IPFS daemon answers|failed"):
            store.has(ROOT)
        quiet.set()


@pytest.mark.parametrize("which", range(len(BLOCKS)))
@pytest.mark.parametrize("change", [lambda good: good[:-1] + b"?", lambda good: good[:-1], lambda _: b""])
def test_other_bytes_for_any_block_are_never_used(which, change):
    with store_facing(honest) as store:
        name = show_cid(BLOCKS[which].cid)
        store.server.blocks[name] = change(store.server.blocks[name])
        received = []
        with pytest.raises(Absent, match=name):
            received.extend(store.get(ROOT, size=len(CONTENT)))
        assert received == [block.data for block in BLOCKS[: which if BLOCKS[which].cid != ROOT else 0]]


def test_a_daemon_without_the_block_is_no_violation():
    with store_facing(honest) as store:
        store.server.blocks.clear()
        assert not store.has(ROOT)
        with pytest.raises(Absent, match=r"has no bafy.*not found locally"):
            get_bytes(store, ROOT, size=len(CONTENT))


def test_another_cid_for_what_was_added_is_found():
    other = show_cid(BLOCKS[0].cid)
    problem = f"expected {show_cid(ROOT)}, found {other}"
    with (
        store_facing(on("add", lambda rpc: rpc.say({"Hash": other}))) as store,
        pytest.raises(Unavailable, match=problem),
    ):
        put_bytes(store, CONTENT)


def broken(rpc):
    rpc.send_response(200)
    rpc.send_header("content-length", "1000")
    rpc.end_headers()
    rpc.wfile.write(b"only this")
    rpc.close_connection = True


def hang_up(rpc):
    rpc.close_connection = True


def send_away(rpc):
    rpc.answer(b"", status=302, location=f"http://127.0.0.1:{rpc.server.server_port}/api/v0/elsewhere")


ANSWERS = {
    "no JSON": lambda rpc: rpc.answer(b"<html>hello</html>"),
    "nothing": lambda rpc: rpc.answer(b""),
    "no name": lambda rpc: rpc.say({"Size": "3"}),
    "a list": lambda rpc: rpc.say([1, 2]),
    "a number for a name": lambda rpc: rpc.say({"Hash": 7}),
    "two answers": lambda rpc: rpc.answer(b'{"Hash": "x"}\n{"Hash": "y"}\n'),
    "deep JSON": lambda rpc: rpc.answer(b"[" * 100_000),
    "not text": lambda rpc: rpc.answer(b"\xff\xfe"),
    "an error": lambda rpc: rpc.say({"Message": "disk\nfull", "Code": 0, "Type": "error"}, status=500),
    "a late error": lambda rpc: rpc.say({"Message": "disk full", "Type": "error"}),
    "forbidden": lambda rpc: rpc.answer(b"403 - Forbidden", status=403),
    "a redirection": send_away,
    "compressed": lambda rpc: rpc.answer(b"\x1f\x8b", content_encoding="gzip"),
    "half an answer": broken,
    "hanging up": hang_up,
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
@pytest.mark.parametrize("call", ["add", "block/get"])
def test_an_answer_of_the_wrong_shape_is_one_line_of_unavailable(call, answer):
    with store_facing(on(call, answer)) as store:
        with pytest.raises(Unavailable) as caught:
            put_bytes(store, b"x") if call == "add" else get_bytes(store, ROOT, size=len(CONTENT))
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500
        assert {called for called, _, _ in store.server.calls} == {call}  # no redirection was followed


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("call", ["add", "block/get"])
def test_an_endless_answer_is_cut_off(call, status):
    sent = 0
    stopped = threading.Event()

    def endless(rpc):
        nonlocal sent
        rpc.send_response(status)
        rpc.send_header("content-length", str(2**40))
        rpc.end_headers()
        rpc.close_connection = True
        try:
            while True:
                sent += rpc.wfile.write(b" " * 2**16)
        except OSError:
            stopped.set()

    with store_facing(on(call, endless)) as store:
        with pytest.raises(Unavailable):
            put_bytes(store, b"x") if call == "add" else get_bytes(store, ROOT, size=len(CONTENT))
        assert stopped.wait(30)
        assert sent < ANSWER_BYTES + 32 * 2**20  # what the kernel's buffers may hold on top


def test_an_authors_large_content_is_a_violation_through_a_daemon_too():
    with store_facing(honest) as store:
        with pytest.raises(Violation, match="content is larger than allowed"):
            get_bytes(store, ROOT, size=len(CONTENT) - 1)
        assert len(store.server.calls) == 1  # no leaf was fetched


def test_the_authorization_is_sent_and_never_shown():
    def guarded(rpc, call):
        if rpc.headers.get("Authorization") == "Bearer secret":
            return False
        rpc.answer(b"403 - Forbidden", status=403)
        return True

    with store_facing(guarded, authorization="Bearer secret") as store:
        assert put_bytes(store, CONTENT) == ROOT
    with store_facing(guarded, authorization="Bearer wrong") as store:
        with pytest.raises(Unavailable, match="403") as caught:
            store.has(ROOT)
        assert "wrong" not in str(caught.value)


def test_what_is_discarded_is_unpinned_then_collected_and_what_is_kept_stays_pinned():
    lost = cid_of([b"pinned by nobody"])
    with store_facing(honest) as store:
        store.discard([ROOT, lost, BLOCKS[0].cid], kept=[BLOCKS[0].cid])
        calls = [(call, query.get("arg")) for call, query, _ in store.server.calls]
        assert sorted(calls[:-1]) == sorted([("pin/rm", show_cid(ROOT)), ("pin/rm", show_cid(lost))])
        assert calls[-1][0] == "repo/gc"
        store.discard([], kept=[])
        assert len(store.server.calls) == 3


@pytest.mark.parametrize("call", ["pin/rm", "repo/gc"])
@pytest.mark.parametrize(
    "answer",
    [
        lambda rpc: rpc.say({"Message": "disk full", "Code": 0, "Type": "error"}, status=500),
        lambda rpc: rpc.answer(b"403 - Forbidden", status=403),
        lambda rpc: rpc.answer(b"<html>hello</html>"),
    ],
    ids=["an error", "forbidden", "no JSON"],
)
def test_what_cannot_be_discarded_now_is_unavailable(call, answer):
    with store_facing(on(call, answer)) as store, pytest.raises(Unavailable, match="failed"):
        store.discard([ROOT], kept=[])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("bearer abc.def", "Bearer abc.def"),
        ("Bearer abc\n", "Bearer abc"),
        ("basic node:a secret", "Basic bm9kZTphIHNlY3JldA=="),
    ],
)
def test_a_secret_is_a_bearers_or_a_user_and_password(text, value, tmp_path):
    (tmp_path / "file").write_text(text)
    assert read_authorization(tmp_path / "file") == header_value(text, source="test") == value


@pytest.mark.parametrize(
    "text",
    [
        "hush",
        "bearer",
        "bearer hush hush",
        "basic hush",
        "digest hush",
        "bearer hush\nX-Header: hush",
        "bearer h\xfcsh",
    ],
)
def test_what_is_no_secret_is_refused_and_not_quoted(text, tmp_path):
    (tmp_path / "file").write_text(text)
    with pytest.raises(Refused, match="file: expected one line") as caught:
        read_authorization(tmp_path / "file")
    assert "hush" not in str(caught.value)
    (tmp_path / "file").write_bytes(b"bearer \xff")
    with pytest.raises(Refused, match="expected one line"):
        read_authorization(tmp_path / "file")
    with pytest.raises(Refused, match="cannot be read"):
        read_authorization(tmp_path / "nowhere")


def test_no_proxy_of_the_environment_stands_between(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with store_facing(honest) as store:
        assert store.has(ROOT)


def test_a_source_that_fails_while_it_is_sent_is_not_the_daemons_fault():
    def source():
        yield CONTENT
        raise OSError("cannot read the model")

    with store_facing(honest) as store, pytest.raises(OSError, match="cannot read the model"):
        store.put(source())


@pytest.mark.parametrize(
    "api", ["", "localhost:5001", "/ip4/127.0.0.1", "/ip4/999.1.1.1/tcp/1", "/ip4/127.0.0.1/udp/5001"]
)
def test_what_is_no_address_is_refused(api):
    with pytest.raises(Refused, match="expected a multiaddr"):
        IpfsStore(api)
