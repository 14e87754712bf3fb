"""Logs of the contract into events (PROTOCOL §5). Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypedDict, cast

from ..digest import Cid, Digest
from ..errors import Violation
from ..events import (
    BondDeposited,
    BondWithdrawn,
    Event,
    Fault,
    FaultProven,
    KeyAccepted,
    KeyProposed,
    Leaves,
    LogPosition,
    MemberJoined,
    ModelConfirmed,
    Motion,
    MotionKind,
    Reason,
    ResultObjected,
    ResultProposed,
    RoundAbandoned,
    RoundId,
    RoundTainted,
    SeatFollowed,
    SharePosted,
    Stake,
    State,
    StudyAccepted,
    StudyCreated,
    StudyId,
    StudyTerms,
    Timestamp,
    TotalPosted,
    UpdateCommitted,
    UpdateRevealed,
    Voted,
    Windows,
)
from ..members import ADDRESS_BYTES, Address, Member, Role, SealingKey, parse_address
from .abi import CLAUSE, by_hash, round_of, values_of


class Stamp(TypedDict):
    """What every event has: where, when, who."""

    at: LogPosition
    time: Timestamp
    sender: Address


def event_of(
    topics: Sequence[bytes], data: bytes, *, at: LogPosition, time: Callable[[], Timestamp]
) -> Event | None:
    """The event that a log of the contract records; None for a topic that is no event of ours.

    `time` is asked only for ours. Raises `Violation` for a log that the contract cannot have written:
    wrong number of topics, padding that is not zero, trailing bytes.
    """
    signature = by_hash("event").get(topics[0] if topics else b"")
    if signature is None:
        return None
    indexed = [p for p in signature.parameters if p.get("indexed")]
    other = [p for p in signature.parameters if not p.get("indexed")]
    words = b"".join(topics[1:])
    values = {**values_of(indexed, words, signature.name), **values_of(other, data, signature.name)}
    sender = parse_address(cast("str", values[indexed[-1]["name"]]))
    try:
        return _EVENTS[signature.name](Stamp(at=at, time=time(), sender=sender), _Fields(values))
    except ValueError as error:  # of Role and Reason
        raise Violation(
            CLAUSE, f"the chain gave a {signature.name} that no contract writes: {error}"
        ) from error


class _Fields:
    """One log's values by name, as our types."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def number(self, name: str) -> int:
        return cast("int", self._values[name])

    def raw(self, name: str) -> bytes:
        return cast("bytes", self._values[name])

    def digest(self, name: str) -> Digest:
        return Digest(self.raw(name))

    def cid(self, name: str) -> Cid:
        return Cid(b"".join(cast("tuple[bytes, bytes]", self._values[name])))

    def study(self) -> StudyId:
        return StudyId(self.number("study"))

    def round(self, name: str = "round") -> RoundId:
        return round_of(self.number(name))

    def address(self, name: str) -> Address:
        return parse_address(cast("str", self._values[name]))

    def addresses(self, name: str) -> tuple[Address, ...]:
        return tuple(map(parse_address, cast("tuple[str, ...]", self._values[name])))

    def somebody(self, name: str) -> Address | None:
        found = self.address(name)
        return None if found == bytes(ADDRESS_BYTES) else found

    def member(self) -> Member:
        account = cast("str", self._values["account"])
        return _member(account, self.number("role"), self.raw("sealingKey"), self.raw("name"))

    def motion(self) -> Motion:
        kind, subject, line, value, code, expires = cast(
            "tuple[int, str, tuple[str, int, bytes, bytes], int, bytes, int]", self._values["motion"]
        )
        named = line[1] != 0  # a line of the roster has a role
        return Motion(
            kind=MotionKind(kind),
            subject=parse_address(subject),
            member=_member(*line) if named else None,
            value=value,
            code=Digest(code),
            expires=Timestamp(expires),
        )

    def terms(self) -> StudyTerms:
        digest, cid, key, leaves, members, aggregators, threshold, minimum, rounds, windows, stake = cast(
            "tuple[bytes, tuple[bytes, bytes], bytes, tuple[int, int, int, bytes], tuple[str, ...], "
            "tuple[str, ...], int, int, int, tuple[int, ...], tuple[int, int, str]]",
            self._values["terms"],
        )
        gwei, lock, treasury = stake
        return StudyTerms(
            digest=Digest(digest),
            cid=Cid(b"".join(cid)),
            key=Digest(key),
            leaves=Leaves(*leaves[:3], binding=Digest(leaves[3])),
            members=tuple(map(parse_address, members)),
            aggregators=tuple(map(parse_address, aggregators)),
            threshold=threshold,
            minimum=minimum,
            rounds=rounds,
            windows=Windows(*windows),
            stake=Stake(gwei, lock, parse_address(treasury)),
        )


def _member(account: str, role: int, sealing_key: bytes, name: bytes) -> Member:
    return Member(
        address=parse_address(account),
        role=Role(role),
        sealing_key=SealingKey(sealing_key),
        name=name.rstrip(b"\0").decode("ascii", "backslashreplace"),  # for people only
    )


_EVENTS: Final[Mapping[str, Callable[[Stamp, _Fields], Event]]] = {
    "MemberJoined": lambda s, f: MemberJoined(**s, member=f.member()),
    "Voted": lambda s, f: Voted(**s, id=f.digest("id"), motion=f.motion()),
    "SeatFollowed": lambda s, f: SeatFollowed(
        **s,
        study=f.study(),
        account=f.address("account"),
        state=State(f.number("state")),
        heir=f.somebody("heir"),
    ),
    "BondDeposited": lambda s, f: BondDeposited(**s, study=f.study(), amount=f.number("amount")),
    "BondWithdrawn": lambda s, f: BondWithdrawn(**s, study=f.study(), amount=f.number("amount")),
    "StudyCreated": lambda s, f: StudyCreated(**s, study=f.study(), terms=f.terms()),
    "StudyAccepted": lambda s, f: StudyAccepted(**s, study=f.study(), digest=f.digest("digest")),
    "KeyProposed": lambda s, f: KeyProposed(**s, study=f.study(), key=f.digest("key"), cid=f.cid("cid")),
    "KeyAccepted": lambda s, f: KeyAccepted(
        **s, study=f.study(), key=f.digest("key"), ciphertexts=f.number("ciphertexts")
    ),
    "UpdateCommitted": lambda s, f: UpdateCommitted(
        **s, round=f.round(), root=f.digest("root"), base_model=f.digest("baseModel")
    ),
    "UpdateRevealed": lambda s, f: UpdateRevealed(**s, round=f.round(), cid=f.cid("cid")),
    "TotalPosted": lambda s, f: TotalPosted(
        **s, round=f.round(), members=f.addresses("members"), root=f.digest("root"), cid=f.cid("cid")
    ),
    "SharePosted": lambda s, f: SharePosted(
        **s, round=f.round(), total=f.digest("total"), digest=f.digest("digest"), cid=f.cid("cid")
    ),
    "ResultProposed": lambda s, f: ResultProposed(
        **s,
        round=f.round(),
        opening=f.digest("opening"),
        model=f.digest("model"),
        opening_cid=f.cid("openingCid"),
        model_cid=f.cid("modelCid"),
    ),
    "ModelConfirmed": lambda s, f: ModelConfirmed(**s, round=f.round(), model=f.digest("model")),
    "ResultObjected": lambda s, f: ResultObjected(
        **s,
        round=f.round(),
        proposed_opening=f.digest("proposedOpening"),
        proposed_model=f.digest("proposedModel"),
        found_opening=f.digest("foundOpening"),
        found_model=f.digest("foundModel"),
    ),
    "RoundAbandoned": lambda s, f: RoundAbandoned(**s, round=f.round(), reason=Reason(f.number("reason"))),
    "RoundTainted": lambda s, f: RoundTainted(**s, round=f.round(), reason=Reason(f.number("reason"))),
    "FaultProven": lambda s, f: FaultProven(
        **s,
        round=f.round(),
        aggregator=f.address("aggregator"),
        member=f.somebody("member"),
        fault=Fault(f.number("fault")),
        leaf=f.number("leaf"),
        slashed=f.number("slashed"),
        beneficiary=f.address("beneficiary"),
    ),
}
