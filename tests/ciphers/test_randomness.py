"""Where randomness comes from, and that no two different things ever share it."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import gmpy2
import numpy as np
import pytest

from federation.ciphers.paillier import PaillierSuite
from federation.ciphers.suite import Seed
from federation.ciphers.threshold.residues import unpack
from federation.runs import Run

from .keys import dealt, primes
from .one_round import SEED, context, encrypt, vector

SUITE = PaillierSuite(dealt(256).public_key, values=27)  # three leaves
KEY = SUITE.key
P, Q = primes(256)


def randomisers(leaves: bytes) -> list[int]:
    """(c mod n)^(1/n): each leaf's n-th root, which the factors of n lay bare."""
    inverse = gmpy2.invert(KEY.n, (P - 1) * (Q - 1))
    return [int(gmpy2.powmod(c % KEY.n, inverse, KEY.n)) for c in unpack(leaves, 64)]


def test_the_same_seed_with_a_value_more_gives_unrelated_randomness():
    """Otherwise the quotient of two ciphertexts shows the difference of two updates, to anyone."""
    values = np.arange(27)
    other = values.copy()
    other[0] += 1  # in leaf 1 only
    first, second = (encrypt(SUITE, x).leaves for x in (values, other))
    assert not set(randomisers(first)) & set(randomisers(second))
    for a, b in zip(unpack(first, 64), unpack(second, 64), strict=True):
        assert (a * gmpy2.invert(b, KEY.n_squared) - 1) % KEY.n


@pytest.mark.parametrize(
    ("seed", "header"),
    [(SEED, b"another header"), (Seed(bytes(32)), b"header")],
    ids=["header", "seed"],
)
def test_another_header_or_seed_gives_unrelated_randomness(seed, header):
    first = encrypt(SUITE, np.arange(27)).leaves
    second = encrypt(SUITE, np.arange(27), seed=seed, header=header).leaves
    assert not set(randomisers(first)) & set(randomisers(second))


def test_another_key_gives_unrelated_randomness():
    other = PaillierSuite(dealt(256, 3, 5).public_key, values=27)  # over the same modulus
    leaves = [encrypt(suite, np.arange(27)).leaves for suite in (SUITE, other)]
    assert not set(randomisers(leaves[0])) & set(randomisers(leaves[1]))


def test_equal_plaintexts_in_different_leaves_look_unrelated():
    leaves = unpack(encrypt(SUITE, np.zeros(27, dtype=np.int64)).leaves, 64)
    assert len(set(leaves)) == 3


def test_the_proofs_nonce_changes_with_header_values_and_root():
    made = SUITE.encrypt(np.arange(27), seed=SEED, header=b"header", context=context())
    proofs = [made.prove(bytes(32)), made.prove(bytes([1]) * 32)]
    for values, header in ((np.arange(27), b"other"), (np.arange(27) + 1, b"header")):
        proofs.append(SUITE.encrypt(values, seed=SEED, header=header, context=context()).prove(bytes(32)))
    assert len({proof[:64] for proof in proofs}) == 4
    assert made.prove(bytes(32)) == proofs[0]


def work(worker: int) -> bytes:
    """One forked worker's part: leaf `worker` of the same update."""
    made = SUITE.encrypt(np.zeros(27, dtype=np.int64), seed=SEED, header=b"header", context=context())
    return made.run(Run(first=1 + worker % 3, count=1, width=64)) + made.prove(bytes([worker]) * 32)[:64]


def test_four_forked_workers_never_share_a_stream_unless_they_do_the_same_work():
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        parts = list(pool.map(work, range(4)))
    leaves = [part[:64] for part in parts]
    assert len(set(leaves[:3])) == 3
    assert leaves[3] == leaves[0]  # leaf 1 again, byte for byte
    assert len({part[64:] for part in parts}) == 4  # four roots, four nonces
    whole = SUITE.encrypt(np.zeros(27, dtype=np.int64), seed=SEED, header=b"header", context=context())
    assert whole.run(SUITE.layout.capsule) == b"".join(leaves[:3])


def test_the_sign_of_a_value_does_not_show_in_the_length_of_anything():
    sizes = {len(encrypt(SUITE, vector(*[value] * 27)).leaves) for value in (-1, 0, 1, -(1 << 23))}
    assert sizes == {3 * 64}
