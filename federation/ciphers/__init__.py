"""Cipher suites by name: the one place that knows which there are.

A new suite is one module that satisfies `CipherSuite` and one line in each table below; nothing
outside this package ever compares a suite's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from ..errors import Refused
from .ceremony import DEFAULT_BITS
from .ceremony import deal as deal_paillier
from .paillier import PaillierSuite
from .plain import PlainSuite, deal_plain
from .suite import CipherSuite, Dealing


class _MakeSuite(Protocol):
    def __call__(self, encoded_key: bytes, /, *, values: int) -> CipherSuite: ...


_SUITES: Final[Mapping[str, _MakeSuite]] = MappingProxyType({"paillier": PaillierSuite, "plain": PlainSuite})
SUITES: Final = tuple(sorted(_SUITES))


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
    """A fresh key for the suite `name`, in `members` shares any `threshold` of which open a total.

    `random(k)` gives k secret bytes. `unsafe` admits what protects nothing: `plain`, and keys below
    2048 bits.
    """
    _check_name(name)
    if name == "plain":
        if not unsafe:
            raise Refused("the suite `plain` encrypts nothing: it has to be asked for as unsafe")
        return deal_plain(threshold, members, random=random)
    return deal_paillier(bits, threshold, members, random=random, unsafe=unsafe, processes=processes)


def _check_name(name: str) -> None:
    if name not in _SUITES:
        raise Refused(f"expected one of the suites {', '.join(SUITES)}, found {name!r}")
