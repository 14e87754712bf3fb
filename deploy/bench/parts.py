"""Where the time of `hybrid` goes: its parts, timed alone on the same vector.

The only place outside `federation.ciphers` that looks inside a suite. What the parts leave of the whole
is reported too, so that a profile which no longer fits the code shows itself.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from federation.ciphers.hybrid.capsules import HybridCapsule
from federation.ciphers.hybrid.keys import decode_keys
from federation.ciphers.ring.element import (
    BLOCK_BYTES,
    BLOCK_LEAVES,
    DEGREE,
    KAPPA,
    VALUES,
    blocks_of,
    first_excess,
    fold,
    leaves_of,
    spectrum_of,
)
from federation.ciphers.ring.gaussian import WORD_BYTES, gaussians
from federation.ciphers.ring.kernels import kernels_for
from federation.ciphers.ring.masks import masks
from federation.ciphers.secret import update_secret
from federation.ciphers.suite import Encryption, Seed
from federation.digest import keystream, labelled, sha256
from federation.merkle import trees_over

from .clock import Work, race
from .figures import Profile
from .subject import CONTEXT, HEADER, Subject

REST: Final = "not explained"
_KEY: Final = labelled("bench error key")


class Parts:
    """The parts of one subject under `hybrid`."""

    def __init__(self, subject: Subject) -> None:
        self._subject: Final = subject
        blocks = subject.layout.body.count // BLOCK_LEAVES
        step = len(subject.body[0]) // BLOCK_BYTES
        self._ranges: Final = [range(at, min(at + step, blocks)) for at in range(0, blocks, step)]
        self._kernels: Final = kernels_for(blocks)
        first = self._ranges[0]
        self._masks: Final = masks(CONTEXT, first, self._kernels)
        self._noise: Final = gaussians(_KEY, DEGREE, streams=first)
        self._message: Final = fold(subject.vectors[0][: first.stop * VALUES]) * KAPPA
        self._spectrum: Final = spectrum_of(self._noise[0].astype(np.int64))
        self._capsule: Final = HybridCapsule(decode_keys(subject.name.key))

    def works(self) -> dict[str, Work]:
        """Each part, over the whole vector."""
        return {
            "hash the values": self._hash,
            "public masks (SHAKE128)": self._draw_masks,
            "error stream (ChaCha20)": self._draw_streams,
            "errors (ChaCha20 and table)": self._draw_errors,
            "lanes and error into the message": self._fold,
            "ring product and reduction": self._multiply,
            "capsule": self._encrypt_capsule,
            "tree (SHA-256)": self._hash_tree,
            "prove the submission": self._prove,
            "residues below q": self._check_residues,
            "units in the capsule": self._check_capsule,
            "submission proof": self._check_proof,
            "key from the opening": self._decode_capsule,
            "ring product, rounding, bounds": self._open,
            "fresh memory for the result": self._allocate,
        }

    def profile(self, *, laps: int) -> Profile:
        """Seconds of each part, and what is left of the whole."""
        took = race(self.works() | self._subject.cheap_steps(), laps=laps)
        stream = took["error stream (ChaCha20)"]
        took["errors from the table"] = max(0.0, took.pop("errors (ChaCha20 and table)") - stream)
        masking = took["public masks (SHAKE128)"]
        encrypt = {name: took[name] for name in _ENCRYPT}
        commit = {"encrypt": took["encrypt"]} | {name: took[name] for name in _COMMIT}
        check = {name: took[name] for name in _CHECK}
        opened = {"public masks (SHAKE128)": masking} | {name: took[name] for name in _OPEN}
        return Profile(
            encrypt=_with_rest(encrypt, took["encrypt"]),
            commit=_with_rest(commit, took["commit"]),
            check=_with_rest(check, took["check"]),
            open=_with_rest(opened, took["open"]),
        )

    def _hash(self) -> None:
        update_secret(
            Seed(_KEY),
            key=self._subject.suite.key_digest,
            header=HEADER,
            values=self._subject.vectors[0],
        )

    def _draw_masks(self) -> None:
        for blocks in self._ranges:
            masks(CONTEXT, blocks, self._kernels)

    def _draw_streams(self) -> None:
        for blocks in self._ranges:
            for block in blocks:
                keystream(_KEY, WORD_BYTES * DEGREE, index=block)

    def _draw_errors(self) -> None:
        for blocks in self._ranges:
            gaussians(_KEY, DEGREE, streams=blocks)

    def _fold(self) -> None:
        for blocks in self._ranges:
            message = fold(self._subject.vectors[0][blocks.start * VALUES : blocks.stop * VALUES])
            message *= KAPPA
            message += self._noise[: len(blocks)]

    def _multiply(self) -> None:
        for blocks in self._ranges:
            count = len(blocks)
            body = self._kernels.masked(self._masks[:count], self._spectrum, self._message[:count])
            body.astype("<u4", copy=False).tobytes()

    def _encrypt_capsule(self) -> None:
        self._capsule_encryption().run(self._capsule.run)
        spectrum_of(self._noise[0].astype(np.int64))

    def _capsule_encryption(self) -> Encryption:
        key = self._noise[0].astype(np.int64)
        return self._capsule.encrypt([key], secrets=[sha256(_KEY)], header=HEADER)

    def _prove(self) -> None:
        self._capsule_encryption().prove(CONTEXT.root)

    def _hash_tree(self) -> None:
        for run, data in zip(self._subject.layout.runs(), self._subject.updates[0], strict=True):
            trees_over(data, run.width, first=run.first)

    def _check_residues(self) -> None:
        for data in self._subject.body:
            first_excess(leaves_of(data), 0)

    def _check_capsule(self) -> None:
        self._capsule.check_run(self._capsule.run, self._subject.capsule)

    def _check_proof(self) -> None:
        """The tree is none of this, so the root is computed once and kept by the payload."""
        payload = self._subject.payload
        root = payload.root_before_tail()
        self._subject.suite.check_proof(payload.first_part, payload.tail, header=HEADER, root=root)

    def _decode_capsule(self) -> None:
        (key,) = self._capsule.decode(self._subject.opening.plaintexts)
        spectrum_of(key)

    def _open(self) -> None:
        for blocks, data in zip(self._ranges, self._subject.body, strict=True):
            self._kernels.opened(self._masks[: len(blocks)], self._spectrum, blocks_of(data))

    def _allocate(self) -> None:
        """Pages of the operating system's, which it clears as they are first written to."""
        np.empty(self._subject.name.values, np.int64)[:: 4096 // 8] = 0


_ENCRYPT: Final = (
    "hash the values",
    "public masks (SHAKE128)",
    "error stream (ChaCha20)",
    "errors from the table",
    "lanes and error into the message",
    "ring product and reduction",
    "capsule",
)
_COMMIT: Final = ("tree (SHA-256)", "prove the submission")
_CHECK: Final = ("tree (SHA-256)", "residues below q", "units in the capsule", "submission proof")
_OPEN: Final = ("key from the opening", "ring product, rounding, bounds", "fresh memory for the result")


def _with_rest(parts: dict[str, float], whole: float) -> dict[str, float]:
    return parts | {REST: whole - sum(parts.values())}
