"""Other people's Paillier agrees with ours: `phe` (one key), `damgard-jurik` (another way to t of N)."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from damgard_jurik.crypto import EncryptedNumber, PrivateKeyRing, PrivateKeyShare
from damgard_jurik.crypto import PublicKey as DamgardJurikKey
from damgard_jurik.shamir import share_secret
from damgard_jurik.utils import crm
from gmpy2 import mpz
from phe.paillier import PaillierPrivateKey, PaillierPublicKey

from federation.ciphers.paillier import PaillierSuite
from federation.ciphers.threshold.capsule import Capsule
from federation.ciphers.threshold.keys import decode_key
from federation.ciphers.threshold.packing import lanes_of, pack_lanes, unpack_vector
from federation.ciphers.threshold.residues import pack, unpack

from .keys import dealt, primes
from .one_round import combine, context, encrypt, shares_of

every_length = pytest.mark.parametrize("bits", [256, 2048])


def phe_keys(bits: int) -> tuple[PaillierPublicKey, PaillierPrivateKey]:
    p, q = primes(bits)
    public = PaillierPublicKey(int(p * q))
    return public, PaillierPrivateKey(public, int(p), int(q))


@every_length
def test_phe_reads_what_we_encrypt(bits):
    suite = PaillierSuite(dealt(bits).public_key, values=20)
    values = np.arange(20) * -99_999
    _, private = phe_keys(bits)
    found = [private.raw_decrypt(int(c)) for c in unpack(encrypt(suite, values).leaves, bits // 4)]
    lanes = (bits - 18) // 24
    padded = np.zeros(len(found) * lanes, dtype=np.int64)
    padded[:20] = values
    assert found == [pack_lanes(row) % suite.key.n for row in padded.reshape(len(found), lanes)]


@every_length
@pytest.mark.parametrize("lane_bits", [24, 14])
def test_phe_reads_every_lane_of_a_capsule(bits, lane_bits):
    half = 1 << (lane_bits - 1)
    values = np.random.default_rng(5).integers(-half, half, 200)
    capsule = Capsule(decode_key(dealt(bits).public_key), values=200, lane_bits=lane_bits)
    leaves = capsule.encrypt(values, secret=bytes(32), header=b"header").run(capsule.run)
    _, private = phe_keys(bits)
    found = [mpz(private.raw_decrypt(int(c))) for c in unpack(leaves, bits // 4)]
    opened = unpack_vector(
        found, capsule.key.n, lanes=lanes_of(bits, lane_bits), count=200, lane_bits=lane_bits
    )
    assert opened.tolist() == values.tolist()


@every_length
def test_what_phe_encrypts_adds_to_ours_and_opens_jointly(bits):
    suite = PaillierSuite(dealt(bits).public_key, values=5)
    public, _ = phe_keys(bits)
    theirs = public.raw_encrypt(int(pack_lanes(np.array([10, -20, 30, -40, 50])) % suite.key.n))
    ours = encrypt(suite, np.array([1, 2, 3, 4, 5])).leaves
    total = combine(suite, [ours, pack([mpz(theirs)], bits // 4)])
    suite.check_run(suite.layout.capsule, total)
    opening = suite.join(total, shares_of(suite, total, dealt(bits).key_shares, (1, 3), context()))
    suite.check_opening(total, opening, context())
    found = suite.decode(opening, [], context=context(), count=5, members=2)
    assert found.tolist() == [11, -18, 33, -36, 55]


def test_a_second_threshold_construction_over_the_same_primes_opens_alike():
    """Damgård and Jurik share d = 0 mod p'q', 1 mod n, and raise c itself modulo n²."""
    p, q = primes(256)
    n, order = int(p * q), int((p - 1) // 2 * ((q - 1) // 2))
    shared = share_secret(
        secret=crm(a_list=[0, 1], n_list=[order, n]), modulus=n * order, threshold=3, n_shares=5
    )
    key = DamgardJurikKey(n=n, s=1, m=order, threshold=3, delta=factorial(5))
    holders = [PrivateKeyShare(public_key=key, i=i, s_i=s) for i, s in shared]

    suite = PaillierSuite(dealt(256, 3, 5).public_key, values=20)
    total = combine(suite, [encrypt(suite, np.arange(20) * k).leaves for k in (1, -5, 3)])
    shares = shares_of(suite, total, dealt(256, 3, 5).key_shares, (1, 2, 4), context())
    ours = unpack(suite.join(total, shares).plaintexts, 32)
    for chosen in list(combinations(holders, 3))[::3]:
        ring = PrivateKeyRing(private_key_shares=list(chosen))
        theirs = [ring.decrypt(EncryptedNumber(int(c), key)) for c in unpack(total, 64)]
        assert theirs == ours
