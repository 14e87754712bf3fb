"""Which of the ledger's refusals mean that it moved on before we did (PROTOCOL §5)."""

from __future__ import annotations

from typing import Final

from .errors import LedgerRejected

# Refusals that rest on a round's state or on block time, which others, a second process of ours or a fork
# may have changed since we read them. All others rest on who calls and with what: no later look mends them.
_RACES: Final = frozenset(
    {
        "AlreadyAccepted",
        "AlreadyCommitted",
        "AlreadyConfirmed",
        "AlreadyObjected",
        "AlreadyProposed",
        "AlreadyRevealed",
        "AlreadyShared",
        "CombineWindowClosed",
        "CommitWindowClosed",
        "CommitWindowOpen",
        "FaultAlreadyProven",
        "FaultyAggregator",
        "KeyAlreadyAccepted",
        "KeyAlreadyAdopted",
        "KeyAlreadyProposed",
        "KeyNotProposed",
        "NoTotal",
        "NotAccepted",
        "NotCommitted",
        "NotFinished",
        "NotOpened",
        "NotRevealed",
        "NotYourTurn",
        "NotYet",
        "OpenWindowClosed",
        "RevealWindowClosed",
        "RevealWindowOpen",
        "RoundEnded",
        "SameResult",
        "StudyComplete",
        "TooFewContributors",
        "TooFewShares",
        "TotalAlreadyPosted",
        "WrongReason",
        "WrongRound",
        "WrongTotal",
    }
)


def is_lost_race(rejection: LedgerRejected) -> bool:
    """Whether to read the ledger again; otherwise a person has to act."""
    return rejection.rule in _RACES
