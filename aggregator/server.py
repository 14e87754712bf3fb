"""The service as its settings say: where it listens, under which certificate, how often one may ask."""

from __future__ import annotations

import ssl
from typing import Final

import uvicorn
from fastapi import FastAPI

from federation.errors import Refused
from federation.identity import read_file

from .buckets import Buckets
from .connections import MOST_CONNECTIONS, Connection
from .settings import ServiceSettings

GOODBYE_SECONDS: Final = 10  # for requests under way, after SIGTERM or SIGINT
CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2: secret for ever, and sealed; 1.3 has no others
LEAST_TOKEN: Final = 32  # characters; as many as 16 random bytes in hexadecimal


def server_of(app: FastAPI, settings: ServiceSettings) -> uvicorn.Server:
    """A server that has not begun to listen; raises `Refused` for a certificate that cannot be used."""
    over_tls = settings.certificate is not None
    if over_tls:
        _check_certificate(settings)
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(settings.proxies),  # else anybody could ask in any address's name
            forwarded_allow_ips=[str(proxy) for proxy in settings.proxies],
            ssl_certfile=settings.certificate,
            ssl_keyfile=settings.key,
            ssl_ciphers=CIPHERS,
            timeout_graceful_shutdown=GOODBYE_SECONDS,
            # Named, so that what else is installed does not decide: another parser would take headers without
            # end, and what asks to become a WebSocket would be answered before `Guard` has counted it.
            http=Connection,
            ws="none",
            h11_max_incomplete_event_size=16 * 1024,  # bytes of a request's line and headers
            limit_concurrency=MOST_CONNECTIONS,
        )
    )


def rates(settings: ServiceSettings) -> Buckets:
    """Full buckets, as large as the settings say."""
    return Buckets(burst=settings.burst, per_second=settings.requests_per_second)


def read_monitor_token(settings: ServiceSettings) -> str:
    """The first line of its file, or nothing where none is set; raises `Refused` for one easy to guess."""
    path = settings.monitor_token_file
    if path is None:
        return ""
    token = read_file(path).decode(errors="replace").split("\n", 1)[0].strip()
    if len(token) < LEAST_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
        raise Refused(
            f"{path}: expected a token of at least {LEAST_TOKEN} printable ASCII characters in the first "
            "line, as `openssl rand -hex 32` makes one"
        )
    return token


def _check_certificate(settings: ServiceSettings) -> None:
    """Said before anything starts, and with the names of the files, as uvicorn would not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # With no password given, OpenSSL would ask the terminal for that of a locked key.
        context.load_cert_chain(str(settings.certificate), str(settings.key), password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise Refused(
            f"[service]: {settings.certificate} and {settings.key}: expected a certificate in PEM and its "
            f"private key without a password ({type(error).__name__})"
        ) from error
