"""Every sum that this hospital's patients may be part of, over all studies and ledgers (PROTOCOL §10.4).

A commitment leads to an opening, whether or not we help to open: so each round that we commit in counts,
from before its training on, until the ledger shows that it ended unopened or without us. What a ledger shows
of our accounts counts whatever the vault remembers; for other ledgers the vault's word is all there is.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from federation.digest import LedgerId
from federation.endpoints import DigestText, Section
from federation.events import RoundAbandoned, RoundId, StudyId
from federation.governance import Consortium
from federation.law import History
from federation.members import Address
from federation.rounds import Round, Study

from .notes import read_notes, replace_note

_FOLDER: Final = "openings"
Number = Annotated[int, Field(ge=1)]


class StudyOpenings(Section):
    """The rounds of one study that count, as the vault remembers them."""

    version: Literal[1] = 1
    ledger: DigestText
    study: Number
    most: Number  # rounds of that study that may finish
    rounds: tuple[Number, ...]  # increasing
    restored: bool = False  # from a backup: whatever was opened since is not known here

    @property
    def count(self) -> int:
        """How many openings this stands for, where its ledger cannot be asked."""
        return max(self.most, len(self.rounds)) if self.restored else len(self.rounds)


class Openings:
    """What a vault's folder remembers, put together with what a ledger shows; the daemon alone writes it."""

    def __init__(self, directory: Path, ledger: LedgerId) -> None:
        self._directory = directory
        self._ledger = ledger

    def elsewhere(self) -> int:
        """How many were, or may have been, opened on other ledgers."""
        return sum(one.count for one in remembered(self._directory) if one.ledger != self._ledger.hex())

    def here(self, history: History, me: Address) -> set[RoundId]:
        """Those of this ledger; `me` is any account that this hospital ever had on it."""
        accounts = accounts_of(history.consortium, me)
        noted = {
            RoundId(StudyId(one.study), number)
            for one in remembered(self._directory)
            if one.ledger == self._ledger.hex()
            for number in one.rounds
        }
        for study in history.studies.values():
            ours = {study.name_of(account) for account in accounts}
            for round in study.rounds:
                if ours & round.commits.keys():
                    noted.add(round.id)
                if _is_free(round, ours):
                    noted.discard(round.id)
        return noted

    def note(self, history: History, me: Address, round: RoundId) -> None:
        """The round counts from here on, durably, and so does what the ledger shows of its study."""
        study = history.study(round.study)
        counted = {round, *(id for id in self.here(history, me) if id.study == round.study)}
        note = StudyOpenings(
            ledger=self._ledger.hex(),
            study=round.study,
            most=study.terms.rounds,
            rounds=tuple(sorted(id.number for id in counted)),
        )
        _write(self._directory, note)


def still_to_come(history: History, me: Address, *, joining: Study) -> int:
    """How many further rounds of studies that we have accepted, and of one that we may, can finish."""
    accounts = accounts_of(history.consortium, me)
    return sum(
        _unfinished(study, {study.name_of(account) for account in accounts})
        for study in history.studies.values()
        if study.id == joining.id or any(study.name_of(account) in study.accepted for account in accounts)
    )


def remembered(directory: Path) -> list[StudyOpenings]:
    """What the vault in this folder remembers, of all ledgers."""
    return read_notes(directory / _FOLDER, StudyOpenings)


def remember_restored(directory: Path, notes: Iterable[StudyOpenings]) -> None:
    """The vault remembers what a backup did, besides its own; what was opened since is unknown."""
    known = {(one.ledger, one.study): one for one in remembered(directory)}
    for note in notes:
        own = known.get((note.ledger, note.study), note)
        rounds = tuple(sorted({*note.rounds, *own.rounds}))
        restored = note.model_copy(update={"rounds": rounds, "restored": True})
        _write(directory, restored)


def _write(directory: Path, note: StudyOpenings) -> None:
    replace_note(directory / _FOLDER, f"{note.ledger}-{note.study}", note)


def accounts_of(consortium: Consortium, me: Address) -> set[Address]:
    """All accounts that one institution has had: those that it replaced, and those that replaced it."""
    found, before = {me}, set[Address]()
    while found != before:
        before = set(found)
        for account in consortium.members:
            heir = consortium.standing(account).heir
            if heir is not None and (heir in found or account in found):
                found |= {heir, account}
    return found


def _is_free(round: Round, ours: set[Address]) -> bool:
    """Whether nothing of ours can be opened in this round any more."""
    unopened = isinstance(round.end, RoundAbandoned) and not round.opened
    return round.ended and (unopened or not ours & round.commits.keys())


def _unfinished(study: Study, ours: set[Address]) -> int:
    current = study.current()
    under_way = bool(ours & current.commits.keys())  # counted already
    return max(0, study.terms.rounds - len(study.finished) - under_way)
