"""Whole attacks on a suite: each succeeds where one check is skipped, and is refused where it is not.

Ciphertexts of earlier rounds are public, totals are computed correctly, and every share is honest:
what stops these attacks is the submission proof alone. The attack on `hybrid` is in `test_hybrid`.
"""

from __future__ import annotations

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz

from federation.ciphers.paillier import PaillierSuite
from federation.ciphers.suite import Seed
from federation.ciphers.threshold.packing import lanes_of, unpack_lanes
from federation.ciphers.threshold.residues import pack, unpack
from federation.errors import ProofFailed, Violation

from .forgery import forge_submission
from .keys import dealt
from .one_round import Update, admit, capsule_of, combine, context, encrypt, root, shares_of

DEALING = dealt(512)
LANES = lanes_of(512)
VALUES = 2 * LANES + 1  # three leaves, the last with one lane in use
SUITE = PaillierSuite(DEALING.public_key, values=VALUES)
N, SQUARE = SUITE.key.n, SUITE.key.n_squared
RNG = np.random.default_rng(1)


def honest(name: str) -> tuple[np.ndarray, Update]:
    values = RNG.integers(-(1 << 15), 1 << 15, VALUES)
    return values, encrypt(SUITE, values, seed=Seed(name.encode().ljust(32)), header=name.encode())


def best_effort(suite, leaves: bytes, known: list[tuple[int, int]]) -> Update:
    """The attacker's update, with a proof made from what it knows of each leaf: plaintext and randomiser."""
    header = b"attacker, round 2"
    proof = forge_submission(
        suite.key,
        [mpz(m) for m, _ in known],
        [mpz(alpha) for _, alpha in known],
        header=header,
        root=root(suite, header, leaves),
    )
    return Update(header=header, leaves=leaves, proof=proof)


def joined(suite, total: bytes, dealing=DEALING):
    shares = shares_of(suite, total, dealing.key_shares, (1, 2), context(number=2))
    return suite.join(capsule_of(suite, total), shares)


def test_a_victims_leaf_in_the_attackers_padding_is_read_where_the_proof_is_skipped_and_refused_with_it():
    victim, earlier = honest("victim, round 1")
    others = [honest(f"hospital {i}, round 2") for i in range(2)]
    enc = [pow(SUITE.key.h_s, 1000 + k, SQUARE) for k in range(3)]  # zeros, of the attacker's own
    stolen = unpack(earlier.leaves, 128)[1]  # the victim's lanes LANES … 2·LANES - 1
    leaves = pack([enc[0], enc[1], enc[2] * stolen % SQUARE], 128)
    attack = best_effort(SUITE, leaves, [(0, 1000), (0, 1001), (0, 1002)])

    total = combine(SUITE, [attack.leaves, *(update.leaves for _, update in others)])
    opening = joined(SUITE, total)
    SUITE.check_opening(total, opening, context(number=2))  # a lawful opening of a correct total
    last = unpack_lanes(unpack(opening.plaintexts, 64)[2], N, LANES)
    assert last[1:].tolist() == victim[LANES + 1 : 2 * LANES].tolist()  # all lanes but the one in use
    with pytest.raises(Violation, match="unused lanes"):  # seen, but too late
        SUITE.decode(opening, [], context=context(number=2), count=VALUES, members=3)

    with pytest.raises(ProofFailed):
        admit(SUITE, attack)


def test_an_inverse_replay_isolates_another_hospital_where_the_proof_is_skipped_and_is_refused_with_it():
    first, earlier = honest("first hospital, an abandoned round")
    second, update = honest("second hospital, round 2")
    again = encrypt(SUITE, first, seed=Seed(b"another seed".ljust(32)), header=b"first hospital, round 2")
    inverses = [gmpy2.invert(c, SQUARE) for c in unpack(earlier.leaves, 128)]
    attack = best_effort(SUITE, pack(inverses, 128), [(0, 0)] * 3)
    opening = joined(SUITE, combine(SUITE, [again.leaves, update.leaves, attack.leaves]))
    found = SUITE.decode(opening, [], context=context(number=2), count=VALUES, members=3)
    assert found.tolist() == second.tolist()
    with pytest.raises(ProofFailed):
        admit(SUITE, attack)
