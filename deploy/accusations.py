"""Whom an audit has caught, in plain words: who broke what, what was proven, and what the honest did."""

from __future__ import annotations

from collections.abc import Iterable

from federation.audit.checks import Weight
from federation.audit.record import RoundRecord
from federation.audit.report import Report
from federation.events import RoundAbandoned
from federation.members import Address, show_address
from federation.rounds import Round

from .verdicts import standing, verdict


def accusations(report: Report) -> list[str]:
    """Who broke what in which round, a line each, and then what the honest did about it."""
    lines: list[str] = []
    for finding in report.findings:
        if finding.weight is Weight.FAULT and finding.culprit is not None:
            where = "" if finding.round is None else f" in round {finding.round.number}"
            culprit = f"{name_of(report, finding.culprit)} ({show_address(finding.culprit)})"
            lines.append(
                f"CAUGHT: {culprit} broke {finding.clause}{where}: {report.explain(finding.message)}"
            )
    if lines:
        lines += [line for record in report.record.rounds for line in _answers(report, record)]
    return lines


def _answers(report: Report, record: RoundRecord) -> list[str]:
    """How the others answered a cheat in this round, as ledger and store show it."""

    def names(members: Iterable[Address]) -> str:
        return ", ".join(sorted(name_of(report, member) for member in members))

    round, number = record.round, record.id.number
    lines = [
        f"Round {number}: everybody left out the update of {names([excluded.member])} ({excluded.code.name})."
        for excluded in record.admission.excluded
    ]
    lines += _verdicts(report, round)
    if isinstance(round.end, RoundAbandoned) and round.total is not None:
        refused = names(round.terms.members)
        lines.append(f"Round {number}: {refused} gave no share of that total; nothing was opened.")
    if round.objections:
        right = [p.sender for p in round.proposals if p.model == record.model_digest]
        objected = f"{names(round.objections)} objected on the ledger"
        lines.append(f"Round {number}: {objected}; the right model stands, proposed by {names(right)}.")
    return lines


def _verdicts(report: Report, round: Round) -> list[str]:
    """For each fault proven in this round: who proved what, what it cost whom, and what stands now."""

    def name(address: Address) -> str:
        return name_of(report, address)

    sentences = [f"Round {round.id.number}: {verdict(fault, name)}" for fault in round.faults]
    return [
        *(f"{line}." for line in sentences[:-1]),
        *(f"{line}; {standing(round, name)}." for line in sentences[-1:]),
    ]


def name_of(report: Report, address: Address) -> str:
    member = report.record.history.roster.get(address)
    return show_address(address) if member is None else member.name
