"""A stranger's reading of who belongs to the consortium, from PROTOCOL.md alone (§5.10).

It shares no code with the package.
"""

from dataclasses import dataclass, replace

from .second_log import Member, Vote
from .second_parts import demand

INSTITUTION, AGGREGATOR, AUDITOR = 1, 2, 3
ADMIT, REMOVE, SUSPEND, REINSTATE, REPLACE, QUORUM, SUPERSEDE = range(7)
ACTIVE, SUSPENDED, LEFT, REPLACED = 1, 2, 3, 4
NINETY_DAYS = 90 * 86400  # seconds


@dataclass(frozen=True)
class Standing:
    """Of one account."""

    member: Member
    vote: int  # an institution's number among all that ever were; an heir has its predecessor's
    state: int = ACTIVE
    heir: bytes | None = None


class Roster:
    """§5.10: the roster after some votes, each of which was lawful."""

    def __init__(self) -> None:
        self.known: dict[bytes, Standing] = {}
        self.given: dict[Vote, set[int]] = {}  # votes for each motion
        self.carried: set[Vote] = set()
        self.asked = 0
        self.successor: bytes | None = None

    def role(self, account: bytes) -> int:
        """In which the account may act; 0 for none."""
        found = self.known.get(account)
        return found.member.role if found is not None and found.state == ACTIVE else 0

    @property
    def active(self) -> set[int]:
        """Whose votes count now."""
        return {known.vote for account, known in self.known.items() if self.role(account) == INSTITUTION}

    @property
    def quorum(self) -> int:
        n = len(self.active)
        return min(max(self.asked, n // 2 + 1), n)

    def join(self, member: Member) -> None:
        """A founder, or one that was admitted."""
        votes = len({known.vote for known in self.known.values() if known.member.role == INSTITUTION})
        demand(votes < 256 or member.role != INSTITUTION, "§5.10", "more than 256 institutions")
        self.enter(member, votes)

    def enter(self, member: Member, vote: int) -> None:
        demand(any(member.account), "§5.10", "no account")
        demand(INSTITUTION <= member.role <= AUDITOR, "§5.10", "no such role")
        demand(member.account not in self.known, "§5.10", "an account twice on the roster")
        self.known[member.account] = Standing(member, vote)

    def vote(self, sender: bytes, now: int, motion: Vote) -> None:
        """One more vote, which may carry the motion."""
        demand(self.role(sender) == INSTITUTION, "§5.10", "no vote")
        given = self.given.get(motion, set())
        demand(self.known[sender].vote not in given, "§5.10", "voted twice")
        demand(motion not in self.carried, "§5.10", "carried before")
        demand(now <= motion.expires <= now + NINETY_DAYS, "§5.10", "the motion's last second")
        given = given | {self.known[sender].vote}
        if len(given & self.active) >= self.quorum:
            self.carry(motion)
            self.carried.add(motion)
        self.given[motion] = given

    def carry(self, motion: Vote) -> None:
        if motion.kind == ADMIT:
            self.join(motion.member)
        elif motion.kind == QUORUM:
            demand(1 <= motion.number <= 256, "§5.10", "quorum")
            self.asked = motion.number
        elif motion.kind == SUPERSEDE:
            demand(self.successor is None, "§5.10", "superseded before")
            demand(any(motion.subject) and any(motion.code), "§5.10", "no contract or no code")
            self.successor = motion.subject
        else:
            self.change(motion)

    def change(self, motion: Vote) -> None:
        """What is decided of one member."""
        of = {SUSPEND: {ACTIVE}, REINSTATE: {SUSPENDED}}.get(motion.kind, {ACTIVE, SUSPENDED})
        found = self.known.get(motion.subject)
        demand(found is not None and found.state in of, "§5.10", "state of the member")
        assert found is not None  # for the type checker
        if motion.kind == REPLACE:
            demand(motion.member.role == found.member.role, "§5.10", "role of the heir")
            self.enter(motion.member, found.vote)
            now = replace(found, state=REPLACED, heir=motion.member.account)
        else:
            now = replace(found, state={SUSPEND: SUSPENDED, REINSTATE: ACTIVE}.get(motion.kind, LEFT))
        self.known[motion.subject] = now
