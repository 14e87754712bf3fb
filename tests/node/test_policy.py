"""Each rule of a hospital refuses on its own, before each act, once in the record, and stops nothing else."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from federation.agreement import Agreement
from federation.errors import Refused
from federation.events import RoundId, StudyId
from federation.rehearsal import Rehearsal
from federation.tasks.task import Dataset
from node.approvals import Approvals, Limits
from node.daemon import run
from node.duty import Adopt, Duty, Reveal, Share, Submit, Wait
from node.patients import PatientsFile
from node.policy import PolicyRefusal, check_openings, check_patients, check_study, largest_payload
from node.refusals import Refusal, refusals_in
from node.settings import MONTH, PolicySettings
from node.share import give_share
from node.submit import reveal, submit

from ..rehearsing import WINDOW, A, D, audited, faults, rehearse
from .hospital import write_patients
from .ward import LENIENT, Node, others_act, patients, without

FIRST = RoundId(StudyId(1), 1)
RULES: dict[str, dict[str, object]] = {
    "minimum_contributors": {"minimum_contributors": 4},
    "most_rounds": {"most_rounds": 2},
    "accept_public_results": {"accept_public_results": False},
    "accept_weak_keys": {"accept_weak_keys": False},
    "most_parameters": {"most_parameters": 5},
    "most_payload_bytes": {"most_payload_bytes": 100},
    **{f"least_seconds.{p}": {"least_seconds": {p: 61}} for p in ("commit", "reveal", "combine", "open")},
    **{
        f"most_seconds.{p}": {"least_seconds": {p: 1}, "most_seconds": {p: 59}}
        for p in ("commit", "reveal", "combine", "open")
    },
}
OPENINGS = {"other_openings": 1000}
CALLS = {"commit": "commit_update", "reveal": "reveal_update", "share": "post_share"}
DUTIES: dict[str, type[Duty]] = {"commit": Submit, "reveal": Reveal, "share": Share}


def policy(**changes: object) -> PolicySettings:
    return PolicySettings.model_validate(LENIENT.model_dump() | changes)


def check(rules: PolicySettings, agreement: Agreement) -> None:
    """Under an approval of this very study."""
    check_study(rules, Limits.of(agreement), agreement)


@pytest.mark.parametrize("rule", RULES)
def test_a_study_against_one_of_our_rules_is_refused_with_the_settings_name(rule: str) -> None:
    agreement = rehearse(rounds=3).agreement
    check(policy(), agreement)
    with pytest.raises(PolicyRefusal, match=rf"policy, {rule}: expected .*, found .*\[policy\]") as caught:
        check(policy(**RULES[rule]), agreement)
    assert caught.value.rule == rule
    assert caught.value.expected
    assert caught.value.found


def test_rules_are_kept_to_the_unit() -> None:
    agreement = rehearse("paillier", rounds=3).agreement
    exact = policy(
        minimum_contributors=3,
        most_rounds=3,
        least_seconds=dict.fromkeys(("commit", "reveal", "combine", "open"), 60),
        most_seconds=dict.fromkeys(("commit", "reveal", "combine", "open"), 60),
        most_parameters=6,
        most_payload_bytes=largest_payload(agreement),
    )
    check(exact, agreement)
    with pytest.raises(PolicyRefusal, match=str(largest_payload(agreement))):
        check(policy(most_payload_bytes=largest_payload(agreement) - 1), agreement)


def test_a_weak_key_is_named() -> None:
    with pytest.raises(PolicyRefusal, match=r"found .*256.*`accept_weak_keys`"):
        check(policy(accept_weak_keys=False), rehearse("paillier").agreement)


def test_too_few_patients_are_never_trained_on_and_not_counted_aloud() -> None:
    held = patients(D)
    check_patients(policy(minimum_rows=held.samples), held)
    with pytest.raises(PolicyRefusal, match=f"at least {held.samples + 1} patients") as caught:
        check_patients(policy(minimum_rows=held.samples + 1), held)
    assert f"{held.samples} " not in str(caught.value)


def test_openings_are_bounded_with_those_that_only_people_know_of() -> None:
    check_openings(policy(most_openings=5, other_openings=2), 3)
    with pytest.raises(PolicyRefusal, match="in at most 5 sums, of all studies, found 6"):
        check_openings(policy(most_openings=5, other_openings=2), 4)


def test_a_task_is_allowed_within_the_terms_that_it_was_approved_over() -> None:
    agreement = rehearse(rounds=3).agreement
    approved = Limits(rounds=3, contributors=3, public=True)
    check_study(policy(), approved, agreement)
    check_study(policy(), Limits(rounds=9, contributors=3, public=True), agreement)
    narrower = [
        approved.model_copy(update=change)
        for change in ({"rounds": 2}, {"contributors": 4}, {"public": False})
    ]
    for limits in narrower:
        with pytest.raises(PolicyRefusal, match=r"no wider than approved .* `tally node approve"):
            check_study(policy(), limits, agreement)
    with pytest.raises(PolicyRefusal, match=agreement.task.spec.digest.hex()):
        check_study(policy(), None, agreement)


@pytest.mark.parametrize("rule", RULES)
def test_nothing_that_is_approved_overrides_a_rule(rule: str, tmp_path: Path) -> None:
    agreement = rehearse(rounds=3).agreement
    approvals = Approvals(tmp_path)
    approvals.approve(agreement, by="a person", at="now")
    with pytest.raises(PolicyRefusal) as caught:
        check_study(policy(**RULES[rule]), approvals.of(agreement.task.spec.digest), agreement)
    assert caught.value.rule == rule


# The daemon


def staged(folder: Path, *, rounds: int = 3, kind: str = "plain") -> tuple[Rehearsal, Node]:
    """One real node, A, among rehearsed ones."""
    stage = rehearse(kind, rounds=rounds)
    return stage, Node(stage, A, folder / "vault")


def change_policy(node: Node, **changes: object) -> None:
    node.policy = policy(**changes)
    node.restart()


def until(act: str, stage: Rehearsal, node: Node) -> None:
    """This act of the node's is due next."""
    for earlier in list(CALLS)[: list(CALLS).index(act)]:
        assert isinstance(node.step(), DUTIES[earlier])
        others_act(stage, without(A))
    if act == "share":
        stage.post_total(FIRST)


def refused(node: Node) -> list[Refusal]:
    return refusals_in(node.folder)


@pytest.mark.parametrize("act", CALLS)
@pytest.mark.parametrize("rule", [*RULES, "most_openings", "approval"])
def test_each_rule_is_asked_before_each_act(rule: str, act: str, tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    until(act, stage, node)
    if rule == "approval":
        task = stage.agreement.task.spec.digest
        Approvals(node.folder).revoke(task, by="a person", at="now")  # while it runs
    else:
        change_policy(node, **RULES.get(rule, OPENINGS))
    written = len(node.written)
    duty = node.step()
    assert isinstance(duty, Wait)
    assert duty.why.startswith(f"policy, {rule}: ")
    assert node.calls(CALLS[act]) == []
    assert len(node.written) == written
    (record,) = refused(node)
    assert (record.act, record.rule, record.study, record.round) == (act, rule, 1, 1)
    assert record.expected in duty.why
    assert record.found in duty.why
    change_policy(node)
    Approvals(node.folder).approve(stage.agreement, by="a person", at="later")
    assert isinstance(node.step(), DUTIES[act]), "what people allow again is done"


def test_what_is_refused_before_training_leaves_nothing_behind(tmp_path: Path) -> None:
    _, node = staged(tmp_path)
    change_policy(node, minimum_rows=10_000)
    assert isinstance(node.step(), Wait)
    assert not node.seat.vault.has_values(FIRST)
    assert node.seat.rules.openings.here(node.seat.observer.history, A) == set()
    (record,) = refused(node)
    assert (record.rule, record.found) == ("minimum_rows", "fewer")


def test_a_refusal_is_recorded_and_said_once_and_not_with_every_poll(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, node = staged(tmp_path)
    change_policy(node, most_rounds=1)
    left = iter(range(20))
    with caplog.at_level(logging.INFO):
        run(node.seat, node.view, lambda: next(left) < 10)
        node.restart()
        node.step()
    assert len(refused(node)) == 1
    assert [record.message for record in caplog.records].count("refused") == 1
    assert [record.message for record in caplog.records].count("waiting") == 1


def test_a_record_that_cannot_be_written_lets_nothing_pass(tmp_path: Path) -> None:
    _, node = staged(tmp_path)
    change_policy(node, most_rounds=1)
    (node.folder / "refusals").write_text("in the way of a folder")
    assert isinstance(node.step(), Wait)
    assert node.sent == []


def test_a_node_that_is_refused_its_part_still_adopts_and_ends_and_comes_back(tmp_path: Path) -> None:
    """The others run round 1 without us, nobody comes to round 2, and round 3 is ours again."""
    stage, node = staged(tmp_path, rounds=2)
    task = stage.agreement.task.spec.digest
    approvals = Approvals(node.folder)
    approvals.revoke(task, by="a person", at="now")
    while not stage.observer.study.finished:
        node.works()
        others_act(stage, without(A), finish_at=3)
        stage.wait(WINDOW if len(stage.round().commits) == 3 and not stage.round().reveals else 1)
        stage.round()
    assert node.works()[0] == Adopt(round=FIRST, last=False, may_share=False)
    stage.commit(D)
    stage.wait(WINDOW)
    assert [type(duty).__name__ for duty in node.works()] == ["End"]
    assert node.calls("commit_update") == []
    approvals.approve(stage.agreement, by="a person", at="later")
    assert node.works() == [Submit(round=RoundId(StudyId(1), 3))]


def test_patients_that_go_missing_between_two_rounds_are_noticed_and_their_return_too(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    file = tmp_path / "patients.csv"
    write_patients(file)
    node.seat = replace(node.seat, patients=PatientsFile(path=file, task=stage.agreement.task))
    assert isinstance(node.step(), Submit)
    while len(stage.observer.study.finished) < 1:
        if stage.round().id == FIRST:
            node.works()
        others_act(stage, without(A))
        stage.round()
    whole = file.read_text()
    file.write_text("\n".join(whole.splitlines()[:10]))
    assert [type(duty) for duty in node.works()] == [Adopt]
    assert refused(node)[-1].rule == "minimum_rows"
    file.unlink()
    assert node.works() == []
    assert {one.rule for one in refused(node)} == {"minimum_rows", "data"}
    file.write_text(whole)
    assert node.works() == [Submit(round=RoundId(StudyId(1), 2))]


def test_a_file_whose_size_and_times_were_kept_is_read_again_all_the_same(tmp_path: Path) -> None:
    file = tmp_path / "patients.csv"
    write_patients(file)
    held = PatientsFile(path=file, task=rehearse().agreement.task)
    before, found = held.read(), file.stat()
    header, first, *others = file.read_text().splitlines()
    file.write_text("\n".join([header, *others, first]) + "\n")
    while file.stat().st_ctime_ns == found.st_ctime_ns or file.stat().st_mtime_ns != found.st_mtime_ns:
        os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))  # until the kernel's clock has moved on
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (found.st_size, found.st_mtime_ns)
    assert held.read() is not before


def test_a_file_that_changes_while_it_is_read_is_not_trained_on(tmp_path: Path) -> None:
    file = tmp_path / "patients.csv"
    write_patients(file)
    task = rehearse().agreement.task

    class Overtaken:
        """The task, for which somebody writes on while it reads."""

        def load(self, path: Path) -> Dataset:
            found = task.load(path)
            path.write_text(path.read_text() * 2)
            return found

    with pytest.raises(Refused, match="expected a file at rest"):
        PatientsFile(path=file, task=Overtaken()).read()  # type: ignore[arg-type]  # no more of it is asked


@pytest.mark.parametrize("act", CALLS)
def test_a_rule_that_is_broken_between_asking_and_doing_stops_the_act_all_the_same(
    act: str, tmp_path: Path
) -> None:
    stage, node = staged(tmp_path)
    until(act, stage, node)
    node.view.refresh()
    seat = replace(node.seat, rules=replace(node.seat.rules, policy=policy(most_rounds=1)))
    total = stage.round().total
    acts = {
        "commit": lambda: submit(seat, FIRST),
        "reveal": lambda: reveal(seat, FIRST),
        "share": lambda: give_share(seat, FIRST, total),
    }
    with pytest.raises(PolicyRefusal):
        acts[act]()
    assert node.calls(CALLS[act]) == []


def test_an_honest_study_under_rules_has_nothing_refused_and_a_clean_audit(tmp_path: Path) -> None:
    stage, node = staged(tmp_path, rounds=2)
    for _ in range(20):
        node.works()
        others_act(stage, without(A))
        if stage.observer.study.is_complete:
            break
    assert refused(node) == []
    assert faults(audited(stage)) == set()


def test_the_table_of_rules_has_every_setting_with_its_default() -> None:
    page = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()
    table = dict(re.findall(r"^\| `(\w+)` \| (\w+)", page, re.MULTILINE))
    defaults = PolicySettings().model_dump() | {"least_seconds": 10, "most_seconds": MONTH}
    assert defaults.pop("dispute") is True
    assert "`dispute = false`" in page
    assert table == {name: str(value).lower() for name, value in defaults.items()}
