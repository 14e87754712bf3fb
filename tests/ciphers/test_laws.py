"""What every cipher suite promises, whatever it is made of."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.ciphers.suite import CipherSuite, KeyShare, Opening, Seed
from federation.ciphers.threshold.packing import HALF
from federation.digest import LedgerId, sha256
from federation.errors import Malformed, ProofFailed, Refused, Violation
from federation.runs import RUN_BYTES

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
    shares_of,
    vector,
)
from .suites import FULL_SIZE, QUICK, Case

every_suite = pytest.mark.parametrize("case", QUICK, ids=str)
quick_runs = settings(max_examples=15, deadline=None)


def opened(case: Case, suite: CipherSuite, total: bytes, members: tuple[int, ...]) -> Opening:
    shares = shares_of(suite, total, case.dealing.key_shares, members, context())
    return suite.join(capsule_of(suite, total), shares)


@every_suite
def test_a_key_is_not_independent_of_itself(case):
    suite = case.make(3)
    assert not suite.is_independent_of(case.dealing.public_key)


@every_suite
@quick_runs
@given(data=st.data())
def test_the_opened_total_is_the_sum_of_the_updates(case, data):
    count = data.draw(st.integers(1, 40))
    members = data.draw(st.integers(1, 5))
    part = st.integers(-(HALF // members), (HALF - 1) // members)
    vectors = [data.draw(st.lists(part, min_size=count, max_size=count)) for _ in range(members)]
    suite = case.make(count)
    updates = [
        encrypt(suite, vector(*values), seed=Seed(bytes([i]) * 32)) for i, values in enumerate(vectors)
    ]
    for update in updates:
        admit(suite, update)
    total = combine(suite, [update.leaves for update in updates])
    opening = opened(case, suite, total, tuple(range(1, suite.threshold + 1)))
    suite.check_opening(capsule_of(suite, total), opening, context())
    found = decode(suite, total, opening, count=count, members=members)
    assert found.tolist() == np.sum(np.array(vectors, dtype=np.int64), axis=0).tolist()


@pytest.mark.parametrize("case", FULL_SIZE, ids=str)
def test_a_key_of_full_size_carries_a_round_from_key_check_to_sum(case):
    suite = case.make(130)
    suite.check_key()
    assert suite.weakness == ""
    for member, key_share in enumerate(case.dealing.key_shares, start=1):
        suite.check_key_share(member, key_share)
    x, y = np.arange(130) * 1000 - 65_000, np.arange(130) * -7
    updates = [encrypt(suite, values, seed=Seed(bytes([i]) * 32)) for i, values in enumerate((x, y))]
    for update in updates:
        admit(suite, update)
    total = combine(suite, [update.leaves for update in updates])
    shares = shares_of(suite, total, case.dealing.key_shares, range(2, 2 + suite.threshold), context())
    for member, share in shares.items():
        suite.check_share(capsule_of(suite, total), share, member=member, context=context())
    opening = suite.join(capsule_of(suite, total), shares)
    suite.check_opening(capsule_of(suite, total), opening, context())
    assert decode(suite, total, opening, count=130, members=2).tolist() == (x + y).tolist()


@every_suite
def test_every_choice_of_t_members_opens_to_the_same_bytes(case):
    suite = case.make(20)
    total = encrypt(suite, np.arange(20) - 10).leaves
    holders = range(1, suite.holders + 1)
    openings = {opened(case, suite, total, chosen) for chosen in combinations(holders, suite.threshold)}
    assert len(openings) == 1


@every_suite
def test_fewer_than_t_shares_open_nothing(case):
    suite = case.make(3)
    total = encrypt(suite, vector(1, 2, 3)).leaves
    with pytest.raises(Refused, match="expected the shares"):
        opened(case, suite, total, tuple(range(1, suite.threshold)))


@every_suite
def test_shares_of_strangers_do_not_count_towards_t(case):
    suite = case.make(3)
    total = encrypt(suite, vector(1, 2, 3)).leaves
    shares = shares_of(suite, total, case.dealing.key_shares, range(1, suite.threshold), context())
    strangers = dict.fromkeys((0, -1, suite.holders + 1), shares[1])
    with pytest.raises(Refused, match="expected the shares"):
        suite.join(capsule_of(suite, total), shares | strangers)


@every_suite
def test_more_than_t_shares_join_as_the_lowest_t_do(case):
    suite = case.make(3)
    total = encrypt(suite, vector(1, 2, 3)).leaves
    everyone = shares_of(suite, total, case.dealing.key_shares, range(1, suite.holders + 1), context())
    everyone[suite.holders] = bytes(len(everyone[suite.holders]))  # the last is not looked at
    capsule = capsule_of(suite, total)
    lowest = {member: everyone[member] for member in range(1, suite.threshold + 1)}
    assert suite.join(capsule, everyone) == suite.join(capsule, lowest)


@every_suite
@pytest.mark.parametrize("position", [0, 1, 40])
def test_a_garbled_share_stops_the_joining_and_only_its_sender_is_blamed(case, position):
    suite = case.make(3)
    total = encrypt(suite, vector(1, 2, 3)).leaves
    capsule = capsule_of(suite, total)
    shares = shares_of(suite, total, case.dealing.key_shares, range(1, suite.holders + 1), context())
    wrong = bytearray(shares[1])
    wrong[min(position, 31)] ^= 1
    shares[1] = bytes(wrong)
    with pytest.raises(Violation):
        suite.join(capsule, shares)
    blamed = []
    for member, share in shares.items():
        try:
            suite.check_share(capsule, share, member=member, context=context())
        except Violation:
            blamed.append(member)
    assert blamed == [1]
    good = {member: share for member, share in shares.items() if member not in blamed}
    assert decode(suite, total, suite.join(capsule, good), count=3, members=1).tolist() == [1, 2, 3]


@every_suite
def test_a_share_of_another_length_is_refused(case):
    suite = case.make(3)
    total = encrypt(suite, vector(1, 2, 3)).leaves
    capsule = capsule_of(suite, total)
    shares = shares_of(suite, total, case.dealing.key_shares, range(1, suite.threshold + 1), context())
    assert {len(share) for share in shares.values()} == {suite.share_bytes}
    for wrong in (b"", shares[1][:-1], shares[1] + b"\0"):
        with pytest.raises(Violation):
            suite.check_share(capsule, wrong, member=1, context=context())
        with pytest.raises(Violation):
            suite.join(capsule, shares | {1: wrong})


@every_suite
@pytest.mark.parametrize(
    "other",
    [
        context(number=2),
        context(study=2),
        context(root=b"another total"),
        context(ledger=LedgerId(sha256(b"another ledger"))),
    ],
    ids=["round", "study", "root", "ledger"],
)
def test_a_share_proves_nothing_for_another_total(case, other):
    suite = case.make(3)
    total = encrypt(suite, vector(1, 2, 3)).leaves
    capsule = capsule_of(suite, total)
    share = shares_of(suite, total, case.dealing.key_shares, [1], context())[1]
    suite.check_share(capsule, share, member=1, context=context())
    with pytest.raises(Violation):
        suite.check_share(capsule, share, member=1, context=other)
    with pytest.raises(Violation):
        suite.check_share(capsule, share, member=2, context=context())


@every_suite
def test_a_key_share_is_checked_against_its_member(case):
    suite = case.make(1)
    first, second, *_ = case.dealing.key_shares
    suite.check_key_share(1, first)
    suite.check_key_share(2, second)
    total = encrypt(suite, vector(1)).leaves
    for wrong in (second, KeyShare(bytes(len(first))), KeyShare(first[:-1]), KeyShare(b"\xff" * len(first))):
        with pytest.raises(Violation):
            suite.check_key_share(1, wrong)
        with pytest.raises(Violation):
            suite.share(capsule_of(suite, total), member=1, key_share=wrong, context=context())
    for stranger in (0, -1, suite.holders + 1):
        with pytest.raises(Refused):
            suite.check_key_share(stranger, first)
        with pytest.raises(Refused):
            suite.check_share(capsule_of(suite, total), b"", member=stranger, context=context())


@every_suite
def test_an_opening_with_any_wrong_byte_is_refused(case):
    suite = case.make(3)
    total = encrypt(suite, vector(1, 2, 3)).leaves
    capsule = capsule_of(suite, total)
    opening = opened(case, suite, total, tuple(range(1, suite.threshold + 1)))
    suite.check_opening(capsule, opening, context())
    m, w = opening.plaintexts, opening.witnesses
    assert len(m) == len(w) == suite.opening_leaf.size
    last = bytes([m[-1] ^ 1])
    for wrong in (
        Opening(plaintexts=m[:-1] + last, witnesses=w),
        Opening(plaintexts=m, witnesses=w[:-1] + bytes([w[-1] ^ 1])),
        Opening(plaintexts=m[:-1], witnesses=w),
        Opening(plaintexts=m, witnesses=w[:-1]),
        Opening(plaintexts=b"", witnesses=b""),
    ):
        with pytest.raises(ProofFailed):
            suite.check_opening(capsule, wrong, context())


@every_suite
def test_the_order_and_the_grouping_of_summands_do_not_matter(case):
    suite = case.make(20)
    a, b, c = (encrypt(suite, np.arange(20) * k, seed=Seed(bytes([k]) * 32)).leaves for k in (1, 2, 3))
    together = combine(suite, [a, b, c])
    assert together == combine(suite, [c, a, b]) == combine(suite, [combine(suite, [b, c]), a])


@every_suite
def test_a_summand_of_another_length_is_malformed(case):
    suite = case.make(3)
    run, data = next(pieces(suite, encrypt(suite, vector(1, 2, 3)).leaves))
    with pytest.raises(Malformed):
        suite.combine(run, [data, data[:-1]])
    with pytest.raises(Malformed):
        suite.check_run(run, data[:-1])


@every_suite
def test_leaves_are_the_same_in_whatever_pieces_they_are_made(case):
    suite = case.make(100)
    encryption = suite.encrypt(np.arange(100), seed=SEED, header=b"header", context=context())
    whole = b"".join(encryption.run(run) for run in suite.layout.runs())
    single = b""
    for part in (suite.layout.body, suite.layout.capsule):  # body first: order must not matter
        leaves = b"".join(
            encryption.run(type(part)(first=part.first + k, count=1, width=part.width))
            for k in range(part.count)
        )
        single = leaves + single
    assert whole == single
    assert len(whole) == suite.layout.size
    assert all(run.size <= RUN_BYTES for run in suite.layout.runs())


@every_suite
def test_the_same_seed_header_and_values_give_the_same_bytes(case):
    suite = case.make(5)
    assert encrypt(suite, vector(1, 2, 3, 4, 5)) == encrypt(case.make(5), vector(1, 2, 3, 4, 5))


@every_suite
def test_a_proof_holds_for_its_header_and_leaves_only(case):
    suite = case.make(40)
    update = encrypt(suite, np.arange(40))
    admit(suite, update)
    assert len(update.proof) == suite.layout.proof_bytes
    for wrong in (
        Update(header=b"another round, member, study or ledger", leaves=update.leaves, proof=update.proof),
        Update(header=update.header, leaves=encrypt(suite, np.arange(40) + 1).leaves, proof=update.proof),
        Update(header=update.header, leaves=update.leaves, proof=b""),
        Update(header=update.header, leaves=update.leaves, proof=update.proof + b"\0"),
        Update(header=update.header, leaves=update.leaves, proof=bytes(len(update.proof))),
    ):
        with pytest.raises(ProofFailed):
            admit(suite, wrong)


@every_suite
def test_a_value_outside_its_lane_is_refused_before_anything_is_encrypted(case):
    suite = case.make(2)
    for value in (-HALF, HALF - 1):
        encrypt(suite, vector(0, value))
    for value in (-HALF - 1, HALF, 1 << 40):
        with pytest.raises(Refused, match="value 1"):
            encrypt(suite, vector(0, value))
    for wrong_length in (vector(1), vector(1, 2, 3)):
        with pytest.raises(Refused):
            encrypt(suite, wrong_length)


@every_suite
def test_an_unused_lane_that_opens_to_something_is_a_fault_of_the_round(case):
    wide, narrow = case.make(4), case.make(3)  # the same leaves, but the fourth lane is padding
    assert wide.layout == narrow.layout
    total = encrypt(wide, vector(1, 2, 3, 4)).leaves
    opening = opened(case, wide, total, tuple(range(1, wide.threshold + 1)))
    with pytest.raises(Violation, match="unused lanes") as caught:
        decode(narrow, total, opening, count=3, members=1)
    assert caught.value.culprit is None


@every_suite
def test_decoding_asks_for_the_vector_that_the_suite_was_made_for(case):
    suite = case.make(3)
    total = encrypt(suite, vector(1, 2, 3)).leaves
    opening = opened(case, suite, total, tuple(range(1, suite.threshold + 1)))
    with pytest.raises(Refused):
        decode(suite, total, opening, count=2, members=1)
    with pytest.raises(Violation):
        suite.decode(
            Opening(plaintexts=opening.plaintexts[:-1], witnesses=opening.witnesses),
            body_of(suite, total),
            context=context(),
            count=3,
            members=1,
        )


@every_suite
def test_a_suite_without_a_body_refuses_one(case):
    suite = case.make(3)
    total = encrypt(suite, vector(1, 2, 3)).leaves
    opening = opened(case, suite, total, tuple(range(1, suite.threshold + 1)))
    if suite.layout.body.count:
        assert suite.decode(opening, body_of(suite, total), context=context(), count=3, members=1).size == 3
    else:
        with pytest.raises(Violation, match="body"):
            suite.decode(opening, [b"stowaway"], context=context(), count=3, members=1)


@every_suite
def test_the_key_digest_tells_keys_apart_and_the_vectors_length_does_not_enter(case):
    assert case.make(3).key_digest == case.make(300).key_digest
    assert len({other.make(3).key_digest for other in QUICK}) == len(QUICK) - 1  # two share a key


@every_suite
def test_a_key_made_for_tests_names_its_weakness(case):
    suite = case.make(1)
    suite.check_key()
    assert suite.weakness
