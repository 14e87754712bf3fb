"""The capsules of all dealers, handled as one: leaves, proofs, shares and openings in the dealers' order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ...digest import Digest
from ...errors import Malformed, ProofFailed, Refused, Violation
from ...runs import Run
from ..ring.element import DEGREE
from ..suite import Encryption, IntVector, KeyShare, Opening, TotalContext
from ..threshold.capsule import Capsule
from ..threshold.key_proof import check_key_proof
from ..threshold.keys import PublicKey
from ..threshold.shares import check_key_share_of

KEY_LANE_BITS: Final = 14  # ten standard deviations of the sum of 10,000 members' keys


class HybridCapsule:
    """A part of the mask's key under each dealer's key; see `CipherSuite` for what the methods promise."""

    def __init__(self, keys: tuple[PublicKey, ...]) -> None:
        self.keys: Final = keys
        parts: list[Capsule] = []
        for key in keys:
            first = 1 + sum(part.run.count for part in parts)
            parts.append(Capsule(key, values=DEGREE, lane_bits=KEY_LANE_BITS, first=first))
        self.parts: Final = tuple(parts)

    @property
    def run(self) -> Run:
        """All ciphertexts."""
        return Run(first=1, count=sum(part.run.count for part in self.parts), width=self.parts[0].run.width)

    @property
    def proof_bytes(self) -> int:
        return sum(part.proof_bytes for part in self.parts)

    @property
    def share_bytes(self) -> int:
        return sum(part.share_bytes for part in self.parts)

    @property
    def opening_leaf(self) -> Run:
        return Run(first=1, count=self.run.count, width=self.keys[0].width)

    def check_key(self) -> None:
        for key in self.keys:
            check_key_proof(key)

    def check_key_share(self, member: int, key_share: KeyShare) -> None:
        for key, part in zip(self.keys, self._cut_key_share(key_share), strict=True):
            check_key_share_of(key, member, part)

    def encrypt(self, values: Sequence[IntVector], *, secrets: Sequence[bytes], header: bytes) -> Encryption:
        """One vector and one secret for each dealer."""
        runs = tuple(part.run for part in self.parts)
        encryptions = tuple(
            part.encrypt(vector, secret=secret, header=header)
            for part, vector, secret in zip(self.parts, values, secrets, strict=True)
        )
        return _CapsuleEncryption(runs=runs, encryptions=encryptions)

    def check_run(self, run: Run, data: bytes) -> None:
        if run.width != self.run.width or len(data) != run.size:
            raise Malformed(run.first, "width", expected=run.count * self.run.width, found=len(data))
        for part, within, (own,) in self._within(run, [data]):
            part.check_run(within, own)

    def check_proof(self, capsule: bytes, proof: bytes, *, header: bytes, root: Digest) -> None:
        if len(proof) != self.proof_bytes:
            raise ProofFailed("§7.12.5", "a proof's length", expected=self.proof_bytes, found=len(proof))
        proofs = _cut(proof, [part.proof_bytes for part in self.parts])
        for part, own, proven in zip(self.parts, self._cut_leaves(capsule), proofs, strict=True):
            part.check_proof(own, proven, header=header, root=root)

    def combine(self, run: Run, parts: Sequence[bytes]) -> bytes:
        return b"".join(part.combine(within, own) for part, within, own in self._within(run, parts))

    def share(self, capsule: bytes, *, member: int, key_share: KeyShare, context: TotalContext) -> bytes:
        secrets = self._cut_key_share(key_share)
        return b"".join(
            part.share(own, member=member, key_share=secret, context=context)
            for part, own, secret in zip(self.parts, self._cut_leaves(capsule), secrets, strict=True)
        )

    def check_share(self, capsule: bytes, share: bytes, *, member: int, context: TotalContext) -> None:
        if not 1 <= member <= self.keys[0].holders:
            raise Refused(f"expected a member number in 1 … {self.keys[0].holders}, found {member}")
        shares = self._cut_share(share)
        for part, own, given in zip(self.parts, self._cut_leaves(capsule), shares, strict=True):
            part.check_share(own, given, member=member, context=context)

    def join(self, capsule: bytes, shares: Mapping[int, bytes]) -> Opening:
        lowest = sorted(member for member in shares if 1 <= member <= self.keys[0].holders)
        given = {member: self._cut_share(shares[member]) for member in lowest[: self.keys[0].threshold]}
        openings = [
            part.join(own, {member: cut[k] for member, cut in given.items()})
            for k, (part, own) in enumerate(zip(self.parts, self._cut_leaves(capsule), strict=True))
        ]
        return Opening(
            plaintexts=b"".join(opening.plaintexts for opening in openings),
            witnesses=b"".join(opening.witnesses for opening in openings),
        )

    def check_opening(self, capsule: bytes, opening: Opening, context: TotalContext) -> None:
        size, found = self.opening_leaf.size, (len(opening.plaintexts), len(opening.witnesses))
        if found != (size, size):
            raise ProofFailed("§7.12.5", "an opening's lengths", expected=(size, size), found=found)
        sizes = [part.opening_leaf.size for part in self.parts]
        both = zip(_cut(opening.plaintexts, sizes), _cut(opening.witnesses, sizes), strict=True)
        for part, own, (plaintexts, witnesses) in zip(
            self.parts, self._cut_leaves(capsule), both, strict=True
        ):
            part.check_opening(own, Opening(plaintexts=plaintexts, witnesses=witnesses), context)

    def decode(self, plaintexts: bytes) -> tuple[IntVector, ...]:
        """Each dealer's part of the mask's key."""
        if len(plaintexts) != self.opening_leaf.size:
            expected, found = self.opening_leaf.size, len(plaintexts)
            raise Violation("§7.12.5", "an opening's length", expected=expected, found=found)
        cut = _cut(plaintexts, [part.opening_leaf.size for part in self.parts])
        return tuple(part.decode(own) for part, own in zip(self.parts, cut, strict=True))

    def _within(self, run: Run, data: Sequence[bytes]) -> Iterator[tuple[Capsule, Run, list[bytes]]]:
        """Each part with its leaves of `run`."""
        for part in self.parts:
            within = _common(run, part.run)
            if within.count > 0:
                start = (within.first - run.first) * run.width
                yield part, within, [leaves[start : start + within.size] for leaves in data]

    def _cut_leaves(self, capsule: bytes) -> list[bytes]:
        if len(capsule) != self.run.size:
            raise Malformed(1, "width", expected=self.run.size, found=len(capsule))
        return _cut(capsule, [part.run.size for part in self.parts])

    def _cut_share(self, share: bytes) -> list[bytes]:
        if len(share) != self.share_bytes:
            raise Violation("§7.12.5", "a share's length", expected=self.share_bytes, found=len(share))
        return _cut(share, [part.share_bytes for part in self.parts])

    def _cut_key_share(self, key_share: KeyShare) -> list[KeyShare]:
        sizes = [key.width for key in self.keys]
        if len(key_share) != sum(sizes):
            raise Violation("§7.12.1", "a key share's length", expected=sum(sizes), found=len(key_share))
        return [KeyShare(part) for part in _cut(key_share, sizes)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _CapsuleEncryption:
    """Implements `Encryption` over the leaves of all parts."""

    runs: tuple[Run, ...]
    encryptions: tuple[Encryption, ...]

    def run(self, run: Run) -> bytes:
        last = self.runs[-1].first + self.runs[-1].count - 1
        if run.first < 1 or run.first + run.count - 1 > last:
            found = f"{run.first} … {run.first + run.count - 1}"
            raise Refused(f"expected leaves in 1 … {last}, found {found}")
        pairs = zip(self.encryptions, (_common(run, own) for own in self.runs), strict=True)
        return b"".join(encryption.run(within) for encryption, within in pairs if within.count > 0)

    def prove(self, root: Digest) -> bytes:
        return b"".join(encryption.prove(root) for encryption in self.encryptions)


def _common(run: Run, other: Run) -> Run:
    """The leaves of `run` that lie in `other`; a count of 0 or less where there are none."""
    start, stop = max(run.first, other.first), min(run.first + run.count, other.first + other.count)
    return Run(first=start, count=stop - start, width=run.width)


def _cut(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    ends = [sum(sizes[: k + 1]) for k in range(len(sizes))]
    return [data[end - size : end] for end, size in zip(ends, sizes, strict=True)]
