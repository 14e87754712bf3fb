"""What the contract's court finds, in Python: for a ledger in memory, and to compare the contract with.

The same verdicts from the same evidence (PROTOCOL §5.7, `contracts/Judge.sol`), written with integers and
without a thought of gas. Raises `LedgerRejected` by the court's own error wherever nothing is proven.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

from .ciphers.ring.element import LEAF_BYTES, LEAF_RESIDUES, PRIMES
from .digest import Digest, labelled
from .disputes import Charge, HeaderEvidence, KeyEvidence, LeafEvidence, SumEvidence, binding_digest
from .errors import LedgerRejected
from .events import Fault, Leaves, RoundId
from .members import Address
from .merkle import leaf_digest, root_above
from .rounds import Round, Study
from .wire import Binding, total_header, update_header

_NAMES: Final = {1: "paillier", 2: "hybrid"}  # suites by the contract's numbers
_LEAVES_A_TOWER: Final = 32
_MODULUS_BYTES: Final = range(16, 514, 2)
_HEADER_LIMIT: Final = 4096  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the ledger holds of the total that stands in a round (`IRoundLedger.Case`)."""

    round: RoundId
    leaves: Leaves  # `ciphertexts` as of the round's key
    key: Digest
    total: Digest  # its root
    members: tuple[Address, ...]
    roots: tuple[Digest, ...]  # of their updates


def case_of(study: Study, round: Round) -> Case:
    """The case of a round in which a total stands; raises `LedgerRejected` where none does."""
    total, epoch = round.total, study.epoch_of(round.id.number)
    if total is None:
        raise LedgerRejected("NoTotal", (round.id,))
    return Case(
        round=round.id,
        leaves=round.terms.leaves._replace(ciphertexts=epoch.ciphertexts),
        key=epoch.key,
        total=total.root,
        members=total.members,
        roots=tuple(round.commits[member].root for member in total.members),
    )


def judge(case: Case, charge: Charge) -> None:
    """The charge is proven; else raises `LedgerRejected`."""
    match charge.fault, charge.member, charge.evidence:
        case Fault.SUM, None, SumEvidence() as evidence:
            _judge_sum(case, evidence)
        case Fault.LEAF, bytes() as member, LeafEvidence() as evidence:
            _judge_leaf(case, _root_of(case, Address(member)), evidence)
        case Fault.PROOF, bytes() as member, LeafEvidence() as evidence:
            _judge_proof(case, _root_of(case, Address(member)), evidence)
        case Fault.HEADER, bytes() as member, HeaderEvidence() as evidence:
            _judge_update_header(case, Address(member), evidence)
        case Fault.HEADER, None, HeaderEvidence() as evidence:
            _judge_total_header(case, evidence)
        case _:
            raise TypeError(f"no dispute of {charge.fault.name} takes {type(charge.evidence).__name__}")


def _judge_sum(case: Case, evidence: SumEvidence) -> None:
    leaves, last, members = case.leaves, _last(case), len(case.roots)
    _require_judged(case)
    _require_leaf(1, last, evidence.leaf)
    modulus = None if evidence.leaf > leaves.ciphertexts else _modulus_at(case, evidence.leaf, evidence.key)
    width = LEAF_BYTES if modulus is None else 2 * len(evidence.key.modulus)
    if len(evidence.leaves) != members * width:
        raise LedgerRejected("WrongLength", (members * width, len(evidence.leaves)))
    parts = [evidence.leaves[i * width : (i + 1) * width] for i in range(members)]
    for i, part in enumerate(parts):
        if not _is_canonical(part, modulus, _prime_at(case, evidence.leaf)):
            raise LedgerRejected("MalformedLeaf", (i,))
    paths = iter(evidence.paths)
    for i, (part, root) in enumerate(zip(parts, case.roots, strict=True)):
        _require_under(root, leaf_digest(part), evidence.leaf, last + 2, paths, which=i)
    _require_under(case.total, evidence.found, evidence.leaf, last + 1, paths, which=members)
    _require_used(paths, len(evidence.paths))
    right = _product(parts, modulus) if modulus else _lane_sums(parts, _prime_at(case, evidence.leaf))
    if leaf_digest(right) == evidence.found:
        raise LedgerRejected("SumIsRight")


def _judge_leaf(case: Case, root: Digest, evidence: LeafEvidence) -> None:
    _require_judged(case)
    _require_leaf(1, _last(case), evidence.leaf)
    _require_placed(root, evidence.data, evidence.leaf, _last(case) + 2, evidence.path)
    if evidence.leaf > case.leaves.ciphertexts:
        prime = _prime_at(case, evidence.leaf)
        sound = len(evidence.data) == LEAF_BYTES and _is_canonical(evidence.data, None, prime)
    else:
        n = _modulus_at(case, evidence.leaf, evidence.key)
        sound = _is_unit(evidence.data, n, evidence.key, evidence.witness)
    if sound:
        raise LedgerRejected("LeafIsSound")


def _judge_proof(case: Case, root: Digest, evidence: LeafEvidence) -> None:
    _require_judged(case)
    last = _last(case) + 1
    _require_leaf(last, last, evidence.leaf)
    _require_placed(root, evidence.data, last, last + 1, evidence.path)
    n, width = _modulus(case, evidence.key), len(evidence.key.modulus)
    of_one = 3 * width + width // 2 + 37
    dealers = 2 if any(evidence.key.other) else 1
    if len(evidence.data) != dealers * of_one:
        return
    part = evidence.data[of_one:] if evidence.key.second else evidence.data[:of_one]
    d, z, zeta = part[: 2 * width], part[2 * width : 3 * width], part[3 * width :]
    too_long = int.from_bytes(zeta, "big").bit_length() > 4 * width + 289
    if too_long or int.from_bytes(z, "big") >= n:
        return
    if _is_unit(d, n, evidence.key, evidence.witness):
        raise LedgerRejected("ProofIsSound")


def _judge_update_header(case: Case, member: Address, evidence: HeaderEvidence) -> None:
    root = _root_of(case, member)
    binding = _binding(case, evidence)
    _require_placed(root, evidence.header, 0, _last(case) + 2, evidence.path)
    expected = update_header(binding, member=member, base_model=Digest(bytes(32)))
    if len(evidence.header) == len(expected) and evidence.header[:-32] == expected[:-32]:
        raise LedgerRejected("HeaderIsRight")


def _judge_total_header(case: Case, evidence: HeaderEvidence) -> None:
    binding = _binding(case, evidence)
    _require_placed(case.total, evidence.header, 0, _last(case) + 1, evidence.path)
    listed = list(zip(case.members, case.roots, strict=True))
    expected = total_header(binding, members=listed, excluded=[])[:-1]  # an empty array is one byte
    header = evidence.header
    if len(expected) < len(header) <= _HEADER_LIMIT and header.startswith(expected):
        raise LedgerRejected("HeaderIsRight")


# ---------------------------------------------------------------- sums


def _product(parts: Sequence[bytes], n: int) -> bytes:
    return (prod(int.from_bytes(part, "big") for part in parts) % n**2).to_bytes(len(parts[0]), "big")


def _lane_sums(parts: Sequence[bytes], prime: int) -> bytes:
    sums = (sum(lane) % prime for lane in zip(*map(_residues, parts), strict=True))
    return b"".join(residue.to_bytes(4, "little") for residue in sums)


def _residues(chunk: bytes) -> list[int]:
    return [int.from_bytes(chunk[4 * i : 4 * i + 4], "little") for i in range(LEAF_RESIDUES)]


def _is_canonical(leaf: bytes, n: int | None, prime: int) -> bool:
    if n is None:
        return all(residue < prime for residue in _residues(leaf))
    return 0 < int.from_bytes(leaf, "big") < n**2


def _is_unit(value: bytes, n: int, key: KeyEvidence, witness: bytes) -> bool:
    """Whether `value` is canonical and invertible, as far as the witness shows."""
    if len(value) != 2 * len(key.modulus) or not _is_canonical(value, n, 0):
        return False
    factor = int.from_bytes(witness, "big")
    if len(witness) > len(key.modulus) or factor < 2:
        return True
    return bool(n % factor or int.from_bytes(value, "big") % factor)


# ---------------------------------------------------------------- keys and places


def _modulus_at(case: Case, leaf: int, key: KeyEvidence) -> int:
    """The modulus of the dealer under whose key the leaf lies."""
    n = _modulus(case, key)
    if key.second != (any(key.other) and leaf > case.leaves.ciphertexts // 2):
        raise LedgerRejected("WrongDealer", (leaf, key.second))
    return n


def _modulus(case: Case, key: KeyEvidence) -> int:
    n = int.from_bytes(key.modulus, "big")
    if len(key.modulus) not in _MODULUS_BYTES or n % 2 == 0:
        raise LedgerRejected("UnsoundModulus", (len(key.modulus),))
    found = labelled("key", key.modulus, key.rest)
    if any(key.other):
        pair = (key.other, found) if key.second else (found, key.other)
        found = labelled("hybrid key", *pair)
    elif key.second:
        raise LedgerRejected("WrongDealer", (0, True))
    if found != case.key:
        raise LedgerRejected("WrongKey", (case.key, found))
    return n


def _binding(case: Case, evidence: HeaderEvidence) -> Binding:
    _require_judged(case)
    found = binding_digest(evidence.ledger, evidence.shape)
    if found != case.leaves.binding:
        raise LedgerRejected("WrongBinding", (case.leaves.binding, found))
    return Binding(
        ledger=evidence.ledger,
        round=case.round,
        suite=_NAMES[case.leaves.suite],
        key=case.key,
        shape=evidence.shape,
        leaves=_last(case),
    )


def _prime_at(case: Case, leaf: int) -> int:
    return PRIMES[(leaf - case.leaves.ciphertexts - 1) // _LEAVES_A_TOWER % len(PRIMES)]


def _last(case: Case) -> int:
    """The index of the last capsule or body leaf."""
    return case.leaves.ciphertexts + case.leaves.chunks


def _root_of(case: Case, member: Address) -> Digest:
    if member not in case.members:
        raise LedgerRejected("NotInTotal", (case.round, member))
    return case.roots[case.members.index(member)]


def _require_judged(case: Case) -> None:
    if case.leaves.suite not in _NAMES:
        raise LedgerRejected("NotJudged", (case.leaves.suite,))


def _require_leaf(first: int, last: int, found: int) -> None:
    if not first <= found <= last:
        raise LedgerRejected("NoSuchLeaf", (first, last, found))


def _require_placed(root: Digest, leaf: bytes, index: int, size: int, path: Sequence[Digest]) -> None:
    steps = iter(path)
    _require_under(root, leaf_digest(leaf), index, size, steps, which=0)
    _require_used(steps, len(path))


def _require_under(
    root: Digest, leaf: Digest, index: int, size: int, paths: Iterator[Digest], *, which: int
) -> None:
    if root_above(leaf, index, size, paths) != root:
        raise LedgerRejected("NotInTree", (which,))


def _require_used(paths: Iterator[Digest], count: int) -> None:
    left = sum(1 for _ in paths)
    if left:
        raise LedgerRejected("PathsTooLong", (count - left, count))
