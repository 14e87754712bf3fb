"""Hashes, extendable output and content identifiers: the names of bytes.

Every hash that is not a Merkle node is labelled, so that no value computed for one
purpose can be replayed for another (PROTOCOL §2).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final, NewType

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from .errors import Refused

Digest = NewType("Digest", bytes)  # 32 bytes of SHA-256
LedgerId = NewType("LedgerId", bytes)  # 32 bytes, see `ledger_id`
Cid = NewType("Cid", bytes)  # 36 bytes: CIDv1, codec raw or dag-pb, SHA-256

DIGEST_BYTES: Final = 32
NONCE_BYTES: Final = 12  # of ChaCha20, and so of the index of a keystream
CID_BYTES: Final = 36
CID_RAW: Final = bytes.fromhex("01551220")  # version 1, codec raw, sha2-256, 32 bytes
CID_DAG_PB: Final = bytes.fromhex("01701220")  # the same with codec dag-pb


def sha256(data: bytes) -> Digest:
    """Plain SHA-256."""
    return Digest(hashlib.sha256(data).digest())


def labelled(label: str, *parts: bytes | memoryview) -> Digest:
    """SHA-256 of `tallystick/1/label`, a zero byte, and each part behind its 8-byte big-endian length.

    A view has to be one of bytes: it is for what is too large to copy.
    """
    state = hashlib.sha256(_prefix(label))
    for part in parts:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return Digest(state.digest())


def xof(label: str, length: int, *parts: bytes) -> bytes:
    """`length` bytes of SHAKE128 over `labelled(label, *parts)`: public, uniform, reproducible."""
    return hashlib.shake_128(labelled(label, *parts)).digest(length)


def derive(secret: bytes, label: str, *parts: bytes) -> bytes:
    """32 secret bytes: HKDF-SHA256 (RFC 5869), one block, salt empty, info = `labelled(label, *parts)`."""
    extracted = hmac.digest(bytes(DIGEST_BYTES), secret, "sha256")
    return hmac.digest(extracted, labelled(label, *parts) + b"\x01", "sha256")


def secret_stream(secret: bytes, label: str, length: int, *parts: bytes) -> bytes:
    """`length` secret bytes of SHAKE256 keyed by `derive(secret, label, *parts)`."""
    return hashlib.shake_256(derive(secret, label, *parts)).digest(length)


def keystream(key: bytes, length: int, *, index: int) -> bytes:
    """`length` secret bytes of ChaCha20 (RFC 8439): nonce = `index`, 12 bytes little-endian; counter from 0.

    The bulk source of secret randomness: each index of a 32-byte `key` is a stream of its own, so that
    whoever needs the draws of one block never makes those of the blocks before it. Below 2^38 bytes.
    """
    counter_and_nonce = bytes(4) + index.to_bytes(NONCE_BYTES, "little")
    return Cipher(ChaCha20(key, counter_and_nonce), mode=None).encryptor().update(bytes(length))


def ledger_id(chain_id: int, genesis: bytes, contract: bytes, deployment_block: bytes) -> LedgerId:
    """Names one contract on one chain for ever; development chains share chain ids and first addresses.

    `genesis` and `deployment_block` are 32-byte block hashes, `contract` a 20-byte address.
    """
    return LedgerId(labelled("ledger", chain_id.to_bytes(32, "big"), genesis, contract, deployment_block))


def show_cid(cid: Cid) -> str:
    """The usual text form: multibase `b`, lower-case base32, no padding."""
    return "b" + base64.b32encode(cid).decode().lower().rstrip("=")


def parse_cid(text: str) -> Cid:
    """What `show_cid` shows; raises `Refused` for any other text."""
    try:
        cid = Cid(base64.b32decode(text[1:].upper() + "=" * (-(len(text) - 1) % 8)))
    except ValueError:
        cid = Cid(b"")
    if len(cid) != CID_BYTES or cid[:4] not in (CID_RAW, CID_DAG_PB) or show_cid(cid) != text:
        raise Refused(f"expected a CIDv1 in base32 (raw or dag-pb, SHA-256) such as bafk…, found {text!r}")
    return cid


def _prefix(label: str) -> bytes:
    return b"tallystick/1/" + label.encode("ascii") + b"\x00"
