"""A test double in the shape of the suite `hybrid`, to see that `CipherSuite` has room for it.

A key-homomorphic mask y = a·s + e + κ·x over Z_q[X]/(X^8 + 1) carries the vector, two 24-bit lanes to a
coefficient; a real Paillier capsule carries the mask's key s. The shape is true (run by run,
mask expanded from the round, joint work flat in the vector's length); the dimension and the errors
protect nothing, and nothing of it is meant to be reused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from federation.ciphers.packing import check_lanes
from federation.ciphers.paillier import PaillierSuite
from federation.ciphers.suite import (
    Encryption,
    IntVector,
    KeyShare,
    Layout,
    Opening,
    RoundContext,
    Seed,
    TotalContext,
)
from federation.digest import Digest, secret_stream, sha256, xof
from federation.errors import Malformed, Refused, Violation
from federation.runs import Run

DIMENSION = 8
Q = (1 << 61) - 1
KAPPA = Q >> 48
LANES = 2 * DIMENSION  # values a leaf
WIDTH = 8 * DIMENSION  # bytes a leaf: one ring element
NOISE = 8  # the most, in magnitude, in one coefficient of s and of e
Ring = list[int]


class MiniatureHybrid:
    """See the module: a shape, not a cipher."""

    def __init__(self, encoded_key: bytes, *, values: int) -> None:
        self._inner = PaillierSuite(encoded_key, values=DIMENSION)
        self._values = values
        capsule = self._inner.layout.capsule
        body = Run(first=1 + capsule.count, count=-(-values // LANES), width=WIDTH)
        self.layout = Layout(capsule=capsule, body=body, proof_bytes=self._inner.layout.proof_bytes)
        self.key_digest = self._inner.key_digest
        self.threshold, self.holders = self._inner.threshold, self._inner.holders
        self.share_bytes, self.opening_leaf = self._inner.share_bytes, self._inner.opening_leaf
        self.weakness = "a test double"

    def check_key(self) -> None:
        self._inner.check_key()

    def check_key_share(self, member: int, key_share: KeyShare) -> None:
        self._inner.check_key_share(member, key_share)

    def encrypt(self, values: IntVector, *, seed: Seed, header: bytes, context: RoundContext) -> Encryption:
        if values.shape != (self._values,):
            raise Refused(f"expected {self._values} values")
        check_lanes(values)
        return _MiniatureEncryption(self, values, seed=seed, header=header, context=context)

    def check_run(self, run: Run, data: bytes) -> None:
        if run.first < self.layout.body.first:
            return self._inner.check_run(run, data)
        if len(data) != run.size:
            raise Malformed(run.first, "width")
        for k, value in enumerate(_elements(data)):
            if max(value) >= Q:
                raise Malformed(run.first + k, "range")
        return None

    def check_proof(self, capsule: bytes, proof: bytes, *, header: bytes, root: Digest) -> None:
        self._inner.check_proof(capsule, proof, header=header, root=root)

    def combine(self, run: Run, parts: Sequence[bytes]) -> bytes:
        if run.first < self.layout.body.first:
            return self._inner.combine(run, parts)
        if any(len(part) != run.size for part in parts):
            raise Malformed(run.first, "width")
        columns = zip(*(_elements(part) for part in parts), strict=True)
        return b"".join(_bytes([sum(c) % Q for c in zip(*column, strict=True)]) for column in columns)

    def share(self, capsule: bytes, *, member: int, key_share: KeyShare, context: TotalContext) -> bytes:
        return self._inner.share(capsule, member=member, key_share=key_share, context=context)

    def check_share(self, capsule: bytes, share: bytes, *, member: int, context: TotalContext) -> None:
        self._inner.check_share(capsule, share, member=member, context=context)

    def join(self, capsule: bytes, shares: Mapping[int, bytes]) -> Opening:
        return self._inner.join(capsule, shares)

    def check_opening(self, capsule: bytes, opening: Opening, context: TotalContext) -> None:
        self._inner.check_opening(capsule, opening, context)

    def decode(
        self, opening: Opening, body: Iterable[bytes], *, context: RoundContext, count: int, members: int
    ) -> IntVector:
        if count != self._values:
            raise Refused(f"expected {self._values} values")
        key = self._inner.decode(opening, (), context=context, count=DIMENSION, members=members)
        coefficients: list[int] = []
        for j, masked in enumerate(element for data in body for element in _elements(data)):
            for y, z in zip(masked, _times(_mask(context, j), [int(s) for s in key]), strict=True):
                noisy = ((y - z + Q // 2) % Q) - Q // 2
                message = (noisy + KAPPA // 2) // KAPPA
                if abs(noisy - message * KAPPA) > NOISE * members or int(abs(key).max()) > NOISE * members:
                    raise Violation("§7", "noise out of bound")
                low = (message + (1 << 23)) % (1 << 24) - (1 << 23)
                coefficients += [low, (message - low) >> 24]
        values = np.array(coefficients, dtype=np.int64)
        if values[count:].any():
            raise Violation("§7", "unused lanes of the body")
        return values[:count]


class _MiniatureEncryption:
    def __init__(
        self, suite: MiniatureHybrid, values: IntVector, *, seed: Seed, header: bytes, context: RoundContext
    ) -> None:
        self._body, self._context = suite.layout.body, context
        self._x = [*(int(value) for value in values), *([0] * (self._body.count * LANES - len(values)))]
        self._place = (header, sha256(values.tobytes()))
        self._seed = seed
        self._s = self._short(0)
        self._capsule = suite._inner.encrypt(
            np.array(self._s, dtype=np.int64), seed=seed, header=header, context=context
        )

    def run(self, run: Run) -> bytes:
        if run.first < self._body.first:
            return self._capsule.run(run)
        start = run.first - self._body.first
        return b"".join(self._leaf(j) for j in range(start, start + run.count))

    def prove(self, root: Digest) -> bytes:
        return self._capsule.prove(root)

    def _leaf(self, j: int) -> bytes:
        x = self._x[j * LANES : (j + 1) * LANES]
        message = [low + (high << 24) for low, high in zip(x[::2], x[1::2], strict=True)]
        product, errors = _times(_mask(self._context, j), self._s), self._short(1 + j)
        return _bytes([(p + e + KAPPA * m) % Q for p, e, m in zip(product, errors, message, strict=True)])

    def _short(self, stream: int) -> Ring:
        raw = secret_stream(self._seed, "miniature", DIMENSION, *self._place, stream.to_bytes(8, "big"))
        return [byte % (2 * NOISE + 1) - NOISE for byte in raw]


def _mask(context: RoundContext, j: int) -> Ring:
    place = f"{context.round}/{j}".encode()
    return [value % Q for value in _elements(xof("miniature mask", WIDTH, context.ledger, place))[0]]


def _times(a: Ring, b: Ring) -> Ring:
    out = [0] * DIMENSION
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            sign = -1 if i + j >= DIMENSION else 1
            out[(i + j) % DIMENSION] = (out[(i + j) % DIMENSION] + sign * x * y) % Q
    return out


def _elements(data: bytes) -> list[Ring]:
    numbers = [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)]
    return [numbers[at : at + DIMENSION] for at in range(0, len(numbers), DIMENSION)]


def _bytes(element: Ring) -> bytes:
    return b"".join(value.to_bytes(8, "little") for value in element)
