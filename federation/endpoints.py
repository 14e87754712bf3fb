"""The one place that names the real chain and the real store: settings of both, opened.

Used by the entry points of node, aggregator and auditor; everything else sees the two Protocols.
"""

from __future__ import annotations

import time
import tomllib
from pathlib import Path
from typing import Annotated, Final, TypeVar
from urllib.parse import urlsplit

from eth_account.signers.local import LocalAccount
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from .audit.view import LedgerView
from .errors import Refused, Unavailable
from .ledger.chain import ChainLedger, connect
from .members import parse_address, show_address
from .store.content import ContentStore
from .store.directory import DirectoryStore
from .store.ipfs import IpfsStore

MASKED: Final = "********"
FINAL_SECONDS: Final = 600.0  # for the confirmations of one call: a dozen slow blocks, and some
LOOK_SECONDS: Final = 0.25  # between two looks at the newest final block


def _normal_address(text: str) -> str:
    try:
        return show_address(parse_address(text))
    except Refused as error:
        raise ValueError(str(error)) from error  # so that the key and the file are named


def check_url(url: str) -> str:
    """`url`, if it names a host over HTTP; raises `ValueError`, which never quotes what may be a key."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ValueError("expected http(s)://HOST or http(s)://HOST:PORT with a port in 1 … 65535") from error
    if not sound:
        raise ValueError("expected http(s)://HOST or http(s)://HOST:PORT")
    return url


def shown_url(url: str) -> str:
    """Scheme, host and port; the rest is masked, because credentials and paths may be somebody's key."""
    parts = urlsplit(url)
    bare = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return bare if url.removesuffix("/") == bare else f"{bare}/{MASKED}"


AddressText = Annotated[str, AfterValidator(_normal_address)]
UrlText = Annotated[str, AfterValidator(check_url)]


class Section(BaseModel):
    """A table of a settings file: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LedgerSettings(Section):
    """Which contract on which chain, and how deep a block has to lie before we act on it."""

    url: UrlText
    contract: AddressText
    chain_id: int = Field(ge=1)
    deployment_block: int = Field(ge=0)
    confirmations: int = Field(default=0, ge=0, le=1000)  # blocks on top; 0 only where blocks are final


def effective(settings: Section) -> dict[str, object]:
    """Every setting in force, for people; where passwords lie and what may be a key in a URL is masked."""
    return _masked(settings.model_dump(mode="json"))


def _masked(table: dict[str, object]) -> dict[str, object]:
    shown: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            shown[key] = _masked(value)
        elif key == "password_file" and value is not None:
            shown[key] = MASKED
        elif key == "url" and isinstance(value, str):
            shown[key] = shown_url(value)
        else:
            shown[key] = value
    return shown


class StoreSettings(Section):
    """Where payloads lie: a folder, or the RPC of an IPFS daemon as a multiaddress. Exactly one."""

    directory: Path | None = None
    ipfs: str | None = None


def open_ledger(
    settings: LedgerSettings, account: LocalAccount | None, *, only_audited_code: bool = True
) -> ChainLedger:
    """The contract, checked to be the audited build; raises `Refused` or `Unavailable`.

    An auditor opens any code: that it is another one is then a finding.
    """
    return connect(
        settings.url,
        parse_address(settings.contract),
        account,
        chain_id=settings.chain_id,
        deployment_block=settings.deployment_block,
        confirmations=settings.confirmations,
        only_audited_code=only_audited_code,
    )


def await_final(view: LedgerView, block: int, *, within: float = FINAL_SECONDS) -> None:
    """`view` stands at `block` or later, so that it shows what a call did there.

    Raises `Unavailable` after `within` seconds: the call stands, but is not final yet.
    """
    deadline = time.monotonic() + within
    view.refresh()
    while view.head.number < block:
        if time.monotonic() > deadline:
            missing = f"block {view.head.number} is final and the call is in block {block}"
            raise Unavailable(
                f"sent, but not final after {within:.0f} s (`confirmations`): {missing}. Do not send it again"
            )
        time.sleep(LOOK_SECONDS)
        view.refresh()


def open_store(settings: StoreSettings) -> ContentStore:
    """The store; raises `Refused` unless exactly one kind is set."""
    match settings:
        case StoreSettings(directory=Path() as directory, ipfs=None):
            return DirectoryStore(directory)
        case StoreSettings(directory=None, ipfs=str() as address):
            return IpfsStore(address)
        case _:
            raise Refused("[store]: expected exactly one of `directory` and `ipfs`")


Settings = TypeVar("Settings", bound=Section)


def load_settings(kind: type[Settings], path: Path) -> Settings:
    """The settings in a TOML file, relative paths taken from its folder; raises `Refused`, naming the key."""
    try:
        document = tomllib.loads(path.read_text())
    except OSError as error:
        raise Refused(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: expected TOML in UTF-8: {error}") from error
    try:
        return kind.model_validate(_resolve(document, path.parent.resolve()))
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc']))}: {_plain(e['type'], e['msg'])}" for e in error.errors()]
        raise Refused(f"{path}: " + "; ".join(lines)) from error


def _plain(kind: str, message: str) -> str:
    match kind:
        case "extra_forbidden":
            return "unknown key: check its spelling, or remove it"
        case "missing":
            return "missing key: add it"
        case _:
            return message.removeprefix("Value error, ")


_PATHS = frozenset({"directory", "identity", "password_file", "data", "vault", "public_key"})


def _resolve(document: dict[str, object], folder: Path) -> dict[str, object]:
    resolved: dict[str, object] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            resolved[key] = _resolve(value, folder)
        elif key in _PATHS and isinstance(value, str):
            resolved[key] = folder / value
        else:
            resolved[key] = value
    return resolved
