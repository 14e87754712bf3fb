"""The hospital's own rules, enforced before anything is accepted, trained or shared (PROTOCOL §10.4)."""

from __future__ import annotations

from federation.agreement import Agreement
from federation.errors import Refused
from federation.tasks.task import Dataset

from .settings import PolicySettings


def check_study(policy: PolicySettings, agreement: Agreement) -> None:
    """Raises `Refused` unless our own rules allow this study; `Agreement.check` says whether it is sound."""
    digest = agreement.task.spec.digest.hex()
    if digest not in policy.tasks:
        raise Refused(
            f"policy: task {agreement.spec.task} with digest {digest} is not allowed here. "
            f"Review it; to allow it, add the digest to `tasks` under [policy]."
        )
    if agreement.spec.minimum < policy.minimum_contributors:
        expected, found = policy.minimum_contributors, agreement.spec.minimum
        raise Refused(f"policy: expected at least {expected} contributors to any sum, the study has {found}")
    most, found = policy.most_rounds, agreement.spec.rounds
    if found > most:
        raise Refused(f"policy: expected at most {most} rounds (`most_rounds`), the study has {found}")
    if not agreement.spec.audience.is_sealed and not policy.accept_public_results:
        raise Refused("policy: anybody may read this study's sums (to allow it: accept_public_results)")
    weakness = agreement.suite.weakness
    if weakness and not policy.accept_weak_keys:
        raise Refused(f"policy: {weakness} (for tests alone: accept_weak_keys under [policy])")


def check_patients(policy: PolicySettings, patients: Dataset) -> None:
    """Raises `Refused` for fewer patients than we ever train on."""
    if patients.samples < policy.minimum_rows:
        raise Refused(
            f"policy: expected at least {policy.minimum_rows} patients to train on, found fewer. "
            f"Check `data`, or change `minimum_rows` under [policy]."
        )
