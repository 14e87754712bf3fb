"""The public key of `hybrid`: one dealer's key of `paillier` as it is, or two dealers' side by side.

With two, each carries a part of every mask's key, so neither dealer, keeping its primes, can read anything
alone (PROTOCOL §7.12.1).
"""

from __future__ import annotations

from typing import Final

import gmpy2

from ... import cbor
from ...digest import Digest, labelled
from ...errors import Violation
from ..threshold.keys import KEY_LIMIT, PublicKey, decode_key

DEALERS: Final = 2
_KEYS: Final = 1  # key of the CBOR map; a key of `paillier` begins with its length there, an integer
_LIMIT: Final = DEALERS * KEY_LIMIT + 64  # bytes


def encode_keys(keys: tuple[PublicKey, ...]) -> bytes:
    """One key as `PublicKey.encode`; two as a CBOR map from 1 to the array of both."""
    return keys[0].encode() if len(keys) == 1 else cbor.encode({_KEYS: [key.encode() for key in keys]})


def decode_keys(data: bytes) -> tuple[PublicKey, ...]:
    """The one or two keys whose encoding is `data`; raises `Violation` for any other bytes."""
    match cbor.decode(data, limit=_LIMIT):
        case {1: [bytes(one), bytes(other)], **rest} if not rest:
            keys = (decode_key(one), decode_key(other))
        case _:
            return (decode_key(data),)
    sizes = [(key.bits, key.threshold, key.holders) for key in keys]
    if sizes[0] != sizes[1]:
        raise Violation("§7.12.1", "the second dealer's bits, t and N", expected=sizes[0], found=sizes[1])
    if gmpy2.gcd(keys[0].n, keys[1].n) != 1:  # then one dealer alone could read everything
        raise Violation("§7.12.1", "the dealers' moduli", expected="no common factor", found="one")
    return keys


def digest_of(keys: tuple[PublicKey, ...]) -> Digest:
    """kd: of one key its own, so that a key may serve both suites; of two a hash of both."""
    return keys[0].digest if len(keys) == 1 else labelled("hybrid key", *(key.digest for key in keys))
