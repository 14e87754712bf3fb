"""A suite at one length with everything that a round makes of it, each step ready to be timed again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

import numpy as np

from federation.ciphers import SuiteName, resolve
from federation.ciphers.suite import Dealing, Encryption, IntVector, Seed, TotalContext
from federation.digest import Digest, LedgerId, labelled
from federation.errors import Violation
from federation.events import RoundId, StudyId
from federation.merkle import RootHasher, trees_over
from federation.piecework import examine
from federation.runs import HERE, Held
from federation.wire import Payload, Shape

from .clock import MEGABYTE, Work, peak_bytes, race, seconds
from .figures import SuiteCosts

HEADER: Final = bytes(300)  # about as long as an update's
CONTEXT: Final = TotalContext(
    ledger=LedgerId(labelled("bench ledger")), round=RoundId(StudyId(1), 1), root=labelled("bench total")
)
_REACH: Final = 1 << 19  # values are those of a study of 16 members
_FEW, _MANY = 2, 8  # parties in a total: six more of them, and a sixth of the difference is the price of one


class Subject:
    """Two updates of `count` random values, their total and its opening, under one key."""

    def __init__(self, name: str, dealing: Dealing, count: int) -> None:
        self.name: Final = SuiteName(name=name, key=dealing.public_key, values=count)
        self.suite: Final = resolve(self.name)
        self.layout: Final = self.suite.layout
        self._dealing: Final = dealing
        random = np.random.default_rng(count)
        self.vectors: Final = [random.integers(-_REACH, _REACH, count) for _ in range(2)]
        self.first_s: Final = seconds(self.encrypt)
        self.updates: Final = [self._encrypted(vector) for vector in self.vectors]
        self.proof: Final = self._commit(self.updates[0])
        leaves = Held(b"".join(self.updates[0]))
        shape = Shape(
            parts=(self.layout.capsule, self.layout.body), tail=self.layout.proof_bytes, tail_in_tree=True
        )
        self.payload: Final = Payload(header=HEADER, leaves=leaves, tail=self.proof, shape=shape)
        self.total: Final = self._added(self.updates)
        runs = list(zip(self.layout.runs(), self.total, strict=True))
        self.capsule: Final = b"".join(data for run, data in runs if run.first < self.layout.body.first)
        self.body: Final = [data for run, data in runs if run.first >= self.layout.body.first]
        self.shares: Final = {index: self._share(index) for index in range(1, self.suite.threshold + 1)}
        self.opening: Final = self.suite.join(self.capsule, self.shares)
        self.check_sum(self.open())

    def encrypt(self) -> None:
        """Integers to bytes, which are not kept."""
        encryption = self._encryption(self.vectors[0])
        for run in self.layout.runs():
            encryption.run(run)

    def commit(self) -> None:
        """Encryption, tree and proof, in one pass as a node makes it."""
        encryption = self._encryption(self.vectors[0])
        encryption.prove(self._tree(encryption.run(run) for run in self.layout.runs()))

    def check(self) -> None:
        """As in admission: every leaf, the tree, the proof."""
        examined = examine(self.name, self.payload, HERE)
        if examined.fault is not None:
            raise examined.fault
        root = examined.trunk.root()
        self.suite.check_proof(self.payload.first_part, self.proof, header=HEADER, root=root)

    def share(self) -> bytes:
        """Member 1's."""
        return self._share(1)

    def check_share(self) -> None:
        """Of member 1's share."""
        self.suite.check_share(self.capsule, self.shares[1], member=1, context=CONTEXT)

    def join(self) -> None:
        """t shares to an opening."""
        self.suite.join(self.capsule, self.shares)

    def check_opening(self) -> None:
        """By anyone."""
        self.suite.check_opening(self.capsule, self.opening, CONTEXT)

    def open(self) -> IntVector:
        """By anyone."""
        count, members = self.name.values, len(self.updates)
        return self.suite.decode(self.opening, self.body, context=CONTEXT, count=count, members=members)

    def check_sum(self, opened: IntVector) -> None:
        """Raises `Violation` unless this is the sum: what is quick and wrong is not worth timing."""
        if not np.array_equal(opened, self.vectors[0] + self.vectors[1]):
            raise Violation("§7.9", f"the total under {self.name.name}", expected="the sum", found="another")

    def add(self, parties: Sequence[Sequence[bytes]]) -> None:
        """Run by run; the sums are not kept."""
        for run, *parts in zip(self.layout.runs(), *parties, strict=True):
            self.suite.combine(run, parts)

    def parties(self, count: int) -> list[list[bytes]]:
        """So many updates that share no memory: reading them is most of what adding costs."""
        return [[bytes(bytearray(data)) for data in self.updates[k % 2]] for k in range(count)]

    def cheap_steps(self) -> dict[str, Work]:
        """What costs more the longer the vector is, under every suite."""
        return {
            "encrypt": self.encrypt,
            "commit": self.commit,
            "check": self.check,
            "open": self.open,
        }

    def joint_steps(self) -> dict[str, Work]:
        """The joint opening: what under `hybrid` does not."""
        return {
            "share": self.share,
            "check_share": self.check_share,
            "join": self.join,
            "check_opening": self.check_opening,
        }

    def add_seconds(self, *, laps: int) -> float:
        """One more party in a total."""
        parties = self.parties(_MANY)
        took = race({"few": partial(self.add, parties[:_FEW]), "many": partial(self.add, parties)}, laps=laps)
        return max(0.0, took["many"] - took["few"]) / (_MANY - _FEW)

    def peak_mb(self) -> float:
        """The most that encrypting, checking, adding or opening holds beyond the vector it takes or makes."""
        parties = self.parties(3)
        opened = peak_bytes(self.open) - self.vectors[0].nbytes
        others: tuple[Work, ...] = (self.encrypt, self.check, partial(self.add, parties))
        return max(opened, *map(peak_bytes, others)) / MEGABYTE

    def costs(self, took: dict[str, float], *, laps: int) -> SuiteCosts:
        """`took` are the seconds of all steps."""
        sent = len(HEADER) + self.layout.size + self.layout.proof_bytes
        return SuiteCosts(
            first_s=self.first_s,
            add_s=self.add_seconds(laps=laps),
            bytes_per_param=sent / self.name.values,
            share_bytes=self.suite.share_bytes,
            peak_mb=self.peak_mb(),
            **{f"{step}_s": spent for step, spent in took.items()},
        )

    def _encryption(self, vector: IntVector) -> Encryption:
        seed = Seed(labelled("bench seed"))
        return self.suite.encrypt(vector, seed=seed, header=HEADER, context=CONTEXT)

    def _encrypted(self, vector: IntVector) -> list[bytes]:
        encryption = self._encryption(vector)
        return [encryption.run(run) for run in self.layout.runs()]

    def _tree(self, leaves: Iterable[bytes]) -> Digest:
        hasher = RootHasher()
        hasher.add(HEADER)
        for run, data in zip(self.layout.runs(), leaves, strict=True):
            hasher.extend(trees_over(data, run.width, first=run.first))
        return hasher.root()

    def _commit(self, leaves: Iterable[bytes]) -> bytes:
        return self._encryption(self.vectors[0]).prove(self._tree(leaves))

    def _added(self, parties: Sequence[Sequence[bytes]]) -> list[bytes]:
        together: Iterable[tuple[bytes, ...]] = zip(*parties, strict=True)
        return [
            self.suite.combine(run, parts) for run, parts in zip(self.layout.runs(), together, strict=True)
        ]

    def _share(self, member: int) -> bytes:
        secret = self._dealing.key_shares[member - 1]
        return self.suite.share(self.capsule, member=member, key_share=secret, context=CONTEXT)
