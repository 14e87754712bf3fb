"""Any party's settings file, as far as somebody's account, ledger and store stand in it."""

from __future__ import annotations

from pathlib import Path

from pydantic import ConfigDict

from federation.endpoints import LedgerSettings, Section, StoreSettings
from federation.errors import Refused
from federation.identity import Identity, load_identity, read_password

from .audit import ReaderSettings


class PartySettings(Section):
    """What any party's file says of its account, ledger and store; the rest of it is not ours to judge."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    identity: Path | None = None
    password_file: Path | None = None
    reader: ReaderSettings | None = None  # where an auditor's stand
    study: int = 1
    ledger: LedgerSettings | None = None
    store: StoreSettings | None = None


def identity_of(party: PartySettings, settings: Path) -> Identity:
    """Whose file it is: an auditor's says so under [reader], the others on top; raises `Refused`."""
    who = party.reader
    if who is None and party.identity is not None:
        who = ReaderSettings(identity=party.identity, password_file=party.password_file)
    if who is None:
        raise Refused(f"{settings}: expected `identity`, or [reader] with one: somebody has to answer for it")
    return load_identity(who.identity, read_password(who.password_file))
