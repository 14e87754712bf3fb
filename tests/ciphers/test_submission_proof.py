"""What the submission proof refuses: everything but one's own plaintexts under one's own header."""

from __future__ import annotations

import numpy as np
import pytest
from gmpy2 import mpz

from federation.ciphers.paillier import PaillierSuite
from federation.ciphers.threshold.residues import pack, unpack
from federation.ciphers.threshold.submission import SLACK_BITS
from federation.errors import ProofFailed

from .forgery import forge_submission
from .keys import dealt, primes
from .one_round import Update, admit, encrypt, root

P, Q = primes(256)
N = P * Q
SUITE = PaillierSuite(dealt(256).public_key, values=20)  # three leaves
KEY = SUITE.key
HONEST = encrypt(SUITE, np.arange(20))
C = unpack(HONEST.leaves, 64)
PLAINTEXTS, RANDOMISERS = [mpz(5), mpz(6), mpz(7)], [mpz(1) << 100, mpz(8), mpz(9)]


def own(*, header: bytes = b"header", more: int = 0, **choices: int) -> Update:
    """An update straight from the formulas, where the sender chooses what honest code does not."""
    leaves = [
        (1 + m * N) * pow(KEY.h_s, alpha, N * N) % (N * N)
        for m, alpha in zip(PLAINTEXTS, RANDOMISERS, strict=True)
    ]
    data = pack([leaves[0] + more, *leaves[1:]], 64)
    proof = forge_submission(
        KEY, PLAINTEXTS, RANDOMISERS, header=header, root=root(SUITE, header, data), **choices
    )
    return Update(header=header, leaves=data, proof=proof)


def refuse(update: Update, reason: str | None) -> None:
    with pytest.raises(ProofFailed, match=reason):
        SUITE.check_proof(
            update.leaves, update.proof, header=update.header, root=root(SUITE, update.header, update.leaves)
        )


def test_a_second_prover_written_from_the_formulas_is_accepted():
    admit(SUITE, own())


@pytest.mark.parametrize(
    "leaves",
    [
        [C[1], C[0], C[2]],
        [C[0] * KEY.h_s % (N * N), *C[1:]],
        [C[0] * (1 + N) % (N * N), *C[1:]],
        [pow(c, -1, N * N) for c in C],
        [pow(c, 128, N * N) for c in C],
        [N * N - c for c in C],
    ],
    ids=["swapped", "re-randomised", "shifted", "inverted", "scaled", "negated"],
)
def test_a_capsule_made_from_anothers_is_refused(leaves):
    refuse(Update(header=HONEST.header, leaves=pack(leaves, 64), proof=HONEST.proof), "equation")


def test_a_proof_replayed_with_its_capsule_under_another_header_is_refused():
    refuse(Update(header=b"another", leaves=HONEST.leaves, proof=HONEST.proof), "equation")


def test_a_proof_for_another_tree_is_refused():
    with pytest.raises(ProofFailed, match="equation"):
        SUITE.check_proof(
            HONEST.leaves, HONEST.proof, header=b"header", root=root(SUITE, b"h", HONEST.leaves)
        )


def test_a_proof_under_another_key_is_refused():
    other = PaillierSuite(dealt(256, 3, 5).public_key, values=20)  # the same modulus, other holders
    with pytest.raises(ProofFailed, match="equation"):
        admit(other, HONEST)


def test_a_proof_with_a_zero_more_before_its_last_number_is_refused():
    longer = HONEST.proof[:96] + b"\0" + HONEST.proof[96:]
    refuse(Update(header=HONEST.header, leaves=HONEST.leaves, proof=longer), "length in bytes")


def test_a_response_beyond_its_range_is_refused():
    admit(SUITE, own(alpha_0=(mpz(1) << 128 + SLACK_BITS) - 1))
    refuse(own(alpha_0=mpz(1) << 128 + SLACK_BITS + 1), "ζ in bits")


def test_a_plaintext_response_of_another_spelling_is_refused():
    admit(SUITE, own(m_0=N - 1))
    for m_0 in range(40):  # z + n has to fit its width
        update = own(m_0=mpz(m_0) << 250)
        z = mpz.from_bytes(update.proof[128:192], "big") >> 256
        if z + N < mpz(1) << 256:
            refuse(own(m_0=mpz(m_0) << 250, more_z=N), "z: expected below n")
            return
    pytest.fail("no response was small enough to be written twice")


def test_a_commitment_of_another_spelling_is_refused():
    refuse(own(more_d=N * N), "units modulo n²")


def test_a_ciphertext_of_another_spelling_is_refused():
    refuse(own(more=N * N), "units modulo n²")


@pytest.mark.parametrize("d", [mpz(0), N, P, N * N - N])
def test_a_commitment_that_is_no_unit_is_refused(d):
    refuse(
        Update(header=HONEST.header, leaves=HONEST.leaves, proof=pack([d], 64) + HONEST.proof[64:]), "units"
    )


@pytest.mark.parametrize("c", [mpz(0), N, P, N * N - N])
def test_a_ciphertext_that_is_no_unit_is_refused(c):
    refuse(Update(header=HONEST.header, leaves=pack([c, *C[1:]], 64), proof=HONEST.proof), "units")


@pytest.mark.parametrize("position", [0, 63, 64, 95, 96, -1])
def test_one_altered_byte_of_a_proof_is_refused(position):
    altered = bytearray(HONEST.proof)
    altered[position] ^= 1
    refuse(Update(header=HONEST.header, leaves=HONEST.leaves, proof=bytes(altered)), None)


def test_the_response_hides_the_randomisers():
    """ζ is as long as the nonce, though the randomisers' part is 160 bits shorter at the least."""
    zeta = mpz.from_bytes(HONEST.proof[96:], "big")
    assert zeta.bit_length() > KEY.randomiser_bits + SLACK_BITS - 64
