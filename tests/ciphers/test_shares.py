"""Shares of an opening, and whom a wrong one blames."""

from __future__ import annotations

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz

from federation.ciphers.paillier import PaillierSuite
from federation.ciphers.suite import Opening
from federation.ciphers.threshold.interpolation import interpolate, partial_opening, plaintext_of
from federation.ciphers.threshold.residues import pack, unpack
from federation.errors import Violation

from .keys import dealt, primes
from .one_round import context, encrypt, shares_of

P, Q = primes(256)
N = P * Q
DEALING = dealt(256, 3, 5)
SUITE = PaillierSuite(DEALING.public_key, values=20)  # three leaves
KEY = SUITE.key
TOTAL = encrypt(SUITE, np.arange(20)).leaves
C = unpack(TOTAL, 64)
SHARES = shares_of(SUITE, TOTAL, DEALING.key_shares, range(1, 6), context())
PARTIALS = {member: unpack(share[: 3 * 32], 32) for member, share in SHARES.items()}
SECRETS = {member: mpz.from_bytes(share, "big") for member, share in enumerate(DEALING.key_shares, start=1)}


def altered(partials: list[mpz], *, member: int = 1) -> bytes:
    return pack(partials, 32) + SHARES[member][3 * 32 :]


def refuse(share: bytes, problem: str, *, member: int = 1) -> None:
    with pytest.raises(Violation, match=f"member {member}: .*{problem}") as caught:
        SUITE.check_share(TOTAL, share, member=member, context=context())
    assert caught.value.clause == "§7.8"


def test_every_honest_share_is_accepted():
    for member, share in SHARES.items():
        SUITE.check_share(TOTAL, share, member=member, context=context())


def test_two_of_three_shares_are_no_witness():
    for c, first, second in zip(C, PARTIALS[1], PARTIALS[2], strict=True):
        assert plaintext_of(KEY, c, interpolate(KEY, {1: first, 2: second})) is None


def test_one_partial_opening_under_another_secret_is_blamed():
    first, *rest = PARTIALS[1]
    refuse(altered([partial_opening(KEY, C[0], SECRETS[2]), *rest]), "proof")
    refuse(altered([first * 4 % N, *rest]), "proof")


def test_two_wrong_partial_openings_do_not_cancel():
    first, second, third = PARTIALS[1]
    inverse = gmpy2.invert(9, N)
    refuse(altered([first * 9 % N, second * inverse % N, third]), "proof")
    refuse(altered([second, first, third]), "proof")


def test_a_share_whose_sign_was_flipped_still_joins_to_the_same_opening():
    flipped = [N - partial for partial in PARTIALS[1]]
    honest = SUITE.join(TOTAL, SHARES)
    assert SUITE.join(TOTAL, SHARES | {1: altered(flipped)}) == honest


@pytest.mark.parametrize("wrong", [mpz(0), P, N, N + 1])
def test_a_partial_opening_that_is_no_unit_below_n_is_refused(wrong):
    share = altered([wrong, *PARTIALS[1][1:]])
    refuse(share, "no unit below n")
    with pytest.raises(Violation, match="no unit below n"):
        SUITE.join(TOTAL, SHARES | {1: share})


def test_a_response_beyond_its_range_is_refused():
    response = mpz.from_bytes(SHARES[1][3 * 32 + 16 :], "big")
    too_long = response + (mpz(1) << 256 + 257)
    refuse(SHARES[1][: 3 * 32 + 16] + pack([too_long], 32 + 33), "out of range")
    # A multiple of the group's order changes nothing but the number's length.
    order = (P - 1) * (Q - 1) // 4
    longer = response + order * ((mpz(1) << 256 + 258) // order)
    refuse(SHARES[1][: 3 * 32 + 16] + pack([longer], 32 + 33), "out of range")


def test_a_challenge_of_ones_own_is_refused():
    refuse(SHARES[1][: 3 * 32] + bytes(16) + SHARES[1][3 * 32 + 16 :], "proof")


def test_a_share_passed_off_as_another_members_is_refused():
    refuse(SHARES[1], "proof", member=2)


def test_a_share_of_another_total_is_refused():
    other = encrypt(SUITE, np.arange(20) + 1).leaves
    share = shares_of(SUITE, other, DEALING.key_shares, [1], context())[1]
    refuse(share, "proof")


def test_the_negative_total_opens_to_the_same():
    negative = pack([N * N - c for c in C], 64)
    shares = shares_of(SUITE, negative, DEALING.key_shares, (2, 3, 5), context())
    assert SUITE.join(negative, shares) == SUITE.join(TOTAL, SHARES)


def test_shares_that_do_not_fit_together_name_the_leaf_and_nobody():
    share = altered([PARTIALS[1][0], PARTIALS[1][1] * 4 % N, PARTIALS[1][2]])
    with pytest.raises(Violation, match="leaf 2 does not open") as caught:
        SUITE.join(TOTAL, SHARES | {1: share})
    assert caught.value.culprit is None


def test_honest_shares_follow_from_the_randomiser_and_two_corrupted_ones():
    """The simulation behind the privacy claim: t - 1 shares and r give all other shares, no roots taken."""
    r, m = mpz(0xC0FFEE), mpz(42)
    c = (1 + m * N) * pow(r, N, N * N) % (N * N)
    points = (0, 1, 2)

    def weight(i: int, at: int) -> mpz:
        numerator, denominator = KEY.delta, mpz(1)
        for j in points:
            if j != i:
                numerator, denominator = numerator * (at - j), denominator * (i - j)
        return numerator // denominator

    for member in (3, 4, 5):
        simulated = pow(r, 2 * weight(0, member), N)
        for i in (1, 2):
            simulated = simulated * pow(c % N, 2 * weight(i, member) * SECRETS[i], N) % N
        assert simulated == partial_opening(KEY, c, SECRETS[member])


def test_a_retry_repeats_the_share_and_another_total_has_another_nonce():
    again = shares_of(SUITE, TOTAL, DEALING.key_shares, [1], context())[1]
    assert again == SHARES[1]
    other = shares_of(SUITE, TOTAL, DEALING.key_shares, [1], context(number=2))[1]
    e, z = (mpz.from_bytes(SHARES[1][96:112], "big"), mpz.from_bytes(SHARES[1][112:], "big"))
    e_2, z_2 = (mpz.from_bytes(other[96:112], "big"), mpz.from_bytes(other[112:], "big"))
    assert other[:96] == SHARES[1][:96]
    assert e != e_2
    assert z - e * SECRETS[1] != z_2 - e_2 * SECRETS[1]  # one nonce under two challenges gives s away


def test_an_opening_joined_from_shares_has_one_width_for_every_value():
    opening = SUITE.join(TOTAL, SHARES)
    assert isinstance(opening, Opening)
    assert len(opening.plaintexts) == len(opening.witnesses) == 3 * 32
