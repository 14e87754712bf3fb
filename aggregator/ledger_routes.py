"""What the ledger says of studies, rounds and models, and what the aggregator finds in its own work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

from fastapi import FastAPI, HTTPException, Path

from federation.errors import Unavailable
from federation.events import RoundId, StudyId
from federation.law import History
from federation.ledger.ledger import Block

from .access import EXAMINERS, ROSTER, to
from .answers import (
    AuditAnswer,
    MemberAnswer,
    ModelAnswer,
    RoundAnswer,
    StudiesAnswer,
    StudyAnswer,
)
from .checkup import Auditor
from .portray import block_answer, member_answers, model_answer, round_answer, study_answer
from .work import Work

AUDIT_COST: Final = 20  # ordinary requests: it may hold a thread for a while, and others wait for it
StudyNumber = Annotated[int, Path(ge=1, lt=2**32, description="1, 2, 3 … on this contract")]
RoundNumber = Annotated[int, Path(ge=1, lt=2**32, description="1, 2, 3 … in this study")]
_READ: Final = to(ROSTER, 404, 422, 503)


def add_ledger_routes(app: FastAPI, work: Work, auditor: Auditor) -> None:
    """Everything below /v1/studies."""
    _add_studies(app, work)
    _add_rounds(app, work)
    _add_models(app, work)

    @app.get(
        "/v1/studies/{study}/audit", tags=["audit"], **to(EXAMINERS, 404, 409, 422, 503, cost=AUDIT_COST)
    )
    def audit(study: StudyNumber) -> AuditAnswer:
        """The aggregator examines itself; auditors believe their own `tally audit` only."""
        return auditor.audit(StudyId(study))


@contextmanager
def _ledger(work: Work) -> Iterator[tuple[History, Block]]:
    """The history stands still at this block for as long as it is looked at."""
    view = work.conductor.view
    if not work.conductor.has_read:
        raise Unavailable("the ledger has not been read yet")
    with view.lock:
        yield view.history, view.head


def _add_studies(app: FastAPI, work: Work) -> None:
    @app.get("/v1/studies", tags=["ledger"], **_READ)
    def studies() -> StudiesAnswer:
        """All studies on the ledger, and the block this holds at."""
        with _ledger(work) as (history, head):
            listed = [study_answer(history, study, head.time) for study in history.studies.values()]
            return StudiesAnswer(head=block_answer(head), studies=listed)

    @app.get("/v1/studies/{study}", tags=["ledger"], **_READ)
    def one_study(study: StudyNumber) -> StudyAnswer:
        """One study and where its current round stands."""
        with _ledger(work) as (history, head):
            return study_answer(history, history.study(StudyId(study)), head.time)

    @app.get("/v1/studies/{study}/members", tags=["ledger"], **_READ)
    def members(study: StudyNumber) -> list[MemberAnswer]:
        """Its institutions, in the order of their key shares."""
        with _ledger(work) as (history, _):
            return member_answers(history, history.study(StudyId(study)))


def _add_rounds(app: FastAPI, work: Work) -> None:
    @app.get("/v1/studies/{study}/rounds", tags=["ledger"], **_READ)
    def rounds(study: StudyNumber) -> list[RoundAnswer]:
        """Every round that anyone has committed to."""
        with _ledger(work) as (history, head):
            return [round_answer(history, round, head.time) for round in history.study(StudyId(study)).rounds]

    @app.get("/v1/studies/{study}/rounds/{number}", tags=["ledger"], **_READ)
    def one_round(study: StudyNumber, number: RoundNumber) -> RoundAnswer:
        """One round: phase, deadlines, and who has done what."""
        with _ledger(work) as (history, head):
            return round_answer(history, history.round(RoundId(StudyId(study), number)), head.time)


def _add_models(app: FastAPI, work: Work) -> None:
    @app.get("/v1/studies/{study}/models", tags=["ledger"], **_READ)
    def models(study: StudyNumber) -> list[ModelAnswer]:
        """The model of each finished round: digest and CID, never its bytes."""
        with _ledger(work) as (history, _):
            found = history.study(StudyId(study))
            return [model_answer(found, round) for round in found.finished]

    @app.get("/v1/studies/{study}/models/{number}", tags=["ledger"], **_READ)
    def one_model(study: StudyNumber, number: RoundNumber) -> ModelAnswer:
        """The model that this round led to."""
        with _ledger(work) as (history, _):
            round = history.round(RoundId(StudyId(study), number))
            if not round.proposals:
                raise HTTPException(404, "this round has led to no model")
            return model_answer(history.study(StudyId(study)), round)
