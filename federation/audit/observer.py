"""Reads a study from ledger and store; decides nothing (PROTOCOL §9).

With `view` and `gather` it asks ledger and store; the checks read payloads again, a run at a time, from what
was found here. Aggregator, nodes and auditors all see a study through an `Observer`, so all of them derive
base models from the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from concurrent.futures import Executor
from dataclasses import replace
from typing import Final

from ..agreement import Agreement, agree
from ..arithmetic import Model
from ..audience import PUBLIC
from ..digest import Digest
from ..endings import called_by, ending
from ..epochs import Sought, check_ciphertexts, check_new, seek
from ..errors import Refused, Unavailable, Violation
from ..events import RoundId, StudyId
from ..law import History
from ..ledger.ledger import Ledger
from ..members import Address
from ..retention import is_retired
from ..rounds import Candidate, Round, Study
from ..runs import HERE, Content
from ..seal import ContentKey, SealingSecret
from ..store.content import ContentStore, get_bytes
from ..study import SPEC_LIMIT
from ..wire import Exclusion, excluded_in, header_at_start
from .gather import Gatherer
from .record import RoundRecord, StudyRecord
from .view import LedgerView

_MODELS: Final = 4  # kept in memory, the newest: a study of a year has thousands, each as large as the model


class Observer:
    """One study through one reader's eyes: its agreement, its rounds, and the models that follow."""

    def __init__(
        self,
        view: LedgerView,
        ledger: Ledger,
        store: ContentStore,
        id: StudyId,
        *,
        executor: Executor = HERE,
        retain_rounds: int | None = None,
    ) -> None:
        self._view = view
        self._ledger = ledger
        self._store = store
        self._id = id
        self._executor = executor
        self._retain_rounds = retain_rounds  # of the reader's own policy; None: updates are kept for ever
        self._agreement: Agreement | None = None
        self._later: dict[Digest, Agreement] = {}  # of later keys
        self._encoded: dict[Digest, bytes] = {}  # later keys whose documents were found, sound or not
        self._models: dict[int, Model] = {}  # the newest, by number of the finished round
        self._recall: Callable[[RoundId], Model | None] = lambda _: None

    @property
    def study(self) -> Study:
        """What the ledger holds of it now."""
        return self._view.history.study(self._id)

    @property
    def history(self) -> History:
        """What the ledger holds of all studies now."""
        return self._view.history

    @property
    def agreement(self) -> Agreement:
        """The agreed document, read once, under its own key; raises `Unavailable` or `Violation`."""
        if self._agreement is None:
            document = get_bytes(self._store, self.study.terms.cid, size=SPEC_LIMIT)
            self._agreement = agree(self._ledger.id, self._id, self.study.terms, document)
        return self._agreement

    def agreement_of(self, number: int) -> Agreement:
        """The same under the key of the epoch of the round of this number; errors as of `agreement_under`."""
        return self.agreement_under(self.study.key_of(number))

    def agreement_under(self, key: Digest) -> Agreement:
        """The same under a key that the study began with or somebody proposed for later, found once.

        Raises `Unavailable` while no proposer's place leads to its document, or to that of a key before it;
        `Violation` for an unsound key.
        """
        if key == self.study.terms.key:
            return self.agreement
        return self._later[key] if key in self._later else self.seek_key(key).agreement

    def seek_key(self, key: Digest) -> Sought:
        """What its proposers' places in the store hold of a later key now, compared with those before it."""
        sought = self._seek(key)
        if isinstance(sought.outcome, Agreement):
            adopted = [epoch for epoch in self.study.later_epochs if epoch.key == key]
            try:
                check_new(sought.outcome, self.earlier_keys(key))
                for epoch in adopted:
                    check_ciphertexts(sought.outcome, epoch.ciphertexts)
            except (Unavailable, Violation) as why:
                return replace(sought, outcome=why)
            if adopted:  # else others may come before it
                self._later[key] = sought.outcome
        return sought

    def earlier_keys(self, key: Digest) -> dict[Digest, bytes]:
        """All keys adopted before this one, or so far, in order, encoded; errors as of `encoded_key`."""
        adopted = [epoch.key for epoch in self.study.epochs]
        before = adopted[: adopted.index(key)] if key in adopted else adopted
        return {digest: self.encoded_key(digest) for digest in before}

    def encoded_key(self, key: Digest) -> bytes:
        """The study's own key, or a later one, sound or not; raises `Unavailable` without its document."""
        if key == self.study.terms.key:
            return self.agreement.key
        if key not in self._encoded:
            outcome = self._seek(key).outcome
            if key not in self._encoded:
                raise Unavailable(f"the key {key.hex()} cannot be compared with others: {outcome}")
        return self._encoded[key]

    def _seek(self, key: Digest) -> Sought:
        candidate = self.study.candidates.get(key, Candidate())
        places = {who: proposal.cid for who, proposal in candidate.proposals.items()}
        sought = seek(self.agreement, key, places, self._store)
        if sought.encoded is not None:
            self._encoded[key] = sought.encoded
        return sought

    def content_key(self, reader: Address, secret: SealingSecret) -> ContentKey:
        """Opens what is sealed to the study's audience; raises `Violation` for anyone else."""
        return self.agreement.content_key(reader, secret)

    def base_of(self, round: Round, key: ContentKey) -> Model:
        """The model that `round` starts from, recomputed from the last known one on.

        A finished round whose opened sum is impossible leads to no model: the next starts where it did.
        Raises `Unavailable` while something needed for it cannot be fetched.
        """
        before = [finished for finished in self.study.finished if finished.id.number < round.id.number]
        base, later = self.agreement.task.initial(), before
        for index in reversed(range(len(before))):
            known = self._model_of(before[index].id)
            if known is not None:
                base, later = known, before[index + 1 :]
                break
        for finished in later:
            base = _model_after(self.record(finished, key, base), base)
            self._remember(finished.id, base)
        return base

    def recall_from(self, recall: Callable[[RoundId], Model | None]) -> None:
        """What `recall` gives for a finished round, this party has recomputed: it is not done again."""
        self._recall = recall

    def _model_of(self, round: RoundId) -> Model | None:
        if round.number in self._models:
            return self._models[round.number]
        model = self._recall(round)
        if model is not None:
            self._remember(round, model)
        return model

    def _remember(self, round: RoundId, model: Model) -> None:
        self._models[round.number] = model
        while len(self._models) > _MODELS:
            del self._models[min(self._models)]

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
            Gatherer(record, self._store, key).gather_results()
        return record

    def ending(self, round: Round) -> str:
        """How the round ended, in one sentence; by which codes members are left out, its aggregator says."""
        call = called_by(self._view.history.roster)
        return ending(round, call, excluded=self._said_to_be_excluded(round))

    def _said_to_be_excluded(self, round: Round) -> list[Exclusion]:
        """Unchecked, and read without the rest of the total; empty where it cannot be read now."""
        if round.total is None or len(round.total.members) == len(round.commits):
            return []
        try:
            size = self.agreement_of(round.id.number).total_shape.size_limit
            return excluded_in(header_at_start(self._store.get(round.total.cid, size=size)))
        except (Unavailable, Violation):
            return []

    def updates_of(self, round: Round, *, besides: frozenset[Address]) -> dict[Address, Content]:
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
            agreement=self.agreement_of(round.id.number),
            study=self.study,
            round=round,
            base=base,
            executor=self._executor,
            held=held,
            rivals=rivals,
            retired=self._is_retired(round),
        )
        Gatherer(record, self._store, PUBLIC).gather_total()
        return record

    def _is_retired(self, round: Round) -> bool:
        rounds = self._retain_rounds
        return rounds is not None and is_retired(self.study, round, self._view.now, rounds=rounds)

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
            raise unlawful.violation()
        rounds: list[RoundRecord] = []
        keys: list[Sought] = []
        agreement: Agreement | Violation
        try:
            agreement = self.agreement
        except Violation as fault:
            agreement = fault
        else:
            if _is_sound(agreement):  # else §9.22 says so, and no arithmetic under such a key means anything
                keys = [self.seek_key(epoch.key) for epoch in self.study.later_epochs]
                sound = {sought.key for sought in keys if isinstance(sought.outcome, Agreement)}
                rounds = list(self._rounds(key, agreement.task.initial(), {self.study.terms.key, *sound}))
        return StudyRecord(
            ledger=self._ledger.id,
            head=self._view.head,
            code=self._ledger.code_digest,
            history=self._view.history,
            unlawful=unlawful,
            study=self.study,
            agreement=agreement,
            keys=keys,
            rounds=rounds,
        )

    def _rounds(self, key: ContentKey, genesis: Model, sound: Set[Digest]) -> Iterator[RoundRecord]:
        """Those under `sound` keys: without its own key and its rivals' no round is examined."""
        base: Model | None = genesis
        for round in self.study.rounds:
            needed = {self.study.key_of(one.id.number) for one in (round, *self._rivals(round))}
            if not needed <= sound:  # §9.25 says so
                base = None if round.proposals else base
                continue
            record = self.record(round, key, base)
            yield record
            if round.proposals and not isinstance(record.model, Violation):
                base = record.model


def _is_sound(agreement: Agreement) -> bool:
    try:
        agreement.check()
    except (Refused, Violation):
        return False
    return True


def _model_after(record: RoundRecord, base: Model) -> Model:
    try:
        return record.result().model
    except Violation:
        return base
