"""RFC 6962 Merkle trees with SHA-256: one root for a payload, a short path for each leaf.

The tree alone does not fix how many leaves there are (leaf 2 of 3 passes as leaf 1 of 2), so a
size always comes from the study, never from whoever brings the path (PROTOCOL §2.2).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from .digest import Digest
from .errors import Refused


def leaf_digest(leaf: bytes) -> Digest:
    """SHA-256(0x00 ‖ leaf), RFC 6962 §2.1."""
    return Digest(hashlib.sha256(b"\x00" + leaf).digest())


def node_digest(left: bytes, right: bytes) -> Digest:
    """SHA-256(0x01 ‖ left ‖ right), RFC 6962 §2.1."""
    return Digest(hashlib.sha256(b"\x01" + left + right).digest())


class Tree(NamedTuple):
    """A perfect subtree of a larger tree: 2^k leaves, the first at a multiple of 2^k."""

    leaves: int
    digest: Digest


def trees_over(leaves: bytes, width: int, *, first: int) -> list[Tree]:
    """The largest perfect subtrees over a run of leaves, in order: all that `RootHasher` needs of it.

    `first` is the index of the run's first leaf in the whole tree. Whoever hashes a run needs to know
    nothing of the runs before it, so runs can be hashed anywhere.
    """
    sha256 = hashlib.sha256
    view = memoryview(leaves)
    level = [Digest(sha256(b"\x00" + view[at : at + width]).digest()) for at in range(0, len(leaves), width)]
    left: list[Tree] = []  # smaller ones first
    right: list[Tree] = []
    size = 1
    while level:
        if first & 1:
            left.append(Tree(size, level[0]))
            level = level[1:]
            first += 1
        if len(level) & 1:
            right.append(Tree(size, level.pop()))
        pairs = zip(level[::2], level[1::2], strict=True)
        level = [Digest(sha256(b"\x01" + one + two).digest()) for one, two in pairs]
        first, size = first >> 1, size << 1
    return left + right[::-1]


class RootHasher:
    """Takes leaves one by one, or subtrees, and knows the root at any moment; holds O(log n) digests."""

    def __init__(self, peaks: Iterable[Tree] = ()) -> None:
        self._peaks = list(peaks)  # larger ones first

    def add(self, leaf: bytes) -> None:
        """Appends one leaf."""
        self.extend([Tree(1, leaf_digest(leaf))])

    def extend(self, trees: Iterable[Tree]) -> None:
        """Appends subtrees that lie where `trees_over` was told they do."""
        for tree in trees:
            size, digest = tree
            while self._peaks and self._peaks[-1].leaves == size:
                size, digest = 2 * size, node_digest(self._peaks.pop().digest, digest)
            self._peaks.append(Tree(size, digest))

    def copy(self) -> RootHasher:
        """One that goes its own way from here."""
        return RootHasher(self._peaks)

    def root(self) -> Digest:
        """The root over all leaves so far; SHA-256 of nothing for none."""
        if not self._peaks:
            return Digest(hashlib.sha256().digest())
        digest = self._peaks[-1].digest
        for left in reversed(self._peaks[:-1]):
            digest = node_digest(left.digest, digest)
        return digest


def root_of(leaves: Iterable[bytes]) -> Digest:
    """The root over `leaves` in order."""
    hasher = RootHasher()
    for leaf in leaves:
        hasher.add(leaf)
    return hasher.root()


class LeafProver:
    """Takes a tree's leaves in order, one by one or a run at a time, and keeps the audit path of one of them.

    One pass and O(log n) digests, however many leaves there are.
    """

    def __init__(self, index: int) -> None:
        self._index = index
        self._count = 0  # leaves so far
        self._peaks: list[tuple[Tree, bool]] = []  # larger ones first; whether the leaf is in it
        self._path: list[Digest] = []  # within its peak
        self._leaf: bytes | None = None

    def add(self, leaf: bytes) -> None:
        """Appends one leaf."""
        mine = self._count == self._index
        if mine:
            self._leaf = leaf
        self._push(Tree(1, leaf_digest(leaf)), mine=mine)

    def add_run(self, leaves: bytes, width: int) -> None:
        """Appends leaves of `width` bytes, one after another."""
        start = (self._index - self._count) * width
        if not 0 <= start < len(leaves):
            self._extend(leaves, width)
            return
        self._extend(leaves[:start], width)
        self.add(leaves[start : start + width])
        self._extend(leaves[start + width :], width)

    def proven(self) -> tuple[bytes, list[Digest]]:
        """The leaf, and its path in the tree over all leaves so far; raises `Refused` if it is not in it."""
        if self._leaf is None:
            raise Refused(f"expected a leaf of a tree of {self._count}, found index {self._index}")
        path = list(self._path)
        (_, digest), mine = self._peaks[-1]
        for left, has_it in reversed(self._peaks[:-1]):
            if mine or has_it:
                path.append(digest if has_it else left.digest)
            digest, mine = node_digest(left.digest, digest), mine or has_it
        return self._leaf, path

    def _extend(self, leaves: bytes, width: int) -> None:
        for tree in trees_over(leaves, width, first=self._count):
            self._push(tree, mine=False)

    def _push(self, tree: Tree, *, mine: bool) -> None:
        self._count += tree.leaves
        size, digest = tree
        while self._peaks and self._peaks[-1][0].leaves == size:
            left, has_it = self._peaks.pop()
            if mine or has_it:
                self._path.append(digest if has_it else left.digest)
            size, digest, mine = 2 * size, node_digest(left.digest, digest), mine or has_it
        self._peaks.append((Tree(size, digest), mine))


def prove_leaf(leaves: Iterable[bytes], index: int) -> list[Digest]:
    """The audit path of the leaf at `index`, from its sibling up (RFC 6962 §2.1.1)."""
    prover = LeafProver(index)
    for leaf in leaves:
        prover.add(leaf)
    return prover.proven()[1]


def root_above(digest: Digest, index: int, size: int, path: Iterator[Digest]) -> Digest | None:
    """Where the path leads from the leaf with this hash; None if it ends too early, or `index` is no leaf's.

    Index and size fix how many steps are taken, so several paths may follow one another. `size` has to
    come from the study. See RFC 9162 §2.1.3.2 for the walk.
    """
    if not 0 <= index < size:
        return None
    last = size - 1
    while last:
        sibling = next(path, None)
        if sibling is None:
            return None
        if index & 1 or index == last:
            digest = node_digest(sibling, digest)
            while not index & 1:
                index, last = index >> 1, last >> 1
        else:
            digest = node_digest(digest, sibling)
        index, last = index >> 1, last >> 1
    return digest


def leaf_is_in(root: Digest, leaf: bytes, index: int, size: int, path: Sequence[Digest]) -> bool:
    """Whether `path` leads from `leaf` at `index` of a tree of `size` leaves to `root`, and no further."""
    steps = iter(path)
    return root_above(leaf_digest(leaf), index, size, steps) == root and next(steps, None) is None
