"""What the ledger's events mean: studies, rounds and their phases (PROTOCOL §5).

Pure functions of the events and of the clock of their blocks. A phase is derived, never stored: the
same events and the same time give every party the same phase. Which event may follow which is `law`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from .bonds import Bonds
from .digest import Cid, Digest
from .events import (
    FaultProven,
    KeyAccepted,
    KeyProposed,
    ModelConfirmed,
    Reason,
    ResultObjected,
    ResultProposed,
    RoundAbandoned,
    RoundId,
    RoundTainted,
    SharePosted,
    StudyAccepted,
    StudyId,
    StudyTerms,
    Timestamp,
    TotalPosted,
    UpdateCommitted,
    UpdateRevealed,
)
from .members import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Committing:
    """Members train, encrypt and commit; the clock starts with the first commit."""

    closes: Timestamp | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Revealing:
    """The set is frozen; who committed publishes the payload."""

    closes: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Combining:
    """An aggregator admits and adds; `closes` is the end of the last one's turn."""

    closes: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Each member recomputes the total and gives its one share."""

    total: TotalPosted
    closes: Timestamp


@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue:
    """A deadline passed without quorum; anyone of the study may end the round for `reason`."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """At least one result was proposed."""

    proposals: tuple[ResultProposed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandoned:
    """Ended before any share: nothing was opened."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Tainted:
    """Ended after a share: counts as opened, never opened again."""

    reason: Reason


Phase = Committing | Revealing | Combining | Opening | Overdue | Finished | Abandoned | Tainted


@dataclass(slots=True, kw_only=True)
class Round:
    """All that the ledger holds of one round."""

    id: RoundId
    terms: StudyTerms
    commits: dict[Address, UpdateCommitted] = field(default_factory=dict)
    reveals: dict[Address, UpdateRevealed] = field(default_factory=dict)
    total: TotalPosted | None = None
    bonded: Address | None = None  # whose bond stands for the newest total
    shares: dict[Address, SharePosted] = field(default_factory=dict)
    proposals: list[ResultProposed] = field(default_factory=list)
    confirmations: dict[Address, ModelConfirmed] = field(default_factory=dict)
    objections: dict[Address, ResultObjected] = field(default_factory=dict)
    end: RoundAbandoned | RoundTainted | FaultProven | None = None
    faults: list[FaultProven] = field(default_factory=list)  # of this total and of those before it
    rescinded: list[TotalPosted] = field(default_factory=list)  # totals that a proven fault took back

    @property
    def ended(self) -> bool:
        """Whether the next round may open."""
        return self.end is not None or bool(self.proposals)

    @property
    def opened(self) -> bool:
        """Whether any share was given: such a round counts as opened for ever (PROTOCOL §5.1)."""
        return bool(self.shares)

    @property
    def verdict(self) -> FaultProven | None:
        """The fault proven of the total that stands; None where none is, or no total stands."""
        return self.faults[-1] if len(self.faults) > len(self.rescinded) else None

    @property
    def counted(self) -> set[Address]:
        """Who revealed, but for those whose update was proven malformed."""
        return set(self.reveals) - {fault.member for fault in self.faults if fault.member is not None}

    @property
    def combine_begins(self) -> Timestamp | None:
        """The end of the reveals, or the moment at which the last total was taken back."""
        if self.rescinded:
            return self.faults[len(self.rescinded) - 1].time
        return self.reveal_closes

    @property
    def turns(self) -> tuple[Address, ...]:
        """The aggregators that may still post a total, in order: none whose fault is proven in this round.

        Each round begins with the next of them: whoever wastes its turn wastes no other's.
        """
        aggregators, faulty = self.terms.aggregators, {fault.aggregator for fault in self.faults}
        first = (self.id.number - 1) % len(aggregators)
        order = aggregators[first:] + aggregators[:first]
        return tuple(aggregator for aggregator in order if aggregator not in faulty)

    def turn_begins(self, aggregator: Address) -> Timestamp | None:
        """The first second in which `aggregator` may post a total.

        Each in turn has a window of its own, and keeps the right while later ones have theirs. None
        before the reveals have an end, and for one that has no turn.
        """
        begins, turns = self.combine_begins, self.turns
        if begins is None or aggregator not in turns:
            return None
        before = turns.index(aggregator)
        return Timestamp(begins + before * self.terms.windows.combine + 1) if before else begins

    @property
    def combine_closes(self) -> Timestamp | None:
        """The last second of the last aggregator's turn."""
        begins = self.combine_begins
        return None if begins is None else Timestamp(begins + len(self.turns) * self.terms.windows.combine)

    @property
    def commit_closes(self) -> Timestamp | None:
        """The last second of the commit window; the moment of the last commit once all have committed."""
        if not self.commits:
            return None
        times = [commit.time for commit in self.commits.values()]
        if len(times) == len(self.terms.members):
            return max(times)
        return Timestamp(min(times) + self.terms.windows.commit)

    @property
    def reveal_closes(self) -> Timestamp | None:
        """The last second of the reveal window; the moment of the last reveal once all have revealed."""
        closes = self.commit_closes
        if closes is None:
            return None
        if self.reveals and len(self.reveals) == len(self.commits):
            return max(reveal.time for reveal in self.reveals.values())
        return Timestamp(closes + self.terms.windows.reveal)

    @property
    def unavailable_from(self) -> Timestamp | None:
        """From when on the aggregator may give up on bytes: after half of its own window (PROTOCOL §5.2)."""
        closes = self.reveal_closes
        return None if closes is None else Timestamp(closes + self.terms.windows.combine // 2)

    def committing_is_over(self, now: Timestamp) -> bool:
        """Whether no further commit can be taken at `now`."""
        closes = self.commit_closes
        return closes is not None and (len(self.commits) == len(self.terms.members) or now > closes)

    def revealing_is_over(self, now: Timestamp) -> bool:
        """Whether no further reveal can be taken at `now`."""
        closes = self.reveal_closes
        if closes is None or not self.committing_is_over(now):
            return False
        return len(self.reveals) == len(self.commits) or now > closes

    def phase(self, now: Timestamp) -> Phase:
        """Where the round stands at block time `now`."""
        match self.end:
            case RoundAbandoned(reason=reason):
                return Abandoned(reason=reason)
            case RoundTainted(reason=reason) | FaultProven(reason=reason):
                return Tainted(reason=reason)
            case None:
                pass
        if self.proposals:
            return Finished(proposals=tuple(self.proposals))
        if self.total is not None:
            return self._opening(self.total, now)
        return self._before_total(now)

    def _before_total(self, now: Timestamp) -> Phase:
        commit_closes, reveal_closes = self.commit_closes, self.reveal_closes
        if commit_closes is None or reveal_closes is None or not self.committing_is_over(now):
            return Committing(closes=commit_closes)
        if len(self.commits) < self.terms.minimum:
            return Overdue(reason=Reason.TOO_FEW_COMMITS)
        if not self.revealing_is_over(now):
            return Revealing(closes=reveal_closes)
        if len(self.counted) < self.terms.minimum and now > reveal_closes:
            return Overdue(reason=Reason.TOO_FEW_REVEALS)
        closes = self.combine_closes or reveal_closes
        return Combining(closes=closes) if now <= closes else Overdue(reason=Reason.NO_TOTAL)

    def _opening(self, total: TotalPosted, now: Timestamp) -> Phase:
        closes = Timestamp(total.time + self.terms.windows.open)
        if now > closes and not self.shares:
            return Overdue(reason=Reason.NO_SHARES)
        if now > closes and len(self.shares) < self.terms.threshold:
            return Overdue(reason=Reason.TOO_FEW_SHARES)
        if now > closes + self.terms.windows.open:
            return Overdue(reason=Reason.NO_RESULT)
        return Opening(total=total, closes=closes)

    def base_model(self) -> Digest | None:
        """The model this round starts from: the one that t members or more name as their base.

        At most t-1 members lie, so a base with t names has an honest one among them, and honest
        members all recompute the same model. None while nobody has t names.
        """
        return _named_by(self.terms.threshold, (c.base_model for c in self.commits.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """A span of rounds under one key: from `first` to the round before the next epoch's first.

    Of two epochs with one `first` the later rules, and the earlier never had a round.
    """

    first: int  # round number
    key: Digest
    ciphertexts: int  # capsule leaves under this key
    cids: tuple[Cid, ...]  # where its proposers say the key's document lies; none: it is in the study's own
    unasked: frozenset[Address] = frozenset()  # members adopted without: nobody could act in their seats


@dataclass(slots=True, kw_only=True)
class Candidate:
    """A key that somebody proposed for later rounds."""

    proposals: dict[Address, KeyProposed] = field(default_factory=dict)
    accepted: dict[Address, KeyAccepted] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Study:
    """All that the ledger holds of one study."""

    id: StudyId
    terms: StudyTerms
    accepted: dict[Address, StudyAccepted] = field(default_factory=dict)
    candidates: dict[Digest, Candidate] = field(default_factory=dict)
    heirs: dict[Address, Address] = field(default_factory=dict)  # accounts in the place of members named here
    idle: set[Address] = field(default_factory=set)  # accounts whose calls are not taken
    bonds: Bonds = field(default_factory=Bonds)  # by account
    later_epochs: list[Epoch] = field(default_factory=list)  # all but the first, in the order of adoption
    rounds: list[Round] = field(default_factory=list)

    def has_seat(self, account: Address) -> bool:
        """Whether the account is, or acts for, a member or an aggregator."""
        return self.name_of(account) in {*self.terms.members, *self.terms.aggregators}

    def name_of(self, account: Address) -> Address:
        """By which address the study knows an account: that of its terms, whatever keys replaced it since."""
        return self.heirs.get(account, account)

    def account_of(self, name: Address) -> Address:
        """The account that acts for a member or an aggregator: its newest heir's, if it has any."""
        return next((heir for heir, known in reversed(self.heirs.items()) if known == name), name)

    @property
    def idle_members(self) -> frozenset[Address]:
        """In whose seats nobody may act."""
        return frozenset(member for member in self.terms.members if self.account_of(member) in self.idle)

    def set_idle(self, account: Address, *, idle: bool) -> None:
        """Whether calls of the account are refused from here on."""
        if idle:
            self.idle.add(account)
        else:
            self.idle.discard(account)

    @property
    def is_accepted(self) -> bool:
        """Whether every member has accepted the terms."""
        return len(self.accepted) == len(self.terms.members)

    @property
    def finished(self) -> list[Round]:
        """The rounds that have a result, in order."""
        return [round for round in self.rounds if round.proposals]

    @property
    def is_complete(self) -> bool:
        """Whether all rounds that may finish have finished."""
        return len(self.finished) >= self.terms.rounds

    @property
    def epochs(self) -> list[Epoch]:
        """The keys that rule the study's rounds, in order; their `first` never falls."""
        first = Epoch(first=1, key=self.terms.key, ciphertexts=self.terms.leaves.ciphertexts, cids=())
        return [first, *self.later_epochs]

    def epoch_of(self, number: int) -> Epoch:
        """The epoch of the round of this number, from 1 on.

        It is settled for every round up to the newest + 1 (PROTOCOL §3.3), and may change for later ones.
        """
        return next(epoch for epoch in reversed(self.epochs) if epoch.first <= max(number, 1))

    def has_agreed(self, member: Address, key: Digest) -> bool:
        """Whether the member accepted this key: a later one may have been adopted while it was suspended."""
        return key == self.terms.key or member in self.candidates.get(key, Candidate()).accepted

    def key_of(self, number: int) -> Digest:
        """The key of the round of this number; see `epoch_of`."""
        return self.epoch_of(number).key

    def current(self) -> Round:
        """The round that is under way, or else the one that the next commit would open."""
        if self.rounds and not self.rounds[-1].ended:
            return self.rounds[-1]
        return Round(id=RoundId(self.id, len(self.rounds) + 1), terms=self.terms)

    def settled_model(self, round: Round) -> Digest | None:
        """The model of a finished round that t members confirmed, by word or by training from it."""
        statements = {who: said.model for who, said in round.confirmations.items()}
        following = [r for r in self.rounds if r.id.number > round.id.number]
        for later in following:
            for who, commit in later.commits.items():
                statements.setdefault(who, commit.base_model)
            if later.proposals:
                break
        return _named_by(self.terms.threshold, statements.values())


def _named_by(count: int, digests: Iterable[Digest]) -> Digest | None:
    return next((digest for digest, votes in Counter(digests).most_common(1) if votes >= count), None)
