"""What institutions vote on: rules that `test_lockstep.py` mixes with those of rounds and bonds."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from federation.digest import Digest, sha256
from federation.events import NOBODY, Motion, MotionKind, State, StudyId, Timestamp
from federation.governance import LONGEST_MOTION
from federation.members import Address, Member, Role, SealingKey
from tests.contract.twins import AGGREGATORS, HEIRS, INSTITUTIONS, Twins

AUDITOR = INSTITUTIONS + AGGREGATORS
STRANGER = AUDITOR + 1
EVERYBODY = STRANGER + 1 + len(HEIRS)
FIRST = StudyId(1)
ROLES = {  # of whoever may be replaced, by index
    **dict.fromkeys(range(INSTITUTIONS), Role.INSTITUTION),
    **dict.fromkeys(range(INSTITUTIONS, AUDITOR), Role.AGGREGATOR),
    AUDITOR: Role.AUDITOR,
}
anyone = st.integers(0, EVERYBODY - 1)
voters = st.lists(st.one_of(st.integers(0, 3), st.integers(0, 3), anyone), max_size=4)
CHANGES = (MotionKind.SUSPEND, MotionKind.REINSTATE, MotionKind.REPLACE, MotionKind.REMOVE)


class Votes(RuleBasedStateMachine):
    """Motions, votes, and seats that follow them; the study is the machine's that mixes this in."""

    twins: Twins
    everybody: tuple[Address, ...]

    def __init__(self) -> None:
        super().__init__()
        self.motions: list[Motion] = []

    def _try(self, who: int, call: str, *arguments: object, **named: object) -> bool:
        raise NotImplementedError

    @rule(
        kind=st.sampled_from(MotionKind),
        subject=anyone,
        named=st.one_of(st.none(), anyone),
        role=st.sampled_from(Role),
        value=st.sampled_from([0, 1, 3, 4, 256, 257]),
        code=st.booleans(),
        lasts=st.sampled_from([60] * 6 + [0, 1, -1, LONGEST_MOTION, LONGEST_MOTION + 1]),
        who=voters,
    )
    def somebody_moves_anything(self, kind, subject, named, role, value, code, lasts, who) -> None:
        """Whoever it is about, whether or not it can be carried."""
        member = None if named is None else self._line(self.everybody[named], role)
        motion = Motion(
            kind=kind,
            expires=Timestamp(self.twins.now + lasts),
            subject=self.everybody[subject] if code or value else NOBODY,
            member=member,
            value=value,
            code=sha256(b"code") if code else Digest(bytes(32)),
        )
        self._voted_for(motion, who)

    @precondition(lambda self: self.motions)
    @rule(which=st.integers(0, 7), who=voters)
    def some_vote_again(self, which, who) -> None:
        """On one of the latest motions, carried or not, expired or not."""
        motion = self.motions[-1 - which % len(self.motions)]
        self._voted_for(motion, who)

    @rule(who=anyone, study=st.sampled_from([1, 1, 1, 2]), account=anyone)
    def a_seat_follows(self, who, study, account) -> None:
        self._try(who, "follow_roster", StudyId(study), self.everybody[account])

    @rule(
        kind=st.sampled_from([MotionKind.SUSPEND, MotionKind.REPLACE, MotionKind.REPLACE, MotionKind.REMOVE]),
        subject=st.sampled_from([0, 1, 2, 3, 4, 5, 6, AUDITOR]),
        told=st.sampled_from([True, True, False]),
    )
    def the_consortium_decides_of_somebody(self, kind, subject, told) -> None:
        """As it is meant: a majority votes, and the seat follows."""
        if kind is MotionKind.REMOVE and subject < INSTITUTIONS:
            kind = MotionKind.SUSPEND  # too few would be left to decide of anything
        self._decide(kind, self.everybody[subject], self._fresh(ROLES[subject]), told=told)

    @rule(told=st.sampled_from([True, True, False]))
    def everybody_who_was_suspended_comes_back(self, told) -> None:
        consortium = self.twins.history.consortium
        for account in self.everybody:
            if consortium.standing(account).state is State.SUSPENDED:
                self._decide(MotionKind.REINSTATE, account, None, told=told)

    def _decide(self, kind: MotionKind, subject: Address, member: Member | None, *, told: bool) -> None:
        heir = member if kind is MotionKind.REPLACE else None
        motion = Motion(kind=kind, expires=Timestamp(self.twins.now + 60), subject=subject, member=heir)
        self._voted_for(motion, self._active())
        if told:
            self._try(STRANGER, "follow_roster", FIRST, subject)

    def _voted_for(self, motion: Motion, who: list[int]) -> None:
        self.motions.append(motion)
        for index in who:
            self._try(index, "vote", motion)

    def _active(self) -> list[int]:
        """As many voters as carry a motion."""
        consortium = self.twins.history.consortium
        able = [k for k, who in enumerate(self.everybody) if consortium.role_of(who) == Role.INSTITUTION]
        return able[: consortium.quorum]

    def _fresh(self, role: Role) -> Member:
        """An account that was never on the roster, or one that was where none is left."""
        known = self.twins.history.consortium.members
        unknown = [heir for heir in HEIRS if heir not in known]
        return self._line((*unknown, HEIRS[0])[0], role)

    def _line(self, account: Address, role: Role) -> Member:
        return Member(address=account, role=role, sealing_key=SealingKey(sha256(account)), name="somebody")
