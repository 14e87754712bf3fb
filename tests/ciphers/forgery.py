"""A dealer and a prover that follow the formulas but not the rules, for what must be refused."""

from __future__ import annotations

from collections.abc import Sequence

import gmpy2
from gmpy2 import mpz

from federation.ciphers.suite import TotalContext
from federation.ciphers.threshold.keys import ROOTS, PublicKey
from federation.ciphers.threshold.residues import WORD_BYTES, pack, words
from federation.digest import Digest, labelled, sha256, xof


def forge_key(n: mpz, order: mpz, *, bits: int | None = None) -> PublicKey:
    """A 2-of-3 key over any odd n; `order` is a multiple of the exponent of Z*_n.

    Roots are right wherever they exist; elsewhere they are 1. The sharing polynomial is constant.
    """
    bits = bits or n.bit_length()
    bare = PublicKey(bits=bits, n=n, threshold=2, holders=3, commitments=(), roots=())
    v_0 = _root(bare.v, n, order)
    return PublicKey(
        bits=bits,
        n=n,
        threshold=2,
        holders=3,
        commitments=(v_0, mpz(1)),
        roots=tuple(_root(bare.root_target(i), n, order) for i in range(ROOTS)),
    )


def _root(element: mpz, n: mpz, order: mpz) -> mpz:
    common = gmpy2.gcd(n, order)
    return gmpy2.powmod(element, gmpy2.invert(n, order), n) if common == 1 else mpz(1)


def forge_submission(
    key: PublicKey,
    plaintexts: Sequence[mpz],
    randomisers: Sequence[mpz],
    *,
    header: bytes,
    root: Digest,
    alpha_0: int = 12345,
    m_0: int = 67890,
    more_d: int = 0,
    more_z: int = 0,
) -> bytes:
    """A submission proof straight from the formula: a nonce of one's own, d and z spelt at will."""
    n, n_squared = key.n, key.n_squared
    d = (1 + m_0 * n) * gmpy2.powmod(key.h_s, alpha_0, n_squared) % n_squared + more_d
    written = pack([d], 2 * key.width)
    e = words("submission proof", len(plaintexts), key.digest, header, root, written)
    z = (m_0 + sum(a * b for a, b in zip(e, plaintexts, strict=True))) % n + more_z
    zeta = alpha_0 + sum(a * b for a, b in zip(e, randomisers, strict=True))
    return written + pack([z], key.width) + pack([zeta], key.bits // 16 + 37)


def forge_share(
    key: PublicKey,
    ciphertexts: Sequence[mpz],
    partials: Sequence[mpz],
    *,
    secret: mpz,
    member: int,
    context: TotalContext,
    nonce: int = 13579,
) -> bytes:
    """A share straight from the formula, around partial openings of the sender's own choice."""
    statement = labelled(
        "share",
        key.digest,
        context.ledger,
        *(part.to_bytes(8, "big") for part in context.round),
        context.root,
        member.to_bytes(8, "big"),
        sha256(pack(ciphertexts, 2 * key.width)),
        sha256(pack(partials, key.width)),
    )
    base = mpz(1)
    for ciphertext, rho in zip(ciphertexts, words("share batch", len(partials), statement), strict=True):
        base = base * pow(ciphertext % key.n, 4 * key.delta * rho, key.n) % key.n
    commitments = pack([pow(base, nonce, key.n), pow(key.v, nonce, key.n)], key.width)
    challenge = xof("share challenge", WORD_BYTES, statement, commitments)
    response = nonce + mpz.from_bytes(challenge, "big") * secret
    return pack(partials, key.width) + challenge + pack([response], key.width + 33)
