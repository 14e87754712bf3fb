"""Rounds and studies as the API shows them: pure functions from the ledger's facts to answers."""

from __future__ import annotations

from collections import Counter
from typing import assert_never

from federation.audit.checks import Finding
from federation.audit.report import NOT_PROVED, Report
from federation.bonds import WEI_PER_GWEI
from federation.digest import show_cid
from federation.endings import called_by, ending, overdue
from federation.events import FaultProven, ResultProposed, Timestamp, TotalPosted
from federation.law import History
from federation.ledger.ledger import Block
from federation.members import Address, show_address
from federation.rounds import (
    Abandoned,
    Combining,
    Committing,
    Finished,
    Opening,
    Overdue,
    Phase,
    Revealing,
    Round,
    Study,
    Tainted,
)

from .answers import (
    AggregatorAnswer,
    AuditAnswer,
    BlockAnswer,
    ClaimAnswer,
    DeadlinesAnswer,
    FaultAnswer,
    FindingAnswer,
    MemberAnswer,
    ModelAnswer,
    PartAnswer,
    PhaseAnswer,
    ProposalAnswer,
    RoundAnswer,
    StudyAnswer,
    TotalAnswer,
    TurnAnswer,
    WindowsAnswer,
)


def block_answer(block: Block) -> BlockAnswer:
    """The block."""
    return BlockAnswer(number=block.number, hash=_hex(block.hash), time=block.time)


def phase_answer(phase: Phase) -> PhaseAnswer:
    """The phase by its name in PROTOCOL §5."""
    name = type(phase).__name__.lower()
    match phase:
        case Committing(closes=closes) | Revealing(closes=closes) | Combining(closes=closes):
            return PhaseAnswer(name=name, closes=closes)
        case Opening(closes=closes):
            return PhaseAnswer(name=name, closes=closes)
        case Overdue(reason=reason) | Abandoned(reason=reason) | Tainted(reason=reason):
            return PhaseAnswer(name=name, reason=reason.name)
        case Finished():
            return PhaseAnswer(name=name)
        case unknown:
            assert_never(unknown)


def study_answer(history: History, study: Study, now: Timestamp) -> StudyAnswer:
    """The study, who adds for it, and where its current round stands."""
    terms, current = study.terms, study.current()
    return StudyAnswer(
        study=study.id,
        digest=_hex(terms.digest),
        cid=show_cid(terms.cid),
        aggregators=[_aggregator(history, study, aggregator, now) for aggregator in terms.aggregators],
        stake_gwei=terms.stake.gwei,
        members=len(terms.members),
        accepted=len(study.accepted),
        threshold=terms.threshold,
        minimum=terms.minimum,
        rounds=terms.rounds,
        finished=len(study.finished),
        ended=dict(Counter(round.end.reason.name for round in study.rounds if round.end is not None)),
        windows=WindowsAnswer(**terms.windows._asdict()),
        current=current.id.number,
        phase=phase_answer(current.phase(now)),
    )


def member_answers(history: History, study: Study) -> list[MemberAnswer]:
    """The study's institutions in the order of their key shares."""
    return [
        MemberAnswer(
            index=index,
            address=show_address(member),
            name=history.roster[member].name,
            accepted=member in study.accepted,
        )
        for index, member in enumerate(study.terms.members, start=1)
    ]


def round_answer(history: History, round: Round, now: Timestamp) -> RoundAnswer:
    """The round, with a line for every member of the study."""
    posted, reveal_closes, windows = round.total, round.reveal_closes, round.terms.windows
    return RoundAnswer(
        round=round.id.number,
        phase=phase_answer(round.phase(now)),
        ending=_ending(history, round, now),
        opened=round.opened,
        deadlines=DeadlinesAnswer(
            commit=round.commit_closes,
            reveal=reveal_closes,
            combine=round.combine_closes,
            open=None if posted is None else posted.time + windows.open,
        ),
        turns=[
            TurnAnswer(aggregator=show_address(aggregator), begins=round.turn_begins(aggregator))
            for aggregator in round.turns
        ],
        parts=[_part(round, member) for member in round.terms.members],
        total=None if posted is None else _total(posted),
        taken_back=[_total(total) for total in round.rescinded],
        faults=[_fault(fault) for fault in round.faults],
        proposals=[_proposal(proposal) for proposal in round.proposals],
    )


def model_answer(study: Study, round: Round) -> ModelAnswer:
    """The settled model of a finished round, else the one proposed first."""
    settled = study.settled_model(round)
    named = [proposal for proposal in round.proposals if proposal.model == settled]
    chosen = (named or round.proposals)[0]
    return ModelAnswer(
        round=round.id.number,
        digest=_hex(chosen.model),
        cid=show_cid(chosen.model_cid),
        settled=bool(named),
    )


def audit_answer(report: Report) -> AuditAnswer:
    """The verdicts; messages stay out, for what an audit has found may quote a part of a sum."""
    claims = [
        ClaimAnswer(
            clause=claim.clause,
            name=claim.name,
            statement=claim.statement,
            verdict=claim.verdict,
            checked=claim.checked,
            findings=[_finding(finding) for finding in claim.findings],
        )
        for claim in report.claims
    ]
    head = block_answer(report.record.head)
    return AuditAnswer(head=head, sound=not report.findings, claims=claims, not_proved=NOT_PROVED)


def _ending(history: History, round: Round, now: Timestamp) -> str | None:
    """From the ledger alone: an answer waits for no store."""
    call, phase = called_by(history.roster), round.phase(now)
    return overdue(round, phase, call) if isinstance(phase, Overdue) else ending(round, call) or None


def _aggregator(history: History, study: Study, aggregator: Address, now: Timestamp) -> AggregatorAnswer:
    bond = study.bonds.of(aggregator)
    return AggregatorAnswer(
        address=show_address(aggregator),
        name=history.roster[aggregator].name,
        bond_gwei=bond.amount // WEI_PER_GWEI,
        locked_until=bond.locked_until if bond.locked_until >= now else None,
    )


def _total(total: TotalPosted) -> TotalAnswer:
    return TotalAnswer(
        block=total.at.block,
        aggregator=show_address(total.sender),
        members=[show_address(member) for member in total.members],
        root=_hex(total.root),
        cid=show_cid(total.cid),
    )


def _fault(fault: FaultProven) -> FaultAnswer:
    return FaultAnswer(
        block=fault.at.block,
        fault=fault.fault.name,
        leaf=fault.leaf,
        aggregator=show_address(fault.aggregator),
        member=None if fault.member is None else show_address(fault.member),
        challenger=show_address(fault.sender),
        slashed_gwei=fault.slashed // WEI_PER_GWEI,
        beneficiary=show_address(fault.beneficiary),
    )


def _part(round: Round, member: Address) -> PartAnswer:
    commit, reveal, share = round.commits.get(member), round.reveals.get(member), round.shares.get(member)
    confirmed, objected = round.confirmations.get(member), round.objections.get(member)
    return PartAnswer(
        member=show_address(member),
        committed=None if commit is None else commit.at.block,
        root=None if commit is None else _hex(commit.root),
        base_model=None if commit is None else _hex(commit.base_model),
        revealed=None if reveal is None else reveal.at.block,
        update_cid=None if reveal is None else show_cid(reveal.cid),
        shared=None if share is None else share.at.block,
        confirmed=None if confirmed is None else confirmed.at.block,
        objected=None if objected is None else objected.at.block,
    )


def _proposal(proposal: ResultProposed) -> ProposalAnswer:
    return ProposalAnswer(
        block=proposal.at.block,
        proposer=show_address(proposal.sender),
        opening=_hex(proposal.opening),
        opening_cid=show_cid(proposal.opening_cid),
        model=_hex(proposal.model),
        model_cid=show_cid(proposal.model_cid),
    )


def _finding(finding: Finding) -> FindingAnswer:
    return FindingAnswer(
        clause=finding.clause,
        round=None if finding.round is None else finding.round.number,
        culprit=None if finding.culprit is None else show_address(finding.culprit),
        weight=finding.weight.value,
    )


def _hex(data: bytes) -> str:
    return "0x" + data.hex()
