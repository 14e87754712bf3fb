"""What leaves a ceremony opens for its member alone, and only a share that fits a proven key is kept."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation import cbor
from federation.ciphers.suite import Dealing, KeyShare
from federation.dealing import DOCUMENT_LIMIT, PublicKey, decode_public_key, open_share, seal_shares
from federation.errors import TallyError, Violation
from federation.members import Address
from federation.rehearsal import sealing_secret
from federation.seal import SealingSecret, sealing_key_of

from .ciphers.keys import dealt
from .rehearsing import HOSPITALS, A, B, C, D, key_of

DEALING = dealt(256, 2, 4)
PUBLIC = PublicKey(suite="paillier", key=DEALING.public_key, members=HOSPITALS)
SEALING_KEYS = {member: sealing_key_of(sealing_secret(member)) for member in HOSPITALS}


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
        with pytest.raises(Violation, match=f"expected one for 0x{member.hex()}; ask the dealer"):
            open_share(sealed[C], PUBLIC, member=member, secret=secret)


def test_a_share_of_another_key_is_refused() -> None:
    other = dealt(512, 2, 4)
    theirs = PublicKey(suite="paillier", key=other.public_key, members=HOSPITALS)
    with pytest.raises(Violation, match="not ours of this key"):
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
