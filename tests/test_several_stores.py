"""Several stores as one, and one asked several times: what falls through, is tried again, is said."""

from __future__ import annotations

import secrets

import pytest

from federation.digest import show_cid
from federation.errors import Refused, Unavailable, Violation
from federation.in_memory import InMemoryStore
from federation.store.content import Absent, get_bytes, put_bytes
from federation.store.fallback import FallbackStore
from federation.store.retrying import LONGEST_PAUSE_SECONDS, RetryingStore
from federation.store.unixfs import CHUNK_BYTES, cid_of

CONTENT = b"".join(bytes([i]) * CHUNK_BYTES for i in range(3)) + b"the last leaf"
CID = cid_of([CONTENT])


class Faltering(InMemoryStore):
    """A store that raises the given failures before it does its work; after `leaves` of them where given."""

    def __init__(self, *failures, leaves=0):
        super().__init__()
        self.failures = list(failures)
        self.leaves = leaves
        self.calls = []

    def put(self, chunks):
        self.calls.append("put")
        if self.leaves:
            next(iter(chunks))
        self._falter()
        return super().put(chunks)

    def get(self, cid, *, size, start=0):
        self.calls.append(f"get {start}")
        pieces = super().get(cid, size=size, start=start)
        for _ in range(self.leaves if self.failures else 0):
            yield next(pieces)
        self._falter()
        yield from pieces

    def has(self, cid):
        self.calls.append("has")
        self._falter()
        return super().has(cid)

    def discard(self, contents, *, kept):
        self.calls.append("discard")
        self._falter()
        super().discard(contents, kept=kept)

    def _falter(self):
        if self.failures:
            raise self.failures.pop(0)


def holding(*failures, leaves=0):
    store = Faltering(leaves=0)
    put_bytes(store, CONTENT)
    store.failures, store.leaves, store.calls = list(failures), leaves, []
    return store


def silent(name):
    return Unavailable(f"{name} does not answer")


def persistent(store, attempts=3):
    pauses = []
    return RetryingStore(store, attempts=attempts, sleep=pauses.append), pauses


def test_a_store_that_does_not_answer_is_asked_again_after_random_growing_pauses():
    drawn = []
    for _ in range(40):
        store, pauses = persistent(holding(*[silent("it")] * 4), attempts=5)
        assert get_bytes(store, CID, size=len(CONTENT)) == CONTENT
        assert len(pauses) == 4
        assert all(0 <= pause <= min(LONGEST_PAUSE_SECONDS, 0.5 * 2**i) for i, pause in enumerate(pauses))
        drawn.append(tuple(pauses))
    assert len(set(drawn)) == len(drawn)


def test_what_is_said_last_comes_out_when_all_attempts_fail():
    store, pauses = persistent(holding(silent("first"), silent("second"), silent("third")))
    with pytest.raises(Unavailable, match="third does not answer"):
        store.has(CID)
    assert len(pauses) == 2


@pytest.mark.parametrize(
    "verdict", [Violation("§6", "too large"), Refused("no"), Absent("not here"), OSError()]
)
@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.has(CID),
        lambda store: get_bytes(store, CID, size=len(CONTENT)),
        lambda store: put_bytes(store, CONTENT),
        lambda store: store.discard([CID], kept=[]),
    ],
    ids=["has", "get", "put", "discard"],
)
def test_nothing_but_silence_is_tried_again(call, verdict):
    inner = holding(verdict)
    store, pauses = persistent(inner)
    with pytest.raises(type(verdict)):
        call(store)
    assert pauses == []
    assert len(inner.calls) == 1


def test_discarding_is_left_to_whoever_comes_back_to_it():
    store, pauses = persistent(holding(silent("it")))
    with pytest.raises(Unavailable, match="it does not answer"):
        store.discard([CID], kept=[])
    assert pauses == []


def test_reading_goes_on_where_it_stopped():
    inner = holding(silent("it"), leaves=2)
    store, _ = persistent(inner)
    assert get_bytes(store, CID, size=len(CONTENT)) == CONTENT
    assert inner.calls == ["get 0", f"get {2 * CHUNK_BYTES}"]


def test_a_content_that_can_be_iterated_again_is_put_again():
    store, pauses = persistent(holding(silent("it"), leaves=1))
    assert store.put((CONTENT, b"")) == CID
    assert len(pauses) == 1


def test_a_source_that_runs_once_is_put_again_only_before_it_has_run():
    store, _ = persistent(holding(silent("it")))
    assert store.put(iter((CONTENT,))) == CID
    inner = holding(silent("it"), leaves=1)
    store, pauses = persistent(inner)
    with pytest.raises(Unavailable, match="it does not answer"):
        store.put(iter((CONTENT, b"")))
    assert pauses == []
    assert inner.calls == ["put"]


def test_a_reader_may_stop_in_the_middle():
    store, _ = persistent(holding())
    pieces = store.get(CID, size=len(CONTENT))
    assert next(pieces) == CONTENT[:CHUNK_BYTES]
    pieces.close()


def test_reads_fall_through_what_is_absent_or_silent_and_nothing_is_asked_in_vain():
    away, empty, last, unasked = holding(silent("own")), Faltering(), holding(), holding()
    store = FallbackStore(away, [empty, last, unasked])
    assert get_bytes(store, CID, size=len(CONTENT)) == CONTENT
    assert unasked.calls == []
    assert FallbackStore(holding(silent("own")), [Faltering(), holding()]).has(CID)


def test_where_one_store_stops_the_next_goes_on():
    second = holding()
    store = FallbackStore(holding(Absent("the block is damaged"), leaves=2), [second])
    assert get_bytes(store, CID, size=len(CONTENT)) == CONTENT
    assert second.calls == [f"get {2 * CHUNK_BYTES}"]


def test_reading_from_a_place_falls_through_too():
    store = FallbackStore(Faltering(), [holding()])
    assert b"".join(store.get(CID, size=len(CONTENT), start=CHUNK_BYTES + 1)) == CONTENT[CHUNK_BYTES + 1 :]


def test_when_all_fail_each_is_named():
    store = FallbackStore(holding(silent("ours")), [holding(silent("theirs")), Faltering()])
    with pytest.raises(Unavailable) as caught:
        get_bytes(store, CID, size=len(CONTENT))
    assert not isinstance(caught.value, Absent)  # somebody who was silent may have it
    assert str(caught.value) == (
        f"nobody gave {show_cid(CID)}: ours does not answer; theirs does not answer; "
        f"{show_cid(CID)} is not in this store"
    )


def test_a_content_that_all_answer_without_is_absent():
    with pytest.raises(Absent, match="nobody gave"):
        get_bytes(FallbackStore(Faltering(), [Faltering()]), CID, size=len(CONTENT))


def test_whether_anybody_has_it_is_not_known_while_one_is_silent():
    assert not FallbackStore(Faltering(), [Faltering()]).has(CID)
    with pytest.raises(Unavailable, match="theirs does not answer"):
        FallbackStore(Faltering(), [Faltering(silent("theirs"))]).has(CID)


def test_an_authors_fault_is_not_looked_for_elsewhere():
    second = holding()
    with pytest.raises(Violation, match="larger than allowed"):
        get_bytes(FallbackStore(holding(), [second]), CID, size=len(CONTENT) - 1)
    assert second.calls == []


def test_writing_and_discarding_touch_our_own_store_alone():
    own, other = Faltering(), holding()
    store = FallbackStore(own, [other])
    content = secrets.token_bytes(10)
    cid = put_bytes(store, content)
    store.discard([CID, cid], kept=[])
    assert other.calls == []
    assert other.has(CID)
    with pytest.raises(Unavailable, match="ours does not answer"):
        put_bytes(FallbackStore(holding(silent("ours")), [other]), content)
