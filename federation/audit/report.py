"""An audit's outcome: each claim with its verdict and evidence, for people and for machines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ..digest import Digest
from ..endings import called_by, ending
from ..errors import ExitCode
from ..members import parse_address, show_address
from .checks import (
    Finding,
    RoundCheck,
    Weight,
    contents_are_retrievable,
    contributors_reach_the_minimum,
    exclusions_are_justified,
    no_fault_was_proven,
    nobody_is_called_unavailable_lightly,
    retries_keep_their_members,
    submission_proofs_hold,
    total_is_the_sum,
    updates_are_well_formed,
    updates_match_commitments,
    updates_start_from_the_right_model,
)
from .record import RoundRecord, StudyRecord
from .result_checks import (
    ROUND_CHECKS,
    models_follow_from_openings,
    openings_are_right,
    results_are_settled,
    shares_are_right,
    statements_are_right,
    sum_is_within_bounds,
)
from .study_checks import STUDY_CHECKS, contract_is_the_audited_build

JsonValue = str | int | None | list["JsonValue"] | dict[str, "JsonValue"]

NOT_PROVED: Final = (
    "Proved: order, authorship, arithmetic and the use of the key. Not proved: that a hospital trained "
    "honestly, or that its data are good."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim over the whole study and what contradicts it."""

    clause: str
    name: str
    statement: str  # the first paragraph of the check's docstring, without its clause
    checked: int  # how many things it was checked on
    evidence: str  # what they are, in one line
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> str:
        """`holds`, `fails`, `unknown` for want of bytes, `unchecked` where there was nothing to check."""
        weights = {finding.weight for finding in self.findings}
        if Weight.FAULT in weights:
            return "fails"
        if Weight.UNKNOWN in weights:
            return "unknown"
        return "holds" if self.checked else "unchecked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All claims about one study, up to one block."""

    record: StudyRecord
    claims: tuple[Claim, ...]

    @property
    def findings(self) -> list[Finding]:
        """All that contradicts a claim or leaves it open; notices are left out."""
        return [f for claim in self.claims for f in claim.findings if f.weight is not Weight.NOTICE]

    @property
    def notices(self) -> list[Finding]:
        """What contradicts nothing and should still be known."""
        return [f for claim in self.claims for f in claim.findings if f.weight is Weight.NOTICE]

    @property
    def endings(self) -> dict[int, str]:
        """How each round ended that has, in one sentence, by the round's number."""
        known = {record.id: record.claimed_exclusions for record in self.record.rounds}
        call = called_by(self.record.history.roster)
        told = {}
        for round in self.record.study.rounds:
            excluded = known.get(round.id)
            left_out = excluded if isinstance(excluded, tuple) else ()
            told[round.id.number] = ending(round, call, excluded=left_out)
        return {number: sentence for number, sentence in told.items() if sentence}

    @property
    def exit_code(self) -> ExitCode:
        """OK, or VIOLATION when any claim is not shown to hold."""
        return ExitCode.VIOLATION if self.findings else ExitCode.OK

    def explain(self, value: object) -> str:
        """`value` as text, each address of the roster followed by the name it has there.

        Nothing but printable characters: a peer's words could hold a terminal's commands.
        """
        text = _hex(value) if isinstance(value, bytes) else str(value)
        named = _ADDRESS.sub(self._with_name, text)
        return "".join(character if character.isprintable() else "\ufffd" for character in named)

    def _with_name(self, found: re.Match[str]) -> str:
        member = self.record.history.roster.get(parse_address(found[0]))
        return found[0] if member is None else f"{found[0]} ({member.name})"


def verify(record: StudyRecord, *, audited_code: Digest) -> Report:
    """Every claim, in the order of its clauses, checked against everything that was gathered."""
    build = contract_is_the_audited_build(record, audited_code)
    claims = [_claim(contract_is_the_audited_build, build, checked=1, evidence="the deployed code")]
    until = f"the ledger up to block {record.head.number}"
    claims += [_claim(check, check(record), checked=1, evidence=until) for check in STUDY_CHECKS]
    for check in ROUND_CHECKS:
        unit = _UNITS[check]
        counts = [count for round in record.rounds if (count := _COUNTS[unit](round))]
        found = [finding for round in record.rounds for finding in check(round)]
        evidence = f"{_count(sum(counts), unit)}, {_count(len(counts), 'rounds')}"
        claims.append(_claim(check, found, checked=sum(counts), evidence=evidence))
    return Report(record=record, claims=tuple(sorted(claims, key=_number)))


def to_json(report: Report) -> dict[str, JsonValue]:
    """The report for machines; keys and verdicts stay as they are once published."""
    record = report.record
    head: dict[str, JsonValue] = {
        "number": record.head.number,
        "hash": _hex(record.head.hash),
        "time": record.head.time,
    }
    claims: list[JsonValue] = [
        {
            "clause": claim.clause,
            "name": claim.name,
            "statement": claim.statement,
            "verdict": claim.verdict,
            "checked": claim.checked,
            "evidence": claim.evidence,
            "findings": [_finding(report, finding) for finding in claim.findings],
        }
        for claim in report.claims
    ]
    return {
        "study": record.study.id,
        "document": _hex(record.study.terms.digest),
        "ledger": _hex(record.ledger),
        "code": _hex(record.code),
        "head": head,
        "endings": [{"round": number, "ending": sentence} for number, sentence in report.endings.items()],
        "claims": claims,
        "findings": [_finding(report, finding) for finding in report.findings],
        "notices": [_finding(report, finding) for finding in report.notices],
        "not_proved": NOT_PROVED,
    }


def _finding(report: Report, finding: Finding) -> JsonValue:
    culprit = finding.culprit
    member = None if culprit is None else report.record.history.roster.get(culprit)
    return {
        "clause": finding.clause,
        "weight": finding.weight.value,
        "round": None if finding.round is None else finding.round.number,
        "message": finding.message,
        "culprit": None if culprit is None else show_address(culprit),
        "culprit_name": None if member is None else member.name,
        "expected": _plain(finding.expected),
        "found": _plain(finding.found),
    }


def _plain(value: object) -> JsonValue:
    match value:
        case None | int() | str():
            return value
        case bytes():
            return _hex(value)
        case _:
            return str(value)


def _hex(data: bytes) -> str:
    return f"0x{data.hex()}"


def _claim(
    check: Callable[..., object], findings: Iterable[Finding], *, checked: int, evidence: str
) -> Claim:
    clause, _, statement = " ".join((check.__doc__ or "").partition("\n\n")[0].split()).partition(": ")
    return Claim(
        clause=clause,
        name=check.__name__,
        statement=statement,
        checked=checked,
        evidence=evidence,
        findings=tuple(findings),
    )


def _number(claim: Claim) -> int:
    return int(claim.clause.partition(".")[2])


def _count(number: int, unit: str) -> str:
    return f"{number} {unit.removesuffix('s') if number == 1 else unit}"


def _contents(record: RoundRecord) -> int:
    """Everything that the ledger names of a round and the store should have."""
    round = record.round
    return len(round.reveals) + (round.total is not None) + len(round.shares) + 2 * len(round.proposals)


_ADDRESS: Final = re.compile(r"\b0x[0-9a-f]{40}\b")
_COUNTS: Final[Mapping[str, Callable[[RoundRecord], int]]] = MappingProxyType(
    {
        "contents": _contents,
        "commitments": lambda record: len(record.round.commits),
        "updates": lambda record: len(record.updates),
        "totals": lambda record: int(record.round.total is not None),
        "posted totals": lambda record: len(record.round.rescinded) + (record.round.total is not None),
        "shares": lambda record: len(record.round.shares),
        "results": lambda record: len(record.round.proposals),
        "sums": lambda record: int(record.summed is not None),
        "statements": lambda record: len(record.round.confirmations) + len(record.round.objections),
    }
)
_UNITS: Final[Mapping[RoundCheck, str]] = MappingProxyType(
    {
        contents_are_retrievable: "contents",
        updates_match_commitments: "updates",
        updates_are_well_formed: "updates",
        submission_proofs_hold: "updates",
        updates_start_from_the_right_model: "commitments",
        nobody_is_called_unavailable_lightly: "updates",
        exclusions_are_justified: "totals",
        contributors_reach_the_minimum: "totals",
        total_is_the_sum: "totals",
        retries_keep_their_members: "totals",
        no_fault_was_proven: "posted totals",
        shares_are_right: "shares",
        openings_are_right: "results",
        sum_is_within_bounds: "sums",
        models_follow_from_openings: "results",
        statements_are_right: "statements",
        results_are_settled: "results",
    }
)
