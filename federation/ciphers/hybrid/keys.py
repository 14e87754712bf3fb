"""The public key of `hybrid`: one dealer's key of `paillier` as it is, or two dealers' side by side.

With two, each carries a part of every mask's key, so neither dealer, keeping its primes, can read anything
alone (PROTOCOL §7.12.1).
"""

from __future__ import annotations

from typing import Final

import gmpy2

from ... import cbor
from ...digest import Digest, labelled
from ...errors import Refused, Violation
from ..threshold.keys import KEY_LIMIT, PublicKey, decode_key

DEALERS: Final = 2
_KEYS: Final = 1  # key of the CBOR map; a key of `paillier` begins with its length there, an integer
_LIMIT: Final = DEALERS * KEY_LIMIT + 64  # bytes


def encode_keys(keys: tuple[PublicKey, ...]) -> bytes:
    """One key as `PublicKey.encode`; two as a CBOR map from 1 to the array of both."""
    return keys[0].encode() if len(keys) == 1 else cbor.encode({_KEYS: [key.encode() for key in keys]})


def decode_keys(data: bytes) -> tuple[PublicKey, ...]:
    """The one or two keys whose encoding is `data`; raises `Violation` for any other bytes."""
    keys = tuple(map(decode_key, _cut(data)))
    if len(keys) == 1:
        return keys
    sizes = [(key.bits, key.threshold, key.holders) for key in keys]
    if sizes[0] != sizes[1]:
        raise Violation("§7.12.1", "the second dealer's bits, t and N", expected=sizes[0], found=sizes[1])
    if gmpy2.gcd(keys[0].n, keys[1].n) != 1:  # then one dealer alone could read everything
        raise Violation("§7.12.1", "the dealers' moduli", expected="no common factor", found="one")
    return keys


def join_keys(first: bytes, second: bytes) -> bytes:
    """The one key of two dealers, in their order: a capsule under each, read by nobody who has one alone.

    Raises `Refused` unless both have the same length, threshold and holders, and share no prime.
    """
    joined = encode_keys((decode_key(first), decode_key(second)))
    try:
        decode_keys(joined)
    except Violation as fault:
        raise Refused(
            f"two keys that do not go together: {fault}; deal one of them again to match"
        ) from fault
    return joined


def dealers_of(data: bytes) -> tuple[bytes, ...]:
    """Each dealer's own key: both of a joined one, else `data` itself, of whatever suite it is the key.

    Raises `Violation` where two keys do not go together. Says nothing about either key's proof.
    """
    dealers = _cut(data)
    if len(dealers) == DEALERS:
        decode_keys(data)
    return dealers


def digest_of(keys: tuple[PublicKey, ...]) -> Digest:
    """kd: of one key its own, so that a key may serve both suites; of two a hash of both."""
    return keys[0].digest if len(keys) == 1 else labelled("hybrid key", *(key.digest for key in keys))


def _cut(data: bytes) -> tuple[bytes, ...]:
    match cbor.decode(data, limit=_LIMIT):
        case {1: [bytes(one), bytes(other)], **rest} if not rest:
            return one, other
        case {1: list(), **rest} if not rest:
            raise Violation("§7.12.1", "the key's fields", expected="two keys", found="another list")
        case _:
            return (data,)
