"""What the API answers: ledger facts in JSON, each with an example. Payloads, sums and keys have no field."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, JsonValue

_ADDRESS = "0x" + "a1" * 20
_DIGEST = "0x" + "5f" * 32
_CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
_BLOCK: dict[str, JsonValue] = {"number": 120, "hash": _DIGEST, "time": 1_767_225_600}


class Answer(BaseModel):
    """Addresses and digests are `0x` and hexadecimal, CIDs base32, times seconds since 1970 of block time."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _example(**fields: JsonValue) -> ConfigDict:
    return ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [fields]})


class BlockAnswer(Answer):
    """The final block that an answer holds at."""

    model_config = _example(**_BLOCK)
    number: int
    hash: str
    time: int


class PhaseAnswer(Answer):
    """Where a round stands: `closes` is the last second of an open window, `reason` why it ended or will."""

    model_config = _example(name="combining", closes=1_767_225_720, reason=None)
    name: str
    closes: int | None = None
    reason: str | None = None


_PHASE: dict[str, JsonValue] = {"name": "combining", "closes": 1_767_225_720, "reason": None}


class WindowsAnswer(Answer):
    """How long each phase may last, in seconds."""

    model_config = _example(commit=600, reveal=300, combine=300, open=600)
    commit: int
    reveal: int
    combine: int
    open: int


_AGGREGATOR: dict[str, JsonValue] = {
    "address": _ADDRESS,
    "name": "adder",
    "bond_gwei": 1_000_000_000,
    "locked_until": 1_767_229_200,
}


class AggregatorAnswer(Answer):
    """One aggregator of a study; `locked_until` is the last second in which it can take nothing back."""

    model_config = _example(**_AGGREGATOR)
    address: str
    name: str
    bond_gwei: int  # all that it has on the contract for this study, rounded down
    locked_until: int | None = None


_STUDY: dict[str, JsonValue] = {
    "study": 1,
    "digest": _DIGEST,
    "cid": _CID,
    "aggregators": [_AGGREGATOR],
    "stake_gwei": 1_000_000_000,
    "members": 5,
    "accepted": 5,
    "threshold": 2,
    "minimum": 3,
    "rounds": 10,
    "finished": 4,
    "ended": {"NO_TOTAL": 1},
    "windows": {"commit": 600, "reveal": 300, "combine": 300, "open": 600},
    "current": 6,
    "phase": _PHASE,
}


class StudyAnswer(Answer):
    """One study; `ended` counts, by reason, the rounds that ended without a result.

    Its `aggregators` are in the order of their turns in the first round, and each round begins with the
    next of them; to post a total each must have deposited `stake_gwei`.
    """

    model_config = _example(**_STUDY)
    study: int
    digest: str
    cid: str
    aggregators: list[AggregatorAnswer]
    stake_gwei: int
    members: int
    accepted: int
    threshold: int
    minimum: int
    rounds: int
    finished: int
    ended: dict[str, int]
    windows: WindowsAnswer
    current: int
    phase: PhaseAnswer


class StudiesAnswer(Answer):
    """All studies on the ledger."""

    model_config = _example(head=_BLOCK, studies=[_STUDY])
    head: BlockAnswer
    studies: list[StudyAnswer]


class MemberAnswer(Answer):
    """One institution of a study; `index` is the number of its key share."""

    model_config = _example(index=1, address=_ADDRESS, name="north clinic", accepted=True)
    index: int
    address: str
    name: str
    accepted: bool


class PartAnswer(Answer):
    """What one member has done in a round; numbers are block heights."""

    model_config = _example(
        member=_ADDRESS,
        committed=101,
        root=_DIGEST,
        base_model=_DIGEST,
        revealed=105,
        update_cid=_CID,
        shared=None,
        confirmed=None,
        objected=None,
    )
    member: str
    committed: int | None = None
    root: str | None = None
    base_model: str | None = None
    revealed: int | None = None
    update_cid: str | None = None
    shared: int | None = None
    confirmed: int | None = None
    objected: int | None = None


class TotalAnswer(Answer):
    """A posted total: by and of whom, and by which root."""

    model_config = _example(block=108, aggregator=_ADDRESS, members=[_ADDRESS], root=_DIGEST, cid=_CID)
    block: int
    aggregator: str
    members: list[str]
    root: str
    cid: str


class TurnAnswer(Answer):
    """From when on this aggregator may post a total; unknown before the reveals have an end."""

    model_config = _example(aggregator=_ADDRESS, begins=1_767_225_661)
    aggregator: str
    begins: int | None = None


class FaultAnswer(Answer):
    """A fault of a total, proven before the court; `member` is whose update is at fault, if one is."""

    model_config = _example(
        block=109,
        fault="SUM",
        leaf=4,
        aggregator=_ADDRESS,
        member=None,
        challenger=_ADDRESS,
        slashed_gwei=1_000_000_000,
        beneficiary=_ADDRESS,
    )
    block: int
    fault: str
    leaf: int
    aggregator: str
    member: str | None = None
    challenger: str
    slashed_gwei: int
    beneficiary: str


class ProposalAnswer(Answer):
    """A proposed result."""

    model_config = _example(
        block=112, proposer=_ADDRESS, opening=_DIGEST, opening_cid=_CID, model=_DIGEST, model_cid=_CID
    )
    block: int
    proposer: str
    opening: str
    opening_cid: str
    model: str
    model_cid: str


class DeadlinesAnswer(Answer):
    """The last second of each window, as far as it is known yet."""

    model_config = _example(commit=1_767_225_600, reveal=1_767_225_660, combine=1_767_225_720, open=None)
    commit: int | None = None
    reveal: int | None = None
    combine: int | None = None
    open: int | None = None


class RoundAnswer(Answer):
    """One round: where it stands and who has done what; `turns` are those of who may still post a total.

    `ending` is one sentence for people on how it ended and why, or why it can only be ended any more.
    """

    model_config = _example(
        round=6,
        phase=_PHASE,
        ending=None,
        opened=False,
        deadlines={"commit": 1_767_225_600, "reveal": 1_767_225_660, "combine": 1_767_225_720, "open": None},
        turns=[{"aggregator": _ADDRESS, "begins": 1_767_225_661}],
        parts=[],
        total=None,
        taken_back=[],
        faults=[],
        proposals=[],
    )
    round: int
    phase: PhaseAnswer
    ending: str | None = None
    opened: bool
    deadlines: DeadlinesAnswer
    turns: list[TurnAnswer]
    parts: list[PartAnswer]
    total: TotalAnswer | None = None
    taken_back: list[TotalAnswer]
    faults: list[FaultAnswer]
    proposals: list[ProposalAnswer]


class ModelAnswer(Answer):
    """The model a round led to; `settled` once t members confirmed it, by word or by training from it."""

    model_config = _example(round=5, digest=_DIGEST, cid=_CID, settled=True)
    round: int
    digest: str
    cid: str
    settled: bool


class FindingAnswer(Answer):
    """What contradicts a claim: the clause broken and by whom, never the values found."""

    model_config = _example(clause="§9.9", round=5, culprit=_ADDRESS, weight="fault")
    clause: str
    round: int | None = None
    culprit: str | None = None
    weight: str


_CLAIM: dict[str, JsonValue] = {
    "clause": "§9.8",
    "name": "total_is_the_sum",
    "statement": "the posted total is the sum of exactly the admitted updates, byte for byte.",
    "verdict": "holds",
    "checked": 4,
    "findings": [],
}


class ClaimAnswer(Answer):
    """One claim: `holds`, `fails`, `unknown` where bytes are missing, `unchecked` where there was nothing."""

    model_config = _example(**_CLAIM)
    clause: str
    name: str
    statement: str
    verdict: str
    checked: int
    findings: list[FindingAnswer]


class AuditAnswer(Answer):
    """The aggregator's own audit, which proves nothing to anyone else: auditors run `tally audit`."""

    model_config = _example(head=_BLOCK, sound=True, claims=[_CLAIM], not_proved="Not proved: good data.")
    head: BlockAnswer
    sound: bool
    claims: list[ClaimAnswer]
    not_proved: str


class HealthAnswer(Answer):
    """The process is alive."""

    model_config = _example(status="alive")
    status: str


class ReadyAnswer(Answer):
    """Ledger and store answer, and the conductor runs: all that a stranger is told."""

    model_config = _example(ledger=True, store=True, conductor=True)
    ledger: bool
    store: bool
    conductor: bool


class StatusAnswer(Answer):
    """The newest final block that was seen, and its age; nothing where the ledger does not answer."""

    model_config = _example(head=_BLOCK, head_age_seconds=3)
    head: BlockAnswer | None = None
    head_age_seconds: int | None = None


class SessionAnswer(Answer):
    """One account that is signed in, by its role now; several lines where it has done so several times."""

    model_config = _example(account=_ADDRESS, role="institution", since=1_767_225_600, expires=1_767_226_500)
    account: str
    role: str
    since: int
    expires: int
