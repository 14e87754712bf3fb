"""The rounds' law (PROTOCOL §5): which event may follow which.

`History.follow` takes one event after another and refuses the first that breaks the law, by the name
of the contract's own custom error. So the in-memory ledger is lawful by construction, and every reader
can tell a chain that runs another contract.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from .digest import CID_BYTES, CID_DAG_PB, CID_RAW, DIGEST_BYTES, Cid, Digest
from .errors import LedgerRejected
from .events import (
    Event,
    KeyAccepted,
    KeyProposed,
    MemberJoined,
    ModelConfirmed,
    ResultObjected,
    ResultProposed,
    RoundAbandoned,
    RoundId,
    RoundTainted,
    SharePosted,
    StudyAccepted,
    StudyCreated,
    StudyId,
    StudyTerms,
    TotalPosted,
    UpdateCommitted,
    UpdateRevealed,
)
from .members import ADDRESS_BYTES, Address, Member, Role
from .rounds import Candidate, Epoch, Overdue, Round, Study

FEWEST_INSTITUTIONS: Final = 3  # of one study: the smallest threshold is 2, and N >= 2t-1
MAX_INSTITUTIONS: Final = 32  # of one study; three bitmaps and three times share one storage slot
MAX_UINT32: Final = 2**32 - 1  # the contract's width for durations (in seconds) and numbers of rounds
_AfterCommit = (
    UpdateRevealed
    | TotalPosted
    | SharePosted
    | ResultProposed
    | ModelConfirmed
    | ResultObjected
    | RoundAbandoned
    | RoundTainted
)


@dataclass(slots=True, kw_only=True)
class History:
    """The ledger's events, followed in order; the only state that anyone derives from the chain."""

    roster: dict[Address, Member] = field(default_factory=dict)
    studies: dict[StudyId, Study] = field(default_factory=dict)

    def follow(self, event: Event) -> None:
        """Takes one more event; raises `LedgerRejected` when the law forbids it here."""
        match event:
            case MemberJoined(member=member):
                _forbid(member.address == bytes(ADDRESS_BYTES), "ZeroAddress")
                _forbid(member.address in self.roster, "DuplicateMember", member.address)
                self.roster[member.address] = member
            case StudyCreated(study=study, terms=terms):
                self._check_terms(event.sender, terms)
                _forbid(study != len(self.studies) + 1, "UnknownStudy", study)
                self.studies[study] = Study(id=study, terms=terms)
            case StudyAccepted(study=id, digest=digest):
                study_ = self._study_of_member(id, event.sender)
                _forbid(event.sender in study_.accepted, "AlreadyAccepted", id, event.sender)
                _forbid(digest != study_.terms.digest, "WrongDigest", study_.terms.digest, digest)
                study_.accepted[event.sender] = event
            case KeyProposed():
                self._follow_key_proposal(event)
            case KeyAccepted():
                self._follow_key_acceptance(event)
            case UpdateCommitted():
                self._follow_commit(event)
            case _:
                self._follow_round(event)

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
        _forbid(sender not in self.roster, "NotOnRoster", sender)
        n, t = len(terms.members), terms.threshold
        bounds = {
            "members": (FEWEST_INSTITUTIONS, MAX_INSTITUTIONS, n),
            "threshold": (2, (n + 1) // 2, t),
            "minimum": (t + 1, n, terms.minimum),
            "rounds": (1, MAX_UINT32, terms.rounds),
            "windows.commit": (1, MAX_UINT32, terms.windows.commit),
            "windows.reveal": (1, MAX_UINT32, terms.windows.reveal),
            "windows.combine": (1, MAX_UINT32, terms.windows.combine),
            "windows.open": (1, MAX_UINT32, terms.windows.open),
        }
        for term, (least, most, found) in bounds.items():
            _forbid(not least <= found <= most, "BadTerms", term, least, most, found)
        self._check_role(terms.aggregator, Role.AGGREGATOR)
        _check_digest(terms.digest)
        _check_digest(terms.key)
        _check_cid(terms.cid)
        last = bytes(ADDRESS_BYTES)
        for i, member in enumerate(terms.members):
            _forbid(member <= last, "MembersNotIncreasing", i)
            self._check_role(member, Role.INSTITUTION)
            last = member

    def _check_role(self, address: Address, expected: Role) -> None:
        member = self.roster.get(address)
        found = 0 if member is None else member.role
        _forbid(found != expected, "WrongRole", address, expected, found)

    def _study_of_member(self, id: StudyId, account: Address) -> Study:
        """The study in which `account` has a vote; strangers are not told whether it exists."""
        if id not in self.studies or account not in self.studies[id].terms.members:
            raise LedgerRejected("NotInStudy", (id, account))
        return self.studies[id]

    def _study_of_party(self, id: StudyId, account: Address) -> Study:
        """The study in which `account` is a member or the aggregator."""
        if id in self.studies and account == self.studies[id].terms.aggregator:
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
        candidate.accepted[event.sender] = event
        if len(candidate.accepted) == len(study.terms.members):
            cids = tuple(dict.fromkeys(proposal.cid for proposal in candidate.proposals.values()))
            # Never the very next round: a commit to it may be on its way under the key before.
            study.later_epochs.append(Epoch(first=len(study.rounds) + 2, key=event.key, cids=cids))

    def _follow_commit(self, event: UpdateCommitted) -> None:
        study = self._study_of_member(event.round.study, event.sender)
        current = study.current()
        named = next((round for round in study.rounds if round.id == event.round), current)
        _forbid(event.sender in named.commits, "AlreadyCommitted", event.round, event.sender)
        _check_running(study)
        _forbid(event.round != current.id, "WrongRound", current.id, event.round)
        closes = current.commit_closes
        over = current.committing_is_over(event.time)
        _forbid(over, "CommitWindowClosed", current.id, closes, event.time)
        _check_digest(event.root)
        current.commits[event.sender] = event
        if event.round.number > len(study.rounds):
            study.rounds.append(current)

    def _follow_round(self, event: _AfterCommit) -> None:
        """Each check in the contract's order: who, opened, twice, when, what."""
        study, sender = event.round.study, event.sender
        match event:
            case UpdateRevealed():
                self._study_of_member(study, sender)
                _check_reveal(self.round(event.round), event)
                self.round(event.round).reveals[sender] = event
            case TotalPosted():
                known = self.studies.get(study)
                _forbid(known is None or sender != known.terms.aggregator, "NotAggregator", sender)
                _check_total(self.round(event.round), event)
                self.round(event.round).total = event
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


def _check_total(round: Round, event: TotalPosted) -> None:
    now, reveal_closes = event.time, round.reveal_closes or 0
    _forbid(round.total is not None, "TotalAlreadyPosted", round.id)
    _forbid(round.ended, "RoundEnded", round.id)
    _forbid(not round.revealing_is_over(now), "RevealWindowOpen", round.id, reveal_closes, now)
    closes = reveal_closes + round.terms.windows.combine
    _forbid(now > closes, "CombineWindowClosed", round.id, closes, now)
    minimum, found = round.terms.minimum, len(event.members)
    _forbid(found < minimum, "TooFewContributors", minimum, found)
    last = bytes(ADDRESS_BYTES)
    for i, member in enumerate(event.members):
        _forbid(member <= last, "MembersNotIncreasing", i)
        _forbid(member not in round.reveals, "NotRevealed", round.id, member)
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
