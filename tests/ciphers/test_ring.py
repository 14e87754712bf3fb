"""The ring: every backend against schoolbook, against FLINT and against the others, bit for bit."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import flint
import gmpy2
import numpy as np
import pytest

from federation.ciphers.ring.element import (
    BLOCK_LEAVES,
    DEGREE,
    KAPPA,
    LEAF_RESIDUES,
    MAX_MEMBERS,
    MODULUS,
    PRIMES,
    VALUES,
    blocks_of,
    first_excess,
    fold,
    leaves_of,
    moduli_of,
    noise_bound,
    root_of_unity,
    spectrum_of,
    unfold,
)
from federation.ciphers.ring.gaussian import gaussians
from federation.ciphers.ring.kernels import SETTING, compiled_kernels, kernels_for, numpy_kernels
from federation.ciphers.ring.masks import masks, uniform
from federation.digest import LedgerId, sha256

from .one_round import context

COMPILED = compiled_kernels()
assert COMPILED is not None, "the tests need Numba: one of them looks at the fallback"
KERNELS = {"numpy": numpy_kernels(), "compiled": COMPILED}
every_kernel = pytest.mark.parametrize("kernels", KERNELS.values(), ids=KERNELS)
HALF = 1 << 23
ROOTS = [510015274, 1047115509]
REFUSING = [
    (0, 1),
    (1, 0),
    (2, 0),
    (2, 1),
    (6, 0),
    (6, 1),
    (9, 0),
    (9, 1),
    (16, 0),
    (16, 1),
    (17, 0),
    (18, 1),
    (19, 0),
]
SPECTRA = "d2b80168cc37f94273400a992013acde88f889821d5cf235beaaf5b285861577"
RNG = np.random.default_rng(7)
MASKS = masks(context(), range(3), numpy_kernels())
SHORT = gaussians(bytes(32), DEGREE, streams=range(1))[0].astype(np.int64)
SPECTRUM = spectrum_of(SHORT)
ZERO = np.zeros((3, DEGREE), dtype=np.int64)
ONE = np.eye(1, DEGREE, dtype=np.int64)[0]


def coefficients(spectra: np.ndarray) -> np.ndarray:
    """The elements with these spectra: times one, plus zero."""
    return numpy_kernels().masked(spectra, spectrum_of(ONE), np.zeros((len(spectra), DEGREE), dtype=np.int64))


def schoolbook(long: np.ndarray, short: np.ndarray, q: int) -> np.ndarray:
    """long·short modulo X^4096 + 1 and q; entries of `short` below 2^9, so sums stay below 2^52."""
    total = np.zeros(2 * DEGREE, dtype=np.int64)
    for shift in np.flatnonzero(short):
        total[shift : shift + DEGREE] += long.astype(np.int64) * short[shift]
    return (total[:DEGREE] - total[DEGREE:]) % q


def test_the_parameters_are_those_of_the_protocol():
    assert PRIMES == (1073692673, 1073668097)
    assert all(gmpy2.is_prime(q) and q % (2 * DEGREE) == 1 and q < 1 << 30 for q in PRIMES)
    assert (MODULUS, KAPPA) == (1152789568982753281, 4095)
    assert [root_of_unity(q) for q in PRIMES] == ROOTS
    for q in PRIMES:
        assert pow(root_of_unity(q), DEGREE, q) == q - 1


def test_the_noise_bound_is_exact_and_leaves_every_value_readable():
    assert [noise_bound(members) for members in (1, 2, 3, 4, 32)] == [80, 114, 139, 160, 453]
    assert noise_bound(MAX_MEMBERS) <= KAPPA // 2 < noise_bound(MAX_MEMBERS + 1)


@every_kernel
@pytest.mark.parametrize("tower", [0, 1])
def test_a_product_is_the_schoolbooks(kernels, tower):
    q = PRIMES[tower]
    product = kernels.masked(MASKS, SPECTRUM, ZERO)
    for block, element in enumerate(coefficients(MASKS)):
        assert np.array_equal(product[block, tower], schoolbook(element[tower], SHORT, q))


@every_kernel
@pytest.mark.parametrize("shift", [0, 1, 63, 64, 65, 2048, 4095])
def test_a_monomial_turns_an_element_and_changes_the_sign_of_what_comes_round(kernels, shift):
    monomial = np.eye(1, DEGREE, shift, dtype=np.int64)[0]
    product = kernels.masked(MASKS[:1], spectrum_of(monomial), ZERO[:1])[0]
    for tower, q in enumerate(PRIMES):
        turned = np.roll(coefficients(MASKS[:1])[0, tower].astype(np.int64), shift)
        turned[:shift] = -turned[:shift] % q
        assert np.array_equal(product[tower], turned)


def test_a_spectrum_holds_the_values_at_the_odd_powers_of_psi_in_order_by_flint():
    element = coefficients(MASKS[:1])[0]
    for tower, q in enumerate(PRIMES):
        polynomial = flint.nmod_poly(element[tower].tolist(), q)
        small = flint.nmod_poly((SHORT % q).tolist(), q)
        psi = root_of_unity(q)
        points = [pow(psi, 2 * i + 1, q) for i in range(DEGREE)]
        assert [int(polynomial(point)) for point in points] == MASKS[0, tower].tolist()
        assert [int(small(point)) for point in points] == SPECTRUM[tower].tolist()


@every_kernel
def test_masking_and_opening_agree_with_flint_modulo_q(kernels):
    """One computation in Z_q[X], q = q1·q2, without towers or transforms."""
    message = RNG.integers(-(MODULUS // 2), MODULUS // 2, (3, DEGREE), endpoint=True)
    body = kernels.masked(MASKS, SPECTRUM, message)
    ring = flint.fmpz_mod_poly_ctx(flint.fmpz_mod_ctx(MODULUS))
    modulus = ring([1] + [0] * (DEGREE - 1) + [1])
    element = coefficients(MASKS)
    for block in range(3):
        mask = ring(_joined(element[block]))
        expected = mask * ring(SHORT.tolist()) + ring(message[block].tolist())
        assert _all(expected % modulus) == _joined(body[block])
        read = unfold(message[block : block + 1])
        found = kernels.opened(MASKS[block : block + 1], SPECTRUM, body[block : block + 1])
        assert np.array_equal(found[0], read[0])
        assert found[1:] == read[1:]


def _joined(towers: np.ndarray) -> list[int]:
    q1, q2 = PRIMES
    inverse = pow(q1, -1, q2)
    return [
        one + q1 * ((two - one) * inverse % q2)
        for one, two in zip(towers[0].tolist(), towers[1].tolist(), strict=True)
    ]


def _all(polynomial: flint.fmpz_mod_poly) -> list[int]:
    found = [int(c) for c in polynomial.coeffs()]
    return found + [0] * (DEGREE - len(found))


@pytest.mark.parametrize(
    "message",
    [
        RNG.integers(-(1 << 59), 1 << 59, (19, DEGREE)),
        np.full((1, DEGREE), MODULUS // 2),
        np.full((1, DEGREE), -(MODULUS // 2)),
        RNG.integers(-4, 5, (1, DEGREE)) * PRIMES[0],
        RNG.integers(-4, 5, (1, DEGREE)) * PRIMES[1] - 1,
    ],
    ids=["random", "largest", "smallest", "multiples-of-q1", "multiples-of-q2"],
)
def test_both_backends_give_the_same_bytes(message):
    spectra = masks(context(), range(len(message)), numpy_kernels())
    for spectrum in (SPECTRUM, spectrum_of(SHORT * 0), spectrum_of(SHORT * 3)):
        bodies = [kernels.masked(spectra, spectrum, message) for kernels in KERNELS.values()]
        assert bodies[0].tobytes() == bodies[1].tobytes()
        assert all((bodies[0][:, tower] < q).all() for tower, q in enumerate(PRIMES))
        opened = [kernels.opened(spectra, spectrum, bodies[0]) for kernels in KERNELS.values()]
        assert opened[0][0].tobytes() == opened[1][0].tobytes()
        assert opened[0][1:] == opened[1][1:]


@every_kernel
def test_extreme_residues_do_not_overflow_a_word(kernels):
    """Masks and spectra of q - 1 throughout, against the oracle modulo each prime."""
    spectra = np.stack([np.full((2, DEGREE), q - 1, dtype=np.uint32) for q in PRIMES], axis=1)
    spectrum = spectra[0]
    body = kernels.masked(spectra, spectrum, ZERO[:2])
    assert np.array_equal(body[0], np.stack([ONE, ONE]))  # (-1)·(-1) at every point


@every_kernel
@pytest.mark.parametrize(
    ("low", "high"),
    [(-HALF, -HALF), (HALF - 1, -HALF), (HALF - 1, HALF - 1), (-HALF, HALF - 1), (0, 0), (-1, 0), (0, -1)],
)
@pytest.mark.parametrize("noise", [0, 2047, -2047])
def test_lanes_at_their_limits_open_through_the_largest_noise(kernels, low, high, noise):
    values = np.tile(np.array([low, high]), DEGREE)
    message = fold(values) * KAPPA + noise
    body = kernels.masked(MASKS[:1], SPECTRUM, message)
    found, seen, excess = kernels.opened(MASKS[:1], SPECTRUM, body)
    assert np.array_equal(found, values)
    assert (seen, excess) == (abs(noise), 0)


@every_kernel
@pytest.mark.parametrize("sign", [1, -1])
def test_noise_of_2048_reads_as_the_next_value(kernels, sign):
    values = np.tile(np.array([5, -7]), DEGREE)
    body = kernels.masked(MASKS[:1], SPECTRUM, fold(values) * KAPPA + 2048 * sign)
    found, seen, _ = kernels.opened(MASKS[:1], SPECTRUM, body)
    assert np.array_equal(found[::2], values[::2] + sign)
    assert seen == 2047


@every_kernel
def test_the_smallest_legal_message_opens_and_smaller_ones_are_seen_and_do_not_wrap(kernels):
    smallest = -(1 << 47) - HALF
    assert smallest == fold(np.tile(np.array([-HALF, -HALF]), DEGREE))[0, 0]
    assert abs(smallest) * KAPPA + 2047 < MODULUS // 2
    for step, excess in ((0, 0), (1, 1)):  # one less carries from the low lane into the high one
        body = kernels.masked(MASKS[:1], SPECTRUM, np.full((1, DEGREE), (smallest - step) * KAPPA))
        assert kernels.opened(MASKS[:1], SPECTRUM, body)[2] == excess
    body = kernels.masked(MASKS[:1], SPECTRUM, np.full((1, DEGREE), (1 << 47) * KAPPA))
    assert kernels.opened(MASKS[:1], SPECTRUM, body)[2] == 1


def test_folding_a_part_of_a_block_fills_it_with_zeros_and_copies_no_whole_block():
    values = RNG.integers(-HALF, HALF, VALUES + 3)
    folded = fold(values)
    assert folded.shape == (2, DEGREE)
    assert folded[0, 0] == values[0] + (values[1] << 24)
    assert folded[1, 1] == values[-1]
    assert not folded[1, 2:].any()
    assert np.array_equal(unfold(folded * KAPPA)[0][: VALUES + 3], values)
    values.flags.writeable = False  # the caller's vector is only read
    assert np.array_equal(fold(values[:VALUES]), folded[:1])


@every_kernel
@pytest.mark.parametrize("members", range(1, 12))
@pytest.mark.parametrize("first_leaf", [0, 31, 32, 95])
def test_leaves_add_residue_by_residue(kernels, members, first_leaf):
    moduli = moduli_of(70, first_leaf).astype(np.int64)
    parts = [RNG.integers(0, moduli, (70, LEAF_RESIDUES)).astype(np.uint32) for _ in range(members)]
    parts[0][3], parts[-1][3] = (moduli[3] - 1, moduli[3] - 1)
    before = [part.copy() for part in parts]
    total = kernels.add([leaves_of(part.tobytes()) for part in parts], first_leaf)
    assert np.array_equal(total, np.sum(parts, axis=0, dtype=np.int64) % moduli)
    largest = [(moduli - 1 + np.zeros_like(parts[0])).astype(np.uint32)] * members
    assert np.array_equal(
        kernels.add(largest, first_leaf), (moduli - members) % moduli + np.zeros((70, LEAF_RESIDUES))
    )
    assert all(np.array_equal(part, kept) for part, kept in zip(parts, before, strict=True))


@pytest.mark.parametrize("leaf", [0, 31, 32, 63, 64, 129])
@pytest.mark.parametrize("first_leaf", [0, 64, 7])
def test_a_residue_is_below_its_modulus_or_its_leaf_is_named(leaf, first_leaf):
    modulus = int(moduli_of(1, first_leaf + leaf)[0, 0])
    assert modulus == PRIMES[(first_leaf + leaf) % BLOCK_LEAVES // 32]
    leaves = np.repeat(moduli_of(130, first_leaf) - np.uint32(1), LEAF_RESIDUES, axis=1)
    assert first_excess(leaves, first_leaf) is None
    for found in (modulus, (1 << 32) - 1):
        wrong = leaves.copy()
        wrong[leaf, 77] = found
        wrong[leaf + 1 :, 0] = (1 << 32) - 1  # later faults are not the first
        assert first_excess(wrong, first_leaf) == (leaf, modulus, found)


def test_a_mask_takes_the_first_words_below_q_in_order():
    for q in (5, (1 << 29) + 11, PRIMES[0]):  # of the second, half of all words are refused
        seed = sha256(b"mask %d" % q)
        for count in (1, 100, DEGREE):
            assert uniform(seed, q, count).tolist() == _accepted(seed, q, count)


def _accepted(seed: bytes, q: int, count: int) -> list[int]:
    found: list[int] = []
    stream = hashlib.shake_128(seed).digest(40 * count + 400)
    for at in range(0, len(stream), 4):
        word = int.from_bytes(stream[at : at + 4], "little") % (1 << (q - 1).bit_length())
        if word < q:
            found.append(word)
    assert len(found) >= count
    return found[:count]


@every_kernel
def test_masks_with_refused_words_are_these(kernels):
    """Known answers: of the blocks 0 … 19, these towers refuse a word among the first 4096."""
    spectra = masks(context(), range(20), kernels)
    refusing = [
        (block, tower)
        for block in range(20)
        for tower, q in enumerate(PRIMES)
        if (_raw(block, tower) >= q).any()
    ]
    assert refusing == REFUSING
    for block, tower in refusing:
        seed = _seed(block, tower)
        assert spectra[block, tower].tolist() == _accepted(seed, PRIMES[tower], DEGREE)
    assert sha256(spectra.astype("<u4").tobytes()).hex() == SPECTRA
    assert spectra.shape == (20, 2, DEGREE)


def _seed(block: int, tower: int) -> bytes:
    where = context()
    parts = (where.ledger, *((n).to_bytes(8, "big") for n in (*where.round, block)), bytes([tower]))
    written = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return sha256(b"tallystick/1/mask\x00" + written)


def _raw(block: int, tower: int) -> np.ndarray:
    words = hashlib.shake_128(_seed(block, tower)).digest(4 * DEGREE)
    return np.frombuffer(words, dtype="<u4") & np.uint32((1 << 30) - 1)


@every_kernel
def test_every_block_tower_round_study_and_ledger_has_a_mask_of_its_own(kernels):
    everywhere = [
        context(),
        context(number=2),
        context(study=2),
        context(ledger=LedgerId(sha256(b"another ledger"))),
    ]
    found = [
        row.tobytes() for where in everywhere for row in masks(where, range(40), kernels).reshape(-1, DEGREE)
    ]
    assert len(set(found)) == len(found) == 320
    whole = masks(context(), range(40), kernels)
    assert np.array_equal(masks(context(), range(5, 7), kernels), whole[5:7])
    assert np.array_equal(masks(context(root=b"another total"), range(40), numpy_kernels()), whole)


@every_kernel
@pytest.mark.parametrize("seeds", [0, 1, 31, 32, 33, 70])
def test_streams_are_those_of_hashlib(kernels, seeds):
    given = [sha256(b"%d" % i) for i in range(seeds)]
    for length in (168, 98 * 168):
        streams = kernels.squeeze(given, length)
        assert streams.shape == (seeds, length)
        assert [row.tobytes() for row in streams] == [
            hashlib.shake_128(seed).digest(length) for seed in given
        ]


def test_blocks_are_read_as_towers_of_little_endian_words():
    data = np.arange(2 * 2 * DEGREE, dtype="<u4").tobytes()
    assert blocks_of(data).shape == (2, 2, DEGREE)
    assert blocks_of(data)[1, 0, 5] == 2 * DEGREE + 5


def test_compiled_code_serves_long_bodies_only_and_a_setting_forbids_it(monkeypatch):
    assert kernels_for(63) is numpy_kernels()
    assert kernels_for(64) is COMPILED
    monkeypatch.setenv(SETTING, "numpy")
    assert kernels_for(1 << 20) is numpy_kernels()


def run(code: str, **environment: str) -> str:
    """What a Python process of its own prints; coverage follows it."""
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return found.stdout.strip()


def test_without_numba_everything_falls_back_to_numpy():
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "from federation.ciphers.ring.kernels import kernels_for, numpy_kernels\n"
        "print(kernels_for(1000) is numpy_kernels())"
    )
    assert run(code) == "True"


def test_where_numba_can_keep_nothing_on_disk_it_compiles_all_the_same():
    code = (
        "from numba.core.caching import CacheImpl\n"
        "CacheImpl._locator_classes = []\n"
        "import numpy as np\n"
        "from federation.ciphers.ring.compiled import CompiledKernels\n"
        "ones = np.ones((2, 128), dtype=np.uint32)\n"
        "print(CompiledKernels().add([ones, ones], 0).sum())"
    )
    assert run(code) == "512"


def test_the_compiled_code_gives_the_same_bytes_as_plain_python():
    """Numba told not to compile: each line runs as Python, wrapping 32-bit words as NumPy scalars do."""
    code = (
        "import numpy as np, warnings\n"
        "warnings.simplefilter('ignore', RuntimeWarning)\n"
        "from tests.ciphers.test_ring import MASKS, SPECTRUM, KERNELS, DEGREE\n"
        "message = np.random.default_rng(5).integers(-2**59, 2**59, (1, DEGREE))\n"
        "one, two = (k.masked(MASKS[:1], SPECTRUM, message) for k in KERNELS.values())\n"
        "a, b = (k.opened(MASKS[:1], SPECTRUM, one) for k in KERNELS.values())\n"
        "c, d = (k.add([one.reshape(-1, 128)] * 3, 0) for k in KERNELS.values())\n"
        "e, f = (k.squeeze([bytes([i]) * 32 for i in range(32)], 168) for k in KERNELS.values())\n"
        "same = [(e == f).all(), (one == two).all(), (a[0] == b[0]).all(), a[1:] == b[1:], (c == d).all()]\n"
        "print(all(same), len(same))"
    )
    assert run(code, NUMBA_DISABLE_JIT="1") == "True 5"
