"""A stranger's judge of charges against a posted total, from PROTOCOL.md alone (§5.7), with its own integers.

It shares no code with the package. A charge that does not hold is a `Mismatch`; its `what` is that of `SOUND`
where the evidence shows that what was charged is right, and else says why the evidence is none.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from .second_parts import cut, demand, encode, labelled, numbers, sha, tree_depth, tree_top

SUM, LEAF, HEADER, PROOF = 1, 2, 3, 4
SOUND = {SUM: "SumIsRight", LEAF: "LeafIsSound", HEADER: "HeaderIsRight", PROOF: "ProofIsSound"}
SUITES = {1: "paillier", 2: "hybrid"}
PRIMES = 1073692673, 1073668097  # §7.12.2
CHUNK = 512  # bytes of a body leaf


@dataclass(frozen=True)
class Bench:
    """What the court believes: the ledger's facts of the total that stands in a round."""

    study: int
    round: int
    suite: int
    capsules: int  # leaves of the round's epoch: c
    bodies: int  # leaves: b
    key: bytes  # kd
    binding: bytes
    total: bytes  # root
    roots: dict[bytes, bytes]  # of the total's members, in order


@dataclass(frozen=True)
class Modulus:
    """A dealer's modulus, and what ties it to kd."""

    n: bytes
    rest: bytes  # SHA-256 of the key's encoding
    other: bytes  # the other dealer's kd; zeros if there is none
    second: bool  # whether it is the second dealer's


@dataclass(frozen=True)
class Sums:
    """Evidence of SUM."""

    leaf: int
    found: bytes  # hash of the total's leaf
    key: Modulus
    leaves: bytes  # the members'
    paths: Sequence[bytes]  # the members', then the total's


@dataclass(frozen=True)
class Piece:
    """Evidence of LEAF and of PROOF."""

    leaf: int
    key: Modulus
    data: bytes
    path: Sequence[bytes]
    factor: bytes  # g; empty where none is claimed


@dataclass(frozen=True)
class Head:
    """Evidence of HEADER."""

    ledger: bytes
    shape: bytes
    data: bytes
    path: Sequence[bytes]


@dataclass(frozen=True)
class Claim:
    """That of which a total is accused."""

    fault: int
    member: bytes | None
    leaf: int  # in the tree


@dataclass(frozen=True)
class Charge(Claim):
    """With its evidence."""

    evidence: Sums | Piece | Head


def judge(bench: Bench, charge: Charge) -> None:
    """§5.7: the charge holds, or `Mismatch`."""
    demand(bench.suite in SUITES, "§5.7", "a suite that nobody judges")
    match charge:
        case Charge(fault=1, member=None, evidence=Sums() as evidence):
            wrong = _sum_is_wrong(bench, evidence)
        case Charge(fault=2, member=bytes() as member, evidence=Piece() as evidence):
            wrong = _leaf_is_bad(bench, _root_of(bench, member), evidence)
        case Charge(fault=3, member=None, evidence=Head() as evidence):
            wrong = _total_header_is_wrong(bench, evidence)
        case Charge(fault=3, member=bytes() as member, evidence=Head() as evidence):
            wrong = _update_header_is_wrong(bench, member, evidence)
        case Charge(fault=4, member=bytes() as member, evidence=Piece() as evidence):
            wrong = _proof_is_bad(bench, _root_of(bench, member), evidence)
        case _:
            demand(False, "§5.7", "no fault of this kind")
            return
    demand(wrong, "§5.7", SOUND[charge.fault])


def _root_of(bench: Bench, member: bytes) -> bytes:
    demand(member in bench.roots, "§5.7", "not a member of the total")
    return bench.roots[member]


def _update_size(bench: Bench) -> int:
    return 2 + bench.capsules + bench.bodies


def _total_size(bench: Bench) -> int:
    return 1 + bench.capsules + bench.bodies


def _show(leaf_hash: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """§2.2: the path, of exactly the length that index and size demand, leads to the root."""
    demand(len(path) == tree_depth(index, size), "§5.7", "length of a path")
    demand(tree_top(leaf_hash, index, size, path) == root, "§5.7", "path leads to another root")


def _modulus(bench: Bench, key: Modulus) -> int:
    """§5.7, §7.2, §7.11: n, if it belongs to kd."""
    demand(16 <= len(key.n) <= 512 and len(key.n) % 2 == 0 and key.n[-1] & 1 == 1, "§5.7", "no modulus")
    mine = labelled("key", key.n, key.rest)
    if key.other == bytes(32):
        demand(not key.second and mine == bench.key, "§5.7", "another key")
    else:
        pair = (key.other, mine) if key.second else (mine, key.other)
        demand(labelled("hybrid key", *pair) == bench.key, "§5.7", "another key")
    return int.from_bytes(key.n, "big")


def _dealer_of(bench: Bench, leaf: int, key: Modulus) -> int:
    """The modulus of the dealer under whose key a capsule leaf lies."""
    n = _modulus(bench, key)
    two = key.other != bytes(32)
    demand(not two or key.second == (leaf > bench.capsules // 2), "§5.7", "the other dealer's key")
    return n


def _prime(bench: Bench, leaf: int) -> int:
    """§7.12.2: that of the tower of a body leaf, whose number in the tree this is."""
    return PRIMES[(leaf - bench.capsules - 1) % 64 // 32]


def _residues(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(data) // 4}I", data)


def _in_range(bench: Bench, leaf: int) -> None:
    demand(1 <= leaf <= bench.capsules + bench.bodies, "§5.7", "no such leaf")


def _sum_is_wrong(bench: Bench, evidence: Sums) -> bool:
    """§5.7, fault 1."""
    leaf = evidence.leaf
    _in_range(bench, leaf)
    capsule = leaf <= bench.capsules
    n = _dealer_of(bench, leaf, evidence.key) if capsule else 0
    width = 2 * len(evidence.key.n) if capsule else CHUNK
    demand(len(evidence.leaves) == width * len(bench.roots), "§5.7", "length of the leaves")
    leaves = cut(evidence.leaves, width)
    paths = list(evidence.paths)
    size = _update_size(bench)
    step = tree_depth(leaf, size)
    demand(len(paths) == step * len(leaves) + tree_depth(leaf, _total_size(bench)), "§5.7", "length of paths")
    for number, (data, root) in enumerate(zip(leaves, bench.roots.values(), strict=True)):
        _show(sha(b"\0" + data), leaf, size, paths[step * number : step * (number + 1)], root)
    _show(evidence.found, leaf, _total_size(bench), paths[step * len(leaves) :], bench.total)
    if capsule:
        total = 1
        for c in numbers(evidence.leaves, width):
            demand(0 < c < n * n, "§5.7", "a member's leaf is malformed")
            total = total * c % (n * n)
        right = total.to_bytes(width, "big")
    else:
        prime = _prime(bench, leaf)
        rows = [_residues(data) for data in leaves]
        demand(
            all(residue < prime for row in rows for residue in row), "§5.7", "a member's leaf is malformed"
        )
        sums = [sum(column) % prime for column in zip(*rows, strict=True)]
        right = struct.pack(f"<{len(sums)}I", *sums)
    return sha(b"\0" + right) != evidence.found


def _is_factor(g: int, n: int, value: int) -> bool:
    return g > 1 and n % g == 0 and value % g == 0


def _ciphertext_is_bad(n: int, value: int, evidence: Piece) -> bool:
    factor = evidence.factor if len(evidence.factor) <= len(evidence.key.n) else b""
    return value == 0 or value >= n * n or _is_factor(int.from_bytes(factor, "big"), n, value)


def _leaf_is_bad(bench: Bench, root: bytes, evidence: Piece) -> bool:
    """§5.7, fault 2."""
    leaf, data = evidence.leaf, evidence.data
    _in_range(bench, leaf)
    _show(sha(b"\0" + data), leaf, _update_size(bench), evidence.path, root)
    if leaf > bench.capsules:
        return len(data) != CHUNK or max(_residues(data)) >= _prime(bench, leaf)
    n = _dealer_of(bench, leaf, evidence.key)
    if len(data) != 2 * len(evidence.key.n):
        return True
    return _ciphertext_is_bad(n, int.from_bytes(data, "big"), evidence)


def _bound(bench: Bench, evidence: Head) -> None:
    binding = labelled("binding", evidence.ledger, evidence.shape)
    demand(binding == bench.binding, "§5.7", "another ledger id or shape")


def _common(bench: Bench, kind: int, evidence: Head) -> dict[int, object]:
    """§4.2."""
    told = {0: 1, 1: kind, 2: evidence.ledger, 3: bench.study, 4: bench.round, 6: SUITES[bench.suite]}
    return {**told, 7: bench.key, 8: evidence.shape, 9: bench.capsules + bench.bodies}


def _update_header_is_wrong(bench: Bench, member: bytes, evidence: Head) -> bool:
    """§5.7, fault 3 of an update."""
    root = _root_of(bench, member)
    _bound(bench, evidence)
    _show(sha(b"\0" + evidence.data), 0, _update_size(bench), evidence.path, root)
    due = encode({**_common(bench, 1, evidence), 5: member, 10: bytes(32)})
    return len(evidence.data) != len(due) or evidence.data[:-32] != due[:-32]


def _total_header_is_wrong(bench: Bench, evidence: Head) -> bool:
    """§5.7, fault 3 of the total: all before the exclusions is judged, and the length."""
    _bound(bench, evidence)
    _show(sha(b"\0" + evidence.data), 0, _total_size(bench), evidence.path, bench.total)
    members = [[member, root] for member, root in bench.roots.items()]
    due = encode({**_common(bench, 2, evidence), 12: members, 13: []})[:-1]
    whole = len(due) < len(evidence.data) <= 4096  # something has to stand behind key 13
    return not (whole and evidence.data.startswith(due))


def _proof_is_bad(bench: Bench, root: bytes, evidence: Piece) -> bool:
    """§5.7, fault 4: by its form alone."""
    last = _update_size(bench) - 1
    demand(evidence.leaf == last, "§5.7", "not the proof's leaf")
    _show(sha(b"\0" + evidence.data), last, last + 1, evidence.path, root)
    n, width = _modulus(bench, evidence.key), len(evidence.key.n)
    length, two = 3 * width + width // 2 + 37, evidence.key.other != bytes(32)
    if len(evidence.data) != length * (1 + two):
        return True
    part = cut(evidence.data, length)[evidence.key.second]
    d, z, zeta = (
        int.from_bytes(p, "big") for p in (part[: 2 * width], part[2 * width : 3 * width], part[3 * width :])
    )
    return z >= n or zeta >= 1 << 4 * width + 289 or _ciphertext_is_bad(n, d, evidence)
