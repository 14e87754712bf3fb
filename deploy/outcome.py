"""What a run came to: an auditor's view of it, and the figures that go into `summary.json`."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean

from federation.arithmetic import Model
from federation.audit.observer import Observer
from federation.audit.record import StudyRecord
from federation.audit.report import Report, verify
from federation.audit.view import LedgerView
from federation.endpoints import load_settings, open_ledger, open_store
from federation.errors import Refused
from federation.events import FaultProven, RoundId, StudyId, Timestamp
from federation.identity import load_identity, read_password
from federation.ledger.abi import audited_code_digest
from federation.rounds import Round, Study
from federation.submission import rounding_context
from federation.tasks import Dataset
from node.settings import NodeSettings
from node.train import training_seed
from node.vault import Vault

from . import baselines, measure
from .accusations import name_of
from .audit import AuditSettings
from .baselines import Draw
from .consortium import Consortium


class Auditor:
    """Reads a run's ledger and store as the roster's auditor; owns nothing else of it."""

    def __init__(self, consortium: Consortium) -> None:
        settings = load_settings(AuditSettings, consortium.auditor)
        if settings.reader is None:
            raise Refused(f"{consortium.auditor}: expected [reader], the auditor's identity")
        identity = load_identity(settings.reader.identity, read_password(settings.reader.password_file))
        ledger, store = open_ledger(settings.ledger, None), open_store(settings.store)
        self._view = LedgerView(ledger)
        self._view.refresh()
        self.observer = Observer(
            self._view, ledger, store, StudyId(1), retain_rounds=settings.store.retain_rounds
        )
        self._key = self.observer.content_key(identity.address, identity.sealing_secret)
        self._test = self.observer.agreement.task.load(consortium.directory / "test.csv")

    @property
    def study(self) -> Study:
        """As the ledger has it."""
        return self.observer.study

    @property
    def now(self) -> Timestamp:
        """Block time."""
        return self._view.now

    @property
    def test(self) -> Dataset:
        """The patients that no hospital has."""
        return self._test

    @property
    def is_over(self) -> bool:
        """Whether the last result is settled: t members have confirmed it by word."""
        finished = self.study.finished
        return self.study.is_complete and self.study.settled_model(finished[-1]) is not None

    def refresh(self) -> None:
        """Reads on."""
        self._view.refresh()

    def model_after(self, round: Round) -> Model:
        """Recomputed from ledger and store."""
        following = Round(id=RoundId(round.id.study, round.id.number + 1), terms=round.terms)
        return self.observer.base_of(following, self._key)

    def accuracy(self, round: Round) -> float | None:
        """Of a finished round's model, on the held-out patients."""
        if not round.proposals:
            return None
        return self.observer.agreement.task.evaluate(self.model_after(round), self._test).accuracy

    def record(self) -> StudyRecord:
        """Everything that ledger and store hold."""
        self.refresh()
        return self.observer.study_record(self._key)

    def audit(self) -> Report:
        """Every claim, checked."""
        return verify(self.record(), audited_code=audited_code_digest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What `summary.json` holds."""

    rounds: int  # finished
    accuracy: float
    auc: float
    central_accuracy: float  # all patients in one place
    central_auc: float
    local_mean_accuracy: float  # each hospital alone
    bit_equal: bool  # the encrypted run's models and those of the same run on plain integers
    audit_findings: int
    findings: list[str]
    faults: list[dict[str, object]]  # proven before the contract's court
    seconds: dict[str, float]  # block time a phase, mean over rounds; set-up and the whole study
    gas: dict[str, dict[str, int]]  # a call
    bytes: dict[str, int]  # a payload
    plan: dict[str, object]


def summarise(
    consortium: Consortium, auditor: Auditor, report: Report, *, setup: float, took: float
) -> Summary:
    """The figures of a run; set-up took `setup` seconds and the study `took`."""
    task, study, plan = auditor.observer.agreement.task, auditor.study, consortium.plan
    patients = _patients(consortium, auditor)
    scores = task.evaluate(auditor.model_after(study.finished[-1]), auditor.test)
    central = task.evaluate(baselines.converged(task, baselines.pool(patients)), auditor.test)
    alone = [task.evaluate(baselines.converged(task, own), auditor.test) for own in patients]
    encrypted = [auditor.model_after(round) for round in study.finished]
    settings = load_settings(AuditSettings, consortium.auditor)
    return Summary(
        rounds=len(study.finished),
        accuracy=scores.accuracy,
        auc=scores.auc,
        central_accuracy=central.accuracy,
        central_auc=central.auc,
        local_mean_accuracy=mean(score.accuracy for score in alone),
        bit_equal=baselines.bit_equal(encrypted, _plain_models(consortium, auditor, patients)),
        audit_findings=len(report.findings),
        findings=[finding.message for finding in report.findings],
        faults=[_fault(report, fault) for round in study.rounds for fault in round.faults],
        seconds=measure.seconds_per_phase(report.record)
        | {"setup": round(setup, 1), "study": round(took, 1)},
        gas=measure.gas_per_call(consortium.devnet, settings.ledger.contract),
        bytes=measure.bytes_per_payload(report.record),
        plan={
            "hospitals": plan.hospitals,
            "threshold": plan.threshold,
            "bits": plan.bits,
            "chain": plan.chain,
        },
    )


def _fault(report: Report, fault: FaultProven) -> dict[str, object]:
    """For `summary.json`."""
    return {
        "round": fault.round.number,
        "fault": fault.fault.name,
        "leaf": fault.leaf,
        "aggregator": name_of(report, fault.aggregator),
        "member": None if fault.member is None else name_of(report, fault.member),
        "challenger": name_of(report, fault.sender),
        "slashed_wei": fault.slashed,
        "beneficiary": name_of(report, fault.beneficiary),
    }


def _patients(consortium: Consortium, auditor: Auditor) -> list[Dataset]:
    load = auditor.observer.agreement.task.load
    return [load(consortium.directory / member.name / "patients.csv") for member in consortium.members]


def _plain_models(consortium: Consortium, auditor: Auditor, patients: list[Dataset]) -> list[Model]:
    """The same federation on plain integers, with the hospitals' own seeds: only a demo can ask for them."""
    agreement = auditor.observer.agreement
    seeds = {}
    for index, member in enumerate(consortium.members):
        node = load_settings(NodeSettings, consortium.directory / member.name / "node.toml")
        identity = load_identity(node.identity, read_password(node.password_file))
        seeds[member.address] = (index, Vault(node.vault, identity, agreement.ledger, _no_randomness).seed())
    rounds = []
    for round in auditor.study.finished:
        draws: dict[int, Draw] = {}
        for address in round.total.members if round.total else ():
            index, seed = seeds[address]
            draws[index] = Draw(
                training_seed=training_seed(seed, agreement.ledger, round.id),
                secret=seed,
                context=rounding_context(agreement, round.id, address),
            )
        rounds.append(draws)
    return baselines.plain_run(agreement.task, agreement.spec.scale, patients, rounds=rounds)


def _no_randomness(length: int) -> bytes:
    raise Refused(f"the vault has no seed yet; {length} random bytes were asked for by a reader")
