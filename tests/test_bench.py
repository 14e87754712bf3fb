"""The measurements say what they measure: every figure there, in its unit, and nothing taken on trust."""

from __future__ import annotations

import gc
import json
import os
import re
from functools import cache
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from deploy.bench import app, capacity, clock, crossover
from deploy.bench.ciphers import Plan, measure
from deploy.bench.figures import WIDTH, CipherReport, Point
from deploy.bench.report import draw, show
from deploy.bench.shapes import flat, resnet18
from deploy.bench.subject import Subject
from deploy.bench.whole_round import is_exact
from federation.errors import ExitCode, Violation
from federation.model import size_of

from .ciphers.keys import dealt
from .rehearsing import rehearse

DOCS = Path(__file__).parents[1] / "docs"
TINY = Plan(hybrid=(300, 9000), paillier=50, crossover=(20, 60), laps=1, joint_laps=1)
REQUIRED = {  # by whoever reads the JSON
    "paillier": {"params_per_s", "phe_params_per_s", "ratio", "bytes_per_param"},
    "hybrid": {
        "encrypt_s",
        "add_s",
        "share_s",
        "join_s",
        "open_s",
        "check_s",
        "bytes_per_param",
        "peak_mb",
    },
}


def silent(what: str) -> None: ...


@pytest.fixture(scope="module")
def report() -> CipherReport:
    return measure(TINY, dealt(512, 3, 5), bits=512, tell=silent)


def test_the_json_has_every_figure_that_was_agreed(report):
    found = json.loads(report.model_dump_json())
    assert {"machine", "paillier", "hybrid", "tenseal", "floor"} <= set(found)
    assert set(found["paillier"]) == {"512"}
    assert set(found["hybrid"]) == set(found["floor"]) == {"300", "9000"}
    for suite, fields in REQUIRED.items():
        for costs in found[suite].values():
            assert fields <= set(costs)
            assert all(costs[field] >= 0 for field in fields)


def test_every_step_took_some_time_and_no_ratio_is_older_than_its_parts(report):
    paillier = report.paillier["512"]
    assert paillier.ratio == pytest.approx(paillier.params_per_s / paillier.phe_params_per_s)
    assert paillier.params_per_s == pytest.approx(paillier.values / paillier.encrypt_s)
    for count, costs in report.hybrid.items():
        floor = report.floor[count]
        assert floor.encrypt_over_sha256 == pytest.approx(costs.encrypt_s / floor.sha256_s)
        assert floor.open_over_add == pytest.approx(costs.open_s / floor.add_float32_s)
        steps = ("encrypt", "commit", "check", "share", "check_share", "join", "check_opening", "open")
        assert all(getattr(costs, f"{step}_s") > 0 for step in steps)
    tenseal, first, last = report.tenseal, report.hybrid["300"], report.hybrid["9000"]
    found = [goal.found for goal in report.goals]
    assert found[1] == pytest.approx(tenseal.asymmetric.encrypt_s / first.encrypt_s)
    assert found[2] == pytest.approx(tenseal.symmetric.encrypt_s / first.encrypt_s)
    assert found[-2:] == pytest.approx([last.share_s / first.share_s, last.join_s / first.join_s])


def test_bytes_are_those_of_the_layout(report):
    dealing = dealt(512, 3, 5)
    for count, costs in report.hybrid.items():
        subject = Subject("hybrid", dealing, int(count))
        whole = b"".join(subject.payload.read())
        assert costs.bytes_per_param == pytest.approx((len(whole) - 4) / int(count))  # but for its length
    assert report.paillier["512"].phe_bytes_per_param == 2 * 512 / 8


def test_the_parts_of_a_step_and_what_they_leave_add_up_to_it(report):
    for profile in report.profile.values():
        for parts in (profile.encrypt, profile.commit, profile.check, profile.open):
            assert sum(parts.values()) > 0
            assert "not explained" in parts
    assert report.profile["300"].commit["encrypt"] == pytest.approx(
        sum(report.profile["300"].encrypt.values())
    )


def test_tenseal_is_near_and_not_exact(report):
    for mode in (report.tenseal.symmetric, report.tenseal.asymmetric):
        assert 0 < mode.largest_error < 1e-4
        assert mode.bytes_per_param > report.hybrid["9000"].bytes_per_param


def point(values: int, paillier: float, hybrid: float) -> Point:
    return Point(values=values, paillier_s=paillier, hybrid_s=hybrid, paillier_bytes=0, hybrid_bytes=0)


@given(st.floats(0.01, 100), st.integers(1, 9))
def test_seconds_cross_where_the_lines_do(slope, at):
    """`paillier` grows by `slope` a value; `hybrid` costs as much as `at`·100 + 50 values of it."""
    points = [point(100 * k, slope * 100 * k, slope * (100 * at + 50)) for k in range(1, 11)]
    assert abs(crossover._seconds_from(points) - (100 * at + 50)) <= 1


def test_seconds_cross_behind_the_last_length_at_which_paillier_wins():
    assert crossover._seconds_from([point(1, 2, 1), point(2, 2, 1)]) == 0
    assert crossover._seconds_from([point(1, 1, 2), point(2, 1, 2)]) == 2
    wavering = [point(1, 1, 2), point(2, 3, 2), point(3, 1, 2), point(4, 3, 2)]
    assert crossover._seconds_from(wavering) == 4, "halfway from 3 to 4, rounded to even"


def test_bytes_cross_exactly():
    dealing = dealt(512, 3, 5)
    start = crossover._bytes_from(dealing)
    sizes = [
        [crossover._bytes(dealing, name, n) for name in ("paillier", "hybrid")] for n in (start - 1, start)
    ]
    assert sizes[0][0] <= sizes[0][1]
    assert sizes[1][0] > sizes[1][1]


def test_a_race_runs_all_in_turns_and_keeps_the_least():
    order = []
    took = clock.race({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, laps=2)
    assert order == ["a", "b", "a", "b"]
    assert all(0 <= spent < 60 for spent in took.values())


def test_a_peak_counts_what_was_let_go_again_and_not_what_was_there_before():
    kept = np.ones(3_000_000)
    found = clock.peak_bytes(lambda: np.ones(1_000_000).sum() + kept[0])
    assert 8_000_000 <= found < 9_000_000


def test_foreign_words_do_not_mix_with_the_figures(capfd):
    with clock.hushed():
        os.write(1, b"WARNING: from C++\n")
    os.write(1, b"{}\n")
    assert capfd.readouterr().out == "{}\n"


def test_what_was_there_before_is_looked_through_again_afterwards():
    with clock.settled():
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


def test_the_process_is_given_its_cores_back():
    before = os.sched_getaffinity(0)
    with clock.one_core():
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


def test_a_suite_that_opens_to_another_sum_is_not_timed():
    subject = Subject("hybrid", dealt(512, 3, 5), 10)
    subject.check_sum(subject.open())
    with pytest.raises(Violation, match="the total under hybrid"):
        subject.check_sum(subject.open() + 1)


def test_the_tensors_of_resnet18_are_all_there():
    tensors = resnet18()
    assert (len(tensors), size_of(tensors)) == (62, 11_689_512)
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    assert len(shapes) == 62
    assert shapes["layer3.0.downsample.0.weight"] == (256, 128, 1, 1)
    assert shapes["fc.weight"] == (1000, 512)


@cache
def rehearsed(suite: str) -> capacity.Outcome:
    return capacity.rehearse_twice(
        flat(700), dealt(512, 2, 3), model="tiny", suite=suite, hospitals=3, tell=silent
    )


@pytest.mark.parametrize("suite", ["hybrid", "paillier"])
def test_a_round_at_a_models_size_is_exact_and_every_party_is_weighed(suite):
    outcome = rehearsed(suite)
    assert outcome.exact
    assert {step.party for step in outcome.steps} == {"hospital", "aggregator", "auditor"}
    assert [step.times for step in outcome.steps] == [3, 3, 1, 2, 1, 1]
    assert all(step.peak_mb > 0 and step.wall_s > 0 for step in outcome.steps)
    by_name = {step.step: step for step in outcome.steps}
    assert by_name["quantise, encrypt, commit"].sent_bytes == 0
    assert by_name["reveal"].sent_bytes > 4 * 700
    assert by_name["admit and add"].read_bytes >= 3 * by_name["reveal"].sent_bytes
    assert by_name["verify the whole study"].sent_bytes == 0


def test_a_round_is_exact_to_the_last_bit_of_sum_and_model_or_not_at_all():
    rehearsal = rehearse("paillier", rounds=1)
    record = rehearsal.run_round()
    changed = record.model.copy()
    changed.view(np.uint32)[-1] ^= 1
    assert is_exact(record, record.summed, record.model)
    assert not is_exact(record, record.summed + 1, record.model)
    assert not is_exact(record, record.summed, changed)


def test_the_command_prints_json_and_nothing_else():
    arguments = ["ciphers", "--json", "--quick", "--bits", "256", "--values", "300", "--values", "9000"]
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == ExitCode.OK, ended.output
    assert list(CipherReport.model_validate_json(ended.stdout).hybrid) == ["300"], "quick: the first length"


def test_capacity_ends_as_its_sum_does():
    arguments = ["capacity", "--parameters", "50", "--hospitals", "3", "--bits", "256", "--json"]
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == ExitCode.OK, ended.output
    outcome = capacity.Outcome.model_validate_json(ended.stdout)
    assert outcome.exact
    assert outcome.model_copy(update={"exact": False}).exit_code == ExitCode.VIOLATION


@pytest.mark.parametrize(("exact", "said"), [(True, "is exactly"), (False, "is NOT")])
def test_the_verdict_is_said_in_words(exact, said):
    out = StringIO()
    capacity.show(rehearsed("hybrid").model_copy(update={"exact": exact}), Console(file=out, width=WIDTH))
    assert f"the opened sum {said} that of the plain integers" in out.getvalue()


@pytest.mark.parametrize(
    "arguments",
    [
        ["capacity", "--model", "resnet1800"],
        ["capacity", "--suite", "rot13", "--parameters", "5", "--bits", "256"],
        ["show", "README.md"],
        ["show", "nowhere.json"],
    ],
)
def test_what_cannot_be_measured_or_shown_is_refused(arguments):
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == ExitCode.REFUSED
    assert "expected" in ended.stderr or "nowhere.json" in ended.stderr


def committed() -> CipherReport:
    return CipherReport.model_validate_json((DOCS / "ciphers.json").read_text())


def test_the_tables_in_the_docs_are_those_of_the_committed_figures():
    out = StringIO()
    terminal = Console(file=out, width=WIDTH)
    show(committed(), terminal)
    capacity.show(capacity.Outcome.model_validate_json((DOCS / "capacity.json").read_text()), terminal)
    page = (DOCS / "ciphers.md").read_text().splitlines()
    printed = [line.rstrip() for line in out.getvalue().splitlines()]
    assert [line for line in printed if line not in page] == []


def is_shown(figure: float, shown: str) -> bool:
    """Whether `figure`, rounded to as many digits as `shown` has, is what it shows."""
    digits = shown.replace(",", "")
    digits = digits.replace(".", "").lstrip("0") if "." in digits else digits.rstrip("0")
    return float(f"{figure:.{len(digits) - 1}e}") == float(shown.replace(",", ""))


@pytest.mark.parametrize(
    ("shown", "right"), [("0.05", True), ("0.046", True), ("0.0460", True), ("0.04", False), ("0.050", False)]
)
def test_a_figure_is_shown_rounded(shown, right):
    assert is_shown(0.04597, shown) is right
    assert is_shown(45970 / 46, "1,000") is True


def test_the_table_in_the_readme_is_that_of_the_committed_figures():
    report, million = committed(), 1_000_000
    ours, phe, ckks = report.hybrid[str(million)], report.paillier["3072"], report.tenseal
    rows = {
        "encrypt": [
            ours.encrypt_s,
            ckks.symmetric.encrypt_s,
            ckks.asymmetric.encrypt_s,
            million / phe.phe_params_per_s,
        ],
        "add one more hospital": [ours.add_s, ckks.symmetric.add_s, million * phe.phe_add_s],
        "bytes a parameter": [ours.bytes_per_param, ckks.symmetric.bytes_per_param, phe.phe_bytes_per_param],
        "public check of an update, proof included": [ours.check_s],
        "a hospital's share of the opening; joining them": [ours.share_s, ours.join_s],
        "taking the mask off, by anyone": [ours.open_s, ckks.symmetric.decrypt_s],
    }
    lines = (DOCS.parent / "README.md").read_text().splitlines()
    start = (
        next(k for k, line in enumerate(lines) if line.startswith("| one million parameters, one core |")) + 2
    )
    for line, (name, figures) in zip(lines[start:], rows.items(), strict=False):
        _, found, *cells, _ = map(str.strip, line.split("|"))
        assert found == name
        shown = re.findall(r"[\d,]*\d(?:\.\d+)?", " ".join(cells))
        assert len(shown) == len(figures)
        assert [text for text, figure in zip(shown, figures, strict=True) if not is_shown(figure, text)] == []
    assert not lines[start + len(rows)].startswith("|")


def test_the_plot_in_the_docs_is_that_of_the_committed_figures(tmp_path):
    draw(committed(), tmp_path / "again.svg")
    names = ("hybrid", "TenSEAL, secret key", "phe 3072", "seconds of one core")
    for text in ((DOCS / "ciphers.svg").read_text(), (tmp_path / "again.svg").read_text()):
        assert all(name in text for name in names)
    again, kept = (
        (folder / name).read_text() for folder, name in ((tmp_path, "again.svg"), (DOCS, "ciphers.svg"))
    )
    labels = [[part.split("<")[0] for part in text.split(">")] for text in (again, kept)]
    assert labels[0] == labels[1]
