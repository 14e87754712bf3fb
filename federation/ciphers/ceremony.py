"""The key ceremony: a dealer makes a threshold key, hands out the shares, and forgets; two may do so.

A dealer who keeps p and q can read every *individual* update, silently and for ever; nothing in the
public key would show it. It is trusted with that alone: the key proof lets everyone check that it
cannot make an opening come out wrong (PROTOCOL §7.2). Python cannot overwrite what it has held in
memory, so a ceremony belongs in a process of its own, on a machine that is then switched off. Under the
keys of two dealers neither can read anything alone (PROTOCOL §7.11).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import gmpy2
from gmpy2 import mpz
from phe.paillier import PaillierPrivateKey, PaillierPublicKey

from ..digest import secret_stream
from ..errors import Refused
from .suite import Dealing, KeyShare
from .threshold.interpolation import interpolate, partial_opening, plaintext_of, polynomial_at
from .threshold.keys import MAX_BITS, MAX_HOLDERS, MIN_BITS, ROOTS, SAFE_BITS, PublicKey
from .threshold.residues import WORD_BYTES, pack
from .threshold.safe_primes import safe_primes

DEFAULT_BITS: Final = 3072  # 128-bit security
SEED_BYTES: Final = 32


def deal(
    bits: int,
    threshold: int,
    members: int,
    *,
    random: Callable[[int], bytes],
    unsafe: bool = False,
    processes: int = 2,
) -> Dealing:
    """A fresh key of `bits` bits in `members` shares, any `threshold` of which open.

    `random(k)` gives k secret bytes. 2048 bits (112-bit security) have to be asked for; fewer are
    refused unless `unsafe`, and such a key names its own weakness.
    """
    if bits < SAFE_BITS and not unsafe:
        raise Refused(
            f"expected a key of at least {SAFE_BITS} bits, found {bits}; shorter ones protect nothing"
        )
    if not MIN_BITS <= bits <= MAX_BITS or bits % 16:
        raise Refused(f"expected bits in {MIN_BITS} … {MAX_BITS}, a multiple of 16, found {bits}")
    seeds = [random(SEED_BYTES), random(SEED_BYTES)]
    p, q = safe_primes(bits // 2, seeds, processes=processes)
    return deal_from_primes(p, q, threshold=threshold, members=members, seed=random(SEED_BYTES))


def deal_from_primes(p: mpz, q: mpz, *, threshold: int, members: int, seed: bytes) -> Dealing:
    """The key over two distinct safe primes of one length; `seed` (32 secret bytes) fixes the polynomial."""
    if not 2 <= threshold <= (members + 1) // 2 or members > MAX_HOLDERS:
        possible = f"a threshold in 2 … {(members + 1) // 2} for {members} members (2 ≤ t, 2t - 1 ≤ N)"
        raise Refused(f"expected {possible}, at most {MAX_HOLDERS} of them, found {threshold}")
    if p == q:
        raise Refused("expected two distinct primes: the source of randomness repeats itself")
    n, order = p * q, ((p - 1) // 2) * ((q - 1) // 2)  # p'q': of the group of squares
    width = n.bit_length() // 8
    coefficients = [gmpy2.invert(n, order)]
    for k in range(1, threshold):
        raw = secret_stream(seed, "coefficient", width + WORD_BYTES, k.to_bytes(8, "big"))
        coefficients.append(mpz.from_bytes(raw, "big") % order)
    bare = PublicKey(bits=n.bit_length(), n=n, threshold=threshold, holders=members, commitments=(), roots=())
    inverse = gmpy2.invert(n, 2 * order)  # raising to it takes the n-th root of any unit
    key = PublicKey(
        bits=bare.bits,
        n=n,
        threshold=threshold,
        holders=members,
        commitments=tuple(gmpy2.powmod_sec(bare.v, coefficient, n) for coefficient in coefficients),
        roots=tuple(gmpy2.powmod_sec(bare.root_target(index), inverse, n) for index in range(ROOTS)),
    )
    shares = {member: polynomial_at(coefficients, member, order) for member in range(1, members + 1)}
    _rehearse(key, shares, p, q)
    return Dealing(
        public_key=key.encode(),
        key_shares=tuple(KeyShare(pack([share], width)) for share in shares.values()),
    )


def _rehearse(key: PublicKey, shares: dict[int, mpz], p: mpz, q: mpz) -> None:
    """Raises `Refused` unless t shares and `phe`, which has the primes, read the same plaintext.

    The last moment at which a defect can be seen by someone who knows the factors.
    """
    plaintext, n_squared = key.n - 2, key.n_squared
    ciphertext = (1 + plaintext * key.n) * gmpy2.powmod(key.h_s, 3, n_squared) % n_squared
    partials = {
        member: partial_opening(key, ciphertext, share)
        for member, share in list(shares.items())[-key.threshold :]
    }
    ours = plaintext_of(key, ciphertext, interpolate(key, partials))
    private = PaillierPrivateKey(PaillierPublicKey(int(key.n)), int(p), int(q))
    if ours != plaintext or private.raw_decrypt(int(ciphertext)) != plaintext:
        raise Refused("the dealt key does not open its own test: deal again, and please report it")
