"""One update under `hybrid`: the mask's key in its capsules, the masked vector a few blocks at a time.

All randomness follows from the seed, the key, the header and the values, as in `paillier`: another of these
means another key s and other errors, so two bodies never share a mask (PROTOCOL §7.12.4).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...digest import Digest, derive
from ...errors import Refused
from ...runs import Run
from ..ring.element import (
    BLOCK_BYTES,
    BLOCK_LEAVES,
    DEGREE,
    KAPPA,
    LEAF_BYTES,
    VALUES,
    Residues,
    fold,
    spectrum_of,
)
from ..ring.gaussian import gaussians
from ..ring.kernels import kernels_for
from ..ring.masks import masks
from ..suite import Encryption, IntVector, RoundContext
from .capsules import HybridCapsule


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HybridEncryption:
    """Implements `Encryption`; can be pickled, for processes of this machine alone."""

    capsule: Encryption
    body: Run
    spectrum: Residues = field(repr=False)  # of s, the sum of all dealers' parts
    errors: bytes = field(repr=False)  # 32 bytes: block j's errors are stream j of this key
    values: IntVector = field(repr=False)
    context: RoundContext

    def run(self, run: Run) -> bytes:
        if run.first < self.body.first:
            return self.capsule.run(run)
        start, stop = run.first - self.body.first, run.first - self.body.first + run.count
        if stop > self.body.count:
            last = self.body.first + self.body.count - 1
            raise Refused(f"expected leaves in 1 … {last}, found up to {run.first + run.count - 1}")
        blocks = range(start // BLOCK_LEAVES, -(-stop // BLOCK_LEAVES))
        body = self._blocks(blocks).astype("<u4", copy=False).tobytes()
        skipped = start * LEAF_BYTES - blocks.start * BLOCK_BYTES  # runs are whole blocks, as a rule
        return body[skipped : skipped + run.size]

    def prove(self, root: Digest) -> bytes:
        return self.capsule.prove(root)

    def _blocks(self, blocks: range) -> Residues:
        message = fold(self.values[blocks.start * VALUES : blocks.stop * VALUES])
        message *= KAPPA
        message += gaussians(self.errors, DEGREE, streams=blocks)
        kernels = kernels_for(self.body.count // BLOCK_LEAVES)
        return kernels.masked(masks(self.context, blocks, kernels), self.spectrum, message)


def encrypt_hybrid(
    capsule: HybridCapsule,
    body: Run,
    values: IntVector,
    *,
    secret: bytes,
    header: bytes,
    context: RoundContext,
) -> HybridEncryption:
    """`values`, checked by the caller, under keys and errors that follow from `secret`."""
    dealers = [dealer.to_bytes(8, "big") for dealer in range(len(capsule.parts))]
    keys = [
        gaussians(derive(secret, "hybrid key", dealer), DEGREE, streams=range(1))[0].astype(np.int64)
        for dealer in dealers
    ]
    secrets = [derive(secret, "hybrid capsule", dealer) for dealer in dealers]
    return HybridEncryption(
        capsule=capsule.encrypt(keys, secrets=secrets, header=header),
        body=body,
        spectrum=spectrum_of(np.sum(keys, axis=0)),
        errors=derive(secret, "hybrid error"),
        values=values,
        context=context,
    )
