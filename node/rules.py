"""When our rules are asked, and with what memory: before we join, start, commit, reveal and share (§10.4).

`policy` has the rules, each a pure check. Here they meet what people have approved, what was opened before,
and the record of what they refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from federation.agreement import Agreement
from federation.digest import LedgerId
from federation.errors import Refused
from federation.events import RoundId, StudyId
from federation.law import History
from federation.members import Address
from federation.rounds import Study
from federation.tasks.task import Dataset

from .approvals import Approvals
from .openings import Openings, still_to_come
from .patients import Patients
from .policy import PolicyRefusal, check_openings, check_patients, check_study
from .refusals import Act, Refusals
from .settings import NodeSettings, PolicySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """One hospital's rules over one vault, on one ledger."""

    policy: PolicySettings
    approvals: Approvals
    openings: Openings
    refusals: Refusals

    def kept(self, act: Act, study: StudyId, round: int | None = None) -> AbstractContextManager[None]:
        """What is refused inside is recorded as a refusal of this act."""
        return self.refusals.kept(act, study, round)

    def check_study(self, agreement: Agreement) -> None:
        """Raises `PolicyRefusal` unless policy and approvals, as they are now, allow this study."""
        with _readable("approval"):
            approved = self.approvals.of(agreement.task.spec.digest)
        check_study(self.policy, approved, agreement)

    def check_patients(self, patients: Patients) -> Dataset:
        """The patients as their file has them now; raises `PolicyRefusal` for an unusable file or too few."""
        try:
            found = patients.read()
        except Refused as trouble:
            expected = "usable patients"
            raise PolicyRefusal("data", expected=expected, found=str(trouble), remedy="mend it") from trouble
        check_patients(self.policy, found)
        return found

    def check_joining(self, history: History, me: Address, study: Study) -> None:
        """Raises `PolicyRefusal` where the study, run to its end, leads to more openings than allowed."""
        coming = still_to_come(history, me, joining=study)
        check_openings(self.policy, self._counted(history, me) + coming)

    def check_commit(
        self, agreement: Agreement, round: RoundId, history: History, *, me: Address, patients: Patients
    ) -> Dataset:
        """The patients that we may train on for this round; raises `PolicyRefusal`."""
        with self.kept("commit", round.study, round.number):
            self.check_study(agreement)
            check_openings(self.policy, self._counted(history, me, round))
            return self.check_patients(patients)

    def check_giving(
        self, act: Act, agreement: Agreement, round: RoundId, history: History, *, me: Address
    ) -> None:
        """Raises `PolicyRefusal` unless what we committed to may go on to be opened."""
        with self.kept(act, round.study, round.number):
            self.check_study(agreement)
            check_openings(self.policy, self._counted(history, me))

    def _counted(self, history: History, me: Address, *besides: RoundId) -> int:
        with _readable("most_openings"):
            return len(self.openings.here(history, me) | {*besides}) + self.openings.elsewhere()


@contextmanager
def _readable(rule: str) -> Iterator[None]:
    """What the vault has for this rule; where it cannot be read, the rule allows nothing, all else goes on.

    Else a file that one person left there in passing would end the node, and with it its disputes.
    """
    try:
        yield
    except Refused as trouble:
        expected, remedy = "files in the vault that can be read", "mend the vault"
        raise PolicyRefusal(rule, expected=expected, found=str(trouble), remedy=remedy) from trouble


def rules_of(node: NodeSettings, ledger: LedgerId) -> Rules:
    """The rules in the settings, over the node's vault."""
    return Rules(
        policy=node.policy,
        approvals=Approvals(node.vault),
        openings=Openings(node.vault, ledger),
        refusals=Refusals(node.vault, ledger, utc_now),
    )


def utc_now() -> str:
    """This machine's clock: for people alone, nothing is decided by it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
