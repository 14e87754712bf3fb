"""PROTOCOL §8: floats become integers and come back, the same for everybody."""

from __future__ import annotations

import hashlib
import json
import math
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from federation import arithmetic
from federation.arithmetic import BLOCK, LANE, Scale, default_bits
from federation.digest import keystream, sha256
from federation.errors import Refused, TallyError, Violation
from federation.model import model_digest

from .vectors.arithmetic import PATH, make

VECTORS = json.loads(PATH.read_text())
SCALE = Scale(clip=2_000_000, bound=500_000, weight_cap=250, members=4, bits=22)
STEP = SCALE.bound / 1e6 / SCALE.top  # of a value with full weight
FULL = {"weight": SCALE.weight_cap, "scale": SCALE}


def floats(texts: list[str]) -> np.ndarray:
    return np.array([float.fromhex(text) for text in texts])


def clipped(update: np.ndarray, scale: Scale = SCALE) -> arithmetic.Clipped:
    return arithmetic.clip(update, scale=scale, tensors=[("all", update.size)])


def quantised(update: np.ndarray, *, secret: bytes = b"s", context: bytes = b"c", **kw) -> np.ndarray:
    return arithmetic.quantise(clipped(update), secret=secret, context=context, **(FULL | kw))


updates = hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e300, 1e300))
small_updates = hnp.arrays(np.float64, st.integers(1, 16), elements=st.floats(-0.4, 0.4))
scales = st.builds(
    lambda clip, bound, cap, members: Scale(
        clip=clip, bound=bound, weight_cap=cap, members=members, bits=default_bits(members)
    ),
    st.integers(1, 10**9),
    st.integers(1, 10**9),
    st.integers(1, 99),
    st.integers(1, 64),
)


def test_the_vectors_are_what_rational_arithmetic_makes_of_the_protocol():
    assert make() == VECTORS


def test_keystreams_begin_as_rfc_8439_says():
    """Appendix A.1 (test vector 1), and §2.3.2, whose block counter of 1 is our second block."""
    assert keystream(bytes(32), 16, index=0).hex() == "76b8e0ada0f13d90405d6ae55386bd28"
    nonce = bytes.fromhex("000000090000004a00000000")
    found = keystream(bytes(range(32)), 80, index=int.from_bytes(nonce, "little"))
    assert found[64:].hex() == "10f1e7e4d13b5915500fdd1fa32071c4"


@pytest.mark.parametrize("case", VECTORS["keystream"], ids=lambda case: f"index {case['index']}")
def test_keystreams_equal_the_vectors(case):
    stream = bytes.fromhex(case["stream"])
    assert keystream(bytes.fromhex(case["key"]), len(stream), index=case["index"]) == stream


@pytest.mark.parametrize(("key", "index"), [(bytes(31), 0), (bytes(32), -1), (bytes(32), 1 << 96)])
def test_no_keystream_has_another_key_or_an_index_that_its_nonce_cannot_hold(key, index):
    with pytest.raises((ValueError, OverflowError)):
        keystream(key, 64, index=index)


@pytest.mark.parametrize("case", VECTORS["weights"], ids=lambda case: f"{case['samples']} of {case['cap']}")
def test_weights_equal_the_vectors(case):
    assert arithmetic.weigh(case["samples"], replace(SCALE, weight_cap=case["cap"])) == case["weight"]


@pytest.mark.parametrize("case", VECTORS["updates"], ids=lambda case: case["why"])
def test_quantised_updates_equal_the_vectors_made_with_rational_arithmetic(case):
    scale = Scale(**case["scale"])
    update = clipped(floats(case["update"]), scale)
    assert update.vector.tobytes() == floats(case["clipped"]).tobytes()
    assert (update.norm.hex(), update.kept.hex(), update.cut) == (case["norm"], case["kept"], case["cut"])
    keys = {"secret": bytes.fromhex(case["secret"]), "context": bytes.fromhex(case["context"])}
    values = arithmetic.quantise(update, weight=case["weight"], scale=scale, **keys)
    assert values.dtype == np.int64
    assert values.tolist() == case["values"]


def test_an_update_of_several_blocks_equals_the_vectors():
    case, rule = VECTORS["long"], VECTORS["long"]["update"]
    assert 2 * BLOCK < rule["size"] < 3 * BLOCK
    spread = np.arange(rule["size"]) * rule["factor"] % rule["modulus"] - rule["modulus"] // 2
    scale = Scale(**case["scale"])
    update = clipped(spread / 2.0 ** rule["power"], scale)
    assert hashlib.sha256(update.vector.astype("<f8").tobytes()).hexdigest() == case["clipped"]
    assert (update.norm.hex(), update.kept.hex(), update.cut) == (case["norm"], case["kept"], case["cut"])
    keys = {"secret": bytes.fromhex(case["secret"]), "context": bytes.fromhex(case["context"])}
    values = arithmetic.quantise(update, weight=case["weight"], scale=scale, **keys)
    assert hashlib.sha256(values.astype("<i8").tobytes()).hexdigest() == case["values"]


@pytest.mark.parametrize("case", VECTORS["rounds"], ids=lambda case: f"{case['members']} members")
def test_opened_totals_lead_to_the_models_of_the_vectors(case):
    total = np.array(case["total"], np.int64)
    change = arithmetic.mean(total, members=case["members"], scale=Scale(**case["scale"]))
    assert change.tobytes() == floats(case["mean"]).tobytes()
    following = arithmetic.apply(floats(case["model"]).astype(np.float32), change)
    assert following.astype("<f4").tobytes().hex() == case["next_bytes"]


def test_a_model_is_rounded_to_float32_once_and_to_the_even_neighbour():
    case = VECTORS["ties"]
    following = arithmetic.apply(floats(case["model"]).astype(np.float32), floats(case["mean"]))
    assert following.astype(np.float64).tobytes() == floats(case["next"]).tobytes()


def run_check(case):
    Scale(**case["scale"]).check()


def run_weigh(case):
    arithmetic.weigh(case["samples"], Scale(**case["scale"]))


def run_clip(case):
    arithmetic.clip(
        floats(case["update"]), scale=Scale(**case["scale"]), tensors=[("weight", 2), ("bias", 1)]
    )


def run_quantise(case):
    quantised(floats(case["update"]), weight=case["weight"], scale=Scale(**case["scale"]))


def run_mean(case):
    total = np.array(case["total"], np.int64)
    arithmetic.mean(total, members=case["members"], scale=Scale(**case["scale"]))


def run_apply(case):
    arithmetic.apply(floats(case["model"]).astype(np.float32), floats(case["mean"]))


STEPS: dict[str, tuple[Callable[[dict], None], type[TallyError]]] = {
    "check": (run_check, Refused),
    "weigh": (run_weigh, Refused),
    "clip": (run_clip, Refused),
    "quantise": (run_quantise, Refused),
    "mean": (run_mean, Violation),
    "apply": (run_apply, Refused),
}


@pytest.mark.parametrize("case", VECTORS["bad"], ids=lambda case: f"{case['step']}: {case['why']}")
def test_a_bad_case_fails_at_its_step_and_says_what_was_expected(case):
    run, family = STEPS[case["step"]]
    with pytest.raises(family) as caught:
        run(case)
    assert case["says"] in str(caught.value)


def test_an_impossible_sum_names_nobody_since_only_the_sum_is_known():
    with pytest.raises(Violation) as caught:
        arithmetic.mean(np.array([0, 0], np.int64), members=2, scale=SCALE)
    assert caught.value.culprit is None


@given(members=st.integers(1, 5000))
def test_default_bits_are_the_most_that_leave_head_room_for_everybody(members):
    scale = replace(SCALE, members=members, weight_cap=10, bits=default_bits(members))
    scale.check()
    assert members * scale.top < LANE
    if members & (members - 1) == 0:  # otherwise the power of two above is what they are chosen for
        with pytest.raises(Refused):
            replace(scale, bits=scale.bits + 1, members=members + 1).check()


@pytest.mark.parametrize(("members", "holds"), [(4, True), (5, False)])
def test_the_boundary_of_head_room_is_exact(members, holds):
    scale = replace(SCALE, members=members, bits=22)  # 4 · (2^21 - 1) < 2^23 ≤ 5 · (2^21 - 1)
    if holds:
        scale.check()
    else:
        with pytest.raises(Refused, match=r"found 5 members × 2097151"):
            scale.check()


@pytest.mark.parametrize(("cap", "holds"), [(2_000_000, True), (2_100_000, False)])
def test_weights_have_head_room_too(cap, holds):
    scale = replace(SCALE, weight_cap=cap)
    if holds:
        scale.check()
    else:
        with pytest.raises(Refused, match="sums of weights"):
            scale.check()


def test_no_bits_are_defined_without_members():
    with pytest.raises(Refused, match="at least 1 member"):
        default_bits(0)


@given(samples=st.integers(1, 10**7), digits=st.integers(1, 99), zeros=st.integers(0, 4))
def test_weights_stay_in_range_have_two_digits_and_never_fall_as_samples_grow(samples, digits, zeros):
    scale = replace(SCALE, weight_cap=digits * 10**zeros)
    weight = arithmetic.weigh(samples, scale)
    assert 1 <= weight <= scale.weight_cap
    assert len(str(weight).rstrip("0")) <= 2
    assert weight <= arithmetic.weigh(samples + 1, scale)
    assert abs(weight - min(samples, scale.weight_cap)) * 20 <= min(samples, scale.weight_cap)


@given(update=updates, scale=scales)
def test_a_clipped_update_keeps_its_direction_within_both_bounds(update, scale):
    found = clipped(update, scale)
    radius, bound = scale.clip / 1e6, scale.bound / 1e6
    assert found.kept <= radius * (1 + 1e-12)
    assert np.all(np.abs(found.vector) <= bound)
    assert np.all(found.vector * np.sign(update) >= 0)
    assert 0 <= found.cut <= update.size
    if found.norm <= radius and not found.cut:
        assert found.vector.tobytes() == update.tobytes()


exponents = st.lists(
    st.tuples(st.integers(-1074, 1023), st.integers(-(2**53), 2**53)), min_size=1, max_size=30
)


@given(parts=exponents, repeats=st.sampled_from([1, 300, 700]))
def test_a_norm_is_the_exact_sum_of_squares_however_far_apart_they_lie(parts, repeats):
    """Up to three blocks; the oracle adds fractions, one for each different value."""
    few = np.array([math.ldexp(digits / 2.0**53, power) for power, digits in parts])
    unit = 2.0 ** (math.frexp(np.max(np.abs(few)))[1] - 1) if np.any(few) else 1.0
    exact = repeats * sum(Fraction(u * u) for u in (few / unit).tolist())
    scale = replace(SCALE, clip=2**53, bound=2**53)
    assert clipped(np.tile(few, repeats), scale).norm == math.sqrt(float(exact)) * unit


def test_a_norm_is_exact_where_all_squares_of_a_block_are_large():
    """Two more bits a pass, and the sum of a full block would round: seen in some of these vectors only."""
    numbers = np.random.default_rng(14)
    for _ in range(300):
        update = numbers.uniform(1, 2, BLOCK)
        exact = math.sqrt(math.fsum((update * update).tolist()))
        assert clipped(update).norm == exact


@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_no_value_is_left_out_where_blocks_meet(size):
    update = np.linspace(-9, 9, size)
    found = clipped(update, replace(SCALE, clip=2**53))
    assert np.array_equal(found.vector, np.clip(update, -0.5, 0.5))
    assert found.cut == np.count_nonzero(np.abs(update) > 0.5)
    values = arithmetic.quantise(found, secret=b"s", context=b"c", **FULL)
    assert np.max(np.abs(values[:-1] - found.vector / STEP)) < 1 + 1e-6
    change = arithmetic.mean(values, members=1, scale=SCALE)
    assert np.max(np.abs(change - found.vector)) < STEP * (1 + 1e-6)
    assert np.array_equal(arithmetic.apply(np.ones(size, np.float32), change), np.float32(1 + change))


def test_the_first_unusable_value_is_found_in_whichever_block_it_lies():
    update = np.zeros(3 * BLOCK)
    update[[BLOCK + 7, 2 * BLOCK]] = np.nan, -np.inf
    with pytest.raises(Refused, match=f"found 2 NaN or infinite, first in tensor b at {BLOCK + 2}"):
        arithmetic.clip(update, scale=SCALE, tensors=[("a", 5), ("b", 3 * BLOCK - 5)])
    with pytest.raises(Refused, match=f"found none at {BLOCK + 7}"):
        arithmetic.apply(np.zeros(3 * BLOCK, np.float32), update)


def test_a_large_model_needs_no_more_memory_than_its_vectors_and_a_few_blocks():
    size, spare = 4_000_000, 2_000_000  # values; bytes, about thirty blocks of float64
    update, model = np.linspace(-0.01, 0.01, size), np.zeros(size, np.float32)
    tracemalloc.start()
    try:

        def takes(step, result_bytes):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            result = step()
            assert tracemalloc.get_traced_memory()[1] - before < result_bytes + spare
            return result

        kept = takes(lambda: clipped(update), 8 * size)
        values = takes(lambda: arithmetic.quantise(kept, secret=b"s", context=b"c", **FULL), 8 * size)
        values += values  # the sum of two equal updates
        change = takes(lambda: arithmetic.mean(values, members=2, scale=SCALE), 8 * size)
        following = takes(lambda: arithmetic.apply(model, change), 4 * size)
        takes(lambda: model_digest(following, sha256(b"shape")), 0)
    finally:
        tracemalloc.stop()
    assert np.max(np.abs(following - update / clipped(update).norm * 2)) < 2 * STEP


def test_values_cut_by_the_range_are_counted():
    found = clipped(np.array([0.6, -0.7, 0.5, -0.1]))
    assert found.vector.tolist() == [0.5, -0.5, 0.5, -0.1]
    assert found.cut == 2


@given(update=updates, weight=st.integers(1, 250))
def test_every_value_is_within_one_step_of_the_weighted_update(update, weight):
    values = quantised(update, weight=weight)
    factor = Fraction(weight * SCALE.top, SCALE.weight_cap) / Fraction(SCALE.bound, 10**6)
    exact = [Fraction(x) * factor for x in clipped(update).vector.tolist()]
    assert all(
        abs(value - x) < 1 + Fraction(1, 2**20) for value, x in zip(values[:-1].tolist(), exact, strict=True)
    )
    assert np.max(np.abs(values[:-1])) <= SCALE.top
    assert values[-1] == weight


def test_rounding_is_unbiased_where_every_value_lies_between_two_steps():
    fractions = np.linspace(-0.95, 0.95, 39)
    update = np.repeat(fractions * STEP, 2000)
    values = quantised(update)[:-1].reshape(39, 2000)
    assert set(np.unique(values)) == {-1, 0, 1}
    deviation = np.sqrt(np.abs(fractions) * (1 - np.abs(fractions)) / 2000)
    assert np.all(np.abs(values.mean(axis=1) - fractions) < 4.5 * deviation + 1e-6)
    assert abs((values.mean(axis=1) - fractions).mean()) < 0.005


def test_rounding_does_not_favour_any_position():
    repeats = [
        quantised(np.full(64, 0.5 * STEP), context=bytes([a, b]))[:-1] for a in range(20) for b in range(50)
    ]
    ups = np.mean(repeats, axis=0)
    assert np.all(np.abs(ups - 0.5) < 4.5 * 0.5 / np.sqrt(1000))


def test_the_same_secret_context_and_vector_give_the_same_integers():
    update = np.linspace(-0.3, 0.3, 100)
    assert np.array_equal(quantised(update), quantised(update.copy()))


def test_every_block_is_rounded_by_a_stream_of_its_own():
    """One stream again and again would round equal positions of equal blocks alike."""
    first, second = quantised(np.full(2 * BLOCK, 0.5 * STEP))[:-1].reshape(2, BLOCK)
    assert abs(np.mean(first == second) - 0.5) < 0.03


def test_other_secrets_contexts_and_vectors_are_rounded_independently():
    """Else the difference of two versions of one update could be read from their roundings."""
    halves = np.full(4000, 0.5 * STEP)
    altered = np.append(halves[:-1], 0.25 * STEP)
    one = quantised(halves)
    for other in (quantised(halves, secret=b"t"), quantised(halves, context=b"d"), quantised(altered)):
        assert abs(np.mean(one[:3999] == other[:3999]) - 0.5) < 0.04


@given(update=small_updates, members=st.integers(1, 4), weight=st.integers(25, 250))
def test_the_mean_of_equal_updates_is_that_update_within_one_step(update, members, weight):
    parts = [quantised(update, weight=weight, context=bytes([i])) for i in range(members)]
    found = arithmetic.mean(np.sum(parts, axis=0), members=members, scale=SCALE)
    step = STEP * SCALE.weight_cap / weight
    assert np.all(np.abs(found - clipped(update).vector) <= step * (1 + 1e-6))


@given(
    updates=st.lists(hnp.arrays(np.float64, 5, elements=st.floats(-9, 9)), min_size=1, max_size=4),
    data=st.data(),
)
def test_honest_contributions_always_have_a_mean_within_the_coordinate_range(updates, data):
    weights = [data.draw(st.integers(1, 250)) for _ in updates]
    parts = [
        quantised(x, weight=w, context=bytes([i]))
        for i, (x, w) in enumerate(zip(updates, weights, strict=True))
    ]
    found = arithmetic.mean(np.sum(parts, axis=0), members=len(parts), scale=SCALE)
    exact = sum(w * clipped(x).vector for x, w in zip(updates, weights, strict=True)) / sum(weights)
    slack = STEP * SCALE.weight_cap * len(parts) / sum(weights)
    assert np.all(np.abs(found - exact) <= slack * (1 + 1e-6))


def test_a_member_cannot_claim_a_small_weight_for_large_values():
    """Dividing by the claimed weight would carry the mean 250 times beyond the agreed range."""
    honest = quantised(np.zeros(3), weight=10)
    liar = quantised(np.full(3, 0.5))
    liar[-1] = 1
    with pytest.raises(Violation, match="what the weights allow"):
        arithmetic.mean(honest + liar, members=2, scale=SCALE)


def test_more_contributors_than_the_study_has_room_for_are_refused():
    with pytest.raises(Refused, match=r"1 … 4 contributors, found 5"):
        arithmetic.mean(np.array([0, 1], np.int64), members=5, scale=SCALE)


@pytest.mark.parametrize(
    ("model", "change"),
    [
        (np.zeros(3, np.float64), np.zeros(3)),
        (np.zeros(3, np.float32), np.zeros(3, np.float32)),
        (np.zeros(3, np.float32), np.zeros(2)),
        (np.zeros((3, 1), np.float32), np.zeros(3)),
    ],
)
def test_a_model_of_another_kind_is_refused_since_its_digest_would_differ(model, change):
    with pytest.raises(Refused, match="expected a"):
        arithmetic.apply(model, change)


def test_an_empty_total_is_refused():
    with pytest.raises(Refused, match="a total of 2"):
        arithmetic.mean(np.array([1], np.int64), members=1, scale=SCALE)


def test_this_machine_calculates_as_everybody_else():
    arithmetic.check_float_environment()


def test_flushed_denormals_are_noticed_before_a_model_is_computed():
    torch = pytest.importorskip("torch")
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormals")
    try:
        with pytest.raises(Refused, match="denormals"):
            arithmetic.apply(np.zeros(1, np.float32), np.zeros(1))
    finally:
        torch.set_flush_denormal(False)
    arithmetic.check_float_environment()
