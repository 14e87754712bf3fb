"""A fault, how a study in which it happens has to end, and who is named by what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from federation.members import Address
from federation.rehearsal import Rehearsal

from ..rehearsing import (
    D,
    rehearse,
)
from .cast import Cast, Ending

ALL = "ABCD finished"
WITHOUT_D = "ABC finished"
EVERYBODY = frozenset("ABCD")
BUT_D = frozenset("ABC")
D_ALONE = frozenset({D})
Deviate = Callable[[Cast], None]


def unstaked() -> Rehearsal:
    """One aggregator, that has nothing to lose; a suite that hides nothing, and is quick."""
    return rehearse("plain", rounds=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault of one party in the first round, or where it says so the second, of two."""

    fault: str
    plays: Deviate
    away: frozenset[Address] = frozenset()  # who does nothing but what `plays` says
    ends: tuple[str, ...]
    blamed: frozenset[str] = frozenset()  # by the audit: clause and culprit
    missing: frozenset[str] = frozenset()  # what an auditor cannot judge, and who should have kept it
    stopped: frozenset[str] = frozenset()  # whose daemon ends with a refusal, and asks for a person
    through: frozenset[str] = EVERYBODY  # nodes that end with the study
    begins: Callable[[], Rehearsal] = unstaked
    shown: tuple[str, ...] = ()  # tests that show it on a real chain too

    def play(self, folder: Path) -> Ending:
        """What comes of it among real daemons."""
        cast = Cast(self.begins(), folder, set(self.away))
        try:
            return cast.play(self.plays)
        finally:
            cast.put_down()

    @property
    def expected(self) -> Ending:
        return Ending(
            rounds=self.ends,
            blamed=self.blamed,
            missing=self.missing,
            stopped=self.stopped,
            through=self.through,
            right=True,
        )


def phase(cast: Cast) -> object:
    return cast.round.phase(cast.stage.view.now)
