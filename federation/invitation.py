"""What a consortium hands to a hospital: one file, and nothing in it is believed unseen (PROTOCOL §10.6).

It says where ledger and store are, which study of it is meant, and carries the public key with the
hospital's sealed share. Whoever wrote it proves nothing: the hospital compares all of it with the ledger,
and its people compare the document's digest with other hospitals.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, Self

import tomlkit
from pydantic import Base64Bytes, Field, ValidationError

from .endpoints import (
    AddressText,
    DigestText,
    LedgerSettings,
    Section,
    StoreSettings,
    UrlText,
    load_settings,
    shown_url,
)
from .errors import Refused

INVITATION_LIMIT: Final = 1 << 20  # bytes; a key of 32 members with its shares needs some 20,000
_TITLE: Final = "An invitation into a study, for `tally node join --invitation`; nothing in it is secret."


class InvitedLedger(Section):
    """Where the contract is; through whose nodes it is read is for the hospital to say."""

    url: UrlText | None = None
    also: tuple[UrlText, ...] = ()
    contract: AddressText  # which code it may run is for the hospital to say, else its own build's
    chain_id: int = Field(ge=1)
    deployment_block: int = Field(ge=0)
    confirmations: int = Field(default=0, ge=0, le=1000)

    @classmethod
    def of(cls, ledger: LedgerSettings) -> Self:
        """The same for others: URLs that hold what may be somebody's key are left out."""
        public = [url for url in (ledger.url, *ledger.also) if shown_url(url) in {url, url.removesuffix("/")}]
        return cls(
            url=ledger.url if ledger.url in public else None,
            also=tuple(url for url in ledger.also if url in public),
            contract=ledger.contract,
            chain_id=ledger.chain_id,
            deployment_block=ledger.deployment_block,
            confirmations=ledger.confirmations,
        )

    def through(self, url: str | None) -> LedgerSettings:
        """The settings that read it through `url` alone, else through the nodes named; raises `Refused`.

        Beside a node of our own those named here are not asked: while ours is silent they would outvote it.
        """
        if url is None and self.url is None:
            raise Refused("the invitation names no Ethereum node: name yours by --url http://…")
        table = self.model_dump(exclude_none=True)
        if url is not None:
            table["url"] = url
        if url is not None or not self.also:
            del table["also"]
        try:
            return LedgerSettings.model_validate(table)
        except ValidationError as error:
            raise Refused(f"the invitation's [ledger]: {error.errors()[0]['msg']}") from error


class InvitedStore(Section):
    """Where payloads lie: a folder that all see, or a daemon as each of them reaches its own."""

    directory: Path | None = None
    ipfs: str | None = None

    @classmethod
    def of(cls, store: StoreSettings) -> Self:
        """The same for others."""
        return cls.model_validate(store.model_dump(include={"directory", "ipfs"}, exclude_none=True))

    def settings(self) -> StoreSettings:
        """As a settings file holds it."""
        return StoreSettings(directory=self.directory, ipfs=self.ipfs)


class Invitation(Section):
    """One member's invitation into one study."""

    version: Literal[1] = 1
    member: AddressText  # as the study knows it
    study: int = Field(ge=1)
    document: DigestText  # that the ledger has of the study
    task: DigestText  # for information: the document says it
    dealt: Base64Bytes  # the dealer's public document
    shares: tuple[Base64Bytes, ...] = Field(min_length=1, max_length=2)  # sealed to the member, one a dealer
    ledger: InvitedLedger
    store: InvitedStore

    def encode(self) -> bytes:
        """The file's text."""
        text = tomlkit.document()
        text.add(tomlkit.comment(_TITLE))
        text.update(self.model_dump(mode="json", exclude_none=True))
        return tomlkit.dumps(text).encode()


def read_invitation(path: Path) -> Invitation:
    """The invitation in the file; raises `Refused`, naming what is wrong with it."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise Refused(f"{path}: cannot be read: {error.strerror}") from error
    if size > INVITATION_LIMIT:
        raise Refused(f"{path}: expected an invitation of at most {INVITATION_LIMIT} bytes, found {size}")
    return load_settings(Invitation, path)
