"""The sampler: its table is exact, its samples follow the table, and no sample depends on another."""

from __future__ import annotations

import flint
import numpy as np
import pytest

from federation.ciphers.ring.gaussian import (
    SIGMA,
    TAIL,
    TIE_STREAMS,
    gaussians,
    look_up,
    low_word,
    thresholds,
)
from federation.digest import keystream, sha256

KEY = bytes(range(32))
SAMPLES = [20, 3, -7, 5, -8, 16, -3, 2]  # the first of stream 3
INNER = [(x, threshold) for x, threshold in enumerate(thresholds(), start=-TAIL) if 0 < threshold < 1 << 128]


def no_tie(i: int) -> int:
    raise AssertionError(f"sample {i} was decided by its first word")


def test_the_table_is_the_one_that_the_protocol_names():
    written = b"".join(threshold.to_bytes(17, "big") for threshold in thresholds())
    assert sha256(written).hex() == "1692246eb58632bb3a6b244d0fee1e606ee63f8f3a7b7b7494fb6573c6cd84f1"
    assert (len(thresholds()), len(INNER), INNER[0][0], INNER[-1][0]) == (240, 210, -105, 104)


def test_every_entry_of_the_table_is_the_nearest_integer_by_ball_arithmetic():
    with flint.ctx.workprec(600):
        half = [(-flint.arb(x * x) / (2 * SIGMA**2)).exp() for x in range(TAIL + 1)]
        whole, below = half[0] + 2 * sum(half[1:], flint.arb(0)), flint.arb(0)
        for x, threshold in enumerate(thresholds(), start=-TAIL):
            below += half[abs(x)]
            assert abs(below / whole * flint.arb(2) ** 128 - threshold) < flint.arb("0.4999")


def test_the_table_is_symmetric():
    assert all(a + b == 1 << 128 for a, b in zip(thresholds(), reversed(thresholds()), strict=True))


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    """How often each of -120 … 120 came in 10^7 samples."""
    total = np.zeros(2 * TAIL + 1, dtype=np.int64)
    for stream in range(10):
        samples = gaussians(KEY, 10**6, streams=range(stream, stream + 1))
        total += np.bincount(samples[0].astype(np.int64) + TAIL, minlength=2 * TAIL + 1)
    return total


def test_ten_million_samples_have_mean_0_and_variance_64(counts):
    values = np.arange(-TAIL, TAIL + 1)
    size = counts.sum()
    assert size == 10**7
    mean, square = (counts * values).sum() / size, (counts * values**2).sum() / size
    assert abs(mean) < 5 * SIGMA / size**0.5
    assert abs(square - SIGMA**2) < 5 * SIGMA**2 * (2 / size) ** 0.5


def test_ten_million_samples_pass_a_chi_squared_test(counts):
    edges = np.array([0, *thresholds(), 1 << 128], dtype=object)
    expected = (np.diff(edges) * (10**7 / (1 << 128))).astype(float)
    used = expected >= 10
    freedom = int(used.sum()) - 1
    statistic = ((counts[used] - expected[used]) ** 2 / expected[used]).sum()
    assert freedom > 70
    assert abs(statistic - freedom) < 4 * (2 * freedom) ** 0.5
    assert counts[~used].sum() < 100


@pytest.mark.parametrize(("x", "threshold"), [INNER[0], INNER[105], INNER[106], INNER[-1]])
def test_a_tie_of_64_bits_is_decided_by_64_more(x, threshold):
    high, low = divmod(threshold, 1 << 64)
    words = np.array([5, high, 1 << 63], dtype=np.uint64)
    below = look_up(words, lambda i: {1: low - 1}[i])
    at = look_up(words, lambda i: {1: low}[i])
    # The words 5 and 2^63 tie with no threshold, unless high is one of them.
    sample_at = sum(entry <= threshold for entry in thresholds()) - TAIL
    assert sample_at > x
    assert (below[1], at[1]) == (sum(entry < threshold for entry in thresholds()) - TAIL, sample_at)
    assert (below[0], below[2]) == (at[0], at[2])


def test_words_next_to_a_threshold_need_no_second_word():
    for x, threshold in INNER[45:-45]:  # farther out, several share their first 64 bits
        words = np.array([(threshold >> 64) - 1, (threshold >> 64) + 1], dtype=np.uint64)
        assert look_up(words, no_tie).tolist() == [x, x + 1]


def test_the_second_word_of_a_sample_stands_at_its_place_in_a_stream_of_its_own():
    stream = keystream(KEY, 80, index=TIE_STREAMS + 7)
    assert [low_word(KEY, i, stream=7) for i in range(10)] == np.frombuffer(stream, dtype="<u8").tolist()


def test_a_sample_depends_on_its_stream_and_place_alone():
    whole = gaussians(KEY, 4096, streams=range(6))
    assert whole.shape == (6, 4096)
    for stream in range(6):
        assert np.array_equal(gaussians(KEY, 4096, streams=range(stream, stream + 1))[0], whole[stream])
    assert np.array_equal(gaussians(KEY, 100, streams=range(2, 5)), whole[2:5, :100])
    assert len({row.tobytes() for row in whole}) == 6
    assert not np.array_equal(gaussians(bytes(32), 4096, streams=range(1))[0], whole[0])


def test_the_first_samples_of_a_stream_are_these():
    """A known answer, computed from the definition alone: #{T_x ≤ u} - 120."""
    words = np.frombuffer(keystream(KEY, 64, index=3), dtype="<u8")
    expected = [sum(entry <= int(word) << 64 for entry in thresholds()) - TAIL for word in words]
    assert gaussians(KEY, 8, streams=range(3, 4))[0].tolist() == expected == SAMPLES
