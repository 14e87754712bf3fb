"""The rounds' law (PROTOCOL §5): which event may follow which.

`History.follow` takes one event after another and refuses the first that breaks the law, by the name
of the contract's own custom error. So the in-memory ledger is lawful by construction, and every reader
can tell a chain that runs another contract.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from .bonds import WEI_PER_GWEI, Bond, Bonds
from .digest import CID_BYTES, CID_DAG_PB, CID_RAW, DIGEST_BYTES, Cid, Digest
from .errors import LedgerRejected
from .events import (
    BondDeposited,
    BondWithdrawn,
    Event,
    FaultProven,
    KeyAccepted,
    KeyProposed,
    MemberJoined,
    ModelConfirmed,
    ResultObjected,
    ResultProposed,
    RoundAbandoned,
    RoundId,
    RoundTainted,
    SeatFollowed,
    SharePosted,
    State,
    StudyAccepted,
    StudyCreated,
    StudyId,
    StudyTerms,
    Timestamp,
    TotalPosted,
    UpdateCommitted,
    UpdateRevealed,
    Voted,
)
from .governance import Consortium
from .members import ADDRESS_BYTES, Address, Member, Role
from .rounds import Candidate, Epoch, Overdue, Round, Study

FEWEST_INSTITUTIONS: Final = 3  # of one study: the smallest threshold is 2, and N >= 2t-1
MAX_INSTITUTIONS: Final = 32  # of one study; three bitmaps and three times share one storage slot
MOST_AGGREGATORS: Final = 3  # of one study
MAX_UINT32: Final = 2**32 - 1  # the contract's width for durations (in seconds) and numbers of rounds
_AfterTotal = (
    UpdateRevealed
    | SharePosted
    | ResultProposed
    | ModelConfirmed
    | ResultObjected
    | RoundAbandoned
    | RoundTainted
)
_OfStudy = StudyAccepted | KeyProposed | KeyAccepted | BondDeposited
_BySeat = _OfStudy | UpdateCommitted | TotalPosted | _AfterTotal


class Sentence(NamedTuple):
    """What a proven fault leads to, besides what becomes of the round."""

    aggregator: Address  # who posted the total
    slashed: int  # wei
    beneficiary: Address


@dataclass(slots=True, kw_only=True)
class History:
    """The ledger's events, followed in order; the only state that anyone derives from the chain."""

    consortium: Consortium = field(default_factory=Consortium)
    studies: dict[StudyId, Study] = field(default_factory=dict)

    @property
    def roster(self) -> dict[Address, Member]:
        """Everybody that ever was on it; see `Consortium` for who may act."""
        return self.consortium.members

    def follow(self, event: Event) -> None:
        """Takes one more event; raises `LedgerRejected` when the law forbids it here."""
        match event:
            case MemberJoined(member=member):
                self.consortium.join(member)
            case Voted():
                self.consortium.vote(event)
            case SeatFollowed():
                self._follow_seat(event)
            case BondWithdrawn(sender=sender, amount=amount, time=now):
                known = self.studies.get(event.study)
                (Bonds() if known is None else known.bonds).withdraw(sender, amount, now)
            case StudyCreated(study=study, terms=terms):
                self._check_terms(event.sender, terms)
                _forbid(study != len(self.studies) + 1, "UnknownStudy", study)
                self.studies[study] = Study(id=study, terms=terms)
            case FaultProven():
                self._follow_fault(self.round(event.round), event)
            case _:  # somebody acts in a study
                seated = self._seated(event)
                try:
                    self._follow_seated(seated, account=event.sender)
                except LedgerRejected as refusal:
                    if seated is event:
                        raise
                    # Told to an heir, it is about the heir, as in the contract: never about its predecessor.
                    told = (event.sender if value == seated.sender else value for value in refusal.values)
                    raise LedgerRejected(refusal.rule, tuple(told)) from refusal

    def _follow_seated(self, event: _BySeat, *, account: Address) -> None:
        """What somebody does in its seat, in the name that the study knows; `account` is who sent it."""
        match event:
            case StudyAccepted(study=id, digest=digest):
                study = self._study_of_member(id, event.sender)
                _forbid(event.sender in study.accepted, "AlreadyAccepted", id, event.sender)
                _forbid(digest != study.terms.digest, "WrongDigest", study.terms.digest, digest)
                study.accepted[event.sender] = event
            case BondDeposited(study=id, amount=amount):
                self._study_of_aggregator(id, event.sender, account).bonds.deposit(account, amount)
            case KeyProposed():
                self._follow_key_proposal(event)
            case KeyAccepted():
                self._follow_key_acceptance(event)
            case UpdateCommitted():
                self._follow_commit(event)
            case TotalPosted():
                self._follow_total(event, account)
            case _:
                self._follow_round(event)

    def _seated(self, event: _BySeat) -> _BySeat:
        """The event as of whoever the study knows in that seat; raises `LedgerRejected` for an idle seat."""
        id = event.study if isinstance(event, _OfStudy) else event.round.study
        study = self.studies.get(id)
        if study is None:
            return event
        known = study.name_of(event.sender)
        if isinstance(event, TotalPosted | BondDeposited) and known not in study.terms.aggregators:
            raise LedgerRejected("NotAggregator", (event.sender,))
        _forbid(event.sender in study.idle, "SeatIdle", id, event.sender)
        return event if known == event.sender else replace(event, sender=known)

    def _follow_seat(self, event: SeatFollowed) -> None:
        study, account = self.studies.get(event.study), event.account
        if study is None or not study.has_seat(account):
            raise LedgerRejected("NotInStudy", (event.study, account))
        standing = self.consortium.standing(account)
        idle, heir = standing.state is not State.ACTIVE, standing.heir
        moves = heir is not None and not study.has_seat(heir)
        in_line = idle == (account in study.idle) and not moves
        _forbid(in_line, "SeatInLine", study.id, account)
        study.set_idle(account, idle=idle)
        if heir is not None and moves:
            study.heirs[heir] = study.name_of(account)
            study.set_idle(heir, idle=not self.consortium.is_active(heir))

    def study(self, id: StudyId) -> Study:
        """The study of this number; raises `LedgerRejected` (by a name that is not the contract's)."""
        _forbid(id not in self.studies, "UnknownStudy", id)
        return self.studies[id]

    def round(self, id: RoundId) -> Round:
        """An opened round; raises `LedgerRejected` for one that nobody has committed to."""
        rounds = self.study(id.study).rounds
        _forbid(not 1 <= id.number <= len(rounds), "NotOpened", id)
        return rounds[id.number - 1]

    def _check_terms(self, sender: Address, terms: StudyTerms) -> None:
        _forbid(not self.consortium.is_active(sender), "NotOnRoster", sender)
        successor = self.consortium.successor
        if successor is not None:
            raise LedgerRejected("Superseded", (successor.subject,))
        n, t = len(terms.members), terms.threshold
        bounds = {
            "members": (FEWEST_INSTITUTIONS, MAX_INSTITUTIONS, n),
            "threshold": (2, (n + 1) // 2, t),
            "minimum": (t + 1, n, terms.minimum),
            "aggregators": (1, MOST_AGGREGATORS, len(terms.aggregators)),
            "rounds": (1, MAX_UINT32, terms.rounds),
            "windows.commit": (1, MAX_UINT32, terms.windows.commit),
            "windows.reveal": (1, MAX_UINT32, terms.windows.reveal),
            "windows.combine": (1, MAX_UINT32, terms.windows.combine),
            "windows.open": (1, MAX_UINT32, terms.windows.open),
        }
        for term, (least, most, found) in bounds.items():
            _forbid(not least <= found <= most, "BadTerms", term, least, most, found)
        for i, aggregator in enumerate(terms.aggregators):
            self._check_role(aggregator, Role.AGGREGATOR)
            _forbid(aggregator in terms.aggregators[:i], "DuplicateMember", aggregator)
        _check_digest(terms.digest)
        _check_digest(terms.key)
        _check_digest(terms.leaves.binding)
        _check_cid(terms.cid)
        last = bytes(ADDRESS_BYTES)
        for i, member in enumerate(terms.members):
            _forbid(member <= last, "MembersNotIncreasing", i)
            self._check_role(member, Role.INSTITUTION)
            last = member

    def _check_role(self, address: Address, expected: Role) -> None:
        found = self.consortium.role_of(address)
        _forbid(found != expected, "WrongRole", address, expected, found)

    def _study_of_member(self, id: StudyId, account: Address) -> Study:
        """The study in which `account` has a vote; strangers are not told whether it exists."""
        if id not in self.studies or account not in self.studies[id].terms.members:
            raise LedgerRejected("NotInStudy", (id, account))
        return self.studies[id]

    def _study_of_aggregator(self, id: StudyId, name: Address, account: Address) -> Study:
        """The study in which `account` acts as the aggregator `name`."""
        if id not in self.studies or name not in self.studies[id].terms.aggregators:
            raise LedgerRejected("NotAggregator", (account,))
        return self.studies[id]

    def _study_of_party(self, id: StudyId, account: Address) -> Study:
        """The study in which `account` is a member or an aggregator."""
        if id in self.studies and account in self.studies[id].terms.aggregators:
            return self.studies[id]
        return self._study_of_member(id, account)

    def _follow_key_proposal(self, event: KeyProposed) -> None:
        study = self._study_of_member(event.study, event.sender)
        candidate = study.candidates.get(event.key, Candidate())
        proposed = event.sender in candidate.proposals
        _forbid(proposed, "KeyAlreadyProposed", study.id, event.key, event.sender)
        # Shares of a key whose time is over are destroyed, so it never comes back.
        adopted = event.key in {epoch.key for epoch in study.epochs}
        _forbid(adopted, "KeyAlreadyAdopted", study.id, event.key)
        _check_running(study)
        _check_digest(event.key)
        _check_cid(event.cid)
        candidate.proposals[event.sender] = event
        study.candidates[event.key] = candidate

    def _follow_key_acceptance(self, event: KeyAccepted) -> None:
        study = self._study_of_member(event.study, event.sender)
        candidate = study.candidates.get(event.key, Candidate())
        accepted = event.sender in candidate.accepted
        _forbid(accepted, "KeyAlreadyAccepted", study.id, event.key, event.sender)
        _forbid(event.key == study.terms.key, "KeyAlreadyAdopted", study.id, event.key)
        _check_running(study)
        _forbid(not candidate.proposals, "KeyNotProposed", study.id, event.key)
        first = next(iter(candidate.accepted.values()), event)
        expected, found = first.ciphertexts, event.ciphertexts
        _forbid(expected != found, "WrongCiphertexts", study.id, event.key, expected, found)
        candidate.accepted[event.sender] = event
        missing = frozenset(study.terms.members) - candidate.accepted.keys()
        enough = len(candidate.accepted) >= study.terms.minimum and missing <= study.idle_members
        if enough and event.key not in {epoch.key for epoch in study.epochs}:
            cids = tuple(dict.fromkeys(proposal.cid for proposal in candidate.proposals.values()))
            # Never the very next round: a commit to it may be on its way under the key before.
            later = Epoch(
                first=len(study.rounds) + 2,
                key=event.key,
                ciphertexts=event.ciphertexts,
                cids=cids,
                unasked=missing,
            )
            study.later_epochs.append(later)

    def _follow_commit(self, event: UpdateCommitted) -> None:
        study = self._study_of_member(event.round.study, event.sender)
        current = study.current()
        named = [round for round in study.rounds if round.id == event.round]
        twice = any(event.sender in round.commits for round in named)
        _forbid(twice, "AlreadyCommitted", event.round, event.sender)
        _check_running(study)
        _forbid(event.round != current.id, "WrongRound", current.id, event.round)
        closes = current.commit_closes
        over = current.committing_is_over(event.time)
        _forbid(over, "CommitWindowClosed", current.id, closes, event.time)
        _check_digest(event.root)
        current.commits[event.sender] = event
        if event.round.number > len(study.rounds):
            study.rounds.append(current)

    def _follow_round(self, event: _AfterTotal) -> None:
        """Each check in the contract's order: who, opened, twice, when, what."""
        study, sender = event.round.study, event.sender
        match event:
            case UpdateRevealed():
                self._study_of_member(study, sender)
                _check_reveal(self.round(event.round), event)
                self.round(event.round).reveals[sender] = event
            case SharePosted():
                self._study_of_member(study, sender)
                _check_share(self.round(event.round), event)
                self.round(event.round).shares[sender] = event
            case ResultProposed():
                self._study_of_party(study, sender)
                _check_proposal(self.round(event.round), event)
                self.round(event.round).proposals.append(event)
            case ModelConfirmed():
                self._study_of_member(study, sender)
                _check_confirmation(self.round(event.round), event)
                self.round(event.round).confirmations[sender] = event
            case ResultObjected():
                self._study_of_member(study, sender)
                _check_objection(self.round(event.round), event)
                self.round(event.round).objections[sender] = event
            case RoundAbandoned() | RoundTainted():
                self._study_of_party(study, sender)
                _check_end(self.round(event.round), event)
                self.round(event.round).end = event

    def _follow_total(self, event: TotalPosted, account: Address) -> None:
        bonds = self._study_of_aggregator(event.round.study, event.sender, account).bonds
        round = self.round(event.round)
        _check_total(round, event, bonds.of(account))
        bonds.lock(account, Timestamp(event.time + round.terms.stake.lock))
        round.total, round.bonded = event, account

    def sentence(self, round: Round, challenger: Address) -> Sentence:
        """What a fault of the standing total leads to; raises `LedgerRejected` where none can be proven."""
        total, stake, account = round.total, round.terms.stake, round.bonded
        if total is None or account is None:
            raise LedgerRejected("NoTotal", (round.id,))
        _forbid(round.verdict is not None, "FaultAlreadyProven", round.id)
        slashed = min(stake.gwei * WEI_PER_GWEI, self.study(round.id.study).bonds.of(account).amount)
        beneficiary = challenger if stake.treasury == bytes(ADDRESS_BYTES) else stake.treasury
        return Sentence(account, slashed, beneficiary)

    def _follow_fault(self, round: Round, event: FaultProven) -> None:
        """Whether the fault is proven only the court can say; what follows from it is law."""
        due = self.sentence(round, event.sender)
        # Only a chain that runs another contract names others.
        found = Sentence(event.aggregator, event.slashed, event.beneficiary)
        _forbid(due != found, "WrongSentence", round.id, *due, *found)
        total, member = round.total, event.member
        stranger = total is not None and member is not None and member not in total.members
        _forbid(stranger, "NotInTotal", round.id, member)
        self.study(round.id.study).bonds.move(due.aggregator, due.beneficiary, due.slashed)
        # The round knows its aggregators by the names that they have in the study.
        known = event if total is None else replace(event, aggregator=total.sender)
        round.faults.append(known)
        if not round.ended and round.opened:
            round.end = known
        elif not round.ended and total is not None:
            round.rescinded.append(total)
            round.total = None


def _check_reveal(round: Round, event: UpdateRevealed) -> None:
    now, closes = event.time, round.reveal_closes
    _forbid(event.sender in round.reveals, "AlreadyRevealed", round.id, event.sender)
    _forbid(not round.committing_is_over(now), "CommitWindowOpen", round.id, round.commit_closes, now)
    minimum, found = round.terms.minimum, len(round.commits)
    _forbid(found < minimum, "TooFewContributors", minimum, found)
    _forbid(event.sender not in round.commits, "NotCommitted", round.id, event.sender)
    # Also refuses every round that went on without the sender: it ended, or has its total.
    _forbid(round.revealing_is_over(now), "RevealWindowClosed", round.id, closes, now)
    _check_cid(event.cid)


def _check_total(round: Round, event: TotalPosted, bond: Bond) -> None:
    now, reveal_closes, sender = event.time, round.reveal_closes or 0, event.sender
    _forbid(round.total is not None, "TotalAlreadyPosted", round.id)
    _forbid(round.ended, "RoundEnded", round.id)
    _forbid(not round.revealing_is_over(now), "RevealWindowOpen", round.id, reveal_closes, now)
    begins = round.turn_begins(sender)
    if begins is None:
        raise LedgerRejected("FaultyAggregator", (round.id, sender))
    _forbid(now < begins, "NotYourTurn", round.id, begins, now)
    closes = round.combine_closes or 0
    _forbid(now > closes, "CombineWindowClosed", round.id, closes, now)
    needed = round.terms.stake.gwei * WEI_PER_GWEI
    _forbid(bond.amount < needed, "BondTooSmall", needed, bond.amount)
    minimum, found = round.terms.minimum, len(event.members)
    _forbid(found < minimum, "TooFewContributors", minimum, found)
    last, counted = bytes(ADDRESS_BYTES), round.counted
    for i, member in enumerate(event.members):
        _forbid(member <= last, "MembersNotIncreasing", i)
        _forbid(member not in counted, "NotRevealed", round.id, member)
        last = member
    _check_digest(event.root)
    _check_cid(event.cid)


def _check_share(round: Round, event: SharePosted) -> None:
    _forbid(event.sender in round.shares, "AlreadyShared", round.id, event.sender)
    if round.total is None:
        raise LedgerRejected("NoTotal", (round.id,))
    # After a result there is no deadline: a false share must not help anyone to finish before the true ones.
    closes = round.total.time + round.terms.windows.open
    _forbid(not round.proposals and event.time > closes, "OpenWindowClosed", round.id, closes, event.time)
    _forbid(round.end is not None, "RoundEnded", round.id)  # a proven fault ends it within its window
    # A share on its way while one total takes another's place must not count for the other one.
    root = round.total.root
    _forbid(event.total != root, "WrongTotal", round.id, root, event.total)
    _check_digest(event.digest)
    _check_cid(event.cid)


def _check_proposal(round: Round, event: ResultProposed) -> None:
    _forbid(event.sender in {p.sender for p in round.proposals}, "AlreadyProposed", round.id, event.sender)
    _forbid(round.end is not None, "RoundEnded", round.id)
    threshold, found = round.terms.threshold, len(round.shares)
    _forbid(found < threshold, "TooFewShares", threshold, found)
    # With the places: a right result whose content nobody can fetch must not keep a usable one out.
    known = {(p.opening, p.model, p.opening_cid, p.model_cid) for p in round.proposals}
    result = (event.opening, event.model, event.opening_cid, event.model_cid)
    _forbid(result in known, "SameResult", round.id)
    _check_digest(event.opening)
    _check_digest(event.model)
    _check_cid(event.opening_cid)
    _check_cid(event.model_cid)


def _check_confirmation(round: Round, event: ModelConfirmed) -> None:
    _forbid(event.sender in round.confirmations, "AlreadyConfirmed", round.id, event.sender)
    _forbid(not round.proposals, "NotFinished", round.id)
    _check_digest(event.model)


def _check_objection(round: Round, event: ResultObjected) -> None:
    _forbid(event.sender in round.objections, "AlreadyObjected", round.id, event.sender)
    _forbid(not round.proposals, "NotFinished", round.id)


def _check_end(round: Round, event: RoundAbandoned | RoundTainted) -> None:
    _forbid(round.ended, "RoundEnded", round.id)
    match round.phase(event.time):
        case Overdue(reason=reason):
            _forbid(reason != event.reason, "WrongReason", reason, event.reason)
            # Only a chain that runs another contract can name the wrong kind of end.
            _forbid(round.opened != isinstance(event, RoundTainted), "WrongReason", reason, event.reason)
        case _:
            raise LedgerRejected("NotYet", (round.id, event.time))


def _check_running(study: Study) -> None:
    _forbid(not study.is_accepted, "NotAccepted", study.id)
    _forbid(study.is_complete, "StudyComplete", study.id)


def _check_digest(digest: Digest) -> None:
    _forbid(digest == bytes(DIGEST_BYTES), "ZeroDigest")


def _check_cid(cid: Cid) -> None:
    known = len(cid) == CID_BYTES and cid[:4] in (CID_RAW, CID_DAG_PB)
    _forbid(not known, "MalformedCid", cid[:4])


def _forbid(condition: bool, rule: str, *values: object) -> None:
    if condition:
        raise LedgerRejected(rule, values)
