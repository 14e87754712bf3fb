"""Small rounds up to their totals, lawful or forged, and charges against them, for `disputes.json`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from federation.ciphers import SuiteName, suite_for
from federation.ciphers.judged import moduli_of
from federation.ciphers.suite import RoundContext, Seed
from federation.digest import Digest, LedgerId, sha256
from federation.disputes import (
    NO_DIGEST,
    NO_KEY,
    Charge,
    HeaderEvidence,
    KeyEvidence,
    LeafEvidence,
    SumEvidence,
    binding_digest,
)
from federation.events import Fault, Leaves, RoundId, StudyId
from federation.judge import Case
from federation.members import Address
from federation.merkle import LeafProver, leaf_digest, root_of
from federation.wire import Binding, total_header, update_header

from ..ciphers.keys import dealt
from ..ciphers.suites import two_dealers

BITS: Final = 256
COUNT: Final = 20  # values: three ciphertexts of `paillier`, or one block
ROUND: Final = RoundId(StudyId(3), 14)
LEDGER: Final = LedgerId(sha256(b"vector ledger"))
SHAPE: Final = sha256(b"vector shape")
BASE: Final = sha256(b"vector base")
MEMBERS: Final = tuple(Address(bytes([k]) * 20) for k in (1, 2, 3))
FIRST: Final = MEMBERS[0]
DEALINGS: Final = {
    "paillier": ("paillier", dealt(BITS)),
    "hybrid": ("hybrid", dealt(BITS)),
    "two_dealers": ("hybrid", two_dealers().dealing),
}
Payload = list[bytes]  # all leaves of its tree


@dataclass(frozen=True, slots=True)
class Posted:
    """A round up to its total."""

    kind: str
    updates: Sequence[Payload]
    total: Payload

    @property
    def suite(self) -> SuiteName:
        name, dealing = DEALINGS[self.kind]
        return SuiteName(name=name, key=dealing.public_key, values=COUNT)

    @property
    def binding(self) -> Binding:
        suite = suite_for(self.suite.name, self.suite.key, values=COUNT)
        return Binding(
            ledger=LEDGER,
            round=ROUND,
            suite=self.suite.name,
            key=suite.key_digest,
            shape=SHAPE,
            leaves=suite.layout.leaves,
        )

    @property
    def case(self) -> Case:
        layout = suite_for(self.suite.name, self.suite.key, values=COUNT).layout
        code = {"paillier": 1, "hybrid": 2}[self.suite.name]
        return Case(
            round=ROUND,
            leaves=Leaves(code, layout.capsule.count, layout.body.count, binding_digest(LEDGER, SHAPE)),
            key=self.binding.key,
            total=root_of(self.total),
            members=MEMBERS,
            roots=tuple(root_of(update) for update in self.updates),
        )

    def key(self, leaf: int, *, dealer: int | None = None) -> KeyEvidence:
        """The dealer's under whose key the leaf lies."""
        moduli = moduli_of(self.suite)
        capsule = self.case.leaves.ciphertexts
        if dealer is None and leaf > capsule:
            return NO_KEY
        k = int(leaf > capsule // len(moduli)) if dealer is None else dealer
        other = moduli[1 - k].digest if len(moduli) == 2 else NO_DIGEST
        return KeyEvidence(modulus=moduli[k].n, rest=moduli[k].rest, other=other, second=k == 1)

    def sum(self, leaf: int) -> Charge:
        paths = [node for payload in (*self.updates, self.total) for node in path(payload, leaf)]
        evidence = SumEvidence(
            leaf=leaf,
            found=leaf_digest(self.total[leaf]),
            key=self.key(leaf),
            leaves=b"".join(update[leaf] for update in self.updates),
            paths=tuple(paths),
        )
        return Charge(round=ROUND, fault=Fault.SUM, member=None, evidence=evidence)

    def leaf(self, leaf: int, witness: bytes = b"") -> Charge:
        """Of the first member's update."""
        update = self.updates[0]
        evidence = LeafEvidence(
            leaf=leaf, key=self.key(leaf), data=update[leaf], path=path(update, leaf), witness=witness
        )
        return Charge(round=ROUND, fault=Fault.LEAF, member=FIRST, evidence=evidence)

    def proof(self, dealer: int = 0, witness: bytes = b"") -> Charge:
        """Of the first member's update."""
        update = self.updates[0]
        last = len(update) - 1
        evidence = LeafEvidence(
            leaf=last,
            key=self.key(last, dealer=dealer),
            data=update[last],
            path=path(update, last),
            witness=witness,
        )
        return Charge(round=ROUND, fault=Fault.PROOF, member=FIRST, evidence=evidence)

    def header(self, member: Address | None = None) -> Charge:
        payload = self.total if member is None else self.updates[MEMBERS.index(member)]
        evidence = HeaderEvidence(ledger=LEDGER, shape=SHAPE, header=payload[0], path=path(payload, 0))
        return Charge(round=ROUND, fault=Fault.HEADER, member=member, evidence=evidence)

    def with_update(self, leaf: int, change: Callable[[bytes], bytes]) -> Posted:
        """The first member had committed to another leaf."""
        updates = [with_leaf(self.updates[0], leaf, change), *self.updates[1:]]
        listed = [(member, root_of(update)) for member, update in zip(MEMBERS, updates, strict=True)]
        header = total_header(self.binding, members=listed, excluded=[])
        return Posted(self.kind, updates, [header, *self.total[1:]])

    def with_total(self, leaf: int, change: Callable[[bytes], bytes]) -> Posted:
        return Posted(self.kind, self.updates, with_leaf(self.total, leaf, change))


def path(payload: Payload, leaf: int) -> tuple[Digest, ...]:
    prover = LeafProver(leaf)
    for data in payload:
        prover.add(data)
    return tuple(prover.proven()[1])


def with_leaf(payload: Payload, leaf: int, change: Callable[[bytes], bytes]) -> Payload:
    changed = list(payload)
    changed[leaf] = change(payload[leaf])
    return changed


@cache
def lawful(kind: str) -> Posted:
    """Three honest updates and their sum."""
    bare = Posted(kind, [], [])
    suite = suite_for(bare.suite.name, bare.suite.key, values=COUNT)
    layout, updates = suite.layout, []
    for number, member in enumerate(MEMBERS, 1):
        header = update_header(bare.binding, member=member, base_model=BASE)
        made = suite.encrypt(
            np.arange(COUNT) * number - 7,
            seed=Seed(bytes([number]) * 32),
            header=header,
            context=RoundContext(ledger=LEDGER, round=ROUND),
        )
        leaves = [leaf for run in layout.runs() for leaf in pieces(made.run(run), run.width)]
        updates.append([header, *leaves, made.prove(root_of([header, *leaves]))])
    listed = [(member, root_of(update)) for member, update in zip(MEMBERS, updates, strict=True)]
    total, start = [total_header(bare.binding, members=listed, excluded=[])], 1
    for run in layout.runs():
        parts = [b"".join(update[start : start + run.count]) for update in updates]
        total += pieces(suite.combine(run, parts), run.width)
        start += run.count
    return Posted(kind, updates, total)


def pieces(data: bytes, width: int) -> list[bytes]:
    return [data[at : at + width] for at in range(0, len(data), width)]
