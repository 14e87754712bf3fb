"""Cipher suites by name: the one place that knows which there are, and which a study takes.

A new suite is one module that satisfies `CipherSuite` and its name here; nothing outside this package
depends on which suite it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Protocol

from ..errors import Refused
from .ceremony import DEFAULT_BITS
from .ceremony import deal as deal_paillier
from .hybrid.suite import HybridSuite
from .paillier import PaillierSuite
from .plain import PlainSuite, deal_plain
from .suite import CipherSuite, Dealing


class _MakeSuite(Protocol):
    def __call__(self, encoded_key: bytes, /, *, values: int) -> CipherSuite: ...


_SUITES: Final[Mapping[str, _MakeSuite]] = MappingProxyType(
    {"hybrid": HybridSuite, "paillier": PaillierSuite, "plain": PlainSuite}
)
SUITES: Final = tuple(sorted(_SUITES))
AUTO: Final = "auto"  # of a key that serves both `paillier` and `hybrid`: each study takes the cheaper one
JOINED: Final = "hybrid"  # the suite that takes the keys of two dealers
DEALT: Final = (AUTO, "hybrid", "paillier")  # one dealing serves all of them
HYBRID_FROM: Final = 2500  # values


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteName:
    """All that a suite follows from: what travels to another process instead of the suite."""

    name: str
    key: bytes  # encoded
    values: int  # integers in a vector, the weight included


@lru_cache(maxsize=16)
def resolve(named: SuiteName) -> CipherSuite:
    """The suite of that name, built once a process; errors as of `suite_for`."""
    return suite_for(named.name, named.key, values=named.values)


def choose(name: str, *, values: int) -> str:
    """The suite that a study of so many values uses under a key dealt for `name`, which may be `AUTO`.

    What `paillier` costs grows with the vector; `hybrid` pays once for its capsule, and next to nothing
    for each further value (`docs/ciphers.md` has the measurement).
    """
    if name == AUTO:
        return "hybrid" if values >= HYBRID_FROM else "paillier"
    _check_name(name)
    return name


def suite_of_key(name: str, key: bytes) -> CipherSuite:
    """A suite that takes a key dealt for `name`: to check key and shares before there is a study."""
    return suite_for(choose(name, values=1), key, values=1)


def suite_for(name: str, key: bytes, *, values: int) -> CipherSuite:
    """The suite `name` under the encoded public `key`, for vectors of `values` integers, the weight included.

    Raises `Refused` for an unknown name and `Violation` for a key that cannot be read; whether the
    key is any good is `check_key`'s question, whether it is strong enough `weakness`'s.
    """
    _check_name(name)
    return _SUITES[name](key, values=values)


def deal(
    name: str,
    *,
    threshold: int,
    members: int,
    random: Callable[[int], bytes],
    bits: int = DEFAULT_BITS,
    unsafe: bool = False,
    processes: int = 2,
) -> Dealing:
    """A fresh key in `members` shares, any `threshold` of which open a total.

    `name` is a suite, or `AUTO` for whichever of `DEALT` a study will choose. `random(k)` gives k secret
    bytes. `unsafe` admits what protects nothing: `plain`, and keys below 2048 bits.
    """
    if name not in DEALT:
        _check_name(name)
        if not unsafe:
            raise Refused("the suite `plain` encrypts nothing: it has to be asked for as unsafe")
        return deal_plain(threshold, members, random=random)
    return deal_paillier(bits, threshold, members, random=random, unsafe=unsafe, processes=processes)


def _check_name(name: str) -> None:
    if name not in _SUITES:
        raise Refused(f"expected one of the suites {', '.join(SUITES)}, found {name!r}")
