"""PROTOCOL §8.7 and §8.8: models and tasks, as flat vectors with one meaning."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from federation import cbor
from federation.digest import labelled
from federation.errors import Refused, Violation
from federation.model import (
    Tensor,
    from_safetensors,
    model_digest,
    shape_digest,
    size_limit,
    size_of,
    to_safetensors,
)
from federation.tasks import Dataset, TaskSpec, named_sizes, task_for
from federation.tasks.shaped import ShapedModel
from federation.tasks.tabular import NAME, Feature, LogisticRegression

TASK = LogisticRegression(
    label="ill",
    positive="yes",
    negative="no",
    features=(
        Feature(name="age", centre=50_000_000, scale=10_000_000),
        Feature(name="dose", centre=0, scale=500_000),
    ),
    epochs=3,
    batch=8,
    rate=200_000,
    l2=1_000,
)
TENSORS = (Tensor(name="b", shape=(2, 3)), Tensor(name="a", shape=(4,)), Tensor(name="scalar", shape=()))
GOOD = "age,ill,dose,note\n50,yes,0.5,x\n60,no,-1,y\n"


def written(directory: Path, text: str) -> Path:
    path = directory / "patients.csv"
    path.write_text(text, encoding="utf-8")
    return path


def patients(count: int = 200, seed: int = 1) -> Dataset:
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(count, 2))
    noise = generator.normal(scale=0.5, size=count)
    return Dataset(inputs=inputs, labels=(inputs @ [2.0, -1.0] + 0.5 + noise > 0).astype(np.int64))


def test_a_task_is_rebuilt_from_its_spec():
    assert task_for(TASK.spec) == TASK


def test_a_task_describes_every_field_of_its_spec_exactly():
    task = LogisticRegression(
        label="outcome",
        positive="yes",
        negative="no",
        features=(
            Feature(name="age", centre=-1_500_000, scale=1),
            Feature(name="dose", centre=0, scale=20_000_000),
        ),
        epochs=3,
        batch=16,
        rate=500_000,
        l2=5_000,
    )
    assert task.describe() == {
        "label": "outcome",
        "positive": "yes",
        "negative": "no",
        "features": "age (centre -1.5, scale 0.000001), dose (centre 0, scale 20)",
        "epochs": "3",
        "batch": "16",
        "learning rate": "0.5",
        "l2": "0.005",
    }


def test_an_unknown_task_is_refused_with_the_known_ones():
    with pytest.raises(Refused, match=NAME):
        task_for(TaskSpec(name="image/unheard-of", parameters=b""))


@pytest.mark.parametrize(
    "change",
    [
        {4: []},
        {5: 0},
        {6: 0},
        {7: 0},
        {8: -1},
        {3: "yes"},
        {9: 1},
        {4: [["age", 0, 0]]},
        {4: [["age", 0]]},
        {1: 1},
        {4: [["age", 0, 1], ["age", 0, 1]]},
        {4: [["ill", 0, 1]]},
    ],
    ids=str,
)
def test_parameters_out_of_range_are_a_violation_of_the_spec(change):
    fields = cbor.decode(TASK.spec.parameters, limit=1000)
    assert isinstance(fields, dict)
    with pytest.raises(Violation, match=r"§8\.8"):
        task_for(TaskSpec(name=NAME, parameters=cbor.encode(fields | change)))


def test_rows_become_centred_and_scaled_inputs_and_labels(tmp_path):
    data = TASK.load(written(tmp_path, GOOD))
    assert data.samples == 2
    assert data.inputs.tolist() == [[0.0, 1.0], [1.0, -2.0]]
    assert data.labels.tolist() == [1, 0]


def test_a_byte_order_mark_spaces_and_empty_lines_do_no_harm(tmp_path):
    data = TASK.load(written(tmp_path, "\ufeffage, ill ,dose\r\n50 ,yes, 0.5\r\n\r\n60,no,-1\r\n"))
    assert data.inputs.tolist() == [[0.0, 1.0], [1.0, -2.0]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a header line, found an empty file"),
        ("age,ill,dose\n", "at least one row"),
        ("age,ill\n50,yes\n", "one column 'dose', found 0 among 2"),
        ("age,dose\n50,7\n", "one column 'ill'"),
        ("age,ill,dose,age\n50,yes,0,50\n", "one column 'age', found 2"),
        ("age,ill,dose\n50,yes,0\n4242,no\n", "3 cells in line 3, found 2"),
        ("age,ill,dose\n50,yes,\n", "line 2, column 'dose', found an empty cell"),
        ("age,ill,dose\n50,yes,0\nforty4242,no,1\n", "a finite decimal number in line 3, column 'age'"),
        ("age,ill,dose\nnan,yes,0\n", "a finite decimal number in line 2, column 'age'"),
        ("age,ill,dose\n1e999,yes,0\n", "a finite decimal number in line 2, column 'age'"),
        ("age,ill,dose\n4_242,yes,0\n", "a finite decimal number"),
        ("age,ill,dose\n٤٢,yes,0\n", "a finite decimal number"),
        ("age,ill,dose\n50,perhaps4242,0\n", "one of ['no', 'yes'] in line 2, column 'ill'"),
        ('age,ill,dose\n50,yes,"4242\n', "CSV in UTF-8"),
    ],
)
def test_unusable_patients_are_refused_by_place_and_never_by_value(tmp_path, text, says):
    with pytest.raises(Refused) as caught:
        TASK.load(written(tmp_path, text))
    assert says in str(caught.value)
    assert "4242" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path):
    with pytest.raises(Refused, match="a readable CSV file"):
        TASK.load(tmp_path / "absent.csv")
    (tmp_path / "latin.csv").write_bytes(b"age,ill,dose\n50,\xff,0\n")
    with pytest.raises(Refused, match="UTF-8"):
        TASK.load(tmp_path / "latin.csv")


def test_a_data_set_does_not_print_its_patients():
    assert repr(patients(5)) == "Dataset(5 samples)"


def test_training_is_a_function_of_model_patients_and_seed():
    data, model = patients(), TASK.initial()
    one = TASK.train(model, data, seed=7)
    assert one.dtype == np.float64
    assert one.shape == (TASK.size,)
    assert TASK.train(model, data, seed=7).tobytes() == one.tobytes()
    assert TASK.train(model, data, seed=8).tobytes() != one.tobytes()
    assert not model.any()


def test_training_does_not_depend_on_torchs_threads_and_leaves_them_as_they_were():
    torch = pytest.importorskip("torch")
    data, before = patients(), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(TASK.train(TASK.initial(), data, seed=1).tobytes())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


def test_one_full_batch_step_is_the_gradient_computed_by_hand():
    task, data = replace(TASK, epochs=1, batch=1000), patients()
    model = np.array([0.5, -0.25, 0.125], np.float32)
    weights = model.astype(np.float64)
    error = 1 / (1 + np.exp(-(data.inputs @ weights[:2] + weights[2]))) - data.labels
    gradient = np.append(data.inputs.T @ error / data.samples + 0.001 * weights[:2], error.mean())
    np.testing.assert_allclose(task.train(model, data, seed=1), -0.2 * gradient, rtol=1e-12)


def test_training_improves_every_score():
    data, test = patients(), patients(seed=2)
    model = (TASK.initial() + TASK.train(TASK.initial(), data, seed=1)).astype(np.float32)
    before, after = TASK.evaluate(TASK.initial(), test), TASK.evaluate(model, test)
    assert after.accuracy > 0.9 > before.accuracy
    assert after.auc > 0.95
    assert before.auc == 0.5  # all samples tie
    assert after.loss < before.loss == pytest.approx(np.log(2))


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=20))
def test_auc_is_the_chance_that_a_positive_scores_above_a_negative(samples):
    task = replace(TASK, features=TASK.features[:1])
    inputs, labels = np.array([[x] for x, _ in samples], float), np.array([y for _, y in samples], np.int64)
    pairs = [(x > z) + (x == z) / 2 for x, y in samples if y for z, w in samples if not w]
    found = task.evaluate(np.array([1, 0], np.float32), Dataset(inputs=inputs, labels=labels)).auc
    assert found == pytest.approx(np.mean(pairs)) if pairs else np.isnan(found)


def test_scores_of_a_confident_model_stay_finite():
    scores = TASK.evaluate(np.array([1e30, 0, 0], np.float32), patients())
    assert np.isfinite(scores.loss)


def test_all_but_training_runs_where_torch_is_not_installed(tmp_path):
    """An aggregator or auditor needs shape, genesis and scores of a study, and has no torch."""
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from federation.tasks import TaskSpec, task_for\n"
        f"spec = TaskSpec(name={NAME!r}, parameters=bytes.fromhex({TASK.spec.parameters.hex()!r}))\n"
        "task = task_for(spec)\n"
        f"data = task.load(Path({str(written(tmp_path, GOOD))!r}))\n"
        "print(task.size, task.shape_digest.hex(), task.evaluate(task.initial(), data).accuracy)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", TASK.shape_digest.hex(), "0.5"]


def test_a_shape_has_one_digest_and_another_order_another():
    lines = [["b", [2, 3]], ["a", [4]], ["scalar", []]]
    assert shape_digest(TENSORS) == labelled("shape", cbor.encode(lines))
    assert shape_digest(TENSORS) != shape_digest(TENSORS[::-1])
    assert size_of(TENSORS) == 11
    assert named_sizes(TENSORS) == [("b", 6), ("a", 4), ("scalar", 1)]


def test_a_models_digest_covers_shape_and_little_endian_float32():
    model = np.array([1.0, -0.0, 2**-149], np.float32)
    raw = bytes.fromhex("0000803f0000008001000000")
    assert model_digest(model, TASK.shape_digest) == labelled("model", TASK.shape_digest, raw)


@pytest.mark.parametrize("model", [np.zeros(3), np.zeros((3, 1), np.float32)])
def test_only_flat_float32_models_have_digests(model):
    with pytest.raises(Refused, match="flat float32"):
        model_digest(model, TASK.shape_digest)


def test_a_model_survives_its_file_in_the_tasks_order():
    model = np.linspace(-1, 1, 11).astype(np.float32)
    data = to_safetensors(model, TENSORS)
    assert len(data) <= size_limit(TENSORS)
    assert from_safetensors(data, TENSORS).tobytes() == model.tobytes()


def test_a_model_of_another_size_is_not_written():
    with pytest.raises(Refused, match="11 parameters"):
        to_safetensors(np.zeros(10, np.float32), TENSORS)


def arrays(**changes: np.ndarray) -> bytes:
    named = {tensor.name: np.zeros(tensor.shape, np.float32) for tensor in TENSORS} | changes
    return save({name: array for name, array in named.items() if array.size})


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "safetensors"),
        (b"\xff" * 40, "safetensors"),
        (b"\x80\x04\x95" + bytes(40), "safetensors"),  # a pickle
        (arrays()[:-1], "safetensors"),
        (bytes(100_000), "at most"),
        (arrays(a=np.zeros(0, np.float32)), "tensors"),
        (arrays(extra=np.zeros(1, np.float32)), "tensors"),
        (arrays(a=np.zeros(4)), "a: float32"),
        (arrays(a=np.zeros((2, 2), np.float32)), "a: float32"),
        (arrays(a=np.array([0, np.nan, 0, 0], np.float32)), "a: finite"),
    ],
)
def test_a_file_that_is_not_this_model_is_a_violation(data, says):
    with pytest.raises(Violation) as caught:
        from_safetensors(data, TENSORS)
    assert caught.value.clause == "§8.7"
    assert says in str(caught.value)


@given(position=st.integers(0), mask=st.integers(1, 255))
def test_an_altered_byte_of_a_file_never_gives_the_same_model_nor_another_error(position, mask):
    model = np.arange(11).astype(np.float32)
    data = bytearray(to_safetensors(model, TENSORS))
    data[position % len(data)] ^= mask
    try:
        found = from_safetensors(bytes(data), TENSORS)
    except Violation:
        return
    shape = shape_digest(TENSORS)
    assert model_digest(found, shape) != model_digest(model, shape) or found.tobytes() == model.tobytes()


# ---------------------------------------------------------------- a shape that nobody trains


SHAPED = ShapedModel(parameters=(Tensor(name="conv", shape=(2, 3, 3)), Tensor(name="bias", shape=(2,))))


def test_a_shape_is_a_task_whose_spec_reads_back() -> None:
    assert task_for(SHAPED.spec) == SHAPED
    assert (SHAPED.size, len(SHAPED.initial())) == (20, 20)
    assert SHAPED.shape_digest == shape_digest(SHAPED.parameters)
    assert SHAPED.describe()["tensors"] == "conv 2x3x3, bias 2"


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        [["conv"]],
        [["conv", [0]]],
        [["conv", [-1]]],
        [["conv", ["2"]]],
        [["conv", [1 << 31]]],
        [["", [2]]],
        [[b"conv", [2]]],
        [["conv", [2]], ["conv", [3]]],
        [["conv", [2], 0]],
    ],
    ids=str,
)
def test_what_is_no_shape_is_a_violation(value: cbor.Value) -> None:
    with pytest.raises(Violation, match=r"§8\.8"):
        task_for(TaskSpec(name=SHAPED.spec.name, parameters=cbor.encode(value)))


@pytest.mark.parametrize("shape", [[1 << 28, 2], [(1 << 31) - 1], [1 << 20, 1 << 20], [(1 << 31) - 1] * 9])
def test_a_model_that_nobody_could_hold_is_refused_before_any_of_it_is_made(shape: list[int]) -> None:
    spec = TaskSpec(name=SHAPED.spec.name, parameters=cbor.encode([["w", shape]]))
    with pytest.raises(Violation, match="at most 268435456"):
        task_for(spec)


def test_a_shape_trains_nothing_and_says_what_to_do(tmp_path: Path) -> None:
    data = patients(3)
    for attempt in (
        lambda: SHAPED.load(tmp_path),
        lambda: SHAPED.train(SHAPED.initial(), data, seed=1),
        lambda: SHAPED.evaluate(SHAPED.initial(), data),
    ):
        with pytest.raises(Refused, match="propose a study with a task"):
            attempt()
