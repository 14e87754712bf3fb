"""Evidence for the contract's judge: what proves on chain that posted bytes are unlawful.

Pure functions of payloads that the caller has read and found wrong; nothing here decides who is right, the
contract does. A payload is read in one pass for each leaf that is proven, and never held.
"""

from __future__ import annotations

from collections.abc import Sequence

from .ciphers import SuiteName
from .ciphers.judged import Modulus, dealer_of, moduli_of
from .digest import Digest, LedgerId
from .disputes import NO_DIGEST, NO_KEY, HeaderEvidence, KeyEvidence, LeafEvidence, SumEvidence
from .errors import Refused
from .merkle import LeafProver, leaf_digest
from .runs import Readable, Run, in_runs, regroup
from .wire import Payload


def sum_evidence(suite: SuiteName, leaf: int, *, updates: Sequence[Payload], total: Payload) -> SumEvidence:
    """That `total` does not hold the sum of its members' `updates`, in its own order, at `leaf`."""
    parts = [prove(update, leaf) for update in updates]
    posted, path = prove(total, leaf)
    return SumEvidence(
        leaf=leaf,
        found=leaf_digest(posted),
        key=_key(suite, dealer_of(suite, leaf)),
        leaves=b"".join(data for data, _ in parts),
        paths=tuple(node for _, nodes in parts for node in nodes) + tuple(path),
    )


def leaf_evidence(suite: SuiteName, leaf: int, update: Payload) -> LeafEvidence:
    """That a capsule or body leaf of `update` breaks a rule of its suite."""
    data, path = prove(update, leaf)
    dealer = dealer_of(suite, leaf)
    witness = b"" if dealer is None else moduli_of(suite)[dealer].common_factor(data)
    return LeafEvidence(leaf=leaf, key=_key(suite, dealer), data=data, path=tuple(path), witness=witness)


def proof_evidence(suite: SuiteName, update: Payload, *, dealer: int = 0) -> LeafEvidence:
    """That the submission proof of `update` cannot pass, for the form of the part for `dealer`, from 0."""
    leaf = leaves_in(update) - 1
    data, path = prove(update, leaf)
    key = _key(suite, dealer)
    witness = _proof_witness(moduli_of(suite), data, dealer)
    return LeafEvidence(leaf=leaf, key=key, data=data, path=tuple(path), witness=witness)


def header_evidence(payload: Payload, *, ledger: LedgerId, shape: Digest) -> HeaderEvidence:
    """That leaf 0 of an update or a total is not the expected header."""
    header, path = prove(payload, 0)
    return HeaderEvidence(ledger=ledger, shape=shape, header=header, path=tuple(path))


def first_difference(posted: Payload, right: Readable) -> int | None:
    """The first leaf in which a posted total differs from the leaves in `right`; None where there is none."""
    runs = list(in_runs(posted.shape.parts))
    expected = regroup(right.read(), (run.size for run in runs))
    for (run, data), other in zip(posted.runs(), expected, strict=True):
        if data != other:
            return run.first + _first_of(run, data, other)
    return None


def prove(payload: Payload, leaf: int) -> tuple[bytes, list[Digest]]:
    """The leaf of that index in the payload's tree and its audit path, in one pass and O(log n) memory."""
    prover = LeafProver(leaf)
    prover.add(payload.header)
    for run, data in payload.runs():
        prover.add_run(data, run.width)
    if payload.shape.tail_in_tree:
        prover.add(payload.tail)
    return prover.proven()


def leaves_in(payload: Payload) -> int:
    """How many leaves the payload's tree has."""
    return 1 + sum(part.count for part in payload.shape.parts) + payload.shape.tail_in_tree


def _first_of(run: Run, data: bytes, other: bytes) -> int:
    starts = range(0, run.size, run.width)
    return next(k for k, at in enumerate(starts) if data[at : at + run.width] != other[at : at + run.width])


def _key(suite: SuiteName, dealer: int | None) -> KeyEvidence:
    moduli = moduli_of(suite)
    if dealer is None:
        return NO_KEY
    if not 0 <= dealer < len(moduli):
        raise Refused(f"expected a dealer in 0 … {len(moduli) - 1}, found {dealer}")
    other = NO_DIGEST if len(moduli) == 1 else moduli[1 - dealer].digest
    return KeyEvidence(modulus=moduli[dealer].n, rest=moduli[dealer].rest, other=other, second=dealer == 1)


def _proof_witness(moduli: Sequence[Modulus], proof: bytes, dealer: int) -> bytes:
    """A factor that d shares with n: d is the first two widths of the dealer's part of the proof."""
    modulus = moduli[dealer]
    part = len(proof) // len(moduli)
    d = proof[dealer * part : dealer * part + 2 * len(modulus.n)]
    return modulus.common_factor(d)
