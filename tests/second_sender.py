"""A stranger's update, byte for byte: what a hospital encrypts, and how an auditor would make it again.

From PROTOCOL.md alone (§7.5, §7.6, §7.12.4); it shares no code with the package. Careless with secrets.
"""

import hashlib
import struct
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from . import second_hybrid as hybrid
from .second_capsule import Capsule, Place, power
from .second_parts import cut, demand, derive, sha, tree_root, u64, words
from .second_suites import Suite


@dataclass(frozen=True)
class Parts:
    """What an update is made of: each capsule's vector and secret, and the body's leaves."""

    vectors: Sequence[Sequence[int]]
    secrets: Sequence[bytes]
    body: Sequence[bytes]


def parts_of(suite: Suite, values: Sequence[int], seed: bytes, header: bytes, place: Place) -> Parts:
    """§7.5, §7.12.4: those of an honest update."""
    signed = b"".join(value.to_bytes(4, "little", signed=True) for value in values)
    secret = derive(seed, "encrypt", suite.digest, sha(header), sha(signed))
    if suite.name == "paillier":
        return Parts([values], [secret], [])
    dealers = range(len(suite.capsules))
    keys = [gaussians(derive(secret, "hybrid key", u64(k)), 0) for k in dealers]
    return Parts(
        vectors=keys,
        secrets=[derive(secret, "hybrid capsule", u64(k)) for k in dealers],
        body=body(values, keys, derive(secret, "hybrid error"), place),
    )


def write(suite: Suite, parts: Parts, header: bytes) -> bytes:
    """§4.1: the payload, its proof made anew whatever the parts are."""
    sealed = [
        encrypt(capsule, vector, secret)
        for capsule, vector, secret in zip(suite.capsules, parts.vectors, parts.secrets, strict=True)
    ]
    leaves = [leaf for one in sealed for leaf in one.leaves] + list(parts.body)
    root = tree_root([header, *leaves])
    proofs = [
        prove(capsule, one, secret, header, root)
        for capsule, one, secret in zip(suite.capsules, sealed, parts.secrets, strict=True)
    ]
    return b"".join([len(header).to_bytes(4, "big"), header, *leaves, *proofs])


# ---------------------------------------------------------------- §7.4 to §7.6: a capsule and its proof


@dataclass(frozen=True)
class Encrypted:
    leaves: Sequence[bytes]
    plaintexts: Sequence[int]
    randomisers: Sequence[int]


def stream(secret: bytes, label: str, length: int, *parts: bytes) -> int:
    """§2.1, as an integer."""
    return int.from_bytes(hashlib.shake_256(derive(secret, label, *parts)).digest(length), "big")


def encrypt(capsule: Capsule, vector: Sequence[int], secret: bytes) -> Encrypted:
    """§7.4, §7.5; a vector may be too long, or a value too large, but for the ciphertexts' number."""
    key, L = capsule.key, capsule.lanes
    rows = [vector[at : at + L] for at in range(0, len(vector), L)]
    demand(len(rows) == capsule.K, "§7.4", "number of plaintexts")
    m = [sum(v << capsule.lane * i for i, v in enumerate(row)) % key.n for row in rows]
    alpha = [stream(secret, "randomiser", key.bits // 16, u64(k)) for k in range(1, capsule.K + 1)]
    c = [(1 + x * key.n) * power(key.hs, a, key.square) % key.square for x, a in zip(m, alpha, strict=True)]
    return Encrypted([value.to_bytes(2 * key.width, "big") for value in c], m, alpha)


def prove(capsule: Capsule, one: Encrypted, secret: bytes, header: bytes, root: bytes) -> bytes:
    """§7.6."""
    key, nonce = capsule.key, derive(secret, "submission nonce", root)
    m0 = stream(nonce, "plaintext", key.width + 16) % key.n
    alpha0 = stream(nonce, "randomiser", key.bits // 16 + 36)
    d = (1 + m0 * key.n) * power(key.hs, alpha0, key.square) % key.square
    written = d.to_bytes(2 * key.width, "big")
    e = words("submission proof", capsule.K, key.digest, header, root, written)
    z = (m0 + sum(x * y for x, y in zip(e, one.plaintexts, strict=True))) % key.n
    zeta = alpha0 + sum(x * y for x, y in zip(e, one.randomisers, strict=True))
    return written + z.to_bytes(key.width, "big") + zeta.to_bytes(key.bits // 16 + 37, "big")


# ---------------------------------------------------------------- §7.12.4: Gaussians and the body


def keystream(key: bytes, length: int, index: int) -> bytes:
    """§2.1."""
    nonce = bytes(4) + index.to_bytes(12, "little")  # the library's nonce begins with the counter
    return Cipher(ChaCha20(key, nonce), mode=None).encryptor().update(bytes(length))


@cache
def thresholds() -> list[int]:
    """T_x for x = -120 … 119."""
    with localcontext(prec=80):
        weights = [(-Decimal(y * y) / 128).exp() for y in range(-120, 121)]
        whole = sum(weights)
        table = [int((2**128 * sum(weights[: x + 1]) / whole).to_integral_value()) for x in range(240)]
    written = b"".join(T.to_bytes(17, "big") for T in table)
    told = "1692246eb58632bb3a6b244d0fee1e606ee63f8f3a7b7b7494fb6573c6cd84f1"
    demand(sha(written).hex() == told, "§7.12.4", "table of the Gaussian")
    return table


def gaussians(key: bytes, stream: int) -> list[int]:
    """The first 4096 samples of one stream."""
    table, samples = thresholds(), []
    ties = {T >> 64 for T in table}
    for i, word in enumerate(cut(keystream(key, 8 * hybrid.d, stream), 8)):
        u = int.from_bytes(word, "little") << 64
        if u >> 64 in ties:
            low = keystream(key, 8 * i + 8, (1 << 95) + stream)[8 * i :]
            u += int.from_bytes(low, "little")
        samples.append(bisect_right(table, u) - 120)
    return samples


def body(values: Sequence[int], keys: Sequence[Sequence[int]], errors: bytes, place: Place) -> list[bytes]:
    """y_j = a_j·s + e_j + κ·x_j, tower by tower."""
    s, leaves = [sum(column) for column in zip(*keys, strict=True)], []
    for j, at in enumerate(range(0, len(values), 2 * hybrid.d)):
        block = list(values[at : at + 2 * hybrid.d])
        block += [0] * (2 * hybrid.d - len(block))
        x = [low + (high << 24) for low, high in zip(block[::2], block[1::2], strict=True)]
        e = gaussians(errors, j)
        for tower, prime in enumerate(hybrid.PRIMES):
            masked = hybrid.product(s, hybrid.mask(place, j, tower), prime)
            y = [(a + b + hybrid.KAPPA * c) % prime for a, b, c in zip(masked, e, x, strict=True)]
            leaves += cut(struct.pack(f"<{hybrid.d}I", *y), 4 * hybrid.LEAF)
    return leaves
