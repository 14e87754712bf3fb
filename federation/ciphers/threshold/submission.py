"""The submission proof: whoever sends a capsule knows what is in it, and meant it for this header.

Ciphertexts of earlier rounds are public and Paillier is malleable. Without this proof one member
submits another's old capsule raised to 128, or parks another's leaf in its own padding, and reads
a whole update from one lawful opening (PROTOCOL §7.6). A Schnorr proof over all ciphertexts at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import gmpy2
from gmpy2 import mpz

from ...digest import Digest, derive, secret_stream
from ...errors import ProofFailed
from .comb import FixedBase, shape_for
from .keys import PublicKey
from .residues import WORD_BYTES, are_units, pack, words
from .split import power_product, split, unsplit

SLACK_BITS: Final = (
    288  # α0 is longer than |α| by the challenge (128), 2^32 ciphertexts and 128 bits of hiding
)

_SUBMISSIONS: Final = 16  # that a table for their check is cut to


def submission_bytes(key: PublicKey) -> int:
    """d in two widths, z in one, ζ in enough bytes for |α| + 289 bits."""
    return 3 * key.width + _zeta_bytes(key)


def prove_submission(
    key: PublicKey,
    plaintexts: Sequence[mpz],
    randomisers: Sequence[mpz],
    *,
    secret: bytes,
    header: bytes,
    root: Digest,
) -> bytes:
    """The proof for (1+m_k·n)·h_s^α_k; `secret` is the update's own, derived from seed, header and values.

    The nonce is a PRF of (secret, root), so a given nonce only ever meets one challenge: the header
    is fixed by `secret`, the root by the derivation, and d by the nonce. A restart repeats the same
    bytes; a fork or a restored snapshot with another update has another nonce.
    """
    nonce = derive(secret, "submission nonce", root)
    m_0 = mpz.from_bytes(secret_stream(nonce, "plaintext", key.width + WORD_BYTES), "big") % key.n
    alpha_bytes = (key.randomiser_bits + SLACK_BITS) // 8
    alpha_0 = mpz.from_bytes(secret_stream(nonce, "randomiser", alpha_bytes), "big")
    masked = gmpy2.powmod_sec(key.h_s, alpha_0, key.n_squared)
    d = pack([(1 + m_0 * key.n) * masked % key.n_squared], 2 * key.width)
    challenges = _challenges(key, len(plaintexts), header=header, root=root, d=d)
    z = (m_0 + sum(e * m for e, m in zip(challenges, plaintexts, strict=True))) % key.n
    zeta = alpha_0 + sum(e * alpha for e, alpha in zip(challenges, randomisers, strict=True))
    return d + pack([z], key.width) + pack([zeta], _zeta_bytes(key))


def check_submission(
    key: PublicKey, ciphertexts: Sequence[mpz], proof: bytes, *, header: bytes, root: Digest
) -> None:
    """Raises `ProofFailed` unless the sender knew every plaintext and meant this header and root.

    `root` has to be the one that the caller computed over header, capsule and body: it is what binds
    the challenge to the ciphertexts.
    """
    n, n_squared, width = key.n, key.n_squared, key.width
    if len(proof) != submission_bytes(key):
        raise _failure("length in bytes", expected=submission_bytes(key), found=len(proof))
    d = mpz.from_bytes(proof[: 2 * width], "big")
    z = mpz.from_bytes(proof[2 * width : 3 * width], "big")
    zeta = mpz.from_bytes(proof[3 * width :], "big")
    if z >= n:
        raise _failure("z", expected="below n", found="more")
    if zeta.bit_length() > key.randomiser_bits + SLACK_BITS + 1:
        raise _failure("ζ in bits", expected=key.randomiser_bits + SLACK_BITS + 1, found=zeta.bit_length())
    if not are_units([d, *ciphertexts], n, below=n_squared):
        raise _failure("d and ciphertexts", expected="units modulo n²", found="another value")
    challenges = _challenges(key, len(ciphertexts), header=header, root=root, d=proof[: 2 * width])
    claimed = d * power_product(split(ciphertexts, n), challenges, n) % n_squared
    ((value, slope),) = _powers_of_h_s(key).powers([zeta])
    if claimed != unsplit(value, slope + z, n):
        raise _failure("the equation", expected="both sides equal", found="unequal")


@lru_cache(maxsize=2)  # one for each dealer; below 1 MB
def _powers_of_h_s(key: PublicKey) -> FixedBase:
    """For the responses ζ of a round's submissions; pays from the second one."""
    return FixedBase(key.h_s, key.n, shape_for(key.randomiser_bits + SLACK_BITS + 1, _SUBMISSIONS))


def _challenges(key: PublicKey, count: int, *, header: bytes, root: Digest, d: bytes) -> list[mpz]:
    return words("submission proof", count, key.digest, header, root, d)


def _zeta_bytes(key: PublicKey) -> int:
    return (key.randomiser_bits + SLACK_BITS) // 8 + 1


def _failure(what: str, *, expected: object, found: object) -> ProofFailed:
    return ProofFailed("§7.6", f"the submission proof: {what}", expected=expected, found=found)
