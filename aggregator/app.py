"""The read-only API: what the ledger says, as this aggregator sees it (OpenAPI at /v1/openapi.json).

Nobody has to believe it: everything here can be read from the ledger. No route changes anything.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Final

from fastapi import APIRouter, FastAPI, Path, Response
from starlette.exceptions import HTTPException

from federation.errors import Unavailable
from federation.events import RoundId, StudyId
from federation.law import History
from federation.ledger.ledger import Block

from .answers import (
    AuditAnswer,
    HealthAnswer,
    MemberAnswer,
    ModelAnswer,
    ReadyAnswer,
    RoundAnswer,
    StudiesAnswer,
    StudyAnswer,
)
from .checkup import Auditor, Probe
from .portray import block_answer, member_answers, model_answer, round_answer, study_answer
from .problems import MEDIA_TYPE, Guard, Problem, answer_with_problems
from .work import Work

StudyNumber = Annotated[int, Path(ge=1, lt=2**32, description="1, 2, 3 … on this contract")]
RoundNumber = Annotated[int, Path(ge=1, lt=2**32, description="1, 2, 3 … in this study")]
_MEANINGS: Final = {
    404: "The ledger knows no such study, round or model.",
    409: "This aggregator cannot examine that study: it is not among its readers.",
    422: "A number is out of range.",
    503: "Ledger or store did not answer; try again.",
}
_PROBLEMS: Final[dict[int | str, dict[str, object]]] = {
    status: {"description": meaning, "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}
    for status, meaning in _MEANINGS.items()
}


def create_app(
    work: Work, probe: Probe, auditor: Auditor, *, wall: Callable[[], float] = time.time
) -> FastAPI:
    """The service: `work` goes on as long as it runs. `wall` tells the time of day in seconds since 1970."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        work.start()
        yield
        work.stop()

    # No /docs page: it would load scripts from elsewhere.
    app = FastAPI(
        title="Tallystick aggregator",
        version="1",
        lifespan=lifespan,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    answer_with_problems(app)
    app.add_middleware(Guard)
    app.include_router(_health(work, probe, wall))
    app.include_router(_studies(work))
    app.include_router(_rounds(work))
    app.include_router(_self_audit(auditor))
    return app


def _health(work: Work, probe: Probe, wall: Callable[[], float]) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    def healthz() -> HealthAnswer:
        """The process is alive; says nothing about what it can reach."""
        return HealthAnswer(status="alive")

    @router.get(
        "/readyz", responses={503: {"model": ReadyAnswer, "description": "Something is out of reach."}}
    )
    def readyz(response: Response) -> ReadyAnswer:
        """Ledger and store answer and the conductor is at work; 503 and the same body otherwise."""
        reach = probe.reach()
        answer = ReadyAnswer(
            ledger=reach.head is not None,
            store=reach.store,
            conductor=work.goes_on,
            head=None if reach.head is None else block_answer(reach.head),
            head_age_seconds=None if reach.head is None else max(0, int(wall()) - reach.head.time),
        )
        if not (answer.ledger and answer.store and answer.conductor):
            response.status_code = 503
        return answer

    return router


@contextmanager
def _ledger(work: Work) -> Iterator[tuple[History, Block]]:
    """The history stands still at this block for as long as it is looked at."""
    view = work.conductor.view
    if not work.conductor.has_read:
        raise Unavailable("the ledger has not been read yet")
    with view.lock:
        yield view.history, view.head


def _studies(work: Work) -> APIRouter:
    router = APIRouter(prefix="/v1/studies", tags=["ledger"], responses=_PROBLEMS)

    @router.get("")
    def studies() -> StudiesAnswer:
        """All studies on the ledger, and the block this holds at."""
        with _ledger(work) as (history, head):
            listed = [study_answer(history, study, head.time) for study in history.studies.values()]
            return StudiesAnswer(head=block_answer(head), studies=listed)

    @router.get("/{study}")
    def one_study(study: StudyNumber) -> StudyAnswer:
        """One study and where its current round stands."""
        with _ledger(work) as (history, head):
            return study_answer(history, history.study(StudyId(study)), head.time)

    @router.get("/{study}/members")
    def members(study: StudyNumber) -> list[MemberAnswer]:
        """Its institutions, in the order of their key shares."""
        with _ledger(work) as (history, _):
            return member_answers(history, history.study(StudyId(study)))

    return router


def _rounds(work: Work) -> APIRouter:
    router = APIRouter(prefix="/v1/studies", tags=["ledger"], responses=_PROBLEMS)

    @router.get("/{study}/rounds")
    def rounds(study: StudyNumber) -> list[RoundAnswer]:
        """Every round that anyone has committed to."""
        with _ledger(work) as (history, head):
            return [round_answer(round, head.time) for round in history.study(StudyId(study)).rounds]

    @router.get("/{study}/rounds/{number}")
    def one_round(study: StudyNumber, number: RoundNumber) -> RoundAnswer:
        """One round: phase, deadlines, and who has done what."""
        with _ledger(work) as (history, head):
            return round_answer(history.round(RoundId(StudyId(study), number)), head.time)

    @router.get("/{study}/models")
    def models(study: StudyNumber) -> list[ModelAnswer]:
        """The model of each finished round: digest and CID, never its bytes."""
        with _ledger(work) as (history, _):
            found = history.study(StudyId(study))
            return [model_answer(found, round) for round in found.finished]

    @router.get("/{study}/models/{number}")
    def one_model(study: StudyNumber, number: RoundNumber) -> ModelAnswer:
        """The model that this round led to."""
        with _ledger(work) as (history, _):
            round = history.round(RoundId(StudyId(study), number))
            if not round.proposals:
                raise HTTPException(404, "this round has led to no model")
            return model_answer(history.study(StudyId(study)), round)

    return router


def _self_audit(auditor: Auditor) -> APIRouter:
    router = APIRouter(prefix="/v1/studies", tags=["audit"], responses=_PROBLEMS)

    @router.get("/{study}/audit")
    def audit(study: StudyNumber) -> AuditAnswer:
        """The aggregator examines itself; auditors believe their own `tally audit` only."""
        return auditor.audit(StudyId(study))

    return router
