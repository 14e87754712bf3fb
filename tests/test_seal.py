"""Sealed boxes: one key, one context, one text, and no bit of it may change."""

from __future__ import annotations

import os

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import Violation
from federation.members import SealingKey
from federation.seal import (
    COMMITMENT_BYTES,
    KEY_BYTES,
    MEMBER_OVERHEAD,
    NONCE_BYTES,
    OVERHEAD,
    ContentKey,
    SealingSecret,
    seal,
    seal_to,
    sealing_key_of,
    unseal,
    unseal_with,
)

ONE, TWO = ContentKey(b"\x01" * 32), ContentKey(b"\x02" * 32)
OURS, THEIRS = SealingSecret(b"\x03" * 32), SealingSecret(b"\x04" * 32)
EPHEMERAL = SealingSecret(b"\x05" * 32)
NONCE = bytes(range(32))
TEXT = b"sealed for the members of one study"

# Points of small order: whatever the secret, the shared secret is zero, known to everybody.
LOW_ORDER = (
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
)


@given(
    text=st.binary(max_size=300), context=st.binary(max_size=40), nonce=st.binary(min_size=32, max_size=32)
)
def test_what_was_sealed_comes_back_and_is_as_long_as_promised(
    text: bytes, context: bytes, nonce: bytes
) -> None:
    box = seal(ONE, text, context=context, nonce=nonce)
    assert len(box) == len(text) + OVERHEAD
    assert unseal(ONE, box, context=context) == text


def test_another_key_or_context_opens_nothing() -> None:
    box = seal(ONE, TEXT, context=b"here", nonce=NONCE)
    with pytest.raises(Violation, match="another key or context"):
        unseal(TWO, box, context=b"here")
    with pytest.raises(Violation, match="another key or context"):
        unseal(ONE, box, context=b"there")


def test_every_altered_bit_is_found() -> None:
    box = seal(ONE, TEXT, context=b"", nonce=NONCE)
    for bit in range(8 * len(box)):
        altered = bytearray(box)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Violation, match=r"§6\.3"):
            unseal(ONE, bytes(altered), context=b"")


@pytest.mark.parametrize("length", [0, 1, NONCE_BYTES, NONCE_BYTES + COMMITMENT_BYTES, OVERHEAD - 1])
def test_a_box_that_is_too_short_is_refused(length: int) -> None:
    with pytest.raises(Violation):
        unseal(ONE, seal(ONE, TEXT, context=b"", nonce=NONCE)[:length], context=b"")


def test_a_longer_or_shorter_box_is_refused() -> None:
    box = seal(ONE, TEXT, context=b"", nonce=NONCE)
    for changed in (box + b"\x00", box[:-1]):
        with pytest.raises(Violation, match="altered"):
            unseal(ONE, changed, context=b"")


def test_a_box_made_under_one_key_never_opens_under_another_even_if_its_tag_would_fit() -> None:
    # The AEAD alone does not commit: whoever knows both keys can make one ciphertext that opens under
    # each. The strongest such attack replaces ciphertext and tag at will, and keeps the 32 bytes.
    honest = seal(ONE, TEXT, context=b"", nonce=NONCE)
    under_two = seal(TWO, TEXT, context=b"", nonce=NONCE)
    head = NONCE_BYTES + COMMITMENT_BYTES
    forged = honest[:head] + under_two[head:]
    for key in (ONE, TWO):
        with pytest.raises(Violation):
            unseal(key, forged, context=b"")
    assert honest[NONCE_BYTES:head] != under_two[NONCE_BYTES:head]


def test_the_bare_aead_would_have_been_fooled() -> None:
    # What the commitment is for: Poly1305 under two keys meets in one tag, with one free block of 16 bytes.
    prime = 2**130 - 5
    keys = (bytes([7]) * 32, bytes([8]) * 32)

    def one_time(key: bytes) -> tuple[int, int]:
        # The block of keystream before the message (RFC 8439 §2.6).
        block = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor().update(bytes(32))
        clamp = 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
        return int.from_bytes(block[:16], "little") & clamp, int.from_bytes(block[16:], "little")

    (r1, s1), (r2, s2) = one_time(keys[0]), one_time(keys[1])
    lengths = int.from_bytes((0).to_bytes(8, "little") + (32).to_bytes(8, "little") + b"\x01", "little")
    for tries in range(400):
        first = int.from_bytes(tries.to_bytes(16, "little") + b"\x01", "little")
        # (first·r³ + x·r² + lengths·r) mod p + s mod 2^128 is the tag; solve for x in both at once.
        for carry in range(-4, 5):
            target = (s2 - s1 + carry * 2**128) % prime
            left = (first * r1**3 + lengths * r1 - first * r2**3 - lengths * r2 - target) % prime
            x = left * pow(r2**2 - r1**2, -1, prime) % prime
            if x >> 128 != 1:
                continue
            ciphertext = tries.to_bytes(16, "little") + (x - (1 << 128)).to_bytes(16, "little")
            tag = ((first * r1**3 + x * r1**2 + lengths * r1) % prime + s1) % 2**128
            both = ciphertext + tag.to_bytes(16, "little")
            try:
                texts = [ChaCha20Poly1305(key).decrypt(bytes(12), both, b"") for key in keys]
            except InvalidTag:  # the guessed carry was wrong
                continue
            assert texts[0] != texts[1]
            return
    raise AssertionError("no colliding box found: the premise of the commitment is untested")


def test_a_member_opens_its_box_and_nobody_else() -> None:
    box = seal_to(sealing_key_of(OURS), TEXT, context=b"share", ephemeral=EPHEMERAL)
    assert len(box) == len(TEXT) + MEMBER_OVERHEAD
    assert unseal_with(OURS, box, context=b"share") == TEXT
    with pytest.raises(Violation):
        unseal_with(THEIRS, box, context=b"share")
    with pytest.raises(Violation):
        unseal_with(OURS, box, context=b"another")


def test_every_altered_bit_of_a_members_box_is_found() -> None:
    box = seal_to(sealing_key_of(OURS), TEXT, context=b"", ephemeral=EPHEMERAL)
    for bit in range(8 * len(box)):
        altered = bytearray(box)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Violation):
            unseal_with(OURS, bytes(altered), context=b"")


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_point_of_low_order_is_refused_by_sender_and_recipient(point: bytes) -> None:
    with pytest.raises(Violation, match="no usable public key"):
        seal_to(SealingKey(point), TEXT, context=b"", ephemeral=EPHEMERAL)
    forged = point + seal(ContentKey(bytes(32)), TEXT, context=b"", nonce=NONCE)
    with pytest.raises(Violation, match="no usable public key"):
        unseal_with(OURS, forged, context=b"")


@pytest.mark.parametrize("length", [0, 1, KEY_BYTES - 1, KEY_BYTES, MEMBER_OVERHEAD - 1])
def test_a_members_box_that_is_too_short_is_refused(length: int) -> None:
    box = seal_to(sealing_key_of(OURS), TEXT, context=b"", ephemeral=EPHEMERAL)
    with pytest.raises(Violation):
        unseal_with(OURS, box[:length], context=b"")


def test_two_boxes_for_one_member_share_no_byte_worth_comparing() -> None:
    recipient = sealing_key_of(OURS)
    one, two = (
        seal_to(recipient, TEXT, context=b"", ephemeral=SealingSecret(os.urandom(32))) for _ in range(2)
    )
    assert one[:KEY_BYTES] != two[:KEY_BYTES]
    assert one[KEY_BYTES:] != two[KEY_BYTES:]
