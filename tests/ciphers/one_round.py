"""One round at the level of a suite: what node, aggregator and auditor do with its methods, no more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from federation.ciphers.suite import CipherSuite, IntVector, KeyShare, Opening, Seed, TotalContext
from federation.digest import Digest, LedgerId, sha256
from federation.events import RoundId, StudyId
from federation.merkle import root_of
from federation.runs import Run

LEDGER = LedgerId(sha256(b"ledger"))
SEED = Seed(bytes(range(32)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What one member sends: header, leaves (capsule, then body) and proof."""

    header: bytes
    leaves: bytes
    proof: bytes


def context(
    *, study: int = 1, number: int = 1, root: bytes = b"total", ledger: LedgerId = LEDGER
) -> TotalContext:
    """Names a total."""
    return TotalContext(ledger=ledger, round=RoundId(StudyId(study), number), root=Digest(sha256(root)))


def vector(*values: int) -> IntVector:
    return np.array(values, dtype=np.int64)


def encrypt(suite: CipherSuite, values: IntVector, *, seed: Seed = SEED, header: bytes = b"header") -> Update:
    """What an honest member sends."""
    encryption = suite.encrypt(values, seed=seed, header=header, context=context())
    leaves = b"".join(encryption.run(run) for run in suite.layout.runs())
    return Update(header=header, leaves=leaves, proof=encryption.prove(root(suite, header, leaves)))


def root(suite: CipherSuite, header: bytes, leaves: bytes) -> Digest:
    """Over header, capsule and body, as everyone computes it for itself."""
    parts = [header]
    for run, data in pieces(suite, leaves):
        parts += [data[at : at + run.width] for at in range(0, run.size, run.width)]
    return root_of(parts)


def pieces(suite: CipherSuite, leaves: bytes) -> Iterator[tuple[Run, bytes]]:
    position = 0
    for run in suite.layout.runs():
        yield run, leaves[position : position + run.size]
        position += run.size


def admit(suite: CipherSuite, update: Update) -> None:
    """Every public check of an update; raises what they raise."""
    for run, data in pieces(suite, update.leaves):
        suite.check_run(run, data)
    suite.check_proof(
        capsule_of(suite, update.leaves),
        update.proof,
        header=update.header,
        root=root(suite, update.header, update.leaves),
    )


def combine(suite: CipherSuite, updates: Sequence[bytes]) -> bytes:
    """The total of several members' leaves."""
    split = [[data for _, data in pieces(suite, leaves)] for leaves in updates]
    runs = suite.layout.runs()
    return b"".join(suite.combine(run, parts) for run, *parts in zip(runs, *split, strict=True))


def capsule_of(suite: CipherSuite, leaves: bytes) -> bytes:
    return leaves[: suite.layout.capsule.size]


def body_of(suite: CipherSuite, leaves: bytes) -> list[bytes]:
    first = suite.layout.body.first
    return [data for run, data in pieces(suite, leaves) if run.first >= first]


def shares_of(
    suite: CipherSuite,
    total: bytes,
    key_shares: Sequence[KeyShare],
    members: Iterable[int],
    where: TotalContext,
) -> dict[int, bytes]:
    """The shares that `members` give of one total."""
    capsule = capsule_of(suite, total)
    return {
        member: suite.share(capsule, member=member, key_share=key_shares[member - 1], context=where)
        for member in members
    }


def decode(suite: CipherSuite, total: bytes, opening: Opening, *, count: int, members: int) -> IntVector:
    return suite.decode(opening, body_of(suite, total), context=context(), count=count, members=members)
