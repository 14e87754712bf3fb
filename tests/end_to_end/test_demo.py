"""`tally demo` on real chains with real processes: what it leaves, what it proves, whom it catches."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from deploy.consortium import ETHER, STAKE_ETHER
from deploy.outcome import Summary
from federation.errors import ExitCode
from federation.events import Fault

from .demos import Demo

CHEATS = ["payload", "total", "opening", "model"]

honest = pytest.mark.parametrize("demo", ["honest on anvil", "honest on ganache"], indirect=True)
on_anvil = pytest.mark.parametrize("demo", ["honest on anvil"], indirect=True)
dishonest = pytest.mark.parametrize("demo", CHEATS, indirect=True)


def cheat(name: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("demo", [name], indirect=True)


def last_lines(demo: Demo) -> list[str]:
    return demo.out.strip().splitlines()[-3:]


def names(demo: Demo, parties: int = 4) -> dict[bytes, str]:
    every = [*(f"hospital-{number}" for number in range(1, parties + 1)), "aggregator", "standby"]
    return {bytes.fromhex(demo.address(name)[2:]): name for name in every}


@honest
def test_an_honest_study_ends_well_and_nothing_is_found(demo: Demo) -> None:
    assert demo.code == ExitCode.OK, demo.out + demo.err
    assert "Every claim holds." in demo.out
    assert "CAUGHT" not in demo.out
    assert demo.summary["audit_findings"] == 0
    assert demo.summary["findings"] == []


@honest
def test_the_encrypted_run_is_bit_equal_to_the_same_run_on_plain_integers(demo: Demo) -> None:
    assert demo.summary["bit_equal"] is True
    assert "bit-equal to the same run on plain integers" in demo.out


@on_anvil
def test_the_summary_has_the_keys_that_it_promises(demo: Demo) -> None:
    assert set(demo.summary) == {
        "rounds",
        "accuracy",
        "auc",
        "central_accuracy",
        "central_auc",
        "local_mean_accuracy",
        "bit_equal",
        "audit_findings",
        "findings",
        "faults",
        "seconds",
        "gas",
        "bytes",
        "plan",
    }
    assert set(demo.summary) == set(Summary.__dataclass_fields__)


@on_anvil
def test_the_summary_has_figures_for_everything_that_happened(demo: Demo) -> None:
    summary = demo.summary
    assert summary["rounds"] == 3
    for score in ("accuracy", "auc", "central_accuracy", "central_auc", "local_mean_accuracy"):
        assert math.isfinite(summary[score])
        assert 0.5 < summary[score] <= 1
    assert set(summary["seconds"]) == {"commit", "reveal", "combine", "open", "setup", "study"}
    assert set(summary["bytes"]) == {"update", "total", "share", "opening", "model"}
    assert all(size > 0 for size in summary["bytes"].values())
    calls = {call: figures["calls"] for call, figures in summary["gas"].items()}
    assert calls == {
        "createStudy": 1,
        "acceptStudy": 4,
        "depositBond": 2,
        "commitUpdate": 12,
        "revealUpdate": 12,
        "postTotal": 3,
        "postShare": calls["postShare"],
        "finish": 3,
        "confirmModel": calls["confirmModel"],
    }
    assert 2 * 3 <= calls["postShare"] <= 4 * 3
    assert 2 <= calls["confirmModel"] <= 4


@on_anvil
def test_the_folder_holds_each_partys_own_things_and_all_the_evidence(demo: Demo) -> None:
    every = {str(path.relative_to(demo.folder)) for path in demo.folder.rglob("*") if path.is_file()}
    for name in ("hospital-1", "hospital-2", "hospital-3", "hospital-4"):
        own = {"node.toml", "log", "patients.csv", "password", "identity/account.json"}
        assert {f"{name}/{file}" for file in own} <= every
        assert (demo.folder / name / "vault" / "journal.sqlite").is_file()
    assert {"aggregator/aggregator.toml", "aggregator/log", "auditor/audit.toml", "study.toml"} <= every
    assert {"ceremony/public.key", "ceremony/ceremony.json", "chain/anvil.json", "test.csv"} <= every
    assert {"summary.json", "audit.json"} <= every
    assert len(list((demo.folder / "ceremony").glob("share-*.sealed"))) == 4
    assert list((demo.folder / "store").rglob("b*"))


@on_anvil
def test_secrets_are_readable_by_their_owner_alone(demo: Demo) -> None:
    kept = [*demo.folder.glob("*/password")]
    held = [*demo.folder.glob("*/identity/*"), *demo.folder.glob("*/vault/**/*")]
    held = [path for path in held if not path.name.startswith("journal")]
    assert {oct(path.stat().st_mode & 0o777) for path in held if path.is_dir()} == {"0o700"}
    kept += [path for path in held if path.is_file()]
    kept += demo.folder.glob("ceremony/*")
    assert len(kept) > 25
    assert {path: oct(path.stat().st_mode & 0o777) for path in kept} == dict.fromkeys(kept, "0o600")


@on_anvil
def test_when_a_demo_has_ended_none_of_its_processes_is_left(demo: Demo) -> None:
    assert left_over(demo.folder) == []


def left_over(folder: Path) -> list[str]:
    """Command lines of running processes that name the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # ended while we looked
            continue
        if str(folder) in line and process.name != str(os.getpid()):
            found.append(line)
    return found


@honest
def test_anyone_can_audit_the_study_again_afterwards_and_finds_the_same(demo: Demo) -> None:
    assert demo.audited.code == ExitCode.OK, demo.audited.err
    again = json.loads(demo.audited.out)
    for key in ("study", "document", "ledger", "code", "findings", "notices"):
        assert again[key] == demo.report[key]
    for then, now in zip(demo.report["claims"], again["claims"], strict=True):
        assert {key: now[key] for key in now if key != "evidence"} == {
            key: then[key]
            for key in then
            if key != "evidence"  # which names the newest block
        }
    assert {claim["verdict"] for claim in again["claims"]} <= {"holds", "unchecked"}
    assert [claim["name"] for claim in again["claims"] if claim["verdict"] == "holds"]


@dishonest
def test_a_cheat_ends_in_exit_code_3_and_the_last_lines_name_it(demo: Demo) -> None:
    assert demo.code == ExitCode.VIOLATION, demo.out + demo.err
    culprit = "hospital-2" if demo.summary["findings"][0].startswith("the revealed") else "standby"
    accusation = f"CAUGHT: {culprit} ({demo.address(culprit)}) broke §9."
    assert any(line.startswith(accusation) and " in round 2: " in line for line in last_lines(demo))


@dishonest
def test_a_cheat_does_not_keep_the_honest_from_the_right_model(demo: Demo) -> None:
    assert demo.summary["rounds"] == 2
    assert demo.summary["bit_equal"] is True


@dishonest
def test_everybody_but_the_cheat_stays_unaccused(demo: Demo) -> None:
    culprits = {finding["culprit_name"] for finding in demo.report["findings"]}
    assert len(culprits) == 1
    assert {finding["round"] for finding in demo.report["findings"]} == {2}


@cheat("payload")
def test_other_bytes_than_committed_to_are_left_out_by_everybody(demo: Demo) -> None:
    who = names(demo)
    second = demo.study.rounds[1]
    assert {who[member] for member in second.reveals} == {f"hospital-{number}" for number in (1, 2, 3, 4)}
    assert second.total is not None
    assert {who[member] for member in second.total.members} == {"hospital-1", "hospital-3", "hospital-4"}
    assert len(second.proposals) == 1
    assert second.objections == {}
    assert last_lines(demo)[-1] == "Round 2: everybody left out the update of hospital-2 (ROOT_MISMATCH)."


@cheat("total")
def test_a_wrong_total_is_proven_taken_back_and_the_other_aggregator_finishes_the_round(demo: Demo) -> None:
    who = names(demo)
    first, second = demo.study.rounds
    assert len(first.shares) >= 2
    assert first.faults == []
    (wrong,) = second.rescinded
    assert who[wrong.sender] == "standby"
    assert second.total is not None
    assert who[second.total.sender] == "aggregator"
    assert second.total.members == wrong.members
    assert second.proposals
    assert {share.total for share in second.shares.values()} == {second.total.root}
    for number in (1, 2, 3, 4):
        log = demo.log(f"hospital-{number}")
        assert "node.daemon violation clause=§9.8" in log
        assert demo.address("standby") in log


@cheat("total")
def test_the_proven_fault_costs_the_aggregator_its_stake_and_the_challenger_gains_it(demo: Demo) -> None:
    who = names(demo)
    (fault,) = demo.study.rounds[1].faults
    assert (who[fault.aggregator], fault.fault, fault.member) == ("standby", Fault.SUM, None)
    challenger = who[fault.sender]
    assert challenger.startswith("hospital-")
    assert (fault.slashed, fault.beneficiary) == (STAKE_ETHER * ETHER, fault.sender)
    bonds = {name: demo.study.bonds.of(address).amount for address, name in who.items()}
    assert {name for name, amount in bonds.items() if amount} == {"aggregator", challenger}
    assert bonds["aggregator"] == bonds[challenger] == STAKE_ETHER * ETHER
    assert demo.summary["faults"] == [
        {
            "round": 2,
            "fault": "SUM",
            "leaf": fault.leaf,
            "aggregator": "standby",
            "member": None,
            "challenger": challenger,
            "slashed_wei": STAKE_ETHER * ETHER,
            "beneficiary": challenger,
        }
    ]
    assert demo.summary["gas"]["disputeSum"]["calls"] == 1
    assert "fault proven" in demo.log(challenger)
    assert last_lines(demo)[-1] == (
        f"Round 2: {challenger} proved before the contract's court that leaf {fault.leaf} of the total of "
        f"standby is not the sum of its members' leaves; 1 Ether of the stake of standby went to "
        f"{challenger}; the total of aggregator stands now."
    )


@cheat("total")
def test_the_audit_of_a_proven_fault_names_the_aggregator_and_nothing_else_is_wrong(demo: Demo) -> None:
    (finding,) = demo.report["findings"]
    assert (finding["clause"], finding["culprit_name"], finding["round"]) == ("§9.17", "standby", 2)
    assert "round 2: finished, 4 committed, 4 revealed, " in demo.out
    assert "1 total taken back" in " ".join(demo.out.split())
    assert demo.audited.err == "", "there is nothing left to charge"


@pytest.mark.parametrize("demo", ["opening", "model"], indirect=True)
def test_a_wrong_result_draws_objections_and_the_right_one_replaces_it(demo: Demo) -> None:
    who = names(demo, parties=3)
    second = demo.study.rounds[1]
    wrong, *others = second.proposals
    assert who[wrong.sender] == "standby"
    assert {who[member] for member in second.objections} >= {"hospital-1", "hospital-2", "hospital-3"}
    right = {(said.opening, said.model) for said in others}
    assert len(right) == 1
    assert right != {(wrong.opening, wrong.model)}
    assert {said.model for said in second.confirmations.values()} == {others[0].model}
    objected = "Round 2: hospital-1, hospital-2, hospital-3 objected on the ledger; the right model stands"
    assert last_lines(demo)[-1].startswith(objected)


@cheat("opening")
def test_a_wrong_opening_is_told_from_a_wrong_model(demo: Demo) -> None:
    assert {finding["clause"] for finding in demo.report["findings"]} == {"§9.10"}


@cheat("model")
def test_a_wrong_model_is_told_from_a_wrong_opening(demo: Demo) -> None:
    assert {finding["clause"] for finding in demo.report["findings"]} == {"§9.12"}


@dishonest
def test_a_cheated_study_audited_again_fails_again_and_names_the_same_party(demo: Demo) -> None:
    assert demo.audited.code == ExitCode.VIOLATION, demo.audited.err
    assert json.loads(demo.audited.out)["findings"] == demo.report["findings"]
