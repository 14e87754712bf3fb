"""Every suite that the laws hold for, with a test-only key each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from federation.ciphers import deal, suite_for
from federation.ciphers.suite import CipherSuite, Dealing

from .keys import dealt
from .miniature_hybrid import MiniatureHybrid


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


def miniature_hybrid(bits: int = 256) -> Case:
    dealing = dealt(bits, 2, 3)
    return Case(
        name="miniature-hybrid",
        dealing=dealing,
        make=lambda n: MiniatureHybrid(dealing.public_key, values=n),
    )


QUICK = (plain(), plain(3, 5), paillier(256), paillier(256, 3, 5), paillier(512), miniature_hybrid())
FULL_SIZE = (paillier(2048, 3, 5), paillier(3072, 2, 3))
