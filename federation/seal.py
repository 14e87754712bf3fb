"""Sealed boxes: bytes that only those who are meant to can read (PROTOCOL §6.3).

ChaCha20-Poly1305 alone does not commit to its key: one ciphertext can be made to open under two keys
to two texts, and two members would each swear to have read something else. So a box carries 32 bytes
that are derived with the encryption key from key, nonce and context, and are compared first
(the generic transform of Albertini et al., "How to abuse and fix authenticated encryption without key
commitment", USENIX Security 2022). A box for one member is the same box under an X25519 secret.
"""

from __future__ import annotations

import hmac
from typing import Final, NewType

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from .digest import derive
from .errors import Violation
from .members import SealingKey

ContentKey = NewType("ContentKey", bytes)  # 32 secret bytes, shared by a study's audience
SealingSecret = NewType("SealingSecret", bytes)  # 32 bytes, an X25519 private key

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 32  # random or derived; long enough that chance never repeats one
COMMITMENT_BYTES: Final = 32
TAG_BYTES: Final = 16
OVERHEAD: Final = NONCE_BYTES + COMMITMENT_BYTES + TAG_BYTES
MEMBER_OVERHEAD: Final = KEY_BYTES + OVERHEAD
_ONE_MESSAGE: Final = bytes(12)  # the AEAD's own nonce: each derived key encrypts one message


def seal(key: ContentKey, plaintext: bytes, *, context: bytes, nonce: bytes) -> bytes:
    """nonce ‖ commitment ‖ ciphertext, for the holders of `key`; a nonce is used once."""
    encryption_key, commitment = _keys(key, context, nonce)
    return nonce + commitment + ChaCha20Poly1305(encryption_key).encrypt(_ONE_MESSAGE, plaintext, context)


def unseal(key: ContentKey, box: bytes, *, context: bytes) -> bytes:
    """What was sealed; raises `Violation` for another key, another context or any altered bit."""
    nonce, commitment = box[:NONCE_BYTES], box[NONCE_BYTES : NONCE_BYTES + COMMITMENT_BYTES]
    encryption_key, expected = _keys(key, context, nonce)
    if len(box) < OVERHEAD or not hmac.compare_digest(commitment, expected):
        raise Violation("§6.3", "a sealed box was made for another key or context, or altered")
    try:
        return ChaCha20Poly1305(encryption_key).decrypt(
            _ONE_MESSAGE, box[NONCE_BYTES + COMMITMENT_BYTES :], context
        )
    except InvalidTag as error:
        raise Violation("§6.3", "a sealed box was altered") from error


def seal_to(recipient: SealingKey, plaintext: bytes, *, context: bytes, ephemeral: SealingSecret) -> bytes:
    """ephemeral public key ‖ box, for one member; `ephemeral` is 32 fresh random bytes.

    Raises `Violation` for a recipient key of low order: what anyone could compute would lock the box.
    """
    private = X25519PrivateKey.from_private_bytes(ephemeral)
    sender = private.public_key().public_bytes_raw()
    try:
        shared = private.exchange(X25519PublicKey.from_public_bytes(recipient))
    except ValueError as error:
        problem = "a sealing key that is no usable public key"
        raise Violation("§6.3", problem, expected="an X25519 point", found=recipient) from error
    key = ContentKey(derive(shared, "seal-to", sender, recipient))
    return sender + seal(key, plaintext, context=context, nonce=derive(ephemeral, "seal-to-nonce", plaintext))


def unseal_with(secret: SealingSecret, box: bytes, *, context: bytes) -> bytes:
    """What was sealed to this member; raises `Violation`."""
    private = X25519PrivateKey.from_private_bytes(secret)
    sender, recipient = box[:KEY_BYTES], private.public_key().public_bytes_raw()
    try:
        shared = private.exchange(X25519PublicKey.from_public_bytes(sender))
    except ValueError as error:  # a short or low-order point
        raise Violation("§6.3", "a sealed box holds no usable public key") from error
    return unseal(ContentKey(derive(shared, "seal-to", sender, recipient)), box[KEY_BYTES:], context=context)


def sealing_key_of(secret: SealingSecret) -> SealingKey:
    """The public half, as it stands on the roster."""
    return SealingKey(X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw())


def _keys(key: bytes, context: bytes, nonce: bytes) -> tuple[bytes, bytes]:
    return derive(key, "seal-key", nonce, context), derive(key, "seal-commitment", nonce, context)
