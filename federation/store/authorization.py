"""What an IPFS daemon with `API.Authorizations` asks for: from a file or the environment, never shown."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Final

from ..errors import Refused

VARIABLE: Final = "TALLY_STORE_AUTHORIZATION"
NOTHING: Final = ""  # a daemon that asks for nothing
_EXPECTED: Final = "expected one line, `bearer TOKEN` or `basic USER:PASSWORD`"


def read_authorization(file: Path) -> str:
    """The value of the HTTP header `Authorization` that the file's first line stands for."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise Refused(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:  # `from None`: the cause would carry the secret into a traceback
        raise Refused(f"{file}: {_EXPECTED} in UTF-8, found other bytes") from None
    return header_value(text, source=str(file))


def read_variable() -> str:
    """The same from the environment, or `NOTHING`."""
    text = os.environ.get(VARIABLE, "")
    return header_value(text, source=VARIABLE) if text else NOTHING


def header_value(text: str, *, source: str) -> str:
    """`Bearer TOKEN`, or `Basic` and USER:PASSWORD in base64; a `Refused` quotes nothing of it."""
    kind, _, secret = text.strip().partition(" ")
    secret = secret.strip()
    if not secret or not (secret.isascii() and secret.isprintable()):
        raise Refused(f"{source}: {_EXPECTED} in printable ASCII, found something else")
    match kind.lower():
        case "bearer" if " " not in secret:
            return f"Bearer {secret}"
        case "basic" if ":" in secret:
            return f"Basic {base64.b64encode(secret.encode()).decode()}"
        case _:
            raise Refused(f"{source}: {_EXPECTED}, found something else")
