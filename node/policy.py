"""The hospital's own rules: pure checks of a study, of patients, of a count (PROTOCOL §10.4).

`rules` says when they are asked. Every refusal names the setting that a person would have to change.
"""

from __future__ import annotations

from collections.abc import Iterator

from federation.agreement import Agreement
from federation.errors import Refused
from federation.tasks.task import Dataset

from .approvals import Limits
from .settings import PHASES, PolicySettings


class PolicyRefusal(Refused):
    """One of our rules says no to one act; others may go on."""

    def __init__(self, rule: str, *, expected: str, found: str, remedy: str = "") -> None:
        self.rule = rule
        self.expected = expected
        self.found = found
        remedy = remedy or f"people here can change `{rule}` under [policy]"
        super().__init__(f"policy, {rule}: expected {expected}, found {found}; {remedy}")


def check_study(policy: PolicySettings, approved: Limits | None, agreement: Agreement) -> None:
    """Raises `PolicyRefusal` unless our own rules allow this study; `Agreement.check` says if it is sound.

    `approved`: what people here allow of its task.
    """
    for refusal in _refusals(policy, approved, agreement):
        raise refusal


def check_patients(policy: PolicySettings, patients: Dataset) -> None:
    """Raises `PolicyRefusal` for fewer patients than we ever train on; says nowhere how many there are."""
    if patients.samples < policy.minimum_rows:
        raise PolicyRefusal(
            "minimum_rows",
            expected=f"at least {policy.minimum_rows} patients to train on",
            found="fewer",
            remedy="check `data`, or change `minimum_rows` under [policy]",
        )


def check_openings(policy: PolicySettings, openings: int) -> None:
    """Raises `PolicyRefusal` where our patients would be part of more sums than we ever allow.

    A count, and no measure of what the sums reveal: while a study carries no noise of a known size,
    there is no ε to bound. A bound on that belongs beside this one, not in its place.
    """
    found = openings + policy.other_openings
    if found > policy.most_openings:
        raise PolicyRefusal(
            "most_openings",
            expected=f"our patients in at most {policy.most_openings} sums, of all studies",
            found=str(found),
        )


def _refusals(
    policy: PolicySettings, approved: Limits | None, agreement: Agreement
) -> Iterator[PolicyRefusal]:
    yield from _size(policy, agreement)  # before anything of that size is made
    yield from _approval(approved, agreement)
    spec = agreement.spec
    if spec.minimum < policy.minimum_contributors:
        expected = f"at least {policy.minimum_contributors} contributors to any sum"
        yield PolicyRefusal("minimum_contributors", expected=expected, found=str(spec.minimum))
    if spec.rounds > policy.most_rounds:
        expected = f"a study of at most {policy.most_rounds} rounds"
        yield PolicyRefusal("most_rounds", expected=expected, found=str(spec.rounds))
    yield from _windows(policy, agreement)
    if not spec.audience.is_sealed and not policy.accept_public_results:
        expected = "a study whose sums only its audience can read"
        yield PolicyRefusal("accept_public_results", expected=expected, found="one for everybody")
    weakness = agreement.suite.weakness
    if weakness and not policy.accept_weak_keys:
        remedy = "for tests alone: `accept_weak_keys` under [policy]"
        yield PolicyRefusal("accept_weak_keys", expected="no weakness", found=weakness, remedy=remedy)


def _size(policy: PolicySettings, agreement: Agreement) -> Iterator[PolicyRefusal]:
    parameters, most = agreement.task.size, policy.most_parameters
    if parameters > most:
        expected = f"a model of at most {most} parameters"
        yield PolicyRefusal("most_parameters", expected=expected, found=str(parameters))
    size = largest_payload(agreement)
    if size > policy.most_payload_bytes:
        expected = f"payloads of at most {policy.most_payload_bytes} bytes"
        yield PolicyRefusal("most_payload_bytes", expected=expected, found=str(size))


def largest_payload(agreement: Agreement) -> int:
    """The most bytes that we would send or fetch of one payload in this study."""
    shapes = (
        agreement.update_shape,
        agreement.total_shape,
        agreement.share_shape,
        agreement.opening_shape,
    )
    return max(agreement.wrapped_size(shape.size_limit) for shape in shapes)


def _approval(approved: Limits | None, agreement: Agreement) -> Iterator[PolicyRefusal]:
    digest, asked = agreement.task.spec.digest.hex(), Limits.of(agreement)
    remedy = "review it with `tally node approve --settings …`"
    if approved is None:
        expected, found = "a task that people here have approved", f"{agreement.spec.task} {digest}"
        yield PolicyRefusal("approval", expected=expected, found=found, remedy=remedy)
        return
    if not approved.allow(asked):
        expected = f"terms no wider than approved ({_shown(approved)})"
        yield PolicyRefusal("approval", expected=expected, found=_shown(asked), remedy=remedy)


def _shown(limits: Limits) -> str:
    readers = "for everybody" if limits.public else "for its audience"
    return f"{limits.rounds} rounds, {limits.contributors} contributors, {readers}"


def _windows(policy: PolicySettings, agreement: Agreement) -> Iterator[PolicyRefusal]:
    found = agreement.spec.windows._asdict()
    least, most = policy.least_seconds.model_dump(), policy.most_seconds.model_dump()
    for phase in PHASES:
        rule = "least_seconds" if found[phase] < least[phase] else "most_seconds"
        if not least[phase] <= found[phase] <= most[phase]:
            expected = f"a window of {least[phase]} to {most[phase]} seconds"
            yield PolicyRefusal(f"{rule}.{phase}", expected=expected, found=str(found[phase]))
