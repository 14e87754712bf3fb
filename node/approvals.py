"""Which tasks the people of this hospital allow: who decided, when, over which terms (PROTOCOL §10.4).

An approval names a task by its digest, and holds for any study of that task whose terms are no wider than
those it was given over. Decisions are added and never changed; the last one on a task stands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field

from federation.agreement import Agreement
from federation.digest import Digest, sha256
from federation.endpoints import DigestText, Section

from .notes import keep_note, read_notes

_FOLDER: Final = "approvals"


class Limits(Section):
    """How wide a study may be under an approval."""

    rounds: Annotated[int, Field(ge=1)]  # at most
    contributors: Annotated[int, Field(ge=1)]  # to a sum, at least
    public: bool  # whether anybody may read sums and models

    @classmethod
    def of(cls, agreement: Agreement) -> Limits:
        """Those that this study needs."""
        spec = agreement.spec
        return cls(rounds=spec.rounds, contributors=spec.minimum, public=not spec.audience.is_sealed)

    def allow(self, asked: Limits) -> bool:
        """Whether what is asked is no wider."""
        return (
            asked.rounds <= self.rounds
            and asked.contributors >= self.contributors
            and (self.public or not asked.public)
        )


class Decision(Section):
    """What somebody decided on a task."""

    version: Literal[1] = 1
    number: Annotated[int, Field(ge=1)]  # of the decisions on this task
    task: DigestText
    decision: Literal["approved", "revoked"]
    by: str  # a name, typed or the operating system's
    at: str  # UTC, of this machine's clock
    name: str = ""  # of the study whose terms were shown
    study: DigestText | None = None  # its document's digest
    limits: Limits | None = None  # none: of a revocation


class Approvals:
    """The decisions in a vault's folder; safe to read and to add to while the node runs."""

    def __init__(self, directory: Path) -> None:
        self._folder = directory / _FOLDER

    def decisions(self) -> list[Decision]:
        """All, by task, and of each task in order."""
        return sorted(read_notes(self._folder, Decision), key=lambda one: (one.task, one.number))

    def of(self, task: Digest) -> Limits | None:
        """What is approved of this task now; None where nothing is, or no longer."""
        return next((one.limits for one in reversed(self.decisions()) if one.task == task.hex()), None)

    def approve(self, agreement: Agreement, *, by: str, at: str) -> Decision:
        """The study's task is allowed, within the terms that this study has."""
        return self._decide(
            Decision(
                number=1,
                task=agreement.task.spec.digest.hex(),
                decision="approved",
                by=by,
                at=at,
                name=agreement.spec.name,
                study=sha256(agreement.spec.encode()).hex(),
                limits=Limits.of(agreement),
            )
        )

    def revoke(self, task: Digest, *, by: str, at: str) -> Decision:
        """The task is allowed no more: nothing further is committed, revealed or shared for it."""
        return self._decide(Decision(number=1, task=task.hex(), decision="revoked", by=by, at=at))

    def _decide(self, decision: Decision) -> Decision:
        """The next decision on its task; of two at the same moment one comes after the other."""
        number = 0
        while True:
            made = [one.number for one in self.decisions() if one.task == decision.task]
            number = max([number, *made]) + 1  # never one that was, though people have moved some away
            numbered = decision.model_copy(update={"number": number})
            if keep_note(self._folder, f"{decision.task}-{number:06}", numbered):
                return numbered
