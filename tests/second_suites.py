"""A suite under one epoch's key: its leaves, and each check of a round, handed on to capsules and body.

From PROTOCOL.md alone (§7); it shares no code with the package.
"""

from collections.abc import Mapping, Sequence

from . import second_hybrid as hybrid
from .second_capsule import Capsule, Key, Place
from .second_parts import T, cut, demand, numbers


class Suite:
    """Capsules, one a dealer, then a body; `paillier` is one capsule without."""

    def __init__(self, name: str, encoding: bytes, values: int) -> None:
        demand(name in ("paillier", "hybrid"), "§7", "suite")
        self.name, self.values = name, values
        if name == "hybrid":
            self.digest, keys = hybrid.dealers(encoding)
            self.capsules = [Capsule(key, hybrid.d, hybrid.LANE) for key in keys]
        else:
            key = Key(encoding)
            self.digest, self.capsules = key.digest, [Capsule(key, values, 24)]
        self.key = self.capsules[0].key  # bits, t and N are those of all
        self.K = sum(capsule.K for capsule in self.capsules)
        body = 2 * hybrid.TOWER * hybrid.blocks(values) if name == "hybrid" else 0
        self.widths = [2 * self.key.width] * self.K + [4 * hybrid.LEAF] * body
        self.proof = sum(capsule.proof for capsule in self.capsules)
        self.share = sum(capsule.share for capsule in self.capsules)
        self.plaintexts = [self.key.width] * self.K

    def check_keys(self) -> None:
        """§7.3."""
        for capsule in self.capsules:
            capsule.key.check()

    def broken_rule(self, leaf: int, data: bytes) -> str:
        """§4.3.4: the rule that the payload's leaf breaks."""
        if leaf > self.K:
            return hybrid.broken_rule(leaf - self.K - 1, data)
        return self.capsules[(leaf - 1) // self.capsules[0].K].broken_rule(data)

    def check_submission(self, leaves: Sequence[bytes], proof: bytes, header: bytes, root: bytes) -> None:
        """§7.6, §7.12.5."""
        proofs = cut(proof, self.capsules[0].proof)
        for capsule, part, one in zip(self.capsules, self.by_dealer(leaves), proofs, strict=True):
            capsule.check_submission(part, one, header, root)

    def add(self, updates: Sequence[Sequence[bytes]]) -> list[bytes]:
        """§7.7, §7.12.5: the total's leaves."""
        columns = list(zip(*updates, strict=True))
        parts = zip(self.capsules, self.by_dealer(columns), strict=True)
        total = [capsule.add(column) for capsule, part in parts for column in part]
        return total + [hybrid.add(leaf, column) for leaf, column in enumerate(columns[self.K :])]

    def check_share(self, total: Sequence[bytes], share: bytes, place: Place, i: int) -> list[list[int]]:
        """§7.8, §7.12.5: the a_k of one right share, dealer by dealer."""
        shares = cut(share, self.capsules[0].share)
        parts = zip(self.capsules, self.ciphertexts(total), shares, strict=True)
        return [capsule.check_share(c, one, place, i) for capsule, c, one in parts]

    def join(self, shares: Mapping[int, list[list[int]]], total: Sequence[bytes]) -> list[list[int]]:
        """§7.9, §7.12.5."""
        parts = enumerate(zip(self.capsules, self.ciphertexts(total), strict=True))
        return [capsule.join({i: a[k] for i, a in shares.items()}, c) for k, (capsule, c) in parts]

    def check_opening(
        self, total: Sequence[bytes], plaintexts: bytes, witnesses: bytes, place: Place
    ) -> list[list[int]]:
        """§7.9, §7.12.5: the plaintexts, dealer by dealer."""
        size = self.capsules[0].K * self.key.width
        pairs = zip(cut(plaintexts, size), cut(witnesses, size), strict=True)
        parts = zip(self.capsules, self.ciphertexts(total), pairs, strict=True)
        return [capsule.check_opening(c, m, w, place) for capsule, c, (m, w) in parts]

    def open(
        self, total: Sequence[bytes], plaintexts: Sequence[Sequence[int]], place: Place, members: int
    ) -> list[int]:
        """§7.4, §7.12.6: the sums and, last, their weight."""
        parts = zip(self.capsules, plaintexts, strict=True)
        read = [capsule.read(m) for capsule, m in parts]
        if self.name == "paillier":
            return read[0]
        values = hybrid.unmask(total[self.K :], read, place, members)
        demand(not any(values[self.values :]), "§7.12.6.4", "unused lane of the body")
        return values[: self.values]

    def by_dealer(self, leaves: Sequence[T]) -> list[Sequence[T]]:
        """The leaves of each capsule."""
        size = self.capsules[0].K
        return [leaves[at : at + size] for at in range(0, self.K, size)]

    def ciphertexts(self, total: Sequence[bytes]) -> list[list[int]]:
        """Those of each capsule."""
        return [numbers(b"".join(part), 2 * self.key.width) for part in self.by_dealer(total)]
