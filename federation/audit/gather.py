"""Reads a study from ledger and store; decides nothing (PROTOCOL §9).

The only part of the audit that does I/O, and only through the two Protocols. Aggregator, nodes and
auditors all see a study through an `Observer`, so all of them derive base models from the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from threading import Lock

from ..agreement import Agreement, agree
from ..arithmetic import Model
from ..audience import PUBLIC
from ..digest import Cid
from ..errors import LedgerRejected, Unavailable, Violation
from ..events import Event, RoundId, StudyId, Timestamp
from ..law import History
from ..ledger.ledger import Block, Ledger
from ..members import Address
from ..model import size_limit
from ..rounds import Round, Study
from ..seal import ContentKey, SealingSecret
from ..store.content import ContentStore, get_bytes
from ..study import SPEC_LIMIT
from ..wire import Kind
from .record import Missing, RoundRecord, StudyRecord, Unlawful, Unreadable


class LedgerView:
    """The final events of one ledger, followed as they come; derived state that can always be rebuilt.

    One thread refreshes; others may read `history` and `head` while they hold `lock`, which is never
    held while the ledger is asked.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.history = History()
        self.lock = Lock()
        self.unlawful: Unlawful | None = None
        self._ledger = ledger
        self._head: Block | None = None
        self._last: Event | None = None

    def refresh(self) -> None:
        """Takes in all events up to the newest final block.

        Raises `Unavailable` when the chain does not answer and `Violation` for an event that the
        law forbids: then the chain runs another contract than ours.
        """
        self.read_on()
        if self.unlawful is not None:
            raise _as_violation(self.unlawful)

    def read_on(self) -> None:
        """As `refresh`, for auditors: stops before the first unlawful event and keeps it in `unlawful`."""
        head = self._ledger.head()
        after = -1 if self._head is None else self._head.number
        events = self._ledger.events(after, head.number)
        with self.lock:
            for event in events:
                if self.unlawful is None:
                    self._follow(event)
            self._head = head

    def _follow(self, event: Event) -> None:
        last = self._last
        try:
            if last is not None and not (last.at < event.at and last.time <= event.time):
                raise LedgerRejected("OutOfOrder", (last.at, event.at))
            self.history.follow(event)
        except LedgerRejected as fault:
            self.unlawful = Unlawful(event=event, fault=fault)
        self._last = event

    @property
    def head(self) -> Block:
        """The block this view stands at."""
        if self._head is None:
            self.refresh()
        if self._head is None:
            raise Unavailable("the ledger has no block yet")
        return self._head

    @property
    def now(self) -> Timestamp:
        """Block time: the only clock of the protocol."""
        return self.head.time


class Observer:
    """One study through one reader's eyes: its agreement, its rounds, and the models that follow."""

    def __init__(self, view: LedgerView, ledger: Ledger, store: ContentStore, id: StudyId) -> None:
        self._view = view
        self._ledger = ledger
        self._store = store
        self._id = id
        self._agreement: Agreement | None = None
        self._models: dict[int, Model] = {}  # recomputed, by number of the finished round

    @property
    def study(self) -> Study:
        """What the ledger holds of it now."""
        return self._view.history.study(self._id)

    @property
    def agreement(self) -> Agreement:
        """The agreed document, read once; raises `Unavailable` or `Violation`."""
        if self._agreement is None:
            document = get_bytes(self._store, self.study.terms.cid, size=SPEC_LIMIT)
            self._agreement = agree(self._ledger.id, self._id, self.study.terms, document)
        return self._agreement

    def content_key(self, reader: Address, secret: SealingSecret) -> ContentKey:
        """Opens what is sealed to the study's audience; raises `Violation` for anyone else."""
        return self.agreement.content_key(reader, secret)

    def base_of(self, round: Round, key: ContentKey) -> Model:
        """The model that `round` starts from, recomputed from genesis on and remembered.

        A finished round whose opened sum is impossible leads to no model: the next starts where it did.
        Raises `Unavailable` while something needed for it cannot be fetched.
        """
        before = [finished for finished in self.study.finished if finished.id.number < round.id.number]
        known = [index for index, finished in enumerate(before) if finished.id.number in self._models]
        base = self._models[before[known[-1]].id.number] if known else self.agreement.task.initial()
        for finished in before[known[-1] + 1 :] if known else before:
            base = _model_after(self.record(finished, key, base), base)
            self.remember(finished.id, base)
        return base

    def remember(self, round: RoundId, model: Model) -> None:
        """The model after a finished round, which this party has recomputed, now or before a restart."""
        self._models[round.number] = model

    def record(
        self,
        round: Round,
        key: ContentKey,
        base: Model | None,
        *,
        held: frozenset[Address] = frozenset(),
        results: bool = True,
    ) -> RoundRecord:
        """What ledger and store hold of a round now; what cannot be fetched is listed, not raised.

        `held` are the members whose updates the reader had before the total; without `results`, shares,
        openings and models are left where they are: whoever gives a share need not wait for them.
        """
        rivals = tuple(self._bare(rival, None) for rival in self._rivals(round))
        record = self._bare(round, base, held=held, rivals=rivals)
        if results:
            _Gatherer(record, self._store, key).gather_results()
        return record

    def updates_of(self, round: Round, *, besides: frozenset[Address]) -> dict[Address, bytes]:
        """The revealed updates that can be fetched now; those of `besides` are not asked for."""
        reveals = {who: reveal for who, reveal in round.reveals.items() if who not in besides}
        return self._bare(replace(round, reveals=reveals, total=None), None).updates

    def _bare(
        self,
        round: Round,
        base: Model | None,
        *,
        held: frozenset[Address] = frozenset(),
        rivals: tuple[RoundRecord, ...] = (),
    ) -> RoundRecord:
        record = RoundRecord(
            agreement=self.agreement, study=self.study, round=round, base=base, held=held, rivals=rivals
        )
        _Gatherer(record, self._store, PUBLIC).gather_total()
        return record

    def _rivals(self, round: Round) -> list[Round]:
        base = round.base_model()
        earlier = self.study.rounds[: round.id.number - 1]
        return [r for r in earlier if base is not None and r.opened and r.base_model() == base]

    def study_record(self, key: ContentKey) -> StudyRecord:
        """The whole study, each round with the model recomputed from the rounds before it.

        Raises `Violation` where an unlawful event comes before the study itself.
        """
        unlawful = self._view.unlawful
        if unlawful is not None and self._id not in self._view.history.studies:
            raise _as_violation(unlawful)
        rounds: list[RoundRecord] = []
        agreement: Agreement | Violation
        try:
            agreement = self.agreement
        except Violation as fault:
            agreement = fault
        else:
            rounds = list(self._rounds(key, agreement.task.initial()))
        return StudyRecord(
            ledger=self._ledger.id,
            head=self._view.head,
            code=self._ledger.code_digest,
            history=self._view.history,
            unlawful=unlawful,
            study=self.study,
            agreement=agreement,
            rounds=rounds,
        )

    def _rounds(self, key: ContentKey, genesis: Model) -> Iterator[RoundRecord]:
        base: Model | None = genesis
        for round in self.study.rounds:
            record = self.record(round, key, base)
            yield record
            if round.proposals and not isinstance(record.model, Violation):
                base = record.model


def _model_after(record: RoundRecord, base: Model) -> Model:
    try:
        return record.result().model
    except Violation:
        return base


def _as_violation(unlawful: Unlawful) -> Violation:
    return Violation("§5", f"the ledger holds an unlawful event: {unlawful}")


class _Gatherer:
    """Fetches into a record and notes what is missing."""

    def __init__(self, record: RoundRecord, store: ContentStore, key: ContentKey) -> None:
        self._record = record
        self._agreement = record.agreement
        self._store = store
        self._key = key

    def gather_total(self) -> None:
        """Fetches updates and total: all that a share depends on."""
        record, agreement, round = self._record, self._agreement, self._record.round
        for who, reveal in sorted(round.reveals.items()):
            self._fetch(record.updates, who, reveal.cid, Kind.UPDATE, agreement.update_shape.size_limit)
        if round.total is not None:
            totals: dict[Address, bytes] = {}
            limit = agreement.total_shape.size_limit
            self._fetch(totals, round.total.sender, round.total.cid, Kind.TOTAL, limit)
            record.total = totals.get(round.total.sender)

    def gather_results(self) -> None:
        """Fetches shares, openings and models."""
        record, agreement, round = self._record, self._agreement, self._record.round
        record.sealed = agreement.spec.audience.is_sealed and self._key == PUBLIC
        if record.sealed:
            return
        for who, share in sorted(round.shares.items()):
            self._unwrap(record.shares, who, share.cid, Kind.SHARE, agreement.share_shape.size_limit)
        model_limit = size_limit(agreement.task.parameters)
        for result in round.proposals:
            opening_limit = agreement.opening_shape.size_limit
            self._unwrap(record.openings, result.sender, result.opening_cid, Kind.OPENING, opening_limit)
            self._unwrap(record.models, result.sender, result.model_cid, Kind.MODEL, model_limit)

    def _fetch(self, into: dict[Address, bytes], author: Address, cid: Cid, kind: Kind, limit: int) -> None:
        try:
            into[author] = get_bytes(self._store, cid, size=limit)
        except Unavailable as error:
            self._record.missing.append(Missing(cid=cid, author=author, kind=kind, why=str(error)))
        except Violation as fault:  # content that breaks its own format is its author's doing
            self._record.unreadable.append(Unreadable(author=author, kind=kind, fault=fault))

    def _unwrap(self, into: dict[Address, bytes], author: Address, cid: Cid, kind: Kind, limit: int) -> None:
        stored: dict[Address, bytes] = {}
        self._fetch(stored, author, cid, kind, self._agreement.wrapped_size(limit))
        if author in stored:
            try:
                into[author] = self._agreement.unwrap(self._key, kind, self._record.id, stored[author])
            except Violation as fault:
                self._record.unreadable.append(Unreadable(author=author, kind=kind, fault=fault))
