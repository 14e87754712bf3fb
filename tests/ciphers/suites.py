"""Every suite that the laws hold for, with a test-only key each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gmpy2 import mpz

from federation.ciphers import deal, suite_for
from federation.ciphers.ceremony import deal_from_primes
from federation.ciphers.hybrid.keys import encode_keys
from federation.ciphers.suite import CipherSuite, Dealing, KeyShare
from federation.ciphers.threshold.keys import decode_key

from .keys import dealt

# The second dealer's: `safe_prime(128, SHA-256("tallystick test-only key " + i))` for i = 3, 4.
_SECOND_PRIMES: Final = ("caad0eb7ca845d738ab6e057d6e4a14b", "feeb2005960b0e8128ea4ead8b0ca283")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A suite under test: `make(values)` binds it to a vector's length."""

    name: str
    dealing: Dealing
    make: Callable[[int], CipherSuite]

    def __str__(self) -> str:
        return self.name


def paillier(bits: int, threshold: int = 2, members: int = 3) -> Case:
    dealing = dealt(bits, threshold, members)
    name = f"paillier-{bits}-{threshold}of{members}"
    return Case(
        name=name, dealing=dealing, make=lambda n: suite_for("paillier", dealing.public_key, values=n)
    )


def plain(threshold: int = 2, members: int = 3) -> Case:
    dealing = deal("plain", threshold=threshold, members=members, random=bytes, unsafe=True)
    name = f"plain-{threshold}of{members}"
    return Case(name=name, dealing=dealing, make=lambda n: suite_for("plain", dealing.public_key, values=n))


def hybrid(bits: int, threshold: int = 2, members: int = 3) -> Case:
    dealing = dealt(bits, threshold, members)
    name = f"hybrid-{bits}-{threshold}of{members}"
    return Case(name=name, dealing=dealing, make=lambda n: suite_for("hybrid", dealing.public_key, values=n))


def second_dealing(threshold: int = 2, members: int = 3) -> Dealing:
    """Another 256-bit key, beside `dealt(256)`."""
    p, q = (mpz(prime, 16) for prime in _SECOND_PRIMES)
    return deal_from_primes(p, q, threshold=threshold, members=members, seed=bytes([2]) * 32)


def joined(first: Dealing, second: Dealing) -> Dealing:
    """What two dealers leave behind together."""
    return Dealing(
        public_key=encode_keys((decode_key(first.public_key), decode_key(second.public_key))),
        key_shares=tuple(KeyShare(a + b) for a, b in zip(first.key_shares, second.key_shares, strict=True)),
    )


def two_dealers(threshold: int = 2, members: int = 3) -> Case:
    dealing = joined(dealt(256, threshold, members), second_dealing(threshold, members))
    name = f"hybrid-two-dealers-{threshold}of{members}"
    return Case(name=name, dealing=dealing, make=lambda n: suite_for("hybrid", dealing.public_key, values=n))


QUICK = (
    plain(),
    plain(3, 5),
    paillier(256),
    paillier(256, 3, 5),
    paillier(512),
    hybrid(512),
    two_dealers(),
)
FULL_SIZE = (paillier(2048, 3, 5), paillier(3072, 2, 3), hybrid(2048, 3, 5))
