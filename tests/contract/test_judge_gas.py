"""What a dispute costs in a tree of a million values, calldata included, as a transaction to the judge.

There the facts and the updates' roots are calldata too; a ledger has them in its storage.
"""

from __future__ import annotations

import random

import pytest

from deploy.contracts import built
from deploy.devnet import BLOCK_GAS
from federation.ciphers.ring.element import PRIMES
from tests.contract.court import HYBRID, Facts, shown, sum_case

CHUNKS = 64 * 123  # of 1,000,000 values; the tree is 13 deep
PRODUCT_GOAL, CHUNK_GOAL = 600_000, 432_000  # gas, ten members
CODE_LIMIT, CREATION_LIMIT = 24_576, 49_152  # bytes: EIP-170, EIP-3860
MEMBERS = (3, 10, 16, 32)


def product(draw: random.Random, bits: int, members: int):
    """One leaf of a capsule, the right product being another one."""
    n = draw.getrandbits(bits) | 1 << bits - 1 | 1
    key, (evidence,) = shown(draw, n.to_bytes(bits // 8, "big"))
    facts = Facts(suite=HYBRID, ciphertexts=19, chunks=CHUNKS, key=key)
    leaves = [draw.randrange(1, n * n).to_bytes(bits // 4, "big") for _ in range(members)]
    return sum_case(draw, facts, 7, leaves, b"wrong", evidence)


def chunk(draw: random.Random, members: int):
    """One leaf of a body."""
    facts = Facts(suite=HYBRID, ciphertexts=19, chunks=CHUNKS)
    residues = [[draw.randrange(PRIMES[1]) for _ in range(128)] for _ in range(members)]
    leaves = [b"".join(value.to_bytes(4, "little") for value in part) for part in residues]
    return sum_case(draw, facts, 1000, leaves, b"wrong")


def test_a_dispute_among_ten_members_keeps_its_goal(court):
    draw = random.Random("gas")
    assert court.price(product(draw, 3072, 10)) <= PRODUCT_GOAL
    assert court.price(chunk(draw, 10)) <= CHUNK_GOAL


@pytest.mark.parametrize("members", MEMBERS)
def test_a_dispute_among_any_number_of_members_fits_in_a_tenth_of_a_block(court, members):
    draw = random.Random("gas")
    figures = {bits: court.price(product(draw, bits, members)) for bits in (2048, 3072, 4096)}
    figures[0] = court.price(chunk(draw, members))
    print(court.devnet.kind, members, figures)
    assert max(figures.values()) < BLOCK_GAS // 10


def test_ledger_and_court_fit_in_one_deployment():
    build = built()
    codes = [build["deployedBytecode"], build["court"]["deployedBytecode"]]
    assert max(len(code) // 2 - 1 for code in codes) <= CODE_LIMIT
    founders = 64 * 5 * 32  # bytes of the constructor's argument
    assert len(build["bytecode"]) // 2 - 1 + founders <= CREATION_LIMIT
