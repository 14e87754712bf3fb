"""What leaves a ceremony opens for its member alone, and only a share that fits a proven key is kept."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation import cbor
from federation.ciphers import deal, suite_for
from federation.ciphers.suite import Dealing, KeyShare
from federation.dealing import (
    DOCUMENT_LIMIT,
    PublicKey,
    decode_public_key,
    join_dealers,
    open_share,
    open_shares,
    seal_shares,
)
from federation.digest import derive
from federation.errors import Refused, TallyError, Violation
from federation.members import Address
from federation.rehearsal import sealing_secret
from federation.seal import SealingSecret, sealing_key_of

from .ciphers.keys import dealt
from .rehearsing import HOSPITALS, A, B, C, D, key_of

DEALING = dealt(256, 2, 4)
PUBLIC = PublicKey(suite="paillier", key=DEALING.public_key, members=HOSPITALS)
SEALING_KEYS = {member: sealing_key_of(sealing_secret(member)) for member in HOSPITALS}


def second_dealing(suite: str = "paillier") -> Dealing:
    """Another dealer's, for the same members: other primes of the same length."""
    drawn = iter(range(100))
    return deal(
        suite,
        threshold=2,
        members=4,
        random=lambda size: derive(b"another dealer", str(next(drawn)))[:size],
        bits=256,
        unsafe=True,
        processes=1,
    )


SECOND_DEALING = second_dealing()
SECOND = PublicKey(suite="auto", key=SECOND_DEALING.public_key, members=HOSPITALS)


def boxes(dealing: Dealing = DEALING, public: PublicKey = PUBLIC) -> dict[Address, bytes]:
    return seal_shares(dealing, public, SEALING_KEYS, random=os.urandom)


@pytest.mark.parametrize("suite", ["plain", "paillier"])
def test_each_member_opens_its_own_share(suite: str) -> None:
    dealing = key_of(suite)
    public = PublicKey(suite=suite, key=dealing.public_key, members=HOSPITALS)
    sealed = boxes(dealing, public)
    for member, share in zip(HOSPITALS, dealing.key_shares, strict=True):
        found = open_share(sealed[member], public, member=member, secret=sealing_secret(member))
        assert found == (public.resolve().key_digest, share)


def test_the_document_comes_back_as_it_was() -> None:
    assert decode_public_key(PUBLIC.encode()) == PUBLIC


def test_another_members_share_is_refused_with_what_to_do() -> None:
    sealed = boxes()
    for member, secret in ((A, sealing_secret(A)), (A, sealing_secret(B)), (B, sealing_secret(A))):
        with pytest.raises(Violation, match=f"expected one for 0x{member.hex()}, from the ceremony"):
            open_share(sealed[C], PUBLIC, member=member, secret=secret)


def test_a_share_of_another_key_is_refused() -> None:
    other = dealt(512, 2, 4)
    theirs = PublicKey(suite="paillier", key=other.public_key, members=HOSPITALS)
    with pytest.raises(Violation, match="not ours of the key"):
        open_share(boxes(other, theirs)[A], PUBLIC, member=A, secret=sealing_secret(A))


def test_shares_that_the_dealer_mixed_up_are_refused_by_both_who_got_them() -> None:
    first, second, *rest = DEALING.key_shares
    sealed = boxes(replace(DEALING, key_shares=(second, first, *rest)))
    for member in (A, B):
        with pytest.raises(Violation):
            open_share(sealed[member], PUBLIC, member=member, secret=sealing_secret(member))
    assert open_share(sealed[C], PUBLIC, member=C, secret=sealing_secret(C))[1] == rest[0]


def test_a_share_that_does_not_fit_the_public_key_is_refused() -> None:
    share = DEALING.key_shares[0]
    for wrong in (
        share[:-1],
        share + b"\x00",
        bytes(len(share)),
        bytes([share[0]]) + share[1:-1] + b"\x01",
        b"",
    ):
        if wrong == share:
            continue
        sealed = boxes(replace(DEALING, key_shares=(KeyShare(wrong), *DEALING.key_shares[1:])))
        with pytest.raises(Violation):
            open_share(sealed[A], PUBLIC, member=A, secret=sealing_secret(A))


def test_who_holds_no_share_is_told_so() -> None:
    stranger = Address(b"\x09" * 20)
    with pytest.raises(Violation, match="a key dealt to others"):
        open_share(boxes()[A], PUBLIC, member=stranger, secret=SealingSecret(bytes(32)))


@pytest.mark.parametrize("members", [HOSPITALS[:3], (*HOSPITALS, Address(b"\x05" * 20))])
def test_a_document_with_more_or_fewer_holders_than_the_key_has_is_refused(
    members: tuple[Address, ...],
) -> None:
    with pytest.raises(Violation, match="share-holders"):
        replace(PUBLIC, members=members).resolve()


def test_any_altered_byte_of_the_key_is_found_before_a_share_is_kept() -> None:
    sealed = boxes()[A]
    for position in range(0, len(PUBLIC.key), 7):
        key = PUBLIC.key[:position] + bytes([PUBLIC.key[position] ^ 1]) + PUBLIC.key[position + 1 :]
        with pytest.raises(TallyError):
            open_share(sealed, replace(PUBLIC, key=key), member=A, secret=sealing_secret(A))


def test_every_altered_bit_of_a_box_is_found() -> None:
    sealed = boxes()[A]
    for position in range(0, len(sealed), 5):
        altered = sealed[:position] + bytes([sealed[position] ^ 128]) + sealed[position + 1 :]
        with pytest.raises(Violation):
            open_share(altered, PUBLIC, member=A, secret=sealing_secret(A))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {0: 2, 1: "paillier", 2: b"", 3: []},
        {0: 1, 1: b"paillier", 2: b"", 3: []},
        {0: 1, 1: "paillier", 2: "", 3: []},
        {0: 1, 1: "paillier", 2: b"", 3: b""},
        {0: 1, 1: "paillier", 2: b"", 3: [b"short"]},
        {0: 1, 1: "paillier", 2: b"", 3: [1]},
        {0: 1, 1: "paillier", 2: b"", 3: [B, A]},
        {0: 1, 1: "paillier", 2: b"", 3: [A, A]},
        {0: 1, 1: "paillier", 2: b"", 3: [A], 4: b"more"},
        [],
    ],
    ids=str,
)
def test_another_document_is_refused(value: cbor.Value) -> None:
    with pytest.raises(Violation, match="a public key's document"):
        decode_public_key(cbor.encode(value))


@given(data=st.binary(max_size=60))
def test_any_bytes_end_in_a_violation(data: bytes) -> None:
    with pytest.raises(Violation):
        decode_public_key(data)


def test_a_document_above_the_limit_is_not_read() -> None:
    with pytest.raises(Violation, match=f"at most {DOCUMENT_LIMIT} bytes"):
        decode_public_key(bytes(DOCUMENT_LIMIT + 1))


def test_a_member_without_a_sealing_key_stops_the_dealing() -> None:
    low = {**SEALING_KEYS, D: type(SEALING_KEYS[D])(bytes(32))}
    with pytest.raises(Violation, match="no usable public key"):
        seal_shares(DEALING, PUBLIC, low, random=os.urandom)


def test_a_key_that_leaves_the_suite_open_is_the_same_key_under_each() -> None:
    digests = {replace(PUBLIC, suite=suite).resolve().key_digest for suite in ("auto", "paillier", "hybrid")}
    assert len(digests) == 1
    with pytest.raises(Refused, match="found 'auto'"):
        suite_for("auto", PUBLIC.key, values=1)


def test_of_one_dealer_one_box_is_taken() -> None:
    sealed = boxes()
    found = open_shares([sealed[A]], PUBLIC, member=A, secret=sealing_secret(A))
    assert found == open_share(sealed[A], PUBLIC, member=A, secret=sealing_secret(A))
    for none_or_two in ([], [sealed[A], sealed[A]]):
        with pytest.raises(Refused, match=f"expected 1 sealed shares, .*, found {len(none_or_two)}"):
            open_shares(none_or_two, PUBLIC, member=A, secret=sealing_secret(A))


def test_two_dealers_shares_make_one_whatever_the_order_of_the_boxes() -> None:
    joined = join_dealers(PUBLIC, SECOND)
    assert decode_public_key(joined.encode()) == joined
    assert joined.suite == "hybrid"
    first, second = boxes(), boxes(SECOND_DEALING, SECOND)
    for number, member in enumerate(HOSPITALS):
        expected = DEALING.key_shares[number] + SECOND_DEALING.key_shares[number]
        for pair in ([first[member], second[member]], [second[member], first[member]]):
            digest, share = open_shares(pair, joined, member=member, secret=sealing_secret(member))
            assert share == expected
            assert digest == joined.resolve().key_digest
        suite = suite_for("hybrid", joined.key, values=9)
        assert suite.key_digest == digest
        suite.check_key_share(number + 1, share)


def test_the_order_of_the_dealers_is_part_of_the_key() -> None:
    digests = {join_dealers(*pair).resolve().key_digest for pair in ((PUBLIC, SECOND), (SECOND, PUBLIC))}
    assert len(digests) == 2


def test_a_missing_dealers_share_is_named_by_its_key() -> None:
    joined, sealed = join_dealers(PUBLIC, SECOND), boxes()
    lone = {"secret": sealing_secret(A), "member": A}
    with pytest.raises(Refused, match=r"expected 2 sealed shares, .*, found 1: give --accept once for each"):
        open_shares([sealed[A]], joined, **lone)
    missing = f"no sealed share of the key {SECOND.resolve().key_digest.hex()} among these"
    with pytest.raises(Violation, match=f"{missing}: expected one for 0x{A.hex()}; ask the dealer"):
        open_shares([sealed[A], sealed[A]], joined, **lone)
    with pytest.raises(Violation, match=missing):
        open_shares([sealed[A], boxes(SECOND_DEALING, SECOND)[B]], joined, **lone)
    stranger = Address(b"\x09" * 20)
    with pytest.raises(Violation, match="dealt to others"):
        open_shares([sealed[A], sealed[B]], joined, member=stranger, secret=sealing_secret(A))


def test_a_second_dealers_wrong_share_is_refused_although_its_box_opens() -> None:
    joined = join_dealers(PUBLIC, SECOND)
    first, second, *rest = SECOND_DEALING.key_shares
    mixed = boxes(replace(SECOND_DEALING, key_shares=(second, first, *rest)), SECOND)
    with pytest.raises(Violation, match="share"):
        open_shares([boxes()[A], mixed[A]], joined, member=A, secret=sealing_secret(A))


def test_only_two_keys_of_one_dealer_each_for_the_same_members_are_joined() -> None:
    others = (*HOSPITALS[:3], Address(b"\x05" * 20))
    with pytest.raises(Refused, match=f"the same members, found .*{D.hex()} and .*{others[3].hex()}"):
        join_dealers(PUBLIC, replace(SECOND, members=others))
    plain = PublicKey(suite="plain", key=key_of("plain").public_key, members=HOSPITALS)
    with pytest.raises(Refused, match="under the suite 'plain': join what `tally keys deal` made"):
        join_dealers(PUBLIC, plain)
    with pytest.raises(Refused, match="found 2 dealers'"):
        join_dealers(join_dealers(PUBLIC, SECOND), PUBLIC)
    with pytest.raises(Refused, match="no common factor"):
        join_dealers(PUBLIC, replace(PUBLIC, suite="auto"))
    with pytest.raises(TallyError):
        join_dealers(PUBLIC, replace(SECOND, key=SECOND.key[:-1] + b"\x00"))


def test_a_joined_document_with_one_altered_byte_is_refused_before_a_share_is_kept() -> None:
    joined = join_dealers(PUBLIC, SECOND)
    pair = [boxes()[A], boxes(SECOND_DEALING, SECOND)[A]]
    for position in range(0, len(joined.key), 31):
        key = joined.key[:position] + bytes([joined.key[position] ^ 1]) + joined.key[position + 1 :]
        with pytest.raises(TallyError):
            open_shares(pair, replace(joined, key=key), member=A, secret=sealing_secret(A))
