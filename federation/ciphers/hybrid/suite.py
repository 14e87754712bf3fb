"""The suite `hybrid`: a key-homomorphic mask over the vector, threshold Paillier over the mask's key.

y_j = a_j·s + e_j + κ·x_j in R_q for each block j: adding bodies adds vectors, keys and errors. Each
dealer's capsule carries a part of s; once the sum of the keys is open, everybody takes the masks off. So
the joint work stays the same, however long the vector is. PROTOCOL §7.12 gives the bytes, §12.7 the
argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from ...digest import Digest
from ...errors import Malformed, Refused, Violation
from ...runs import Run
from ..paillier import are_independent, strength_of, weakness_of
from ..ring.element import (
    BLOCK_BYTES,
    BLOCK_LEAVES,
    DEGREE,
    LANE_BITS,
    LEAF_BYTES,
    MAX_MEMBERS,
    VALUES,
    blocks_of,
    first_excess,
    leaves_of,
    noise_bound,
    spectrum_of,
)
from ..ring.kernels import kernels_for
from ..ring.masks import masks
from ..secret import update_secret
from ..suite import Encryption, IntVector, KeyShare, Layout, Opening, RoundContext, Seed, TotalContext
from ..threshold.packing import check_lanes
from .capsules import HybridCapsule
from .encryption import encrypt_hybrid
from .keys import decode_keys, digest_of


class HybridSuite:
    """Vectors of one length under one or two dealers' keys; see `CipherSuite` for the promises."""

    def __init__(self, encoded_key: bytes, *, values: int) -> None:
        if values < 1:
            raise Refused(f"expected vectors of at least one value, found {values}")
        self._values: Final = values
        self._blocks: Final = -(-values // VALUES)
        self._capsule: Final = HybridCapsule(decode_keys(encoded_key))

    @property
    def code(self) -> int:
        return 2

    @property
    def key_digest(self) -> Digest:
        return digest_of(self._capsule.keys)

    @property
    def threshold(self) -> int:
        return self._capsule.keys[0].threshold

    @property
    def holders(self) -> int:
        return self._capsule.keys[0].holders

    @property
    def weakness(self) -> str:
        return weakness_of(self._capsule.keys[0])  # two keys are of one length

    @property
    def strength(self) -> str:
        return strength_of(self._capsule.keys)

    @property
    def layout(self) -> Layout:
        capsule = self._capsule.run
        body = Run(first=1 + capsule.count, count=self._blocks * BLOCK_LEAVES, width=LEAF_BYTES)
        return Layout(capsule=capsule, body=body, proof_bytes=self._capsule.proof_bytes)

    @property
    def share_bytes(self) -> int:
        return self._capsule.share_bytes

    @property
    def opening_leaf(self) -> Run:
        return self._capsule.opening_leaf

    def check_key(self) -> None:
        self._capsule.check_key()

    def is_independent_of(self, key: bytes) -> bool:
        return are_independent(self._capsule.keys, decode_keys(key))

    def check_key_share(self, member: int, key_share: KeyShare) -> None:
        self._capsule.check_key_share(member, key_share)

    def encrypt(self, values: IntVector, *, seed: Seed, header: bytes, context: RoundContext) -> Encryption:
        if values.shape != (self._values,):
            raise Refused(f"expected {self._values} values, found an array of shape {values.shape}")
        check_lanes(values, LANE_BITS)
        secret = update_secret(seed, key=self.key_digest, header=header, values=values)
        return encrypt_hybrid(
            self._capsule, self.layout.body, values, secret=secret, header=header, context=context
        )

    def check_run(self, run: Run, data: bytes) -> None:
        if not self._in_body(run):
            return self._capsule.check_run(run, data)
        self._check_width(run, data)
        excess = first_excess(leaves_of(data), run.first - self.layout.body.first)
        if excess is not None:
            leaf, modulus, found = excess
            raise Malformed(run.first + leaf, "range", expected=f"residues below {modulus}", found=found)
        return None

    def check_proof(self, capsule: bytes, proof: bytes, *, header: bytes, root: Digest) -> None:
        self._capsule.check_proof(capsule, proof, header=header, root=root)

    def combine(self, run: Run, parts: Sequence[bytes]) -> bytes:
        if not parts:
            raise Refused("expected at least one summand, found none")
        for part in parts:
            if len(part) != run.size:
                raise Malformed(run.first, "width", expected=run.size, found=len(part))
        if not self._in_body(run):
            return self._capsule.combine(run, parts)
        self._check_width(run, parts[0])
        kernels = kernels_for(self._blocks)
        total = kernels.add([leaves_of(part) for part in parts], run.first - self.layout.body.first)
        return total.astype("<u4", copy=False).tobytes()

    def share(self, capsule: bytes, *, member: int, key_share: KeyShare, context: TotalContext) -> bytes:
        return self._capsule.share(capsule, member=member, key_share=key_share, context=context)

    def check_share(self, capsule: bytes, share: bytes, *, member: int, context: TotalContext) -> None:
        self._capsule.check_share(capsule, share, member=member, context=context)

    def join(self, capsule: bytes, shares: Mapping[int, bytes]) -> Opening:
        return self._capsule.join(capsule, shares)

    def check_opening(self, capsule: bytes, opening: Opening, context: TotalContext) -> None:
        self._capsule.check_opening(capsule, opening, context)

    def decode(
        self, opening: Opening, body: Iterable[bytes], *, context: RoundContext, count: int, members: int
    ) -> IntVector:
        if count != self._values:
            raise Refused(f"expected {self._values} values, asked for {count}")
        if not 1 <= members <= MAX_MEMBERS:
            raise Refused(f"expected 1 … {MAX_MEMBERS} members, found {members}")
        bound, kernels = noise_bound(members), kernels_for(self._blocks)
        spectrum = spectrum_of(self._mask_key(opening, bound))
        values, done = np.empty(count, dtype=np.int64), 0  # blocks
        for data in body:
            blocks = range(done, done + len(data) // BLOCK_BYTES)
            if len(data) % BLOCK_BYTES or blocks.stop > self._blocks:
                raise self._wrong_length()
            if not blocks:
                continue
            read, noise, excess = kernels.opened(masks(context, blocks, kernels), spectrum, blocks_of(data))
            if noise > bound:
                raise Violation("§7.12.6", "noise in the body", expected=f"at most {bound}", found=noise)
            if excess:
                raise Violation("§7.12.6", "an opened value", expected="one in [-2^23, 2^23)", found="more")
            kept = values[done * VALUES : blocks.stop * VALUES]
            kept[:] = read[: len(kept)]
            if read[len(kept) :].any():
                raise Violation("§7.12.6", "unused lanes of the body", expected="zero", found="another value")
            done = blocks.stop
        if done < self._blocks:
            raise self._wrong_length()
        return values

    def _mask_key(self, opening: Opening, bound: int) -> IntVector:
        """Σs over members and dealers; raises `Violation` where a dealer's part is longer than it can be."""
        whole = np.zeros(DEGREE, dtype=np.int64)
        for part in self._capsule.decode(opening.plaintexts):
            largest = int(np.abs(part).max())
            if largest > bound:
                raise Violation("§7.12.6", "the opened key", expected=f"at most {bound}", found=largest)
            whole += part
        return whole

    def _in_body(self, run: Run) -> bool:
        """Whether `run` is of the body, or else of the capsule; raises `Refused` where it is of neither."""
        body, stop = self.layout.body, run.first + run.count
        if run.first < 1 or stop > body.first + body.count or run.first < body.first < stop:
            raise Refused(f"expected leaves of the capsule or the body, found {run.first} … {stop - 1}")
        return run.first >= body.first

    def _check_width(self, run: Run, data: bytes) -> None:
        if run.width != LEAF_BYTES or len(data) != run.size:
            raise Malformed(run.first, "width", expected=run.count * LEAF_BYTES, found=len(data))

    def _wrong_length(self) -> Violation:
        expected = f"{self._blocks} blocks of {BLOCK_BYTES} bytes"
        return Violation("§7.12.6", "the total's body", expected=expected, found="another length")
