"""The blocks and CIDs of IPFS, and the forgeries that a reader must name."""

from __future__ import annotations

import hashlib

import aleph_cid
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.digest import CID_DAG_PB, CID_RAW, Cid, sha256, show_cid
from federation.errors import Violation
from federation.store import unixfs
from federation.store.content import BLOCK_BYTES, Absent, verified
from federation.store.unixfs import CHUNK_BYTES, WIDTH, cid_of, cut, walk

FULL = WIDTH * CHUNK_BYTES  # the largest file with one node


def zeros(size):
    for start in range(0, size, CHUNK_BYTES):
        yield bytes(min(CHUNK_BYTES, size - start))


def root_and_blocks(chunks):
    blocks = list(cut(chunks))
    return blocks[-1].cid, {block.cid: block.data for block in blocks}


def fetch_from(blocks, asked=None):
    """What a store does: every block checked, and who asked for what is noted."""

    def fetch(cid, most):
        if asked is not None:
            asked.append(cid)
        if cid not in blocks:
            raise Absent("not in this test")
        return verified(cid, (blocks[cid],), most=most)

    return fetch


def publish(blocks, data, codec=CID_DAG_PB):
    """An author may name any bytes."""
    cid = Cid(codec + sha256(data))
    blocks[cid] = data
    return cid


def read(blocks, cid, size=10**15):
    return b"".join(walk(cid, fetch_from(blocks), size=size))


@pytest.fixture
def tiny():
    """The same layout with leaves of 4 bytes and 3 links, so that small files make deep trees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unixfs, "CHUNK_BYTES", 4)
        patch.setattr(unixfs, "WIDTH", 3)
        unixfs._stored.cache_clear()
        yield
    unixfs._stored.cache_clear()


def test_small_cids_are_those_of_kubo():
    empty = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
    hello = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"  # SHA-256("hello world")
    assert show_cid(cid_of([])) == empty
    assert cid_of([b"hello world"]) == bytes.fromhex("01551220" + hello)


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, FULL - 1, FULL, FULL + 1, 3 * FULL + 5]
)
def test_cids_are_those_of_an_independent_implementation(size):
    oracle = aleph_cid.CidHasher.for_ipfs_v1_raw_leaves()
    for chunk in zeros(size):
        oracle.update(chunk)
    cid, blocks = root_and_blocks(zeros(size))
    assert show_cid(cid) == oracle.finalize()
    assert sum(map(len, walk(cid, fetch_from(blocks), size=size))) == size


@settings(max_examples=30, deadline=None)
@given(content=st.binary(max_size=3000), seed=st.integers(1, 1000))
def test_cids_of_any_bytes_are_those_of_an_independent_implementation(content, seed):
    content *= seed
    oracle = aleph_cid.CidHasher.for_ipfs_v1_raw_leaves()
    oracle.update(content)
    assert show_cid(cid_of([content])) == oracle.finalize()


def test_cutting_holds_no_more_than_it_must():
    taken = 0

    def source():
        nonlocal taken
        for _ in range(20):
            taken += 1
            yield bytes(CHUNK_BYTES)

    blocks = cut(source())
    next(blocks)
    assert taken == 1


@pytest.mark.usefixtures("tiny")
class TestDeepTrees:
    """Five levels with a few hundred bytes."""

    @settings(max_examples=200)
    @given(pieces=st.lists(st.binary(max_size=60), max_size=12))
    def test_every_file_comes_back(self, pieces):
        cid, blocks = root_and_blocks(pieces)
        content = b"".join(pieces)
        assert read(blocks, cid, size=len(content)) == content

    @settings(max_examples=200)
    @given(content=st.binary(min_size=5, max_size=400), data=st.data())
    def test_no_altered_node_is_read_even_under_its_own_cid(self, content, data):
        root, blocks = root_and_blocks([content])
        altered = bytearray(blocks[root])
        position = data.draw(st.integers(0, len(altered) - 1))
        altered[position] ^= data.draw(st.integers(1, 255))
        cid = publish(blocks, bytes(altered))
        with pytest.raises((Violation, Absent)):  # Absent: the altered byte was in the digest of a link
            read(blocks, cid)

    @settings(max_examples=300)
    @given(size=st.integers(1, 36), other=st.integers(0, 60))
    def test_a_subtree_of_another_size_or_height_cannot_take_the_place_of_one(self, size, other):
        left = b"x" * 36  # a full subtree of height 2
        root, blocks = root_and_blocks([left + b"y" * size])
        right = unixfs._parse(blocks[root])[1][1]
        swapped_in, more = root_and_blocks([b"z" * other])
        blocks |= more
        cid = publish(blocks, blocks[root].replace(right, swapped_in))
        if other == size and unixfs._height(other) == 2:
            assert read(blocks, cid) == left + b"z" * other
        else:
            with pytest.raises(Violation):
                read(blocks, cid)


def node(size, links, *, sizes=None, kind=2, more=b""):
    """A dag-pb node as an author may write it: links of (cid, tsize)."""
    number, message = unixfs._number, unixfs._message
    head = b"".join(message(2, message(1, cid) + message(2, b"") + number(3, tsize)) for cid, tsize in links)
    body = number(1, kind) + number(3, size) + b"".join(number(4, each) for each in sizes or ())
    return head + message(1, body) + more


HALF = CHUNK_BYTES // 2
LEAF = Cid(CID_RAW + sha256(bytes(CHUNK_BYTES)))
TAIL = Cid(CID_RAW + sha256(bytes(HALF)))
SIZE = CHUNK_BYTES + HALF
LINKS = [(LEAF, CHUNK_BYTES), (TAIL, HALF)]
SIZES = [CHUNK_BYTES, HALF]
LEAVES = {LEAF: bytes(CHUNK_BYTES), TAIL: bytes(HALF)}


def test_the_node_which_the_forgeries_alter_is_good():
    blocks = dict(LEAVES)
    assert read(blocks, publish(blocks, node(SIZE, LINKS, sizes=SIZES))) == bytes(SIZE)


@pytest.mark.parametrize(
    ("forged", "problem"),
    [
        (b"", "not a dag-pb node"),
        (b"\x12", "not a dag-pb node"),
        (b"\x12\x05\x0a", "not a dag-pb node"),
        (b"\x0b\x00", "not a dag-pb node"),
        (b"\xff" * 100, "not a dag-pb node"),
        (node(SIZE, [])[:-1], "not a dag-pb node"),
        (node(0, []), "must be a bare leaf"),
        (node(CHUNK_BYTES, LINKS[:1], sizes=SIZES[:1]), "must be a bare leaf"),
        (node(SIZE, LINKS[:1], sizes=SIZES[:1]), "number of links: expected 2, found 1"),
        (node(SIZE, [*LINKS, LINKS[1]], sizes=[*SIZES, HALF]), "number of links: expected 2, found 3"),
        (node(SIZE, [(LEAF, 1)] * 200), "number of links: expected 2, found 200"),
        (node(SIZE, LINKS, sizes=[HALF, CHUNK_BYTES]), "not the one encoding"),
        (node(SIZE, LINKS, sizes=[CHUNK_BYTES]), "not the one encoding"),
        (node(SIZE, [LINKS[0], (TAIL, HALF + 1)], sizes=SIZES), "not the one encoding"),
        (node(SIZE, LINKS, sizes=SIZES, kind=1), "not the one encoding"),
        (node(SIZE, LINKS, sizes=SIZES, more=b"\x18\x00"), "not the one encoding"),
        (
            node(SIZE, LINKS, sizes=SIZES).replace(b"\x08\x02\x18", b"\x08\x82\x00\x18"),
            "not a dag-pb|one encod",
        ),
        (node(SIZE, [(Cid(b"\x12\x20" + bytes(32)), CHUNK_BYTES), LINKS[1]], sizes=SIZES), "not a CIDv1"),
        (
            node(SIZE, [(Cid(CID_DAG_PB + LEAF[4:]), CHUNK_BYTES), LINKS[1]], sizes=SIZES),
            "wrong kind of block",
        ),
        (node(SIZE - 1, [LINKS[0], (TAIL, HALF - 1)], sizes=[CHUNK_BYTES, HALF - 1]), "larger than allowed"),
        (
            node(SIZE + 1, [LINKS[0], (TAIL, HALF + 1)], sizes=[CHUNK_BYTES, HALF + 1]),
            "shorter than declared",
        ),
        (node(2**62, LINKS, sizes=SIZES), "content is larger than allowed"),
        (bytes(unixfs.NODE_BYTES + 1), "block is larger than allowed"),
    ],
)
def test_a_published_node_outside_the_layout_is_named(forged, problem):
    blocks = dict(LEAVES)
    with pytest.raises(Violation, match=problem) as caught:
        read(blocks, publish(blocks, forged))
    assert caught.value.clause == "§6"


def test_sizes_are_compared_before_a_child_is_fetched():
    cid, blocks = root_and_blocks([bytes(SIZE)])
    asked = []
    with pytest.raises(Violation, match=f"expected at most {SIZE - 1}, found {SIZE}"):
        list(walk(cid, fetch_from(blocks, asked), size=SIZE - 1))
    assert asked == [cid]


def test_a_tree_that_shares_its_children_to_look_huge_yields_no_more_than_allowed():
    chunks = [bytes(CHUNK_BYTES)] * WIDTH
    below, blocks = root_and_blocks(chunks)  # one node, one leaf: 11 KB on the wire that claim 45 MB
    stored = unixfs._stored(FULL, 1)
    cid = publish(blocks, node(WIDTH * FULL, [(below, stored)] * WIDTH, sizes=[FULL] * WIDTH))
    with pytest.raises(Violation, match="larger than allowed"):
        read(blocks, cid, size=FULL)
    taken = walk(cid, fetch_from(blocks), size=WIDTH * FULL)
    assert len(next(taken)) == CHUNK_BYTES  # it is a valid file of 8 GB, read lazily


@settings(max_examples=300)
@given(junk=st.binary(max_size=200))
def test_no_bytes_whatever_crash_the_reader(junk):
    blocks = {}
    with pytest.raises(Violation):
        read(blocks, publish(blocks, junk))


@given(pieces=st.lists(st.binary(max_size=20)), most=st.integers(0, 60))
def test_a_block_is_used_only_if_it_matches_and_is_allowed(pieces, most):
    data = b"".join(pieces)
    cid = Cid(CID_RAW + sha256(data))
    if len(data) <= most:
        assert verified(cid, pieces, most=most) == data
    else:
        with pytest.raises(Violation):
            verified(cid, pieces, most=most)
    with pytest.raises(Absent):
        verified(cid, [*pieces, b"!"], most=most)


def test_an_endless_answer_is_given_up_at_the_largest_block():
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 2**16
            yield bytes(2**16)

    with pytest.raises(Absent, match="more than"):
        verified(Cid(CID_RAW + hashlib.sha256().digest()), endless(), most=10)
    assert taken == BLOCK_BYTES + 2**16


def test_the_names_of_a_files_blocks_are_those_that_were_cut_children_first() -> None:
    for size in (0, CHUNK_BYTES, CHUNK_BYTES + 1, 175 * CHUNK_BYTES):
        blocks = list(cut([bytes(size)]))
        held = dict(blocks)
        assert list(unixfs.blocks_of(blocks[-1].cid, held.get)) == [block.cid for block in blocks]


def test_names_are_taken_from_no_node_of_another_layout() -> None:
    *_, root = cut([bytes(CHUNK_BYTES + 1)])
    other = root.data + b"\x08\x00"
    with pytest.raises(Violation):
        list(unixfs.blocks_of(root.cid, lambda _: other))
