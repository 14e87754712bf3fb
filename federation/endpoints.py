"""The one place that names the real chain and the real store: settings of both, opened.

Used by the entry points of node, aggregator and auditor; everything else sees the two Protocols.
"""

from __future__ import annotations

import time
import tomllib
from pathlib import Path
from typing import Annotated, Final, Self, TypeVar
from urllib.parse import urlsplit

from eth_account.signers.local import LocalAccount
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from .audit.view import LedgerView
from .bonds import WEI_PER_GWEI
from .bookmarks import bookmark_file
from .digest import DIGEST_BYTES, Digest
from .errors import Refused, Unavailable
from .ledger.bookmark import NO_BOOKMARK
from .ledger.chain import MOST_WEI, ChainLedger, connect
from .members import parse_address, show_address
from .sign_in import Place
from .store.authorization import NOTHING, read_authorization, read_variable
from .store.content import ContentStore
from .store.directory import DirectoryStore
from .store.fallback import FallbackStore
from .store.ipfs import IpfsStore
from .store.retrying import RetryingStore
from .telemetry import SILENT, Telemetry

MASKED: Final = "********"
FINAL_SECONDS: Final = 600.0  # for the confirmations of one call: a dozen slow blocks, and some
LEAST_POLL_SECONDS: Final = 0.05
MOST_POLL_SECONDS: Final = 3600.0
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


def _digest(text: str) -> str:
    digits = text.removeprefix("0x").lower()
    if len(digits) != 2 * DIGEST_BYTES or set(digits) - set("0123456789abcdef"):
        raise ValueError("expected SHA-256 in 64 hexadecimal digits")
    return digits


def _sound_poll(seconds: float) -> float:
    if not LEAST_POLL_SECONDS <= seconds <= MOST_POLL_SECONDS:
        why = "below, the Ethereum node does nothing else; above, windows pass unseen"
        raise ValueError(f"expected {LEAST_POLL_SECONDS} to {MOST_POLL_SECONDS:.0f} seconds: {why}")
    return seconds


AddressText = Annotated[str, AfterValidator(_normal_address)]
UrlText = Annotated[str, AfterValidator(check_url)]
DigestText = Annotated[str, AfterValidator(_digest)]
PollSeconds = Annotated[float, AfterValidator(_sound_poll)]  # between two looks at the ledger


class Section(BaseModel):
    """A table of a settings file: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LedgerSettings(Section):
    """Which contract on which chain, whom we believe about it, and how deep a block has to lie."""

    url: UrlText
    also: tuple[UrlText, ...] = Field(default=(), max_length=8)  # other nodes, best run by other people
    agreeing: int | None = Field(default=None, ge=1)  # how many have to show the same; else more than half
    late_seconds: float = Field(default=60, ge=0, le=3600)  # that one which keeps up otherwise is waited for
    contract: AddressText
    code: DigestText | None = None  # SHA-256 of the contract's code; else that of the build shipped with us
    chain_id: int = Field(ge=1)
    deployment_block: int = Field(ge=0)
    confirmations: int = Field(default=0, ge=0, le=1000)  # blocks on top; 0 only where blocks are final
    most_gwei: float = Field(default=MOST_WEI / WEI_PER_GWEI, gt=0, le=1e6)  # paid for a unit of gas

    @model_validator(mode="after")
    def _names_nodes_once(self) -> Self:
        nodes = [url.removesuffix("/") for url in (self.url, *self.also)]
        if len(set(nodes)) < len(nodes):
            raise ValueError("also: a node cannot be its own witness: name each one once, `url` included")
        if self.agreeing is not None and self.agreeing > len(nodes):
            raise ValueError(
                f"agreeing: expected at most the {len(nodes)} nodes named, found {self.agreeing}"
            )
        return self


def effective(settings: Section) -> dict[str, object]:
    """Every setting in force, for people; where secrets lie and what may be a key in a URL is masked."""
    return _masked(settings.model_dump(mode="json"))


_SECRETS = frozenset({"password_file", "authorization_file", "monitor_token_file"})


def _masked(table: dict[str, object]) -> dict[str, object]:
    shown: dict[str, object] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            shown[key] = _masked(value)
        elif key == "also" and isinstance(value, list):
            shown[key] = [shown_url(url) for url in value]
        elif isinstance(value, list):
            shown[key] = [_masked(entry) if isinstance(entry, dict) else entry for entry in value]
        elif key in _SECRETS and value is not None:
            shown[key] = MASKED
        elif key == "url" and isinstance(value, str):
            shown[key] = shown_url(value)
        else:
            shown[key] = value
    return shown


class StorePlace(Section):
    """A folder, or the RPC of an IPFS daemon as a multiaddress. Exactly one."""

    directory: Path | None = None
    ipfs: str | None = None
    authorization_file: Path | None = None  # one line, "bearer TOKEN" or "basic USER:PASSWORD"
    timeout_seconds: float = Field(default=60, gt=0, le=3600)  # the longest silence, not the longest transfer
    attempts: int = Field(default=3, ge=1, le=10)  # at a daemon that does not answer


class StoreSettings(StorePlace):
    """Where payloads lie: our own place, then those of others, which are read where ours has nothing."""

    fallback: tuple[StorePlace, ...] = Field(default=(), max_length=8)
    retain_rounds: int | None = Field(default=None, ge=1)  # see `retention`; else updates are kept for ever


def open_ledger(
    settings: LedgerSettings,
    account: LocalAccount | None,
    *,
    only_audited_code: bool = True,
    memory: Path | None = None,
    telemetry: Telemetry = SILENT,
) -> ChainLedger:
    """The contract, checked to be the audited build; raises `Refused` or `Unavailable`.

    An auditor opens any code: that it is another one is then a finding. A daemon keeps its bookmark in the
    folder `memory`, so that it notices a chain that was rewritten while it was away.
    """
    contract = parse_address(settings.contract)
    bookmark = NO_BOOKMARK
    if memory is not None:
        bookmark = bookmark_file(memory, chain_id=settings.chain_id, contract=contract)
    return connect(
        settings.url,
        contract,
        account,
        also=settings.also,
        agreeing=settings.agreeing,
        late_for=settings.late_seconds,
        chain_id=settings.chain_id,
        code=None if settings.code is None else Digest(bytes.fromhex(settings.code)),
        deployment_block=settings.deployment_block,
        confirmations=settings.confirmations,
        only_audited_code=only_audited_code,
        bookmark=bookmark,
        most_wei=round(settings.most_gwei * WEI_PER_GWEI),
        telemetry=telemetry,
    )


def place_of(ledger: ChainLedger, settings: LedgerSettings) -> Place:
    """The ledger as those name it who sign in somewhere by its roster (§10.7)."""
    contract = parse_address(settings.contract)
    return Place(ledger=ledger.id, chain_id=settings.chain_id, contract=contract)


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
    """The store; raises `Refused` for a place that is not exactly one, or a secret that cannot be read.

    The secret in the environment is for our own daemon, and no fallback is ever told it.
    """
    own, *others = open_places(settings).values()
    return FallbackStore(own, others) if others else own


def open_places(settings: StoreSettings) -> dict[str, ContentStore]:
    """Each place by its path or address, our own first; errors as of `open_store`."""
    own = {_name(settings): _open_place("[store]", settings, secret=read_variable())}
    return own | {
        _name(place): _open_place("[[store.fallback]]", place, secret=NOTHING) for place in settings.fallback
    }


def _name(place: StorePlace) -> str:
    return str(place.directory or place.ipfs)


def _open_place(table: str, place: StorePlace, *, secret: str) -> ContentStore:
    match place:
        case StorePlace(directory=Path() as directory, ipfs=None, authorization_file=None):
            return DirectoryStore(directory)
        case StorePlace(directory=None, ipfs=str() as address, authorization_file=file):
            secret = secret if file is None else read_authorization(file)
            daemon = IpfsStore(address, timeout=place.timeout_seconds, authorization=secret)
            return RetryingStore(daemon, attempts=place.attempts)
        case StorePlace(directory=Path(), ipfs=None):
            raise Refused(f"{table}: `authorization_file` is for `ipfs`; a folder has its file modes")
        case _:
            raise Refused(f"{table}: expected exactly one of `directory` and `ipfs`")


Settings = TypeVar("Settings", bound=Section)


def load_settings(kind: type[Settings], path: Path) -> Settings:
    """The settings in a TOML file, relative paths taken from its folder; raises `Refused`, naming the key."""
    try:
        document = tomllib.loads(path.read_text())
    except OSError as error:
        raise Refused(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, endless digits; endless brackets
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


_PATHS = frozenset(
    {
        "directory",
        "identity",
        "password_file",
        "authorization_file",
        "data",
        "vault",
        "public_key",
        "certificate",
        "key",
        "monitor_token_file",
    }
)


def _resolve(document: dict[str, object], folder: Path) -> dict[str, object]:
    resolved: dict[str, object] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            resolved[key] = _resolve(value, folder)
        elif isinstance(value, list):
            resolved[key] = [_resolve(entry, folder) if isinstance(entry, dict) else entry for entry in value]
        elif key in _PATHS and isinstance(value, str):
            resolved[key] = folder / value
        else:
            resolved[key] = value
    return resolved
