"""The null suite `plain`: the same protocol with nothing protected, for tests and baselines.

Whoever sees an update reads it. Its shares and proofs are markers that anyone can compute; they keep
the book-keeping honest (t of N, bound to header, root and total) so that a test of the protocol fails
where it would fail under a real suite (PROTOCOL §7.10).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from .. import cbor
from ..digest import DIGEST_BYTES, Digest, labelled, sha256
from ..errors import Malformed, ProofFailed, Refused, Violation
from ..runs import Run
from .suite import (
    Dealing,
    Encryption,
    IntVector,
    KeyShare,
    Layout,
    Opening,
    RoundContext,
    Seed,
    TotalContext,
)
from .threshold.packing import HALF, check_lanes

LEAF_BYTES: Final = 512
_VALUE: Final = np.dtype(">i8")
_PER_LEAF: Final = LEAF_BYTES // _VALUE.itemsize
_LIMIT: Final = 1 << 31  # the most, in magnitude, that a leaf may hold
_KEY_LIMIT: Final = 64  # bytes of an encoded key


def deal_plain(threshold: int, members: int, *, random: Callable[[int], bytes]) -> Dealing:
    """A "key" that only tells studies apart, and the markers that stand for its shares."""
    if not 2 <= threshold <= (members + 1) // 2:
        raise Refused(f"expected 2 ≤ t and N ≥ 2t - 1, found t = {threshold}, N = {members}")
    key = cbor.encode({1: threshold, 2: members, 3: random(DIGEST_BYTES)})
    shares = tuple(_marker_share(key, member) for member in range(1, members + 1))
    return Dealing(public_key=key, key_shares=shares)


class PlainSuite:
    """Adds vectors in the open; see `CipherSuite` for the protocol that it goes through."""

    def __init__(self, encoded_key: bytes, *, values: int) -> None:
        if values < 1:
            raise Refused(f"expected vectors of at least one value, found {values}")
        match cbor.decode(encoded_key, limit=_KEY_LIMIT):
            case {1: int(threshold), 2: int(holders), 3: bytes(name), **rest} if not rest and len(name) == 32:
                self._threshold, self._holders = threshold, holders
            case other:
                raise Violation("§7.10", "the key's fields", expected="1 … 3", found=type(other).__name__)
        self._key = encoded_key
        self._values = values
        self._capsule: Final = Run(first=1, count=-(-values // _PER_LEAF), width=LEAF_BYTES)

    @property
    def code(self) -> int:
        return 0

    @property
    def key_digest(self) -> Digest:
        return labelled("plain key", sha256(self._key))

    @property
    def threshold(self) -> int:
        return self._threshold

    @property
    def holders(self) -> int:
        return self._holders

    @property
    def weakness(self) -> str:
        return "the suite `plain` encrypts nothing: for tests only"

    @property
    def strength(self) -> str:
        return "none"

    @property
    def layout(self) -> Layout:
        body = Run(first=1 + self._capsule.count, count=0, width=0)
        return Layout(capsule=self._capsule, body=body, proof_bytes=DIGEST_BYTES)

    @property
    def share_bytes(self) -> int:
        return 2 * DIGEST_BYTES

    @property
    def opening_leaf(self) -> Run:
        return self._capsule

    def check_key(self) -> None:
        if not 2 <= self._threshold <= (self._holders + 1) // 2:
            found = f"{self._threshold} of {self._holders}"
            raise Violation("§7.10", "threshold", expected="2 ≤ t, N ≥ 2t - 1", found=found)

    def is_independent_of(self, key: bytes) -> bool:
        return key != self._key  # there are no secrets: another name is another key

    def check_key_share(self, member: int, key_share: KeyShare) -> None:
        self._check_member(member)
        if key_share != _marker_share(self._key, member):
            raise Violation("§7.10", f"the key share of member {member}")

    def encrypt(self, values: IntVector, *, seed: Seed, header: bytes, context: RoundContext) -> Encryption:
        if values.shape != (self._values,):
            raise Refused(f"expected {self._values} values, found an array of shape {values.shape}")
        check_lanes(values)
        padded = np.zeros(self._capsule.count * _PER_LEAF, dtype=_VALUE)
        padded[: len(values)] = values
        return _PlainEncryption(padded.tobytes(), key=self._key, header=header)

    def check_run(self, run: Run, data: bytes) -> None:
        if len(data) != run.size or run.width != LEAF_BYTES:
            raise Malformed(run.first, "width", expected=run.count * LEAF_BYTES, found=len(data))
        values = np.frombuffer(data, dtype=_VALUE)
        outside = np.flatnonzero((values < -_LIMIT) | (values >= _LIMIT))
        if outside.size:
            raise Malformed(run.first + int(outside[0]) // _PER_LEAF, "range")

    def check_proof(self, capsule: bytes, proof: bytes, *, header: bytes, root: Digest) -> None:
        if proof != _marker_proof(self._key, capsule, header, root):
            raise ProofFailed("§7.10", "the marker that stands for a submission proof")

    def combine(self, run: Run, parts: Sequence[bytes]) -> bytes:
        total = np.zeros(run.size // _VALUE.itemsize, dtype=np.int64)
        bound = 0  # in Python's integers: numpy would wrap in silence
        for part in parts:
            if len(part) != run.size:
                raise Malformed(run.first, "width", expected=run.size, found=len(part))
            values = np.frombuffer(part, dtype=_VALUE)
            bound += max(int(values.max()), -int(values.min()))
            if bound >= 1 << 63:
                raise Violation("§7.10", "a sum", expected="64 bits", found="more")
            total += values
        return total.astype(_VALUE).tobytes()

    def share(self, capsule: bytes, *, member: int, key_share: KeyShare, context: TotalContext) -> bytes:
        self.check_key_share(member, key_share)
        self.check_run(self._capsule, capsule)
        return self._share(capsule, member, key_share, context)

    def check_share(self, capsule: bytes, share: bytes, *, member: int, context: TotalContext) -> None:
        self._check_member(member)
        if share != self._share(capsule, member, _marker_share(self._key, member), context):
            raise Violation("§7.10", f"the share of member {member}")

    def join(self, capsule: bytes, shares: Mapping[int, bytes]) -> Opening:
        members = sorted(member for member in shares if 1 <= member <= self._holders)
        if len(members) < self._threshold:
            raise Refused(f"expected the shares of {self._threshold} members, found {len(members)}")
        for member in members[: self._threshold]:
            expected = _marker_joining(capsule, _marker_share(self._key, member))
            if len(shares[member]) != self.share_bytes or shares[member][:DIGEST_BYTES] != expected:
                raise Violation("§7.10", f"the shares of members {members[: self._threshold]} do not fit")
        return Opening(plaintexts=capsule, witnesses=bytes(len(capsule)))

    def check_opening(self, capsule: bytes, opening: Opening, context: TotalContext) -> None:
        if opening != Opening(plaintexts=capsule, witnesses=bytes(len(capsule))):
            raise ProofFailed("§7.10", "an opening that is not the total itself")

    def decode(
        self, opening: Opening, body: Iterable[bytes], *, context: RoundContext, count: int, members: int
    ) -> IntVector:
        if count != self._values:
            raise Refused(f"expected {self._values} values, asked for {count}")
        if any(body):
            raise Violation("§7.10", "the total's body", expected="none in this suite", found="bytes")
        if len(opening.plaintexts) != self._capsule.size:
            found = len(opening.plaintexts)
            raise Violation("§7.10", "an opening's length", expected=self._capsule.size, found=found)
        values = np.frombuffer(opening.plaintexts, dtype=_VALUE).astype(np.int64)
        if values[count:].any():
            raise Violation("§7.10", "unused lanes of an opening", expected="zero", found="another value")
        if ((values < -HALF) | (values >= HALF)).any():
            raise Violation("§7.10", "an opened value", expected="one in [-2^23, 2^23)", found="more")
        return values[:count]

    def _check_member(self, member: int) -> None:
        if not 1 <= member <= self._holders:
            raise Refused(f"expected a member number in 1 … {self._holders}, found {member}")

    def _share(self, capsule: bytes, member: int, key_share: KeyShare, context: TotalContext) -> bytes:
        """A half that joining looks at and a half bound to the total, as in a share with its proof."""
        study, number = context.round
        place = context.ledger + study.to_bytes(8, "big") + number.to_bytes(8, "big") + context.root
        joining = _marker_joining(capsule, key_share)
        return joining + labelled("plain share proof", joining, member.to_bytes(8, "big"), place)


class _PlainEncryption:
    """One update, readable by all."""

    def __init__(self, capsule: bytes, *, key: bytes, header: bytes) -> None:
        self._capsule, self._key, self._header = capsule, key, header

    def run(self, run: Run) -> bytes:
        start = (run.first - 1) * run.width
        return self._capsule[start : start + run.size]

    def prove(self, root: Digest) -> bytes:
        return _marker_proof(self._key, self._capsule, self._header, root)


def _marker_share(key: bytes, member: int) -> KeyShare:
    return KeyShare(labelled("plain key share", key, member.to_bytes(8, "big")))


def _marker_joining(capsule: bytes, key_share: KeyShare) -> bytes:
    return labelled("plain share", sha256(capsule), key_share)


def _marker_proof(key: bytes, capsule: bytes, header: bytes, root: Digest) -> bytes:
    return labelled("plain proof", key, sha256(capsule), header, root)
