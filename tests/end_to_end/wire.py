"""Everything that leaves a party, kept; and what must not be in it, in every form it could take.

The search is over bytes as they travelled and over what their hexadecimal text stands for.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import numpy as np

from federation.arithmetic import IntVector

TELLING = 256  # smaller integers look like counters, lengths and padding
WINDOW = 4  # neighbouring values: at least 12 bytes, so nothing matches by chance
LONG_HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){8,}")
SEPARATOR = b"\xff-\x00-\xff"


@dataclass(slots=True)
class Recorder:
    """An HTTP proxy before a chain's node that keeps every body, in both directions."""

    upstream: str
    bodies: list[bytes] = field(default_factory=list)
    url: str = ""

    @contextmanager
    def recording(self) -> Iterator[Recorder]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()

    def calls(self, method: str) -> list[bytes]:
        return [body for body in self.bodies if f'"{method}"'.encode() in body]


def _handler(recorder: Recorder) -> type[BaseHTTPRequestHandler]:
    upstream = urlsplit(recorder.upstream)

    class Forward(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=60)
            connection.request("POST", "/", asked, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
            connection.close()
            recorder.bodies += [asked, said]
            self.send_response(answer.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

    return Forward


@dataclass(frozen=True, slots=True)
class Haystack:
    """All that was seen, in one piece."""

    seen: bytes

    @classmethod
    def of(cls, bodies: Iterable[bytes]) -> Haystack:
        plain = set(bodies)
        decoded = {bytes.fromhex(text.decode()) for body in plain for text in LONG_HEX.findall(body)}
        return cls(SEPARATOR.join(sorted(plain | decoded)))

    def holds(self, needle: bytes) -> bool:
        return needle in self.seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """Something that nobody else may see, and how it would look if they did."""

    what: str
    forms: frozenset[bytes]

    def __post_init__(self) -> None:
        assert self.forms
        assert min(map(len, self.forms)) >= 12, self.what


def leaks(haystack: Haystack, secrets: Iterable[Secret]) -> list[str]:
    """Which of the secrets were seen."""
    return [secret.what for secret in secrets if any(map(haystack.holds, secret.forms))]


def of_bytes(what: str, secret: bytes) -> Secret:
    """Keys and seeds: whole and in halves, raw and as text."""
    pieces = {secret, secret[:16], secret[-16:]}
    forms = {
        form
        for piece in pieces
        for form in (piece, piece.hex().encode(), piece.hex().upper().encode(), base64.b64encode(piece))
    }
    return Secret(what=what, forms=frozenset(forms | {base64.urlsafe_b64encode(secret)}))


def of_number(what: str, number: int) -> Secret:
    """A large integer, as a plaintext of the capsule is."""
    length = (number.bit_length() + 7) // 8
    big, little = number.to_bytes(length, "big"), number.to_bytes(length, "little")
    return Secret(what=what, forms=frozenset({big, little, str(number).encode(), f"{number:x}".encode()}))


def of_integers(what: str, values: IntVector) -> Secret:
    """A quantised vector: each few neighbours, as integers of several widths, as lanes, as text."""
    forms = set()
    for window in _windows(values, np.abs(values) >= TELLING):
        forms |= {window.astype(kind).tobytes() for kind in ("<i8", ">i8", "<i4", ">i4")}
        for digits in (window, window + (1 << 23)):  # signed lanes, and lanes as they are packed
            lanes = [int(value) & 0xFFFFFF for value in digits]
            forms.add(b"".join(lane.to_bytes(3, "little") for lane in lanes))
            forms.add(b"".join(lane.to_bytes(3, "big") for lane in reversed(lanes)))
        numbers = [int(value) for value in window]
        forms |= {json.dumps(numbers).encode(), json.dumps(numbers, separators=(",", ":")).encode()}
    return Secret(what=what, forms=frozenset(forms))


def of_floats(what: str, values: np.ndarray) -> Secret:
    """An update or a model before it is quantised: each few neighbours, in both widths and orders."""
    forms = set()
    for window in _windows(values, values != 0):
        forms |= {window.astype(kind).tobytes() for kind in ("<f8", ">f8", "<f4", ">f4")}
        forms.add(json.dumps([float(value) for value in window]).encode())
    return Secret(what=what, forms=frozenset(forms))


def _windows(values: np.ndarray, telling: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(len(values) - WINDOW + 1):
        if telling[start : start + WINDOW].all():
            yield values[start : start + WINDOW]


def fields_in(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Name and value of every field in a JSON document, however deep."""
    match value:
        case dict():
            for key, inner in value.items():
                yield from fields_in(inner, key)
        case list():
            for inner in value:
                yield from fields_in(inner, name)
        case _:
            yield name, value
