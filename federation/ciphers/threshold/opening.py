"""The public check of an opening: whoever has the capsule can tell, holding no secret.

For each ciphertext an opening shows m and w with c^(4D²) = (1+n)^(4D²·m)·w^n mod n². Under a key
whose proof holds, m is the only one for which there is such a w, so the check trusts nobody, not
even all members and the dealer together (PROTOCOL §7.9, §12.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import gmpy2
from gmpy2 import mpz

from ...digest import sha256
from ...errors import ProofFailed
from ..suite import Opening, TotalContext
from .keys import PublicKey
from .residues import are_units, product_of_powers, unpack, words
from .split import Split, nth_power, power_product, split, unsplit

# One equation over 128-bit exponents would not do. All that is proven of n's prime factors is that
# they exceed 2^16: a dealer can take n = P·Q with P = 65,537, shift one m by n/P, and pass whenever
# P divides that exponent, once in P tries. Exponents below every possible P have one good value at
# most among 2^16; eight independent equations leave 2^-128.
EQUATIONS: Final = 8
DIGIT_BITS: Final = 16


def check_opening_proof(
    key: PublicKey, ciphertexts: Sequence[mpz], opening: Opening, context: TotalContext
) -> None:
    """Raises `ProofFailed` unless every plaintext is the only possible one.

    The ciphertexts have to be those of the total that `context` names, recomputed by the caller.
    """
    size = len(ciphertexts) * key.width
    if (len(opening.plaintexts), len(opening.witnesses)) != (size, size):
        raise _failure("length", expected=size, found=(len(opening.plaintexts), len(opening.witnesses)))
    plaintexts = unpack(opening.plaintexts, key.width)
    witnesses = unpack(opening.witnesses, key.width)
    # 1. One spelling: m + n and w + n would satisfy the equations too.
    if any(plaintext >= key.n for plaintext in plaintexts):
        raise _failure("plaintexts", expected="below n", found="more")
    # 2. A single zero on both sides of a product would make any other values pass.
    if not are_units(ciphertexts, key.n, below=key.n_squared):
        raise _failure("ciphertexts", expected="units modulo n²", found="another value")
    if not are_units(witnesses, key.n, below=key.n):
        raise _failure("witnesses", expected="units modulo n", found="another value")
    # 3. The exponents depend on every m and w: none could be chosen after them.
    exponents = words(
        "opening batch",
        len(ciphertexts),
        key.digest,
        context.ledger,
        context.round.study.to_bytes(8, "big"),
        context.round.number.to_bytes(8, "big"),
        context.root,
        sha256(opening.plaintexts),
        sha256(opening.witnesses),
    )
    parts = split(ciphertexts, key.n)
    for equation in range(EQUATIONS):
        digits = [word >> DIGIT_BITS * (EQUATIONS - 1 - equation) & 0xFFFF for word in exponents]
        if not _holds(key, parts, plaintexts, witnesses, digits):
            raise _failure(f"equation {equation + 1} of {EQUATIONS}", expected="equal sides", found="unequal")


def _holds(
    key: PublicKey,
    ciphertexts: Split,
    plaintexts: Sequence[mpz],
    witnesses: Sequence[mpz],
    exponents: Sequence[mpz],
) -> bool:
    """(∏ c_k^ρ_k)^(4D²) = (1 + 4D²·Σρ_k·m_k·n)·(∏ w_k^ρ_k mod n)^n mod n²."""
    n, n_squared, four_d_squared = key.n, key.n_squared, 4 * key.delta * key.delta
    left = gmpy2.powmod(power_product(ciphertexts, exponents, n), four_d_squared, n_squared)
    exponent = four_d_squared * sum(rho * m for rho, m in zip(exponents, plaintexts, strict=True)) % n
    root = product_of_powers(witnesses, exponents, n)
    return bool(left == unsplit(nth_power(root, n), exponent, n))


def _failure(what: str, *, expected: object, found: object) -> ProofFailed:
    return ProofFailed("§7.9", f"the opening: {what}", expected=expected, found=found)
