"""The suite `hybrid` beyond the laws: its attacks, its randomness, its limits, and two dealers."""

from __future__ import annotations

import dataclasses
import pickle
import tracemalloc
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz

from federation import cbor
from federation.ciphers import suite_for
from federation.ciphers.hybrid.capsules import HybridCapsule
from federation.ciphers.hybrid.encryption import HybridEncryption
from federation.ciphers.hybrid.keys import decode_keys, encode_keys
from federation.ciphers.hybrid.suite import HybridSuite
from federation.ciphers.ring.element import (
    BLOCK_BYTES,
    BLOCK_LEAVES,
    DEGREE,
    LEAF_BYTES,
    MODULUS,
    PRIMES,
    VALUES,
    blocks_of,
    noise_bound,
    spectrum_of,
)
from federation.ciphers.ring.gaussian import gaussians
from federation.ciphers.ring.kernels import SETTING, numpy_kernels
from federation.ciphers.ring.masks import masks
from federation.ciphers.secret import update_secret
from federation.ciphers.suite import Dealing, IntVector, KeyShare, Opening, Seed
from federation.ciphers.threshold.keys import decode_key
from federation.ciphers.threshold.residues import pack, unpack
from federation.digest import derive
from federation.errors import Malformed, ProofFailed, Refused, Violation
from federation.runs import Run

from .forgery import forge_submission
from .keys import dealt
from .one_round import (
    SEED,
    Update,
    admit,
    body_of,
    capsule_of,
    combine,
    context,
    decode,
    encrypt,
    pieces,
    root,
    shares_of,
)
from .suites import second_dealing, two_dealers

DEALING = dealt(256)
COUNT = VALUES + 100  # a block and a little
SUITE = HybridSuite(DEALING.public_key, values=COUNT)
CAPSULE = HybridCapsule(decode_keys(DEALING.public_key))
HALF = 1 << 23
RNG = np.random.default_rng(3)


def seed(name: str) -> Seed:
    return Seed(name.encode().ljust(32))


def some_values(bits: int = 15, count: int = COUNT) -> IntVector:
    return RNG.integers(-(1 << bits), 1 << bits, count)


def opened(total: bytes, members: tuple[int, ...] = (1, 2)) -> Opening:
    """A lawful opening, checked as everyone checks it."""
    capsule = capsule_of(SUITE, total)
    opening = SUITE.join(capsule, shares_of(SUITE, total, DEALING.key_shares, members, context()))
    SUITE.check_opening(capsule, opening, context())
    return opening


def sum_of(updates: list[Update]) -> IntVector:
    for update in updates:
        admit(SUITE, update)
    total = combine(SUITE, [update.leaves for update in updates])
    return decode(SUITE, total, opened(total), count=COUNT, members=len(updates))


def unmasked(body: bytes, key: IntVector, where=None) -> tuple[IntVector, int]:
    """What whoever knows `key` reads in a body, and the noise that is left."""
    blocks = blocks_of(body)
    spectra = masks(where or context(), range(len(blocks)), numpy_kernels())
    values, noise, _ = numpy_kernels().opened(spectra, spectrum_of(key), blocks)
    return values, noise


def key_of(secret: bytes, dealer: int = 0) -> IntVector:
    """s, from the update's own secret (§7.12.4)."""
    stream = derive(secret, "hybrid key", dealer.to_bytes(8, "big"))
    return gaussians(stream, DEGREE, streams=range(1))[0].astype(np.int64)


# Attacks


def test_an_amplified_old_capsule_reads_a_victims_whole_round_and_the_submission_proof_refuses_it():
    """SECURITY test 3(a). Round 2: the attacker sends the victim's capsule of round 1 raised to 128."""
    victim = some_values()
    earlier = encrypt(SUITE, victim, seed=seed("victim"), header=b"victim, round 1")
    others = [
        encrypt(SUITE, some_values(), seed=seed(f"other {i}"), header=b"round 2, other %d" % i)
        for i in range(2)
    ]
    key = CAPSULE.keys[0]
    stolen = unpack(capsule_of(SUITE, earlier.leaves), 2 * key.width)
    mask = gmpy2.powmod(key.h_s, 77, key.n_squared)  # re-randomised: nothing of it has been seen before
    amplified = [gmpy2.powmod(c, 128, key.n_squared) * mask % key.n_squared for c in stolen]
    own_body = np.stack([RNG.integers(0, q, (2, DEGREE)) for q in PRIMES], axis=1).astype("<u4").tobytes()
    leaves = pack(amplified, 2 * key.width) + own_body
    for run, data in pieces(SUITE, leaves):
        SUITE.check_run(run, data)  # nothing to see

    total = combine(SUITE, [leaves, *(update.leaves for update in others)])
    opening = opened(total)  # a correct total, lawfully opened
    (summed,) = CAPSULE.decode(opening.plaintexts)
    victims_key = np.rint(summed / 128).astype(np.int64)  # the others' keys are divided away
    read, noise = unmasked(earlier.leaves[SUITE.layout.capsule.size :], victims_key)
    assert np.array_equal(read[:COUNT], victim)  # the whole update, from one opening
    assert noise < noise_bound(1)
    with pytest.raises(Violation, match="opened key"):  # seen, but too late
        decode(SUITE, total, opening, count=COUNT, members=3)

    header = b"attacker, round 2"
    proof = forge_submission(
        key, [mpz(0)] * len(stolen), [mpz(77)] * len(stolen), header=header, root=root(SUITE, header, leaves)
    )
    for attempt in (proof, earlier.proof):
        with pytest.raises(ProofFailed):
            admit(SUITE, Update(header=header, leaves=leaves, proof=attempt))


def test_an_old_capsule_as_it_is_admits_only_its_own_header_and_body():
    earlier = encrypt(SUITE, some_values(), header=b"victim, round 1")
    body = encrypt(SUITE, some_values(), seed=seed("other"), header=b"x").leaves[SUITE.layout.capsule.size :]
    admit(SUITE, earlier)
    for replayed in (
        dataclasses.replace(earlier, header=b"attacker, round 2"),
        dataclasses.replace(earlier, leaves=capsule_of(SUITE, earlier.leaves) + body),
    ):
        with pytest.raises(ProofFailed):
            admit(SUITE, replayed)


def test_a_body_with_another_ones_mask_taken_off_shows_nothing():
    """Another round's mask is unrelated, so a key that came out later opens nothing else."""
    update = encrypt(SUITE, some_values())
    secret = update_secret(SEED, key=SUITE.key_digest, header=b"header", values=some_values())
    body = update.leaves[SUITE.layout.capsule.size :]
    for key, where in ((key_of(secret), context()), (key_of(secret), context(number=2))):
        assert unmasked(body, key, where)[1] > 2000  # of at most 2047: uniform


# Randomness


def test_the_same_seed_with_a_value_more_gives_unrelated_bytes():
    """Otherwise the difference of two bodies shows the difference of two updates, to anyone."""
    x = some_values()
    other = x.copy()
    other[0] += 1
    first, again, second = (encrypt(SUITE, values) for values in (x, x.copy(), other))
    assert first == again
    bodies = [
        blocks_of(update.leaves[SUITE.layout.capsule.size :]).astype(np.int64) for update in (first, second)
    ]
    for tower, q in enumerate(PRIMES):
        difference = (bodies[0] - bodies[1])[:, tower] % q
        near = np.minimum(difference, q - difference) < q >> 10
        assert near.mean() < 0.01  # one in 512, as of uniform residues
    width = SUITE.layout.capsule.width
    capsules = [
        {
            capsule_of(SUITE, update.leaves)[at : at + width]
            for at in range(0, SUITE.layout.capsule.size, width)
        }
        for update in (first, second)
    ]
    assert not capsules[0] & capsules[1]


def test_header_key_and_seed_each_change_the_masks_key():
    x = some_values()
    other_key = HybridSuite(dealt(256, 3, 5).public_key, values=COUNT)
    secrets = {
        update_secret(SEED, key=SUITE.key_digest, header=b"header", values=x),
        update_secret(SEED, key=SUITE.key_digest, header=b"another", values=x),
        update_secret(SEED, key=other_key.key_digest, header=b"header", values=x),
        update_secret(seed("another"), key=SUITE.key_digest, header=b"header", values=x),
    }
    assert len({key_of(secret).tobytes() for secret in secrets}) == 4
    for secret in secrets:
        assert abs(key_of(secret)).max() < 60


def test_the_bodys_randomness_is_the_protocols():
    """The known answer from §7.12.4: what is left after mask and message are the Gaussians of stream j."""
    x = some_values()
    update = encrypt(SUITE, x)
    secret = update_secret(SEED, key=SUITE.key_digest, header=b"header", values=x)
    errors = gaussians(derive(secret, "hybrid error"), DEGREE, streams=range(2))
    read, noise = unmasked(update.leaves[SUITE.layout.capsule.size :], key_of(secret))
    assert np.array_equal(read[:COUNT], x)
    assert not read[COUNT:].any()
    assert noise == int(abs(errors.astype(np.int64)).max())


def work(worker: int) -> bytes:
    """One forked worker's part: block `worker` of the same update of zeros."""
    suite = HybridSuite(DEALING.public_key, values=3 * VALUES)
    zeros = np.zeros(3 * VALUES, dtype=np.int64)
    made = suite.encrypt(zeros, seed=SEED, header=b"header", context=context())
    first = suite.layout.body.first + worker % 3 * BLOCK_LEAVES
    return made.run(Run(first=first, count=BLOCK_LEAVES, width=LEAF_BYTES))


def test_four_forked_workers_never_share_a_stream_unless_they_do_the_same_work():
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as pool:
        parts = list(pool.map(work, range(4)))
    assert len(set(parts[:3])) == 3
    assert parts[3] == parts[0]
    suite = HybridSuite(DEALING.public_key, values=3 * VALUES)
    zeros = np.zeros(3 * VALUES, dtype=np.int64)
    made = suite.encrypt(zeros, seed=SEED, header=b"header", context=context())
    assert made.run(suite.layout.body) == b"".join(parts[:3])
    assert pickle.loads(pickle.dumps(made)).run(suite.layout.body) == b"".join(parts[:3])
    errors = [unmasked_errors(made, block) for block in range(3)]
    assert len(set(errors)) == 3


def unmasked_errors(made, block: int) -> bytes:
    return gaussians(made.errors, DEGREE, streams=range(block, block + 1)).tobytes()


# Members and totals


@pytest.mark.parametrize("members", [2, 3, 32])
def test_so_many_members_add_up_exactly(members):
    vectors = [some_values(bits=17) for _ in range(members)]
    updates = [encrypt(SUITE, x, seed=seed(f"{i}"), header=b"member %d" % i) for i, x in enumerate(vectors)]
    total = combine(SUITE, [update.leaves for update in updates])
    found = decode(SUITE, total, opened(total), count=COUNT, members=members)
    assert np.array_equal(found, np.sum(vectors, axis=0))


def test_one_garbled_coefficient_spoils_the_round_and_names_nobody():
    good = [encrypt(SUITE, some_values(), seed=seed(f"{i}"), header=b"%d" % i) for i in range(2)]
    leaves = bytearray(good[0].leaves)
    at = SUITE.layout.capsule.size + 5 * LEAF_BYTES
    leaves[at : at + 4] = (int.from_bytes(leaves[at : at + 4], "little") ^ 1 << 20).to_bytes(4, "little")
    for run, data in pieces(SUITE, bytes(leaves)):
        SUITE.check_run(run, data)
    total = combine(SUITE, [bytes(leaves), good[1].leaves])
    with pytest.raises(Violation, match=r"noise in the body") as caught:
        decode(SUITE, total, opened(total), count=COUNT, members=2)
    assert (caught.value.culprit, caught.value.clause) == (None, "§7.12.6")


def colluder(x: IntVector, name: str, shift: IntVector) -> Update:
    """An update whose capsule carries s + shift while its body is masked with s; its proof is honest."""
    header = name.encode()
    secret = update_secret(seed(name), key=SUITE.key_digest, header=header, values=x)
    made = SUITE.encrypt(x, seed=seed(name), header=header, context=context())
    assert isinstance(made, HybridEncryption)
    capsule = CAPSULE.encrypt([key_of(secret) + shift], secrets=[secret], header=header)
    made = dataclasses.replace(made, capsule=capsule)
    leaves = b"".join(made.run(run) for run in SUITE.layout.runs())
    return Update(header=header, leaves=leaves, proof=made.prove(root(SUITE, header, leaves)))


def test_colluders_whose_capsules_differ_by_plus_and_minus_delta_pass_and_the_sum_is_right():
    delta = RNG.integers(-4000, 4000, DEGREE)
    vectors = [some_values() for _ in range(3)]
    updates = [
        colluder(vectors[0], "plus", delta),
        colluder(vectors[1], "minus", -delta),
        encrypt(SUITE, vectors[2]),
    ]
    assert np.array_equal(sum_of(updates), np.sum(vectors, axis=0))


def test_one_alone_whose_capsule_disagrees_with_its_body_spoils_the_round_and_names_nobody():
    one = np.eye(1, DEGREE, 9, dtype=np.int64)[0]
    for shift, what in ((one, "noise in the body"), (one * 4000, "opened key")):
        with pytest.raises(Violation, match=what) as caught:
            sum_of([colluder(some_values(), "alone", shift), encrypt(SUITE, some_values())])
        assert caught.value.culprit is None


@pytest.mark.parametrize(
    ("top", "seen"),
    [
        (HALF // 2, "an opened value"),
        (-HALF // 2 - 1, "an opened value"),
        (HALF - 1, "noise in the body"),  # the sum comes round q, which is no multiple of κ: 1608 is left
        (-HALF, "noise in the body"),
    ],
)
def test_a_sum_that_leaves_its_lane_at_the_top_is_seen_and_never_wraps(top, seen):
    x = np.zeros(COUNT, dtype=np.int64)
    x[1] = top  # a high lane
    updates = [encrypt(SUITE, x, seed=seed(f"{i}"), header=b"%d" % i) for i in range(2)]
    with pytest.raises(Violation, match=seen) as caught:
        sum_of(updates)
    assert caught.value.culprit is None


def test_a_mask_belongs_to_one_round():
    update = encrypt(SUITE, some_values())
    opening, body = opened(update.leaves), body_of(SUITE, update.leaves)
    for where in (context(number=2), context(study=2)):
        with pytest.raises(Violation, match="noise"):
            SUITE.decode(opening, body, context=where, count=COUNT, members=1)
    swapped = body[0][BLOCK_BYTES:] + body[0][:BLOCK_BYTES]
    with pytest.raises(Violation, match="noise"):
        SUITE.decode(opening, [swapped], context=context(), count=COUNT, members=1)


def test_a_body_of_another_length_does_not_decode():
    update = encrypt(SUITE, some_values())
    opening, (body,) = opened(update.leaves), body_of(SUITE, update.leaves)
    first, second = body[:BLOCK_BYTES], body[BLOCK_BYTES:]

    def read(*runs: bytes, members: int = 1) -> IntVector:
        return SUITE.decode(opening, runs, context=context(), count=COUNT, members=members)

    assert np.array_equal(read(first, second), read(first, b"", second))
    for runs in ((), (first,), (first, second, second), (body[:-1],), (body + b"\0",), (body, b"\0")):
        with pytest.raises(Violation, match="body"):
            read(*runs)
    for members in (0, -1, 655):
        with pytest.raises(Refused, match="members"):
            read(body, members=members)


# Leaves


@pytest.mark.parametrize(
    ("block", "leaf", "tower"), [(0, 0, 0), (0, 31, 0), (0, 32, 1), (1, 0, 0), (1, 63, 1)]
)
def test_a_residue_of_q_minus_1_is_accepted_and_q_or_more_is_named_by_its_index_in_the_tree(
    block, leaf, tower
):
    body = bytearray(encrypt(SUITE, some_values()).leaves[SUITE.layout.capsule.size :])
    run, q = SUITE.layout.body, PRIMES[tower]
    at = block * BLOCK_BYTES + leaf * LEAF_BYTES + 4 * 100
    for residue, fits in ((q - 1, True), (q, False), ((1 << 32) - 1, False)):
        body[at : at + 4] = residue.to_bytes(4, "little")
        if fits:
            SUITE.check_run(run, bytes(body))
            continue
        with pytest.raises(Malformed) as caught:
            SUITE.check_run(run, bytes(body))
        expected = (run.first + block * BLOCK_LEAVES + leaf, "range")
        assert (caught.value.leaf, caught.value.rule) == expected
        single = Run(first=expected[0], count=1, width=LEAF_BYTES)
        start = block * BLOCK_BYTES + leaf * LEAF_BYTES
        with pytest.raises(Malformed) as caught:
            SUITE.check_run(single, bytes(body[start : start + LEAF_BYTES]))
        assert (caught.value.leaf, caught.value.rule) == expected


def test_runs_of_another_width_or_across_the_border_are_refused():
    update = encrypt(SUITE, some_values())
    (capsule, leaves), (body, data) = pieces(SUITE, update.leaves)
    made = SUITE.encrypt(some_values(), seed=SEED, header=b"header", context=context())
    for run, own in ((capsule, leaves), (body, data)):
        wrong = Run(first=run.first, count=run.count, width=run.width - 4)
        for call in (
            lambda w=wrong, o=own: SUITE.check_run(w, o[: w.size]),
            lambda w=wrong, o=own: SUITE.check_run(w, o),
            lambda r=run, o=own: SUITE.combine(r, [o, o[:-1]]),
        ):
            with pytest.raises(Malformed) as caught:
                call()
            assert caught.value.rule == "width"
    with pytest.raises(Malformed):
        SUITE.combine(Run(first=body.first, count=1, width=4), [b"abcd"])
    with pytest.raises(Refused, match="summand"):
        SUITE.combine(body, [])
    across = Run(first=body.first - 1, count=2, width=LEAF_BYTES)
    beyond = Run(first=body.first + body.count, count=1, width=LEAF_BYTES)
    before = Run(first=0, count=1, width=capsule.width)
    for run in (across, beyond, before):
        with pytest.raises(Refused):
            SUITE.check_run(run, bytes(run.size))
    for run in (across, beyond, before):
        with pytest.raises(Refused):
            made.run(run)


def test_the_joint_work_does_not_grow_with_the_vector_and_the_body_is_four_bytes_a_value():
    full = dealt(3072).public_key
    short, long = (HybridSuite(full, values=values) for values in (10**6, 10**7))
    assert short.layout.capsule == long.layout.capsule
    assert (short.share_bytes, short.opening_leaf) == (long.share_bytes, long.opening_leaf)
    assert short.layout.proof_bytes == long.layout.proof_bytes
    assert long.layout.body.count == -(-(10**7) // VALUES) * BLOCK_LEAVES
    assert short.layout.size / 10**6 < 4.1
    for run in short.layout.runs():
        if run.first >= short.layout.body.first:  # runs are whole blocks
            assert (run.first - short.layout.body.first) % BLOCK_LEAVES == run.count % BLOCK_LEAVES == 0


def test_compiled_and_numpy_kernels_make_read_and_add_the_same_bytes(monkeypatch):
    count = 70 * VALUES - 5
    suite, x = HybridSuite(DEALING.public_key, values=count), some_values(bits=20, count=count)
    results = []
    for setting in ("", "numpy"):
        monkeypatch.setenv(SETTING, setting)
        leaves = encrypt(suite, x).leaves
        total = combine(suite, [leaves, leaves, leaves])
        shares = shares_of(suite, total, DEALING.key_shares, (1, 2), context())
        opening = suite.join(capsule_of(suite, total), shares)
        found = suite.decode(opening, body_of(suite, total), context=context(), count=count, members=9)
        assert np.array_equal(found, 3 * x)
        results.append((leaves, total))
    assert results[0] == results[1]


def test_no_more_than_a_few_runs_are_ever_held_beside_the_vector(monkeypatch):
    monkeypatch.setenv(SETTING, "numpy")  # Numba's own memory is not the question
    count = 4_000_000  # 16 MB of body, 32 MB of values
    suite = HybridSuite(DEALING.public_key, values=count)
    values = np.zeros(count, dtype=np.int64)
    opening = Opening(plaintexts=bytes(suite.opening_leaf.size), witnesses=bytes(suite.opening_leaf.size))
    encrypt(SUITE, some_values())  # tables are made once
    tracemalloc.start()
    try:
        made = suite.encrypt(values, seed=SEED, header=b"header", context=context())
        for run in suite.layout.runs():
            suite.check_run(run, made.run(run))
        encrypting = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        zeros = (bytes(run.size) for run in suite.layout.runs() if run.first >= suite.layout.body.first)
        suite.decode(opening, zeros, context=context(), count=count, members=1)
        decoding = tracemalloc.get_traced_memory()[1] - 8 * count
    finally:
        tracemalloc.stop()
    assert encrypting < 12 << 20
    assert decoding < 12 << 20


# Two dealers

BOTH = two_dealers()


def test_neither_dealers_key_alone_reads_anything_and_both_open():
    suite = BOTH.make(COUNT)
    x = some_values()
    update = encrypt(suite, x)
    admit(suite, update)
    capsule, body = capsule_of(suite, update.leaves), update.leaves[suite.layout.capsule.size :]
    parts = HybridCapsule(decode_keys(BOTH.dealing.public_key)).parts
    keys = []
    for part, dealing in zip(parts, (dealt(256), second_dealing()), strict=True):
        own = capsule[(part.first - 1) * part.run.width :][: part.run.size]
        shares = {
            member: part.share(
                own, member=member, key_share=dealing.key_shares[member - 1], context=context()
            )
            for member in (1, 3)
        }
        keys.append(part.decode(part.join(own, shares).plaintexts))
    for key in keys:  # what one dealer's factors are worth
        read, noise = unmasked(body, key)
        assert noise > 2000
        assert np.count_nonzero(read[:COUNT] == x) < 10
    read, noise = unmasked(body, keys[0] + keys[1])
    assert np.array_equal(read[:COUNT], x)
    assert noise < noise_bound(1)


def test_each_dealers_part_of_a_share_proof_and_opening_is_checked():
    suite = BOTH.make(COUNT)
    update = encrypt(suite, some_values())
    capsule = capsule_of(suite, update.leaves)
    shares = shares_of(suite, update.leaves, BOTH.dealing.key_shares, (1, 2), context())
    opening = suite.join(capsule, shares)
    suite.check_opening(capsule, opening, context())

    def flipped(data: bytes, at: int) -> bytes:
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    for share in (flipped(shares[1], 40), flipped(shares[1], -40)):
        with pytest.raises(Violation):
            suite.check_share(capsule, share, member=1, context=context())
        with pytest.raises(Violation):
            suite.join(capsule, {**shares, 1: flipped(shares[1], suite.share_bytes // 2 + 40)})
    for proof in (flipped(update.proof, 0), flipped(update.proof, -1)):
        with pytest.raises(ProofFailed):
            admit(suite, dataclasses.replace(update, proof=proof))
    for wrong in (flipped(opening.plaintexts, 31), flipped(opening.plaintexts, -1)):
        with pytest.raises(ProofFailed):
            suite.check_opening(capsule, Opening(plaintexts=wrong, witnesses=opening.witnesses), context())
    last = suite.layout.capsule.count  # the second dealer's last ciphertext, named by its place in the tree
    damaged = capsule[: -suite.layout.capsule.width] + bytes(suite.layout.capsule.width)
    with pytest.raises(Malformed) as caught:
        suite.check_run(suite.layout.capsule, damaged)
    assert (caught.value.leaf, caught.value.rule) == (last, "zero")


def test_single_leaves_and_whole_capsules_of_two_dealers_are_handled_alike():
    suite = BOTH.make(COUNT)
    update = encrypt(suite, some_values())
    run, capsule = suite.layout.capsule, capsule_of(suite, update.leaves)
    doubled = suite.combine(run, [capsule, capsule])
    for leaf in (0, run.count // 2 - 1, run.count // 2, run.count - 1):
        single = Run(first=1 + leaf, count=1, width=run.width)
        data = capsule[leaf * run.width :][: run.width]
        suite.check_run(single, data)
        assert suite.combine(single, [data, data]) == doubled[leaf * run.width :][: run.width]
    with pytest.raises(Malformed):
        suite.check_proof(capsule[:-1], update.proof, header=update.header, root=bytes(32))


def test_key_shares_of_two_dealers_stand_in_their_order():
    suite = BOTH.make(1)
    width = len(BOTH.dealing.key_shares[0]) // 2
    for member, share in enumerate(BOTH.dealing.key_shares, start=1):
        suite.check_key_share(member, share)
        with pytest.raises(Violation):
            suite.check_key_share(member, KeyShare(share[width:] + share[:width]))
        with pytest.raises(Violation):
            suite.check_key_share(member, KeyShare(share[:width]))


def test_one_key_is_a_key_of_paillier_and_serves_both_suites():
    key = DEALING.public_key
    assert suite_for("hybrid", key, values=5).key_digest == suite_for("paillier", key, values=5).key_digest
    assert encode_keys(decode_keys(key)) == key
    assert encode_keys(decode_keys(BOTH.dealing.public_key)) == BOTH.dealing.public_key


def test_two_keys_have_one_encoding_and_fit_together():
    first, second = DEALING.public_key, second_dealing().public_key
    for wrong in (
        cbor.encode({1: [first, first]}),
        cbor.encode({1: [first, dealt(256, 3, 5).public_key]}),
        cbor.encode({1: [first, dealt(512).public_key]}),
        cbor.encode({1: [first, second, second]}),
        cbor.encode({1: [first]}),
        cbor.encode({1: [first, 7]}),
        cbor.encode({1: [first, second], 2: 0}),
        BOTH.dealing.public_key + b"\0",
        cbor.encode([first, second]),
        b"",
    ):
        with pytest.raises(Violation):
            HybridSuite(wrong, values=1)
    swapped = HybridSuite(cbor.encode({1: [second, first]}), values=1)
    assert swapped.key_digest != BOTH.make(1).key_digest
    with pytest.raises(Refused):
        HybridSuite(first, values=0)


def test_a_full_size_key_of_each_dealer_names_no_weakness():
    assert HybridSuite(dealt(2048).public_key, values=1).weakness == ""
    assert "256 bits" in BOTH.make(1).weakness
    assert isinstance(BOTH.dealing, Dealing)
    assert decode_key(DEALING.public_key).n != decode_key(second_dealing().public_key).n


def test_the_smallest_total_that_wraps_modulo_q_lies_beyond_every_legal_one():
    assert 4095 * ((1 << 47) + HALF) + 2047 < MODULUS // 2
