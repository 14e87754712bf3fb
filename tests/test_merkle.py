"""RFC 6962 trees: the RFC's own roots, every size up to forty, and what a path does not prove."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import Refused
from federation.merkle import (
    LeafProver,
    RootHasher,
    leaf_digest,
    leaf_is_in,
    node_digest,
    prove_leaf,
    root_of,
    trees_over,
)

# The eight leaves of the test data of Certificate Transparency, and the roots over the first 0 … 8.
RFC_LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
RFC_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = range(1, 41)


def leaves(size: int) -> list[bytes]:
    return [b"leaf %d" % index for index in range(size)]


def by_definition(parts: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, word for word."""
    if not parts:
        return hashlib.sha256().digest()
    if len(parts) == 1:
        return hashlib.sha256(b"\0" + parts[0]).digest()
    split = max(1 << k for k in range(len(parts).bit_length()) if 1 << k < len(parts))
    return hashlib.sha256(b"\1" + by_definition(parts[:split]) + by_definition(parts[split:])).digest()


@pytest.mark.parametrize("size", range(9))
def test_the_roots_of_certificate_transparency_come_out(size):
    assert root_of(RFC_LEAVES[:size]).hex() == RFC_ROOTS[size]


@pytest.mark.parametrize("size", [0, *SIZES])
def test_the_root_is_the_definitions_at_any_moment(size):
    hasher = RootHasher()
    for count, leaf in enumerate(leaves(size)):
        assert hasher.root() == by_definition(leaves(count))
        hasher.add(leaf)
    assert hasher.root() == root_of(leaves(size)) == by_definition(leaves(size))


@pytest.mark.parametrize("size", SIZES)
def test_every_leaf_of_every_tree_is_proven_in_its_place_only(size):
    parts = leaves(size)
    root = root_of(parts)
    for index, leaf in enumerate(parts):
        path = prove_leaf(parts, index)
        assert leaf_is_in(root, leaf, index, size, path)
        assert len(path) <= (size - 1).bit_length()
        for other in range(-1, size + 1):
            assert leaf_is_in(root, leaf, other, size, path) is (other == index)
        assert not leaf_is_in(root, leaf + b"x", index, size, path)
        assert not leaf_is_in(root, leaf, index, size, [*path, root])
        if path:
            assert not leaf_is_in(root, leaf, index, size, path[:-1])
            assert not leaf_is_in(root, leaf, index, size, [root, *path[1:]])


def test_a_false_size_moves_a_leaf_so_sizes_never_come_with_the_path():
    """Leaf 2 of 3 passes as leaf 1 of 2: why the study gives the size (PROTOCOL §2.2)."""
    parts = leaves(3)
    path = prove_leaf(parts, 2)
    assert leaf_is_in(root_of(parts), parts[2], 2, 3, path)
    assert leaf_is_in(root_of(parts), parts[2], 1, 2, path)


def test_a_node_does_not_pass_as_a_leaf():
    a, b = leaf_digest(b"a"), leaf_digest(b"b")
    assert node_digest(a, b) != leaf_digest(a + b)
    assert not leaf_is_in(root_of([b"a", b"b"]), a + b, 0, 1, [])


@given(runs=st.lists(st.integers(0, 20), min_size=1, max_size=6), width=st.integers(1, 9), data=st.data())
def test_a_leaf_is_proven_alike_from_runs_and_from_leaves(runs, width, data):
    parts = [b"header"]
    index = data.draw(st.integers(0, sum(runs)))
    prover = LeafProver(index)
    prover.add(parts[0])
    for count in runs:
        run = bytes(k % 3 for k in range(count * width))  # equal leaves, which a digest does not tell apart
        prover.add_run(run, width)
        parts += [run[at : at + width] for at in range(0, len(run), width)]
    leaf, path = prover.proven()
    assert (leaf, path) == (parts[index], path_by_definition(parts, index))
    assert path == prove_leaf(iter(parts), index)


def path_by_definition(parts: list[bytes], index: int) -> list[bytes]:
    """PATH of RFC 6962 §2.1.1, word for word."""
    if len(parts) == 1:
        return []
    split = max(1 << k for k in range(len(parts).bit_length()) if 1 << k < len(parts))
    if index < split:
        return [*path_by_definition(parts[:split], index), by_definition(parts[split:])]
    return [*path_by_definition(parts[split:], index - split), by_definition(parts[:split])]


@pytest.mark.parametrize("index", [-1, 3, 4])
def test_no_path_leads_to_a_leaf_that_is_not_there(index):
    with pytest.raises(Refused, match="expected a leaf of a tree of 3"):
        prove_leaf(leaves(3), index)


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=40), st.data())
def test_two_lists_that_differ_have_different_roots(parts, data):
    index = data.draw(st.integers(0, len(parts) - 1))
    changed = [*parts[:index], parts[index] + b"\0", *parts[index + 1 :]]
    assert len({root_of(parts), root_of(changed), root_of([*parts, b""]), root_of(parts[:-1])}) == 4


@given(runs=st.lists(st.integers(0, 40), min_size=1, max_size=8), width=st.integers(1, 9))
def test_runs_hashed_apart_make_the_tree_that_their_leaves_make(runs, width):
    hasher, expected, index = RootHasher(), [b"header"], 1
    hasher.add(b"header")
    for count in runs:
        run = b"".join(((index + k) * 7 % 251).to_bytes(width, "big") for k in range(count))
        trees = trees_over(run, width, first=index)
        assert all(tree.leaves.bit_count() == 1 for tree in trees)
        hasher.extend(trees)
        expected += [run[at : at + width] for at in range(0, len(run), width)]
        index += count
    assert hasher.root() == root_of(expected)


def test_a_copy_of_a_hasher_goes_its_own_way():
    hasher = RootHasher()
    hasher.add(b"a")
    root, other = hasher.root(), hasher.copy()
    other.add(b"b")
    assert hasher.root() == root != other.root()
