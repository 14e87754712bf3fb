"""The laws of every content store: memory, a folder, several in a row, and a real IPFS daemon."""

from __future__ import annotations

import secrets
from io import BytesIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from federation.digest import CID_DAG_PB, CID_RAW, Cid
from federation.errors import Unavailable, Violation
from federation.in_memory import InMemoryStore
from federation.runs import RUN_BYTES, whole
from federation.store.car import car_of, put_car
from federation.store.content import Absent, get_bytes, open_content, put_bytes
from federation.store.directory import DirectoryStore
from federation.store.fallback import FallbackStore
from federation.store.ipfs import IpfsStore
from federation.store.retrying import RetryingStore
from federation.store.unixfs import CHUNK_BYTES, cid_of

# A store only ever gains blocks, so examples may share one; its disk decides how long they take.
any_example = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
sizes = st.integers(0, 2000) | st.sampled_from(
    [CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 7]
)


@pytest.fixture(params=["memory", "directory", "retrying", "fallback", "ipfs"])
def store(request, tmp_path):
    match request.param:
        case "memory":
            yield InMemoryStore()
        case "directory":
            yield DirectoryStore(tmp_path / "store")
        case "retrying":
            yield RetryingStore(InMemoryStore(), attempts=2)
        case "fallback":
            yield FallbackStore(InMemoryStore(), [DirectoryStore(tmp_path / "another's")])
        case "ipfs":
            # js-ipfs says that it has no block by silence of that length; a slow answer is asked for again.
            ipfs = IpfsStore(request.getfixturevalue("ipfs_api"), timeout=2.0, sweep=120.0)
            yield RetryingStore(ipfs, attempts=5)
            ipfs.close()


def patterned(size, seed):
    """`size` bytes that differ from leaf to leaf."""
    return (seed.to_bytes(4, "big") * (size // 4 + 1))[: max(size - 3, 0)] + b"end"[: min(size, 3)]


@any_example
@given(size=sizes, seed=st.integers(0, 2**32 - 1))
def test_what_is_put_comes_back_under_the_cid_that_follows_from_it(store, size, seed):
    content = patterned(size, seed)
    cid = put_bytes(store, content)
    assert cid == cid_of([content])
    assert store.has(cid)
    assert get_bytes(store, cid, size=size) == content


@any_example
@given(pieces=st.lists(st.binary(max_size=50) | sizes.map(bytes), max_size=5))
def test_the_cid_does_not_depend_on_how_the_content_arrives(store, pieces):
    assert store.put(iter(pieces)) == put_bytes(store, b"".join(pieces))


@any_example
@given(size=sizes, seed=st.integers(0, 2**32 - 1), data=st.data())
def test_content_is_read_from_any_place(store, size, seed, data):
    content = patterned(size, seed)
    cid = put_bytes(store, content)
    start = data.draw(st.integers(0, size) | st.sampled_from([0, size, size // 2]))
    assert b"".join(store.get(cid, size=size, start=start)) == content[start:]


def test_two_levels_are_read_from_either_side_of_an_inner_border(store):
    content = patterned(175 * CHUNK_BYTES + 1, 8)
    cid = put_bytes(store, content)
    for start in (174 * CHUNK_BYTES - 1, 174 * CHUNK_BYTES, 174 * CHUNK_BYTES + 1, len(content) - 1):
        assert b"".join(store.get(cid, size=len(content), start=start)) == content[start:]


@pytest.mark.parametrize("length", [0, 10, RUN_BYTES, RUN_BYTES + 1])
def test_an_opened_content_was_all_there_and_is_read_again(store, length):
    content = patterned(length, 9)
    opened = open_content(store, put_bytes(store, content), size=length)
    assert opened.size == length
    assert whole(opened) == whole(opened) == content
    assert b"".join(opened.read_from(length // 2)) == content[length // 2 :]


@pytest.mark.parametrize("length", [10, RUN_BYTES + 1])
def test_content_that_is_not_there_or_too_large_is_not_opened(store, length):
    content = secrets.token_bytes(length)
    with pytest.raises(Absent):
        open_content(store, cid_of([content]), size=length)
    with pytest.raises(Violation, match="larger than allowed"):
        open_content(store, put_bytes(store, content), size=length - 1)


def test_a_tree_of_two_levels_comes_back(store):
    content = patterned(175 * CHUNK_BYTES + 1, 7)
    cid = put_bytes(store, content)
    assert get_bytes(store, cid, size=len(content)) == content


def test_putting_twice_changes_nothing(store):
    content = secrets.token_bytes(CHUNK_BYTES + 1)
    first = put_bytes(store, content)
    assert put_bytes(store, content) == first
    assert get_bytes(store, first, size=len(content)) == content


@pytest.mark.parametrize("length", [10, CHUNK_BYTES + 1])
def test_content_nobody_put_is_unavailable_until_it_is_put(store, length):
    content = secrets.token_bytes(length)
    cid = cid_of([content])
    assert not store.has(cid)
    with pytest.raises(Absent):
        get_bytes(store, cid, size=length)
    put_bytes(store, content)
    assert store.has(cid)


@pytest.mark.parametrize("length", [10, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_content_larger_than_allowed_is_its_authors_fault_and_yields_nothing(store, length):
    cid = put_bytes(store, secrets.token_bytes(length))
    pieces = store.get(cid, size=length - 1)
    with pytest.raises(Violation, match=r"§6 .*larger than allowed") as caught:
        next(pieces)
    assert caught.value.culprit is None


def test_less_than_allowed_is_no_fault(store):
    cid = put_bytes(store, b"short")
    assert get_bytes(store, cid, size=10**12) == b"short"


@pytest.mark.parametrize(
    "cid",
    [b"", CID_RAW, CID_RAW + bytes(31), CID_DAG_PB + bytes(33), bytes.fromhex("01711220") + bytes(32)],
    ids=["empty", "no digest", "short digest", "long digest", "codec dag-cbor"],
)
def test_a_name_that_is_no_cid_of_ours_is_a_violation(store, cid):
    with pytest.raises(Violation, match="not a CIDv1"):
        get_bytes(store, Cid(cid), size=10)
    with pytest.raises(Violation, match="not a CIDv1"):
        store.has(Cid(cid))


@pytest.mark.parametrize("length", [10, CHUNK_BYTES + 1])
def test_what_is_discarded_is_gone_and_may_be_put_again(store, length):
    content = patterned(length, secrets.randbelow(2**32))
    cid, other = put_bytes(store, content), put_bytes(store, b"another content")
    store.discard([cid], kept=[])
    store.discard([cid], kept=[])
    assert store.has(other)
    with pytest.raises(Absent):
        get_bytes(store, cid, size=length)
    assert put_bytes(store, content) == cid
    assert get_bytes(store, cid, size=length) == content


def test_discarding_spares_what_a_kept_content_shares(store):
    shared = secrets.token_bytes(2 * CHUNK_BYTES)
    retired, kept = put_bytes(store, shared + b"a"), put_bytes(store, shared + b"b")
    store.discard([retired, kept], kept=[kept])
    assert not store.has(retired)
    assert get_bytes(store, kept, size=len(shared) + 1) == shared + b"b"


def test_what_was_never_here_is_discarded_in_peace(store):
    store.discard([cid_of([secrets.token_bytes(5)]), cid_of([secrets.token_bytes(CHUNK_BYTES + 1)])], kept=[])


@pytest.mark.parametrize("length", [0, CHUNK_BYTES, 3 * CHUNK_BYTES + 7])
def test_a_car_carries_a_content_from_any_store_into_any_other(store, length):
    content = patterned(length, 11)
    cid = put_bytes(store, content)
    car = b"".join(car_of(store, cid, size=length))
    there = InMemoryStore()
    assert put_car(there, BytesIO(car), size=length) == cid
    assert get_bytes(there, cid, size=length) == content
    assert car == b"".join(car_of(there, cid, size=length))
    assert put_car(store, BytesIO(car), size=length) == cid


# Last: an upload that is broken off leaves js-ipfs unable to collect ever after.
@pytest.mark.parametrize("failure", [OSError("source"), ValueError("source"), Unavailable("source")])
def test_a_source_that_fails_is_not_mistaken_for_the_store(store, failure):
    def source():
        yield secrets.token_bytes(CHUNK_BYTES + 1)
        raise failure

    with pytest.raises(type(failure), match=r"^source$"):
        store.put(source())
