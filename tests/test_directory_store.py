"""The folder lies, rots, fills up or is shared: what is read is still right or refused."""

from __future__ import annotations

import multiprocessing
import re
import resource
import secrets
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.digest import CID_RAW, Cid, sha256, show_cid
from federation.errors import Refused, Unavailable, Violation
from federation.store.content import BLOCK_BYTES, Absent, get_bytes, put_bytes
from federation.store.directory import DirectoryStore
from federation.store.unixfs import CHUNK_BYTES, blocks_of, cid_of, cut

CONTENT = b"".join(bytes([i]) * CHUNK_BYTES for i in range(3)) + b"the last leaf"


def files(path):
    return sorted(found for found in path.rglob("*") if found.is_file())


def place_of(path, cid):
    (found,) = path.rglob(show_cid(cid))
    return found


def plant(path, cid, data):
    """Puts bytes under a name, as somebody with access to the folder could."""
    name = show_cid(cid)
    place = path / name[-3:-1] / name
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(data)


def read_until_it_fails(store, cid, error):
    received = []
    with pytest.raises(error):
        received.extend(store.get(cid, size=len(CONTENT)))  # keeps what came before the error
    return b"".join(received)


@pytest.fixture(scope="module")
def stored():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        store = DirectoryStore(path)
        yield path, store, put_bytes(store, CONTENT)


@settings(max_examples=60, deadline=None)
@given(which=st.integers(0, 4), position=st.integers(0), mask=st.integers(1, 255))
def test_one_altered_byte_in_any_block_is_found_before_it_is_used(stored, which, position, mask):
    path, store, cid = stored
    place = files(path)[which]
    good = place.read_bytes()
    bad = bytearray(good)
    bad[position % len(bad)] ^= mask
    try:
        place.write_bytes(bad)
        assert CONTENT.startswith(read_until_it_fails(store, cid, Absent))
    finally:
        place.write_bytes(good)
    assert get_bytes(store, cid, size=len(CONTENT)) == CONTENT


@settings(max_examples=40, deadline=None)
@given(which=st.integers(0, 4), cut_off=st.integers(1), more=st.binary(max_size=20))
def test_a_block_cut_short_or_grown_is_found(stored, which, cut_off, more):
    path, store, cid = stored
    place = files(path)[which]
    good = place.read_bytes()
    try:
        place.write_bytes(good + more if more else good[: cut_off % len(good)])
        assert CONTENT.startswith(read_until_it_fails(store, cid, Absent))
    finally:
        place.write_bytes(good)


def test_a_missing_leaf_ends_the_content_after_the_leaves_before_it(tmp_path):
    store = DirectoryStore(tmp_path)
    cid = put_bytes(store, CONTENT)
    third = next(block for block in cut([CONTENT]) if block.data.startswith(b"\x02"))
    place_of(tmp_path, third.cid).unlink()
    assert read_until_it_fails(store, cid, Absent) == CONTENT[: 2 * CHUNK_BYTES]
    assert store.has(cid)


def test_putting_again_repairs_what_was_damaged(tmp_path):
    store = DirectoryStore(tmp_path)
    cid = put_bytes(store, CONTENT)
    for place in files(tmp_path):
        place.write_bytes(b"rot")
    assert not store.has(cid)
    assert put_bytes(store, CONTENT) == cid
    assert get_bytes(store, cid, size=len(CONTENT)) == CONTENT


def test_what_is_there_is_not_written_again(tmp_path):
    store = DirectoryStore(tmp_path)
    put_bytes(store, CONTENT)
    before = [(place, place.stat().st_ino) for place in files(tmp_path)]
    put_bytes(store, CONTENT)
    assert [(place, place.stat().st_ino) for place in files(tmp_path)] == before


def test_a_disk_that_is_full_in_the_middle_of_a_write_leaves_nothing_behind(tmp_path):
    store = DirectoryStore(tmp_path)
    content = secrets.token_bytes(CHUNK_BYTES)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (CHUNK_BYTES // 2, hard))  # the kernel fails the write half-way
    try:
        with pytest.raises(Unavailable, match="cannot write"):
            put_bytes(store, content)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(tmp_path) == []
    assert not store.has(cid_of([content]))
    assert store.has(put_bytes(store, content))


def put_in_another_process(path, barrier):
    barrier.wait()
    put_bytes(DirectoryStore(path), CONTENT)


def test_processes_that_write_the_same_content_at_once_agree(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(4)
    writers = [context.Process(target=put_in_another_process, args=(tmp_path, barrier)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert get_bytes(DirectoryStore(tmp_path), cid_of([CONTENT]), size=len(CONTENT)) == CONTENT
    assert len(files(tmp_path)) == 5  # four leaves, one node, nothing half-written


def test_names_of_files_hold_nothing_that_a_path_could_misread(tmp_path):
    put_bytes(DirectoryStore(tmp_path), CONTENT)
    for place in files(tmp_path):
        assert re.fullmatch(r"[a-z2-7]{2}/b[a-z2-7]{58}", str(place.relative_to(tmp_path)))


def test_an_endless_block_is_the_stores_fault(tmp_path):
    data = bytes(BLOCK_BYTES + 1)
    cid = Cid(CID_RAW + sha256(data))
    store = DirectoryStore(tmp_path)
    plant(tmp_path, cid, data)
    with pytest.raises(Absent, match="more than 2097152 bytes"):
        get_bytes(store, cid, size=10**9)
    assert not store.has(cid)


def test_a_published_leaf_longer_than_a_chunk_is_its_authors_fault(tmp_path):
    data = bytes(CHUNK_BYTES + 1)
    cid = Cid(CID_RAW + sha256(data))
    plant(tmp_path, cid, data)
    with pytest.raises(Violation, match="larger than allowed: expected at most 262144, found 262145"):
        get_bytes(DirectoryStore(tmp_path), cid, size=10**9)


def test_an_unreadable_block_is_unavailable_and_not_called_absent(tmp_path):
    store = DirectoryStore(tmp_path)
    cid = put_bytes(store, b"content")
    place = place_of(tmp_path, cid)
    place.unlink()
    place.mkdir()
    for attempt in (lambda: store.has(cid), lambda: get_bytes(store, cid, size=7)):
        with pytest.raises(Unavailable, match="cannot read") as caught:
            attempt()
        assert not isinstance(caught.value, Absent)


def test_a_path_that_cannot_be_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Refused, match="cannot use"):
        DirectoryStore(tmp_path / "file" / "below")


def files_in(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()]


TWO_LEVELS = bytes(175 * CHUNK_BYTES)  # one leaf again and again, two nodes, their root


def test_a_discarded_tree_of_two_levels_leaves_no_file(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    cid = put_bytes(store, TWO_LEVELS)
    assert len(files_in(tmp_path)) == 4
    store.discard([cid], kept=[])
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("gone", [1, 2, 3, 4])
def test_whoever_is_killed_while_discarding_finds_the_rest_again(tmp_path: Path, gone: int) -> None:
    store = DirectoryStore(tmp_path)
    cid = put_bytes(store, TWO_LEVELS)
    blocks = dict(cut([TWO_LEVELS]))
    for name in list(dict.fromkeys(blocks_of(cid, blocks.get)))[:gone]:
        (file,) = tmp_path.rglob(show_cid(name))
        file.unlink()
    store.discard([cid], kept=[])
    assert files_in(tmp_path) == []


def test_a_folder_that_lets_nothing_be_removed_is_unavailable(tmp_path: Path, monkeypatch) -> None:
    store = DirectoryStore(tmp_path)
    cid = put_bytes(store, CONTENT)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(Unavailable, match="cannot remove files"):
        store.discard([cid], kept=[])
