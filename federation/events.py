"""What the ledger says has happened: one frozen class for each event of the contract.

Python `UpdateCommitted`, Solidity `event UpdateCommitted`, Python `commit_update`: one word
everywhere. An event is a fact with a position; nothing here interprets it (see `rounds`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, NewType

from .digest import Cid, Digest
from .members import Address, Member

StudyId = NewType("StudyId", int)  # 1, 2, 3 … on one contract
Timestamp = NewType("Timestamp", int)  # seconds since 1970, the block's


class RoundId(NamedTuple):
    """One round of one study; `number` counts from 1 and never repeats, abandoned rounds included."""

    study: StudyId
    number: int

    def encode(self) -> bytes:
        """Study and number, four bytes each, big-endian: for labels and contexts."""
        return self.study.to_bytes(4, "big") + self.number.to_bytes(4, "big")

    def __str__(self) -> str:
        return f"{self.study}/{self.number}"


@dataclass(frozen=True, slots=True, order=True)
class LogPosition:
    """Where an event stands: block height, then index within the block."""

    block: int
    index: int


class Reason(IntEnum):
    """Why a round ended without a result; the numbers are the contract's."""

    TOO_FEW_COMMITS = 1
    TOO_FEW_REVEALS = 2
    NO_TOTAL = 3
    NO_SHARES = 4
    TOO_FEW_SHARES = 5
    NO_RESULT = 6


class Windows(NamedTuple):
    """How long each phase of a round may last, in seconds of block time."""

    commit: int
    reveal: int
    combine: int
    open: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyTerms:
    """What the contract itself enforces of a study; all else stands in the spec behind `digest`."""

    digest: Digest  # SHA-256 of the spec's bytes (PROTOCOL §3)
    cid: Cid
    key: Digest  # of the first epoch's key, as the suite computes it (PROTOCOL §7.2)
    members: tuple[Address, ...]  # institutions, strictly increasing
    aggregator: Address
    threshold: int
    minimum: int  # contributors
    rounds: int  # rounds that may finish
    windows: Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class _At:
    at: LogPosition
    time: Timestamp
    sender: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberJoined(_At):
    """A member entered the roster."""

    member: Member


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyCreated(_At):
    """Somebody proposed a study; it binds nobody before all its members accept."""

    study: StudyId
    terms: StudyTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyAccepted(_At):
    """The sender accepted the study with this digest."""

    study: StudyId
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyProposed(_At):
    """The sender proposed a key for later rounds; it binds nobody before all members accept it."""

    study: StudyId
    key: Digest
    cid: Cid  # where the key's public document is said to lie


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAccepted(_At):
    """The sender checked a proposed key, and holds its share of it."""

    study: StudyId
    key: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateCommitted(_At):
    """The sender bound itself to one encrypted update, trained from `base_model`."""

    round: RoundId
    root: Digest  # RFC 6962 root of the payload's leaves
    base_model: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRevealed(_At):
    """The sender published the payload it had committed to."""

    round: RoundId
    cid: Cid


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalPosted(_At):
    """The aggregator posted the sum of the admitted updates."""

    round: RoundId
    members: tuple[Address, ...]  # strictly increasing
    root: Digest
    cid: Cid


@dataclass(frozen=True, slots=True, kw_only=True)
class SharePosted(_At):
    """The sender gave its one share of the opening of the posted total."""

    round: RoundId
    digest: Digest
    cid: Cid


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultProposed(_At):
    """The sender joined the shares: this is the opened sum and the model it leads to."""

    round: RoundId
    opening: Digest
    model: Digest
    opening_cid: Cid
    model_cid: Cid


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfirmed(_At):
    """The sender recomputed this round's model and found this digest."""

    round: RoundId
    model: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultObjected(_At):
    """The sender recomputed a proposed result and found another one."""

    round: RoundId
    proposed_opening: Digest
    proposed_model: Digest
    found_opening: Digest
    found_model: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundAbandoned(_At):
    """A deadline passed without quorum and before any share: nothing was opened."""

    round: RoundId
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTainted(_At):
    """The round failed after a share was given: it counts as opened and never will be."""

    round: RoundId
    reason: Reason


RoundEvent = (
    UpdateCommitted
    | UpdateRevealed
    | TotalPosted
    | SharePosted
    | ResultProposed
    | ModelConfirmed
    | ResultObjected
    | RoundAbandoned
    | RoundTainted
)
StudyEvent = StudyCreated | StudyAccepted | KeyProposed | KeyAccepted
Event = MemberJoined | StudyEvent | RoundEvent
