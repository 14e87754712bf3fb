"""What the ledger says has happened: one frozen class for each event of the contract.

Python `UpdateCommitted`, Solidity `event UpdateCommitted`, Python `commit_update`: one word
everywhere. An event is a fact with a position; nothing here interprets it (see `rounds`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, NewType

from .digest import DIGEST_BYTES, Cid, Digest
from .members import ADDRESS_BYTES, Address, Member

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
    """Why a round ended without a result; the numbers are the contract's.

    `FAULT_PROVEN` ends a round by the proof itself; nobody can `abandon` for it.
    """

    TOO_FEW_COMMITS = 1
    TOO_FEW_REVEALS = 2
    NO_TOTAL = 3
    NO_SHARES = 4
    TOO_FEW_SHARES = 5
    NO_RESULT = 6
    FAULT_PROVEN = 7


class Fault(IntEnum):
    """What a dispute has proven of a posted total; the numbers are the contract's (PROTOCOL §5.7)."""

    SUM = 1  # a leaf of the total is not the sum of its members' leaves
    LEAF = 2  # an admitted update has a leaf that breaks the suite's rules
    HEADER = 3  # an admitted update, or the total, has another header than the one that is due
    PROOF = 4  # an admitted update has a submission proof that cannot pass for its form alone


class State(IntEnum):
    """What the consortium has decided of an account; the numbers are the contract's."""

    NONE = 0
    ACTIVE = 1
    SUSPENDED = 2  # until it is reinstated; what it did before stands
    LEFT = 3
    REPLACED = 4  # by its heir


class MotionKind(IntEnum):
    """What a motion is about; the numbers are the contract's."""

    ADMIT = 0  # `member` joins
    REMOVE = 1  # `subject` leaves for good
    SUSPEND = 2  # `subject` may not act
    REINSTATE = 3  # a suspended `subject` may act again
    REPLACE = 4  # the organisation of `subject` has new keys: `member`, in the same role
    SET_QUORUM = 5  # motions need `value` votes, but never fewer than a majority nor more than there are
    SUPERSEDE = 6  # the contract `subject`, with this `code`, takes over


class Windows(NamedTuple):
    """How long each phase of a round may last, in seconds of block time."""

    commit: int
    reveal: int
    combine: int
    open: int


class Leaves(NamedTuple):
    """What the contract has to know of payloads to judge a dispute."""

    suite: int  # by which rules leaves are added; 0: no dispute is judged
    ciphertexts: int  # capsule leaves under the first epoch's key
    chunks: int  # body leaves
    binding: (
        Digest  # labelled("binding"; ledger id, shape digest): what headers name and the contract cannot see
    )


class Stake(NamedTuple):
    """What an aggregator loses when a fault of its total is proven."""

    gwei: int  # that it must have deposited when it posts a total
    lock: int  # seconds of block time after that in which it cannot withdraw
    treasury: Address  # who gets it; the zero address: whoever proves the fault


NOBODY: Final = Address(bytes(ADDRESS_BYTES))
NO_CODE: Final = Digest(bytes(DIGEST_BYTES))
NO_STAKE: Final = Stake(gwei=0, lock=0, treasury=NOBODY)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyTerms:
    """What the contract itself enforces of a study; all else stands in the spec behind `digest`."""

    digest: Digest  # SHA-256 of the spec's bytes (PROTOCOL §3)
    cid: Cid
    key: Digest  # of the first epoch's key, as the suite computes it (PROTOCOL §7.2)
    leaves: Leaves
    members: tuple[Address, ...]  # institutions, strictly increasing
    aggregators: tuple[Address, ...]  # in the order of their turns in the first round
    threshold: int
    minimum: int  # contributors
    rounds: int  # rounds that may finish
    windows: Windows
    stake: Stake


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
class Motion:
    """What institutions vote on; motions that differ in any field are two."""

    kind: MotionKind
    expires: Timestamp  # its last second
    subject: Address = NOBODY
    member: Member | None = None
    value: int = 0
    code: Digest = NO_CODE


@dataclass(frozen=True, slots=True, kw_only=True)
class Voted(_At):
    """An institution voted for a motion; the vote that reaches the quorum carries it."""

    id: Digest  # Keccak-256 of the motion as the contract encodes it
    motion: Motion


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatFollowed(_At):
    """An account's seat in a study is what the consortium decided of the account."""

    study: StudyId
    account: Address
    state: State
    heir: Address | None  # whose seat it is from here on


@dataclass(frozen=True, slots=True, kw_only=True)
class BondDeposited(_At):
    """An aggregator staked Ether on the totals that it posts in a study."""

    study: StudyId
    amount: int  # wei


@dataclass(frozen=True, slots=True, kw_only=True)
class BondWithdrawn(_At):
    """The sender took back what was its own in a study, and not locked."""

    study: StudyId
    amount: int  # wei


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
    ciphertexts: int  # capsule leaves under this key


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
    total: Digest
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


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultProven(_At):
    """The contract has seen proof that the posted total is unlawful; the sender brought it."""

    round: RoundId
    aggregator: Address  # who posted that total
    member: Address | None  # whose admitted update is at fault, if one is
    fault: Fault
    leaf: int  # index in the tree
    slashed: int  # wei
    beneficiary: Address

    @property
    def reason(self) -> Reason:
        """Why a round that it ended has ended."""
        return Reason.FAULT_PROVEN


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
    | FaultProven
)
BondEvent = BondDeposited | BondWithdrawn
RosterEvent = MemberJoined | Voted
StudyEvent = SeatFollowed | StudyCreated | StudyAccepted | KeyProposed | KeyAccepted
Event = RosterEvent | BondEvent | StudyEvent | RoundEvent
