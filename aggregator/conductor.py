"""The aggregator at work: reads the ledger, does what `duty` says is next, one after another.

Level-triggered: nothing here is kept that ledger and store cannot give back. What is remembered only
spares work, so a conductor may be killed anywhere, or run twice, and the round comes out the same.
"""

from __future__ import annotations

import logging
from concurrent.futures import Executor
from threading import Event
from typing import assert_never

from federation.agreement import Agreement
from federation.audit.observer import Observer
from federation.audit.view import LedgerView
from federation.endings import Endings, called_by, ending, failed
from federation.errors import Refused, Unavailable, Violation
from federation.events import RoundId, StudyId
from federation.ledger.ledger import Ledger, Receipt
from federation.members import Address
from federation.pace import Pace
from federation.retention import Retention
from federation.rounds import Round, Study
from federation.runs import HERE
from federation.seal import ContentKey, SealingSecret
from federation.store.content import ContentStore
from federation.telemetry import SILENT, Telemetry
from federation.telemetry import Outcome as Ended

from .admit import admit_reveals
from .combine import combine_admitted
from .duty import Abandon, Done, Due, Duty, Finish, PostTotal, Wait, duty
from .logbook import blame, note
from .publish import Outcome, Overtaken, end_round, keep_admitted, post_result, post_total
from .unseal import open_total


class Conductor:
    """One aggregator at work; `view` is shared with readers in other threads, who hold `view.lock`."""

    def __init__(
        self,
        ledger: Ledger,
        store: ContentStore,
        secret: SealingSecret,
        *,
        executor: Executor = HERE,
        retention: Retention | None = None,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self.view = LedgerView(ledger)
        self.me = ledger.account
        self._ledger = ledger
        self._store = store
        self._secret = secret
        self._executor = executor
        self._retention = retention  # None: our store keeps all updates
        self._telemetry = telemetry
        self._observers: dict[StudyId, Observer] = {}
        self._keys: dict[StudyId, ContentKey] = {}
        self._not_opening: set[StudyId] = set()  # no reader of the study, so its members open
        self._unsound: set[StudyId] = set()
        self._pace: Pace[Due] = Pace()
        self._endings = Endings()
        self.troubles = 0  # consecutive steps in which something did not answer
        self.has_read = False  # whether `view` holds anything yet

    def step(self) -> Duty:
        """Does the first duty that can be done now, and says which; else what is waited for.

        Raises `Refused` when a person has to act, and `Violation` when the ledger itself is unlawful.
        """
        try:
            self.view.refresh()
        except Unavailable as error:
            return self._troubled("the ledger does not answer", error)
        self.has_read = True
        self._telemetry.read_ledger(self.view.head.number, self.view.now)
        self._tell_endings()
        troubled: Wait | None = None
        dues: list[Duty] = []
        for study in self._served():
            due = self._duty(study)
            if isinstance(due, Wait | Done):
                dues.append(due)
                continue
            if self._pace.is_vain(due, self.view.head.number):
                dues.append(Wait(until="the ledger shows something new"))
                continue
            try:
                if self._did(study, due):
                    self.troubles = 0
                    return due
                dues.append(Wait(until="members act"))
            except Unavailable as error:
                troubled = self._troubled("a duty has to wait", error, due=due)
        if troubled is not None:
            return troubled
        self.troubles = 0
        self._tidy()
        waits = [due for due in dues if isinstance(due, Wait)]
        return waits[0] if waits else Done() if dues else Wait(until="a study is accepted")

    def _tidy(self) -> None:
        """Our store keeps no updates beyond our policy, or the next quiet moment sees to it."""
        if self._retention is None:
            return
        try:
            if discarded := self._retention.tend(self.view.history, self.view.now):
                note("retired", updates=discarded, rounds_kept=self._retention.rounds)
        except Unavailable as error:  # never a reason to miss a duty
            note("updates cannot be retired now", level=logging.WARNING, problem=str(error))

    def run(self, stop: Event, *, poll: float, longest: float) -> None:
        """Step after step until `stop`; between fruitless ones `poll` seconds, doubled with each failure."""
        while not stop.is_set():
            match self.step():
                case PostTotal() | Finish() | Abandon():
                    continue
                case Wait() | Done():
                    stop.wait(min(longest, poll * 2 ** min(self.troubles, 10)))

    def _tell_endings(self) -> None:
        """One line for each round that has ended since the last look, with the reason in a sentence."""
        for study in self._served():
            self._telemetry.stands(study, self.view.now)
            for round in self._endings.news(study):
                observer = self._observers.get(study.id)
                call = called_by(self.view.history.roster)
                why = ending(round, call) if observer is None else observer.ending(round)
                level = logging.WARNING if failed(round) else logging.INFO
                note("a round has ended", level=level, round=round.id, why=why)

    def _served(self) -> list[Study]:
        studies = self.view.history.studies.values()
        return [s for s in studies if self.me in s.terms.aggregators and s.id not in self._unsound]

    def _duty(self, study: Study) -> Duty:
        return duty(study, self.view.now, me=self.me, opens=study.id not in self._not_opening)

    def _did(self, study: Study, due: Due) -> bool:
        """Whether something was sent; whoever broke the protocol is named, and the input not tried again."""
        try:
            if not self._sound(study):
                return False
            with self._telemetry.duty(type(due).__name__.lower(), due.round) as attempt:
                outcome = self._do(study.current(), due)
                if isinstance(outcome, Overtaken):
                    attempt.outcome = Ended.OVERTAKEN
        except Violation as fault:
            self._pace.give_up(due)
            self._blame(fault, "no result: the round waits for its deadline", due.round)
            return False
        if outcome is None:
            return False
        self._pace.wait_for(due, self._shown_at(due, outcome))
        return True

    def _do(self, round: Round, due: Due) -> Outcome | None:
        match due:
            case PostTotal(patient=patient):
                return self._post_total(round, patient=patient)
            case Finish():
                return self._finish(round)
            case Abandon(reason=reason):
                note("ending an overdue round", level=logging.WARNING, round=round.id, reason=reason.name)
                return end_round(self._ledger, round.id, reason)
            case unknown:
                assert_never(unknown)

    def _post_total(self, round: Round, *, patient: bool) -> Outcome:
        record = admit_reveals(self._observer(round.id.study), round, patient=patient)
        total = combine_admitted(record, self.me)
        for left_out in record.admission.excluded:
            note(
                "an update is left out",
                round=round.id,
                member=left_out.member,
                called=self._name(left_out.member),
                code=left_out.code.name,
                leaf=left_out.leaf,
                rule=left_out.rule,
            )
        members = tuple(record.admission.admitted)
        keep_admitted(self._store, record)
        return post_total(self._ledger, self._store, round.id, total=total, members=members)

    def _finish(self, round: Round) -> Outcome | None:
        observer = self._observer(round.id.study)
        key = self._content_key(observer.agreement)
        if key is None:
            return None
        record = observer.record(round, key, observer.base_of(round, key))
        result = open_total(record, lambda fault: self._blame(fault, "a share is wrong", round.id))
        return post_result(
            self._ledger, self._store, round.id, agreement=record.agreement, key=key, result=result
        )

    def _sound(self, study: Study) -> bool:
        """Whether the agreed document is one to work by; checked once, and said once if not.

        A fault of one study must not stop the others: anyone may propose one that this version cannot read.
        """
        if study.id in self._observers:
            return True
        observer = Observer(
            self.view,
            self._ledger,
            self._store,
            study.id,
            executor=self._executor,
            retain_rounds=None if self._retention is None else self._retention.rounds,
        )
        try:
            observer.agreement.check()
        except Unavailable:
            raise
        except Exception as fault:  # ours too: a study that breaks us must not take the others with it
            self._unsound.add(study.id)
            ours = isinstance(fault, Violation | Refused)
            problem = str(fault) if ours else f"it makes this version fail: {type(fault).__name__}"
            note("a study is unsound", level=logging.ERROR, study=study.id, problem=problem)
            return False
        self._observers[study.id] = observer
        return True

    def _observer(self, study: StudyId) -> Observer:
        return self._observers[study]

    def _content_key(self, agreement: Agreement) -> ContentKey | None:
        """None where we are no reader; said once."""
        study = agreement.study
        if study not in self._keys:
            try:
                self._keys[study] = agreement.content_key(self.me, self._secret)
            except Violation:
                self._not_opening.add(study)
                note("not a reader of this study: its members open the totals", study=study)
                return None
        return self._keys[study]

    def _shown_at(self, due: Due, outcome: Outcome) -> int:
        match outcome:
            case Receipt(call=call, at=at, gas=gas):
                note("sent", call=call, round=due.round, block=at.block, gas=gas)
                return at.block
            case Overtaken(rule=rule):
                note("overtaken: reading the ledger again", rule=rule, round=due.round)
                return self.view.head.number + 1
            case unknown:
                assert_never(unknown)

    def _troubled(self, what: str, error: Unavailable, *, due: Due | None = None) -> Wait:
        self.troubles += 1
        about = "" if due is None else f"{type(due).__name__} {due.round}"
        where = {} if due is None else {"round": due.round}
        note(what, level=logging.WARNING, duty=about, problem=str(error), failures=self.troubles, **where)
        return Wait(until=f"it answers again: {what}")

    def _blame(self, fault: Violation, what: str, round: RoundId) -> None:
        called = "" if fault.culprit is None else self._name(Address(fault.culprit))
        blame(what, fault, called=called, round=round)

    def _name(self, member: Address) -> str:
        known = self.view.history.roster.get(member)
        return "" if known is None else known.name
