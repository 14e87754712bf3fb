"""A suite with a masked body fits `CipherSuite`; the laws of `test_laws` run over it too."""

from __future__ import annotations

import numpy as np
import pytest

from federation.ciphers.suite import CipherSuite
from federation.errors import Malformed, Violation

from .keys import dealt
from .miniature_hybrid import LANES, WIDTH, MiniatureHybrid, Q
from .one_round import body_of, combine, context, encrypt, pieces, shares_of

SUITE: CipherSuite = MiniatureHybrid(dealt(256).public_key, values=500)


def test_the_joint_work_does_not_grow_with_the_vector():
    longer = MiniatureHybrid(dealt(256).public_key, values=5000)
    assert longer.share_bytes == SUITE.share_bytes
    assert longer.opening_leaf == SUITE.opening_leaf
    assert longer.layout.capsule == SUITE.layout.capsule
    assert longer.layout.body.count == -(-5000 // LANES)


def test_the_mask_belongs_to_one_round():
    """Expanded from the round that encryption and decoding are told: in another round nothing decodes."""
    update = encrypt(SUITE, np.arange(500))
    shares = shares_of(SUITE, update.leaves, dealt(256).key_shares, (1, 2), context())
    opening = SUITE.join(update.leaves[: SUITE.layout.capsule.size], shares)
    body = body_of(SUITE, update.leaves)
    assert SUITE.decode(opening, body, context=context(), count=500, members=1).tolist() == list(range(500))
    with pytest.raises(Violation, match="noise"):
        SUITE.decode(opening, body, context=context(number=2), count=500, members=1)


def test_a_residue_out_of_range_in_the_body_is_named_by_its_index_in_the_tree():
    leaves = bytearray(encrypt(SUITE, np.arange(500)).leaves)
    start = SUITE.layout.capsule.size + 3 * WIDTH
    leaves[start : start + 8] = Q.to_bytes(8, "little")
    capsule, body = pieces(SUITE, bytes(leaves))
    SUITE.check_run(*capsule)
    with pytest.raises(Malformed) as caught:
        SUITE.check_run(*body)
    assert (caught.value.leaf, caught.value.rule) == (SUITE.layout.body.first + 3, "range")


def test_one_garbled_coefficient_spoils_the_round_and_names_nobody():
    leaves = bytearray(encrypt(SUITE, np.arange(500)).leaves)
    leaves[SUITE.layout.capsule.size + 3 * WIDTH] ^= 0xFF
    total = combine(SUITE, [bytes(leaves), encrypt(SUITE, np.arange(500), header=b"other").leaves])
    capsule = total[: SUITE.layout.capsule.size]
    opening = SUITE.join(capsule, shares_of(SUITE, total, dealt(256).key_shares, (1, 3), context()))
    SUITE.check_opening(capsule, opening, context())
    with pytest.raises(Violation, match="noise") as caught:
        SUITE.decode(opening, body_of(SUITE, total), context=context(), count=500, members=2)
    assert caught.value.culprit is None
