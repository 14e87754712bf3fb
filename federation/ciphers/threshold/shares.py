"""A member's share of an opening, with the proof that it is right.

The proof (Chaum and Pedersen 1992, batched) shows that one exponent s leads from every ciphertext
to its partial opening and from v to the member's verification key. It always travels with the
share, so that blame needs no second question to a member who may have gone (PROTOCOL §7.8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import gmpy2
from gmpy2 import mpz

from ...digest import Digest, derive, labelled, secret_stream, sha256, xof
from ...errors import Refused, Violation
from ..suite import KeyShare, TotalContext
from .interpolation import partial_opening
from .keys import PublicKey
from .residues import WORD_BYTES, are_units, pack, product_of_powers, unpack, words

_SLACK_BITS: Final = 256  # the nonce is longer than s by the challenge (128) and 128 bits of hiding


@dataclass(frozen=True, slots=True, kw_only=True)
class _Statement:
    """Both sides of the claim `powers == bases^s`, and what the challenge is bound to."""

    digest: Digest
    bases: tuple[mpz, mpz]  # (∏ (c_k mod n)^ρ_k)^(4D) and v
    powers: tuple[mpz, mpz]  # (∏ a_k^ρ_k)² and ∏ V_k^(member^k); both are squares


def share_bytes(key: PublicKey, count: int) -> int:
    """`count` partial openings in one width, the challenge, and the response in bits + 257 bits."""
    return count * key.width + WORD_BYTES + _response_bytes(key)


def check_key_share_of(key: PublicKey, member: int, key_share: KeyShare) -> None:
    """Raises `Violation` unless `key_share` is the one that the key's commitments promise to `member`."""
    _check_member(key, member)
    if len(key_share) != key.width:
        raise Violation("§7.8", "a key share's length", expected=key.width, found=len(key_share))
    share = mpz.from_bytes(key_share, "big")
    fits = 0 < share < key.n and gmpy2.powmod_sec(key.v, share, key.n) == key.verification_key(member)
    if not fits:
        raise Violation("§7.8", f"the key share of member {member} against the key's commitments")


def give_share(
    key: PublicKey, ciphertexts: Sequence[mpz], *, member: int, key_share: KeyShare, context: TotalContext
) -> bytes:
    """a_1 ‖ … ‖ a_K ‖ e ‖ z for checked ciphertexts and a checked key share.

    The nonce is a PRF of (key share, statement): a retry repeats the same bytes, and another
    statement, that is another total, context or partial opening, has another nonce.
    """
    share = mpz.from_bytes(key_share, "big")
    partials = [partial_opening(key, ciphertext, share) for ciphertext in ciphertexts]
    statement = _statement(key, ciphertexts, partials, member=member, context=context)
    nonce_bytes = (key.bits + _SLACK_BITS) // 8
    nonce_key = derive(key_share, "share nonce", statement.digest)
    nonce = mpz.from_bytes(secret_stream(nonce_key, "nonce", nonce_bytes), "big")
    commitments = tuple(gmpy2.powmod_sec(base, nonce, key.n) for base in statement.bases)
    challenge = _challenge(key, statement, commitments)
    response = nonce + mpz.from_bytes(challenge, "big") * share
    return pack(partials, key.width) + challenge + pack([response], _response_bytes(key))


def check_share_proof(
    key: PublicKey, ciphertexts: Sequence[mpz], share: bytes, *, member: int, context: TotalContext
) -> None:
    """Raises `Violation` unless every partial opening is what this member's key share yields.

    Up to factors of order two, which joining squares away; it blames rightly where n is a product
    of safe primes.
    """
    _check_member(key, member)
    partials = partials_of(key, share, len(ciphertexts))
    if not are_units(partials, key.n, below=key.n):
        raise _violation(member, "a partial opening that is no unit below n")
    end = len(ciphertexts) * key.width
    challenge, response = share[end : end + WORD_BYTES], mpz.from_bytes(share[end + WORD_BYTES :], "big")
    if response.bit_length() > key.bits + _SLACK_BITS + 1:
        raise _violation(member, "a response out of range")
    statement = _statement(key, ciphertexts, partials, member=member, context=context)
    e = mpz.from_bytes(challenge, "big")
    commitments = tuple(
        gmpy2.powmod(base, response, key.n) * gmpy2.powmod(power, -e, key.n) % key.n
        for base, power in zip(statement.bases, statement.powers, strict=True)
    )
    if _challenge(key, statement, commitments) != challenge:
        raise _violation(member, "a proof that does not verify")


def partials_of(key: PublicKey, share: bytes, count: int) -> list[mpz]:
    """a_1 … a_K of a share; raises `Violation` for another length, checks nothing else."""
    if len(share) != share_bytes(key, count):
        raise Violation("§7.8", "a share's length", expected=share_bytes(key, count), found=len(share))
    return unpack(share[: count * key.width], key.width)


def _statement(
    key: PublicKey, ciphertexts: Sequence[mpz], partials: Sequence[mpz], *, member: int, context: TotalContext
) -> _Statement:
    digest = labelled(
        "share",
        key.digest,
        context.ledger,
        context.round.study.to_bytes(8, "big"),
        context.round.number.to_bytes(8, "big"),
        context.root,
        member.to_bytes(8, "big"),
        sha256(pack(ciphertexts, 2 * key.width)),
        sha256(pack(partials, key.width)),
    )
    # The exponents come after the partial openings: nobody can make two wrong ones cancel.
    exponents = words("share batch", len(ciphertexts), digest)
    base = product_of_powers([ciphertext % key.n for ciphertext in ciphertexts], exponents, key.n)
    power = product_of_powers(partials, exponents, key.n)
    return _Statement(
        digest=digest,
        bases=(gmpy2.powmod(base, 4 * key.delta, key.n), key.v),
        powers=(power * power % key.n, key.verification_key(member)),
    )


def _challenge(key: PublicKey, statement: _Statement, commitments: Sequence[mpz]) -> bytes:
    return xof("share challenge", WORD_BYTES, statement.digest, pack(commitments, key.width))


def _response_bytes(key: PublicKey) -> int:
    return (key.bits + _SLACK_BITS) // 8 + 1


def _check_member(key: PublicKey, member: int) -> None:
    if not 1 <= member <= key.holders:
        raise Refused(f"expected a member number in 1 … {key.holders}, found {member}")


def _violation(member: int, problem: str) -> Violation:
    return Violation("§7.8", f"the share of member {member}: {problem}")
