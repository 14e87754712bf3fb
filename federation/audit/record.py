"""Everything an audit looks at: the ledger's events and the store's bytes, and what follows from them.

A `RoundRecord` computes each derived value once, on first use, by the very functions the aggregator and
the nodes use. Nothing in it is believed because somebody posted it.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cached_property

from ..admission import Admission, admit
from ..agreement import Agreement
from ..arithmetic import IntVector, Model
from ..combination import combine
from ..digest import Cid, Digest, LedgerId
from ..epochs import Sought
from ..errors import LedgerRejected, Unavailable, Violation
from ..events import Event, RoundId
from ..law import History
from ..ledger.ledger import Block
from ..members import Address
from ..opening import TooFewShares, check_opening, join_shares, next_model, opened_sum
from ..result import Result
from ..rounds import Round, Study
from ..runs import HERE, Content
from ..wire import Code, Exclusion, Kind, Payload, cut, excluded_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Content that the ledger names and no store gave us; `author` is who posted the CID."""

    cid: Cid
    author: Address
    kind: Kind
    why: str

    @property
    def what(self) -> str:
        """For people."""
        return f"the {self.kind.name.lower()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Content that matches its CID and breaks the rules all the same: its author's doing."""

    author: Address
    kind: Kind
    fault: Violation


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlawful:
    """The first event that the law forbids where it stands; nothing behind it was looked at."""

    event: Event
    fault: LedgerRejected

    def __str__(self) -> str:
        at = self.event.at
        what = f"{type(self.event).__name__} of 0x{self.event.sender.hex()}"
        return f"{what} in block {at.block}, index {at.index}: {self.fault.rule}"

    def violation(self) -> Violation:
        """The same, for whoever has to stop at it."""
        return Violation("§5", f"the ledger holds an unlawful event: {self}")


@dataclass(kw_only=True, eq=False)
class RoundRecord:
    """One round: its events, and what could be fetched of what they name."""

    agreement: Agreement  # of the round's epoch
    study: Study
    round: Round
    base: Model | None  # the model it should start from, recomputed; None while unknown
    executor: Executor = HERE  # what work on runs is done on
    retired: bool = False  # whether the reader's own policy lets updates of this round be gone (§6.4)
    sealed: bool = False  # whether shares, openings and models are sealed to others than the reader
    updates: dict[Address, Content] = field(default_factory=dict)
    total: Content | None = None
    shares: dict[Address, bytes] = field(default_factory=dict)  # unsealed
    openings: dict[Address, bytes] = field(default_factory=dict)  # unsealed, by proposer
    models: dict[Address, bytes] = field(default_factory=dict)  # unsealed safetensors, by proposer
    held: frozenset[Address] = frozenset()  # whose payloads this reader held before the total was posted
    rivals: tuple[RoundRecord, ...] = ()  # earlier rounds from the same base in which a share was given
    missing: list[Missing] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)

    @property
    def id(self) -> RoundId:
        """Study and number."""
        return self.round.id

    @cached_property
    def base_digest(self) -> Digest | None:
        """Digest of the recomputed base model."""
        return None if self.base is None else self.agreement.model_digest(self.base)

    @cached_property
    def claimed_exclusions(self) -> tuple[Exclusion, ...] | Violation | None:
        """What the posted total's header says of those left out, or why it cannot be read.

        None where its bytes are not known: bytes under another root than the posted one say nothing,
        for whoever chose the CID could put any header there, and show it to whom it likes.
        """
        posted = self.round.total
        payload = self.stored_total
        if payload is None or posted is None or payload.root() != posted.root:
            return None
        try:
            return tuple(excluded_in(payload.header))
        except Violation as fault:
            return fault

    @cached_property
    def stored_total(self) -> Payload | None:
        """What lies where the total should, cut; None where nothing does, or no payload of a total."""
        try:
            return None if self.total is None else cut(self.total, self.agreement.total_shape)
        except Violation:
            return None

    @cached_property
    def called_unavailable(self) -> frozenset[Address]:
        """Those whom the aggregator leaves out because it could not fetch their payloads.

        Where the total's own bytes are gone: whoever passes and is not in it, for only this code can
        have kept such a member out. The posted root then shows whether that is so.
        """
        claimed, posted = self.claimed_exclusions, self.round.total
        if isinstance(claimed, tuple):
            return frozenset(e.member for e in claimed if e.code is Code.UNAVAILABLE)
        if claimed is None and posted is not None:
            return frozenset(self._admit(frozenset()).admitted) - frozenset(posted.members)
        return frozenset()

    @cached_property
    def admission(self) -> Admission:
        """Who counts by our own checks, but for one reason: what could not be fetched, the aggregator says.

        Whether we can fetch it is a claim of its own (`checks.nobody_is_called_unavailable_lightly`).
        """
        return self._admit(self.called_unavailable)

    def _admit(self, left_out: frozenset[Address]) -> Admission:
        fetched = {who: data for who, data in self.updates.items() if who not in left_out}
        unreadable = self.authors_of_unreadable(Kind.UPDATE) - left_out
        return admit(self.agreement, self.round, fetched, unreadable=unreadable, executor=self.executor)

    def authors_of_unreadable(self, kind: Kind) -> frozenset[Address]:
        """Whose content of this kind breaks the rules of content itself."""
        return frozenset(line.author for line in self.unreadable if line.kind is kind)

    @property
    def named(self) -> frozenset[Address]:
        """Members left out of this round on evidence that anyone can check again."""
        public = {Code.ROOT_MISMATCH, Code.MALFORMED, Code.PROOF_FAILED, Code.WRONG_BASE}
        return frozenset(e.member for e in self.admission.excluded if e.code in public)

    @cached_property
    def out_of_reach(self) -> frozenset[Address]:
        """Members whose payload we lack and need: without it the posted total is neither proven nor refuted.

        Not only those in the total. Somebody left out for a failed proof may have earned it, and
        whoever lacks the payload can neither confirm that nor blame the aggregator for it.
        """
        if self.round.total is None:
            return frozenset()
        base = self.round.base_model()
        needed = {who for who in self.round.reveals if self.round.commits[who].base_model == base}
        seen = self.updates.keys() | self.authors_of_unreadable(Kind.UPDATE)
        return frozenset(needed - seen - self.called_unavailable)

    @cached_property
    def recomputed_total(self) -> Payload | None:
        """The total as it has to be; None where it cannot be known or too few are admitted."""
        admission = self.admission
        if self.out_of_reach or len(admission.admitted) < self.agreement.spec.minimum:
            return None
        return combine(self.agreement, self.id, admission, executor=self.executor)

    @cached_property
    def total_to_open(self) -> Payload | None:
        """The total that shares and openings are checked against: our own, or one that t members stand for.

        Of a round whose updates are retired the posted total remains. Each of the t members that gave a share
        of it had recomputed it, and at most t-1 lie. A node gives no share on anyone's word (`node.share`).
        """
        posted, stored = self.round.total, self.stored_total
        if self.recomputed_total is not None or not (self.retired and self.out_of_reach):
            return self.recomputed_total
        if posted is None or stored is None or stored.root() != posted.root or self.round.verdict is not None:
            return None
        return stored if len(self.round.shares) >= self.agreement.spec.threshold else None

    @cached_property
    def contributors(self) -> int:
        """How many updates are in `total_to_open`."""
        if self.recomputed_total is None and self.round.total is not None:
            return len(self.round.total.members)
        return len(self.admission.admitted)

    @cached_property
    def is_ambiguous(self) -> bool:
        """Whether another total than ours may be the right one, and nobody can tell.

        A total whose bytes are gone may have called a member unavailable that our checks exclude.
        """
        posted, total = self.round.total, self.recomputed_total
        if posted is None or total is None or self.claimed_exclusions is not None:
            return False
        return posted.root != total.root() and bool(self.named)

    @cached_property
    def binding_members(self) -> frozenset[Address]:
        """Whose sum honest shares of this round may have opened; empty where no honest member gave one.

        One shares only where root *and* list are those that it finds. A right root under another list would
        bind every retry to members that nobody can post; a total whose bytes were withdrawn may have said
        of who fails our checks that it was unavailable, which changes the root and not the list.
        """
        posted, total = self.round.total, self.recomputed_total
        if posted is None:
            return frozenset()
        if self.out_of_reach:
            return frozenset(posted.members)
        if total is None or posted.members != tuple(self.admission.admitted):
            return frozenset()
        return frozenset(posted.members) if posted.root == total.root() or self.is_ambiguous else frozenset()

    @cached_property
    def opening(self) -> Payload | None:
        """The only possible opening of the total, from whichever proposal or shares yield it."""
        total = self.total_to_open
        if total is None:
            return None
        for data in self.openings.values():
            try:
                return check_opening(self.agreement, self.id, total, data)
            except Violation:
                continue
        shares = {m: (self.round.shares[m].digest, data) for m, data in self.shares.items()}
        try:
            return join_shares(self.agreement, self.id, total, shares).payload
        except (TooFewShares, Violation):  # a store that fails between two passes is another matter
            return None

    @cached_property
    def summed(self) -> IntVector | Violation | None:
        """The opened sum, or the fault of the round that it shows."""
        if self.opening is None or self.total_to_open is None:
            return None
        try:
            return opened_sum(
                self.agreement, self.id, self.total_to_open, self.opening, members=self.contributors
            )
        except Violation as fault:
            return fault

    @cached_property
    def model(self) -> Model | Violation | None:
        """The model that follows from base and sum, or the fault of the round."""
        if self.base is None or self.summed is None or isinstance(self.summed, Violation):
            return self.summed if isinstance(self.summed, Violation) else None
        try:
            return next_model(self.agreement, self.base, self.summed, members=self.contributors)
        except Violation as fault:
            return fault

    @cached_property
    def model_digest(self) -> Digest | None:
        """Digest of the recomputed model."""
        if self.model is None or isinstance(self.model, Violation):
            return None
        return self.agreement.model_digest(self.model)

    def result(self) -> Result:
        """What the round comes to.

        Raises the `Violation` that an impossible sum is, and `Unavailable` saying what is missing.
        """
        if isinstance(self.model, Violation):
            raise self.model
        if self.opening is None or self.model is None:
            reasons = "; ".join(f"{m.what} of 0x{m.author.hex()}: {m.why}" for m in self.missing)
            problem = f"round {self.id}: the result cannot be recomputed yet"
            raise Unavailable(f"{problem} ({reasons or 'too few right shares'})")
        return Result(opening=self.opening, model=self.model)


@dataclass(kw_only=True, eq=False)
class StudyRecord:
    """One study from its first event on: everything that an audit needs, and nothing else."""

    ledger: LedgerId
    head: Block  # how far the ledger was read
    code: Digest  # of the contract's deployed code
    history: History
    unlawful: Unlawful | None
    study: Study
    agreement: Agreement | Violation  # why the document is not the agreed one; then the rest is empty
    keys: list[Sought]  # of the later epochs, in their order
    rounds: list[RoundRecord]
