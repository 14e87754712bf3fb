"""What our own rules have refused, durably and once each, for people to read (PROTOCOL §10.4)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from federation.digest import LedgerId, labelled
from federation.endpoints import DigestText, Section
from federation.errors import Refused
from federation.events import StudyId

from .notes import keep_note, read_notes
from .policy import PolicyRefusal

Act = Literal["join", "start", "accept a key", "commit", "reveal", "share"]
_FOLDER: Final = "refusals"

log = logging.getLogger(__name__)


class Refusal(Section):
    """One of our rules stood in the way of one act."""

    version: Literal[1] = 1
    act: Act
    rule: str  # the setting's name, or "approval"
    ledger: DigestText
    study: int
    round: int | None  # none: the act belongs to no round
    expected: str
    found: str
    at: str  # UTC, of this machine's clock, when it was met first


class Refusals:
    """The refusals in a vault's folder; the node adds to them while people read."""

    def __init__(self, directory: Path, ledger: LedgerId, now: Callable[[], str]) -> None:
        self._folder = directory / _FOLDER
        self._ledger = ledger
        self._now = now

    @contextmanager
    def kept(self, act: Act, study: StudyId, round: int | None = None) -> Iterator[None]:
        """Whatever our rules refuse inside is recorded, once, and goes on to the caller."""
        try:
            yield
        except PolicyRefusal as refusal:
            self._keep(refusal, act, study, round)
            raise

    def _keep(self, refusal: PolicyRefusal, act: Act, study: StudyId, round: int | None) -> None:
        note = Refusal(
            act=act,
            rule=refusal.rule,
            ledger=self._ledger.hex(),
            study=study,
            round=round,
            expected=refusal.expected,
            found=refusal.found,
            at=self._now(),
        )
        try:
            new = keep_note(self._folder, _name_of(note), note)
        except Refused as trouble:  # a full disk: what is refused stays refused
            log.warning("refusal not recorded", extra={"why": str(trouble)})
            return
        if new and round is not None:  # else a command ends with it
            log.warning("refused", extra={"act": act, "study": study, "round": round, "why": str(refusal)})


def refusals_in(directory: Path) -> list[Refusal]:
    """All that a vault's folder holds, the oldest first."""
    return sorted(read_notes(directory / _FOLDER, Refusal), key=lambda one: one.at)


def _name_of(note: Refusal) -> str:
    """Everything but the time: the same refusal has one record, however often it is met."""
    parts = (note.act, note.rule, note.ledger, str(note.study), str(note.round), note.expected, note.found)
    return labelled("refusal", *(part.encode() for part in parts)).hex()[:32]
