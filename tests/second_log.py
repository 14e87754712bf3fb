"""What a ledger tells, as a stranger writes it down: who called what, when (PROTOCOL §3.1, §3.3, §5).

A founder joins by no call; what the contract's first block says of it is written down as one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from .second_judge import Charge


@dataclass(frozen=True)
class Member:
    """§5.10: a line of the roster."""

    account: bytes
    role: int
    key: bytes
    name: bytes


@dataclass(frozen=True)
class Vote:
    """§5.10: what a motion names; zeros where it names nothing."""

    kind: int
    subject: bytes
    member: Member
    number: int
    code: bytes
    expires: int


@dataclass(frozen=True)
class FollowRoster:
    account: bytes
    state: int  # as the event says
    heir: bytes | None


@dataclass(frozen=True)
class Terms:
    """§3.1: what `createStudy` records."""

    digest: bytes
    key: bytes
    institutions: Sequence[bytes]
    aggregators: Sequence[bytes]
    threshold: int
    minimum: int
    rounds: int
    windows: Sequence[int]  # commit, reveal, combine, open
    stake: tuple[int, int, bytes]  # gwei, seconds, who gets it
    leaves: tuple[int, int, int, bytes]  # suite, capsule leaves, body leaves, binding


@dataclass(frozen=True)
class CreateStudy:
    terms: Terms


@dataclass(frozen=True)
class AcceptStudy:
    digest: bytes


@dataclass(frozen=True)
class ProposeKey:
    key: bytes
    document: bytes  # what lies behind the CID


@dataclass(frozen=True)
class AcceptKey:
    key: bytes
    ciphertexts: int


@dataclass(frozen=True)
class CommitUpdate:
    round: int
    root: bytes
    base: bytes


@dataclass(frozen=True)
class RevealUpdate:
    round: int


@dataclass(frozen=True)
class PostTotal:
    round: int
    members: Sequence[bytes]
    root: bytes


@dataclass(frozen=True)
class PostShare:
    round: int
    total: bytes
    digest: bytes


@dataclass(frozen=True)
class Finish:
    round: int
    opening: bytes
    model: bytes


@dataclass(frozen=True)
class Say:
    """`confirmModel` or `objectToResult`."""

    round: int
    confirms: bytes  # a model; empty of an objection


@dataclass(frozen=True)
class Abandon:
    round: int
    reason: int
    tainted: bool  # what the event calls the round


@dataclass(frozen=True)
class Sentence:
    """What the event `FaultProven` says, beside the challenger."""

    aggregator: bytes
    member: bytes | None
    fault: int
    leaf: int
    slashed: int  # wei
    beneficiary: bytes


@dataclass(frozen=True)
class Dispute:
    round: int
    charge: Charge | None  # with its evidence, from the call; None where events alone are at hand
    sentence: Sentence


@dataclass(frozen=True)
class DepositBond:
    wei: int
    study: int = 1


@dataclass(frozen=True)
class WithdrawBond:
    wei: int
    study: int = 1


OfConsortium = Member | Vote
OfStudy = CreateStudy | AcceptStudy | ProposeKey | AcceptKey | FollowRoster
OfRound = CommitUpdate | RevealUpdate | PostTotal | PostShare | Finish | Say | Abandon | Dispute
Call = OfConsortium | OfStudy | OfRound | DepositBond | WithdrawBond


@dataclass(frozen=True)
class Line:
    """One call that the ledger took."""

    time: int  # of its block
    sender: bytes
    call: Call
