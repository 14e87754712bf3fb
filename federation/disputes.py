"""What proves on chain that a posted total is unlawful (PROTOCOL §5.7).

Each dataclass of evidence has the fields of the struct of its name in `contracts/IJudge.sol`, in that order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .digest import Digest, LedgerId, labelled
from .events import Fault, RoundId
from .members import Address

NO_DIGEST: Final = Digest(bytes(32))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEvidence:
    """One dealer's modulus, with what ties it to the round's key."""

    modulus: bytes
    rest: Digest  # SHA-256 of the key's encoding
    other: Digest  # the other dealer's key digest; zero if there is one dealer
    second: bool  # whether this is the second dealer's


@dataclass(frozen=True, slots=True, kw_only=True)
class SumEvidence:
    """One leaf of every member of a total, and what the total holds in its place."""

    leaf: int  # in the tree
    found: Digest  # hash of the total's leaf
    key: KeyEvidence  # the dealer's under whose key that leaf lies
    leaves: bytes  # the members', one after another
    paths: tuple[Digest, ...]  # audit paths: the members', one after another, then the total's


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafEvidence:
    """One leaf of an update, and why it is unsound."""

    leaf: int  # in the tree
    key: KeyEvidence
    data: bytes
    path: tuple[Digest, ...]
    witness: bytes  # a factor above 1 of modulus and value; empty where none is needed


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderEvidence:
    """Leaf 0 of a payload, and what the expected one is made of."""

    ledger: LedgerId
    shape: Digest
    header: bytes
    path: tuple[Digest, ...]


def binding_digest(ledger: LedgerId, shape: Digest) -> Digest:
    """What a study leaves on the ledger of its ledger id and shape, so that headers can be judged."""
    return labelled("binding", ledger, shape)


NO_KEY: Final = KeyEvidence(modulus=b"", rest=NO_DIGEST, other=NO_DIGEST, second=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """A fault of the total that stands in a round, and its proof."""

    round: RoundId
    fault: Fault
    member: Address | None  # whose admitted update is at fault, if one is
    evidence: SumEvidence | LeafEvidence | HeaderEvidence

    @property
    def leaf(self) -> int:
        """Which leaf of the tree is at fault."""
        return 0 if isinstance(self.evidence, HeaderEvidence) else self.evidence.leaf
