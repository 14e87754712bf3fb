"""What institutions decide together, as the ledger's events leave it (PROTOCOL §5.10).

No account has rights that its owner did not get by the votes of others: k of n institutions admit and
remove members, suspend them, give an organisation's place to its new keys, change k, and name the contract
that takes over. A motion is there once somebody has voted for it, and carried with the vote that reaches k.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from .digest import DIGEST_BYTES, Digest
from .errors import LedgerRejected
from .events import NOBODY, Motion, MotionKind, State, Timestamp, Voted
from .members import ADDRESS_BYTES, Address, Member, Role

LONGEST_MOTION: Final = 90 * 24 * 3600  # seconds
MOST_VOTERS: Final = 256  # institutions that a roster ever had


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the consortium has decided of one account."""

    state: State = State.NONE
    voter: int = 0  # an institution's, for ever; its heir's too
    heir: Address | None = None  # who replaced it


@dataclass(slots=True, kw_only=True)
class Ballot:
    """What was voted on one motion."""

    motion: Motion
    votes: set[int] = field(default_factory=set)  # voters
    carried: bool = False


@dataclass(slots=True, kw_only=True)
class Consortium:
    """The roster and who is in good standing on it."""

    members: dict[Address, Member] = field(default_factory=dict)  # everybody that ever was on it
    ballots: dict[Digest, Ballot] = field(default_factory=dict)
    successor: Motion | None = None  # the motion that named another contract
    _standings: dict[Address, Standing] = field(default_factory=dict)
    _asked_quorum: int = 0
    _voters: int = 0

    def standing(self, account: Address) -> Standing:
        """Of a stranger: none."""
        return self._standings.get(account, Standing())

    def is_active(self, account: Address) -> bool:
        """Whether the account is on the roster and may act."""
        return self.standing(account).state is State.ACTIVE

    def role_of(self, account: Address) -> int:
        """The role in which the account may act now; 0 for none."""
        return self.members[account].role if self.is_active(account) else 0

    @property
    def active_voters(self) -> set[int]:
        """Those whose votes count now."""
        return {
            standing.voter
            for account, standing in self._standings.items()
            if standing.state is State.ACTIVE and self.members[account].role is Role.INSTITUTION
        }

    @property
    def quorum(self) -> int:
        """How many votes carry a motion now: what was asked, at least a majority, at most all."""
        n = len(self.active_voters)
        return min(n, max(self._asked_quorum, n // 2 + 1))

    def join(self, member: Member) -> None:
        """One more member, in good standing."""
        self._enter(member)
        if member.role is Role.INSTITUTION:
            if self._voters == MOST_VOTERS:
                raise LedgerRejected("BadTerms", ("voters", 0, MOST_VOTERS, MOST_VOTERS + 1))
            self._voters += 1
        voter = self._voters - 1 if member.role is Role.INSTITUTION else 0
        self._standings[member.address] = Standing(state=State.ACTIVE, voter=voter)

    def vote(self, event: Voted) -> None:
        """One more vote; the motion is carried if it is enough."""
        motion, now, sender = event.motion, event.time, event.sender
        if self.role_of(sender) != Role.INSTITUTION:
            raise LedgerRejected("NoVote", (sender,))
        ballot = self.ballots.get(event.id, Ballot(motion=motion))
        voter = self.standing(sender).voter
        if voter in ballot.votes:
            raise LedgerRejected("AlreadyVoted", (sender,))
        if ballot.carried:
            raise LedgerRejected("MotionCarried")
        if now > motion.expires:
            raise LedgerRejected("MotionExpired", (motion.expires, now))
        latest = Timestamp(now + LONGEST_MOTION)
        if motion.expires > latest:
            raise LedgerRejected("MotionTooLong", (latest, motion.expires))
        votes = {*ballot.votes, voter}
        carried = len(votes & self.active_voters) >= self.quorum
        if carried:
            self._carry(motion)
        self.ballots[event.id] = Ballot(motion=motion, votes=votes, carried=carried)

    def _carry(self, motion: Motion) -> None:
        match motion.kind:
            case MotionKind.ADMIT:
                if motion.member is None:
                    raise LedgerRejected("ZeroAddress")
                self.join(motion.member)
            case MotionKind.SET_QUORUM:
                if not 1 <= motion.value <= MOST_VOTERS:
                    raise LedgerRejected("BadTerms", ("quorum", 1, MOST_VOTERS, motion.value))
                self._asked_quorum = motion.value
            case MotionKind.SUPERSEDE:
                if self.successor is not None:
                    raise LedgerRejected("Superseded", (self.successor.subject,))
                if motion.subject == bytes(ADDRESS_BYTES):
                    raise LedgerRejected("ZeroAddress")
                if motion.code == bytes(DIGEST_BYTES):
                    raise LedgerRejected("ZeroDigest")
                self.successor = motion
            case _:
                self._change(motion)

    def _change(self, motion: Motion) -> None:
        """What happens to a member."""
        subject, found = motion.subject, self.standing(motion.subject)
        allowed = {
            MotionKind.SUSPEND: {State.ACTIVE},
            MotionKind.REINSTATE: {State.SUSPENDED},
        }.get(motion.kind, {State.ACTIVE, State.SUSPENDED})
        if found.state not in allowed:
            raise LedgerRejected("WrongState", (subject, found.state))
        if motion.kind is MotionKind.REPLACE:
            self._replace(subject, found, motion.member)
            return
        state = {MotionKind.SUSPEND: State.SUSPENDED, MotionKind.REINSTATE: State.ACTIVE}
        becomes = state.get(motion.kind, State.LEFT)
        self._standings[subject] = Standing(state=becomes, voter=found.voter)

    def _replace(self, subject: Address, standing: Standing, heir: Member | None) -> None:
        """One organisation's keys are others from now on: its vote and its role go with it."""
        role = self.members[subject].role
        if heir is None or heir.role != role:
            who, found = (NOBODY, 0) if heir is None else (heir.address, int(heir.role))
            raise LedgerRejected("WrongRole", (who, role, found))
        self._enter(heir)
        self._standings[heir.address] = Standing(state=State.ACTIVE, voter=standing.voter)
        self._standings[subject] = Standing(state=State.REPLACED, voter=standing.voter, heir=heir.address)

    def _enter(self, member: Member) -> None:
        if member.address == bytes(ADDRESS_BYTES):
            raise LedgerRejected("ZeroAddress")
        if member.address in self.members:
            raise LedgerRejected("DuplicateMember", (member.address,))
        self.members[member.address] = member
