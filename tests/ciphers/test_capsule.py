"""What a capsule promises whatever the width of its lanes and wherever in a payload it stands."""

from __future__ import annotations

import pickle

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.ciphers.threshold import encryption
from federation.ciphers.threshold.capsule import Capsule
from federation.ciphers.threshold.keys import decode_key
from federation.ciphers.threshold.residues import unpack
from federation.digest import secret_stream
from federation.errors import Malformed, ProofFailed, Refused, Violation
from federation.runs import Run

from .keys import dealt
from .one_round import context

DEALING = dealt(256)
KEY = decode_key(DEALING.public_key)
ROOT = context().root
each_width = pytest.mark.parametrize("lane_bits", [24, 14])
quick_runs = settings(max_examples=20, deadline=None)


def capsule_of(values: int, lane_bits: int, *, first: int = 1) -> Capsule:
    return Capsule(KEY, values=values, lane_bits=lane_bits, first=first)


def secret(number: int) -> bytes:
    return bytes([number]) * 32


@each_width
@quick_runs
@given(data=st.data())
def test_the_opened_capsule_is_the_sum_of_the_vectors(lane_bits, data):
    count, members = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 4))
    half = 1 << (lane_bits - 1)
    part = st.integers(-(half // members), (half - 1) // members)
    vectors = [
        np.array(data.draw(st.lists(part, min_size=count, max_size=count)), dtype=np.int64)
        for _ in range(members)
    ]
    capsule = capsule_of(count, lane_bits, first=data.draw(st.integers(1, 100)))
    parts = []
    for number, vector in enumerate(vectors):
        made = capsule.encrypt(vector, secret=secret(number), header=b"header")
        parts.append(made.run(capsule.run))
        capsule.check_run(capsule.run, parts[-1])
        proof = made.prove(ROOT)
        assert len(proof) == capsule.proof_bytes
        capsule.check_proof(parts[-1], proof, header=b"header", root=ROOT)
    total = capsule.combine(capsule.run, parts)
    shares = {
        member: capsule.share(
            total, member=member, key_share=DEALING.key_shares[member - 1], context=context()
        )
        for member in (1, 3)
    }
    for member, share in shares.items():
        assert len(share) == capsule.share_bytes
        capsule.check_share(total, share, member=member, context=context())
    opening = capsule.join(total, shares)
    capsule.check_opening(total, opening, context())
    assert len(opening.plaintexts) == capsule.opening_leaf.size
    assert capsule.decode(opening.plaintexts).tolist() == sum(vectors).tolist()


@each_width
def test_a_capsules_bytes_do_not_depend_on_where_it_stands(lane_bits):
    values = np.arange(50)
    made = {}
    for first in (1, 20):
        capsule = capsule_of(50, lane_bits, first=first)
        encryption = capsule.encrypt(values, secret=secret(1), header=b"header")
        made[first] = encryption.run(capsule.run), encryption.prove(ROOT)
        assert (capsule.run.first, capsule.opening_leaf.first) == (first, first)
    assert made[1] == made[20]


@each_width
def test_a_malformed_leaf_is_named_by_its_place_in_the_payload(lane_bits):
    capsule = capsule_of(50, lane_bits, first=20)
    data = bytearray(capsule.encrypt(np.arange(50), secret=secret(1), header=b"").run(capsule.run))
    data[64:128] = bytes(64)
    with pytest.raises(Malformed) as caught:
        capsule.check_run(capsule.run, bytes(data))
    assert (caught.value.leaf, caught.value.rule) == (21, "zero")


@each_width
def test_a_capsule_is_the_same_in_whatever_pieces_it_is_made(lane_bits):
    capsule = capsule_of(100, lane_bits, first=7)
    made = capsule.encrypt(np.arange(100), secret=secret(1), header=b"")
    run = capsule.run
    single = [made.run(Run(first=k, count=1, width=64)) for k in range(run.first, run.first + run.count)]
    assert b"".join(single) == made.run(run)
    for first, count in ((6, 1), (7, run.count + 1), (7 + run.count, 1)):
        with pytest.raises(Refused):
            made.run(Run(first=first, count=count, width=64))


@each_width
def test_a_value_out_of_its_lane_is_refused(lane_bits):
    half = 1 << (lane_bits - 1)
    capsule = capsule_of(2, lane_bits)
    for value in (-half, half - 1):
        capsule.encrypt(np.array([0, value]), secret=secret(1), header=b"")
    for value in (-half - 1, half):
        with pytest.raises(Refused, match="value 1"):
            capsule.encrypt(np.array([0, value]), secret=secret(1), header=b"")


@each_width
def test_another_secret_gives_unrelated_ciphertexts_and_another_header_another_proof(lane_bits):
    capsule = capsule_of(50, lane_bits)
    first, second = (
        capsule.encrypt(np.arange(50), secret=secret(k), header=b"header").run(capsule.run) for k in (1, 2)
    )
    assert not set(unpack(first, 64)) & set(unpack(second, 64))
    other = capsule.encrypt(np.arange(50), secret=secret(1), header=b"other")
    assert (
        other.run(capsule.run) == first
    )  # the caller derives the secret from the header, the proof is bound
    with pytest.raises(ProofFailed):
        capsule.check_proof(first, other.prove(ROOT), header=b"header", root=ROOT)


@each_width
def test_lanes_in_use_by_no_value_have_to_open_to_zero(lane_bits):
    wide, narrow = capsule_of(4, lane_bits), capsule_of(3, lane_bits)
    total = wide.encrypt(np.array([1, 2, 3, -4]), secret=secret(1), header=b"").run(wide.run)
    shares = {
        member: wide.share(total, member=member, key_share=DEALING.key_shares[member - 1], context=context())
        for member in (1, 2)
    }
    opened = wide.join(total, shares).plaintexts
    assert wide.decode(opened).tolist() == [1, 2, 3, -4]
    with pytest.raises(Violation, match="unused lanes"):
        narrow.decode(opened)


def test_a_short_key_of_4096_digits_takes_nineteen_ciphertexts_at_3072_bits():
    key = decode_key(dealt(3072).public_key)
    assert Capsule(key, values=4096, lane_bits=14).run.count == 19
    assert Capsule(key, values=4096, lane_bits=24).run.count == 33


@each_width
def test_ciphertexts_made_with_the_table_are_those_of_the_definition(lane_bits):
    capsule = capsule_of(1200, lane_bits)
    made = capsule.encrypt(np.arange(1200), secret=secret(1), header=b"")
    n, n_squared = capsule.key.n, capsule.key.n_squared
    for k, ciphertext in enumerate(unpack(made.run(capsule.run), capsule.run.width), start=1):
        stream = secret_stream(secret(1), "randomiser", capsule.key.bits // 16, k.to_bytes(8, "big"))
        mask = gmpy2.powmod(capsule.key.h_s, mpz.from_bytes(stream, "big"), n_squared)
        assert ciphertext == (1 + made.plaintexts[k - 1] * n) * mask % n_squared


def test_an_encryption_sent_to_another_process_makes_the_same_bytes_from_one_table():
    capsule = capsule_of(2000, 24)
    made = capsule.encrypt(np.arange(2000), secret=secret(9), header=b"header")
    sent = pickle.dumps(made)
    assert len(sent) < 3 * 2000 + 4096  # three bytes a value, and the key
    encryption._table.cache_clear()
    copies = [pickle.loads(sent) for _ in range(2)]
    pieces = [Run(first=1, count=100, width=64), Run(first=101, count=capsule.run.count - 100, width=64)]
    assert b"".join(copy.run(piece) for copy, piece in zip(copies, pieces, strict=True)) == made.run(
        capsule.run
    )
    assert encryption._table.cache_info().misses == 1
    assert copies[0].prove(ROOT) == made.prove(ROOT)


def test_an_encryption_never_shows_its_secret():
    made = capsule_of(1, 24).encrypt(np.array([4242]), secret=b"hush" * 8, header=b"header")
    assert "hush" not in repr(made)
    assert "digits" not in repr(made)
