"""Asking an aggregator's service in the name of an account on the roster (PROTOCOL §10.7).

What it answers proves nothing: whoever needs proof reads the ledger.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import httpx
from eth_account.signers.local import LocalAccount
from pydantic import BaseModel, ValidationError

from .errors import Refused, Unavailable, Violation
from .identity import read_file
from .members import parse_address
from .sign_in import Offer, Place, Session, Signed, check_offer, is_in_the_clear, origin_of, sign

ANSWER_SECONDS: Final = 30.0
MOST_BYTES: Final = 32 << 20  # of an answer: a study's rounds by the thousand
_PATH: Final = re.compile(r"/(?!/)[A-Za-z0-9_./?=&-]*")

Answer = TypeVar("Answer", bound=BaseModel)


class Asker:
    """One service, asked by one party; use it in a `with` statement.

    `tls` says whom to trust, else the system's authorities are; `proxied`: whether a proxy of the environment
    (HTTPS_PROXY) may stand between. Raises `Refused` for an address where others could read our token, unless
    `in_the_clear` allows that.
    """

    def __init__(
        self,
        url: str,
        *,
        tls: ssl.SSLContext | None = None,
        proxied: bool = True,
        in_the_clear: bool = False,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._origin = origin_of(url)
        if is_in_the_clear(url) and not in_the_clear:
            raise Refused(f"{self._origin}: expected https, since others on the way could read our token")
        self._wall = wall
        self._token = ""
        self._client = httpx.Client(
            base_url=self._origin,
            verify=tls or ssl.create_default_context(),
            timeout=ANSWER_SECONDS,
            trust_env=proxied,
            headers={"Accept-Encoding": "identity"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def ready(self) -> str:
        """How the service is, in its own words; raises `Unavailable` unless it is ready."""
        status, text = self._ask("GET", "/readyz")
        if status != 200:
            raise Unavailable(f"the aggregator is up, but not ready: {text[:300]}")
        return text

    def sign_in(self, place: Place, account: LocalAccount, *, service: str | None = None) -> Session:
        """Further requests are the account's; `service` is the origin to sign, else that of the address.

        Raises `Refused` where the service does not know the account, and `Violation` where it tries to have
        something else signed.
        """
        me = parse_address(account.address)
        offer = _parsed(Offer, self.get(f"/v1/challenge?account={account.address}"))
        asked = self._origin if service is None else service
        challenge = check_offer(offer, service=asked, account=me, now=int(self._wall()))
        signed = Signed(
            account=offer.account,
            nonce=offer.nonce,
            issued=offer.issued,
            signature=f"0x{sign(place, challenge, account).hex()}",
        )
        session = _parsed(Session, self._answer("POST", "/v1/session", signed.model_dump_json()))
        self._token = session.token
        return session

    def sign_out(self) -> None:
        """The token is worth nothing any more."""
        self._answer("DELETE", "/v1/session")
        self._token = ""

    def get(self, path: str) -> str:
        """What the service answers there; raises `Refused` or `Unavailable` where it is an error."""
        if not _PATH.fullmatch(path):
            raise Refused(f"expected a path such as /v1/studies, found {path!r}")
        return self._answer("GET", path)

    def _answer(self, method: str, path: str, body: str = "") -> str:
        status, text = self._ask(method, path, body)
        if status < 300:
            return text
        said = f"{self._origin} answers {status} to {path.partition('?')[0]}: {text[:300]}"
        if status == 429 or status >= 500:
            raise Unavailable(said)
        raise Refused(said)

    def _ask(self, method: str, path: str, body: str = "") -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        if body:
            headers["Content-Type"] = "application/json"
        try:
            with self._client.stream(method, path, content=body or None, headers=headers) as answer:
                return answer.status_code, _text(answer)
        except httpx.ConnectError as error:
            if isinstance(error.__context__, ssl.SSLError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise Refused(
                    f"{self._origin} does not show a certificate that we trust: name its authority with "
                    "--trust, if that is the right service"
                ) from error
            raise Unavailable(f"no aggregator answers at {self._origin} (ConnectError)") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"no aggregator answers at {self._origin} ({type(error).__name__})") from error


def trusting(authority: Path) -> ssl.SSLContext:
    """Only certificates that rest on those in this PEM file, and bear the name that is asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return _with(context, read_file(authority), authority)


def trusting_exactly(certificate: Path) -> ssl.SSLContext:
    """Only the first certificate in this PEM file, by whatever name it is asked: our own service's."""
    own, end, _ = read_file(certificate).partition(b"-----END CERTIFICATE-----")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # it is compared whole
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return _with(context, own + end, certificate)


def _with(context: ssl.SSLContext, pem: bytes, path: Path) -> ssl.SSLContext:
    try:
        context.load_verify_locations(cadata=pem.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise Refused(f"{path}: expected certificates in PEM") from error
    return context


def _text(answer: httpx.Response) -> str:
    """The body, of which a hostile service cannot make us hold more than `MOST_BYTES`.

    As it came: compressed twice, a few thousand bytes would unfold to more than any machine holds.
    """
    held = bytearray()
    for piece in answer.iter_raw(1 << 16):
        held += piece
        if len(held) > MOST_BYTES:
            raise Unavailable(f"the service answers with more than {MOST_BYTES >> 20} MiB")
    return held.decode(errors="replace")


def _parsed(kind: type[Answer], text: str) -> Answer:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise Violation("§10.7", f"the service does not answer with {kind.__name__} as agreed") from error
