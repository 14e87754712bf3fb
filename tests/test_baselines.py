"""What the demo claims about learning together, measured on public patients."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

from deploy import baselines, patients
from federation import arithmetic
from federation.errors import Refused
from federation.tasks import Dataset

SCALE = baselines.demo_scale()


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    directory = tmp_path_factory.mktemp("patients")
    task = patients.demo_task()
    paths = patients.write(directory, hospitals=4, seed=1)
    return task, [task.load(path) for path in paths], task.load(directory / "test.csv")


@pytest.mark.parametrize("seed", range(5))
def test_a_split_gives_every_patient_to_one_party_and_every_hospital_both_classes(seed):
    division = patients.split(4, seed=seed)
    everybody = np.concatenate([*division.hospitals, division.test])
    assert sorted(everybody.tolist()) == list(range(569))
    assert len(division.test) == 113
    _, target = patients._patients()
    for rows in division.hospitals:
        assert len(rows) >= patients.MIN_ROWS
        assert set(target[rows].tolist()) == {0, 1}


def test_a_split_is_a_function_of_its_seed():
    one, same, other = (patients.split(4, seed=seed) for seed in (1, 1, 2))
    assert [rows.tolist() for rows in one.hospitals] == [rows.tolist() for rows in same.hospitals]
    assert one.test.tolist() != other.test.tolist()


def test_hospitals_differ_in_size_and_in_kind():
    _, target = patients._patients()
    shares = [target[rows].mean() for rows in patients.split(4, seed=1).hospitals]
    assert max(shares) - min(shares) > 0.2


def test_more_hospitals_than_patients_allow_are_refused():
    with pytest.raises(Refused, match="15 rows for each of 40"):
        patients.split(40, seed=1)


def test_files_hold_every_digit_under_a_header(tmp_path):
    (path, *_) = patients.write(tmp_path, hospitals=2, seed=3)
    with path.open(encoding="utf-8", newline="") as file:
        header, first, *_ = csv.reader(file)
    assert header == [*patients.RANGES, patients.LABEL]
    measurements, target = patients._patients()
    row = patients.split(2, seed=3).hospitals[0][0]
    assert [float(cell) for cell in first[:-1]] == measurements[row].tolist()
    assert first[-1] == patients.CLASSES[target[row]]


def test_the_published_ranges_are_those_of_the_data_to_their_printed_digits():
    measurements, _ = patients._patients()
    for column, (low, high) in zip(measurements.T, patients.RANGES.values(), strict=True):
        assert column.min() == pytest.approx(low / 1e6, rel=2e-3, abs=1e-3)
        assert column.max() == pytest.approx(high / 1e6, rel=2e-3, abs=1e-3)


def test_the_demos_arithmetic_has_head_room():
    for members in (3, 4, 16):
        baselines.demo_scale(members).check()


def test_learning_together_beats_learning_alone_and_keeps_up_with_pooled_patients():
    found = [baselines.compare(seed) for seed in (1, 2, 3)]
    for one in found:
        assert one.federated.accuracy >= one.pooled.accuracy - 0.015
        assert one.federated.accuracy > one.mean_alone + 0.02
        assert one.federated.auc > 0.98
    assert np.mean([one.pooled.accuracy for one in found]) > 0.97


def test_integers_follow_the_float_average_closely(hospitals):
    task, datasets, _ = hospitals
    (first,) = baselines.plain_run(task, SCALE, datasets, rounds=baselines.demo_draws(1, rounds=1))
    draws = baselines.demo_draws(1, rounds=1)[0]
    exact, weights = np.zeros(task.size), 0
    for who, data in enumerate(datasets):
        update = task.train(task.initial(), data, seed=draws[who].training_seed)
        weight = arithmetic.weigh(data.samples, SCALE)
        exact += weight * arithmetic.clip(update, scale=SCALE, tensors=[("all", task.size)]).vector
        weights += weight
    np.testing.assert_allclose(first, exact / weights, atol=1e-6)


def test_a_plain_run_repeats_bit_for_bit_in_any_order_of_contributors(hospitals):
    task, datasets, _ = hospitals
    draws = baselines.demo_draws(5, rounds=2)
    turned = [dict(reversed(each.items())) for each in draws]
    one = baselines.plain_run(task, SCALE, datasets, rounds=draws)
    assert baselines.bit_equal(one, baselines.plain_run(task, SCALE, datasets, rounds=turned))


def test_another_rounding_secret_is_not_bit_equal(hospitals):
    task, datasets, _ = hospitals
    draws = baselines.demo_draws(5, rounds=2)
    draws_elsewhere = [dict(each) for each in draws]
    draws_elsewhere[1][0] = replace(draws[1][0], secret=b"another")
    one = baselines.plain_run(task, SCALE, datasets, rounds=draws)
    other = baselines.plain_run(task, SCALE, datasets, rounds=draws_elsewhere)
    assert baselines.bit_equal(one[:1], other[:1])
    assert not baselines.bit_equal(one, other)


def test_a_hospital_can_be_absent_from_a_round(hospitals):
    task, datasets, test = hospitals
    draws = baselines.demo_draws(1)
    del draws[3][2]
    models = baselines.plain_run(task, SCALE, datasets, rounds=draws)
    assert task.evaluate(models[-1], test).accuracy > 0.95


def test_pooling_keeps_every_sample_and_needs_one(hospitals):
    _, datasets, _ = hospitals
    pooled: Dataset = baselines.pool(datasets)
    assert pooled.samples == sum(data.samples for data in datasets)
    with pytest.raises(Refused, match="at least 1"):
        baselines.pool([])


def test_the_table_has_a_line_for_each_division_and_the_means(capsys):
    baselines.main(splits=[1])
    _, _, line, means, gap = capsys.readouterr().out.splitlines()
    assert line.split()[:5] == ["1", "60", "153", "91", "152"]
    assert means.startswith("mean: pooled 0.9")
    assert gap.startswith("gap:")
