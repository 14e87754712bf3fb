"""Whatever bytes a peer, a store or a file may hold: they are read or refused by name, and cost little.

Each reader starts from documents that are right, and from `tests/corpus/<reader>`, where inputs are kept
that broke one, or were made to. Mutations are Hypothesis', so a failure shrinks: then keep it there. 15 s.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregator.settings import Settings
from deploy.audit import AuditSettings
from federation import cbor
from federation.admission import examine_update
from federation.audit.record import RoundRecord
from federation.dealing import PublicKey, decode_public_key
from federation.endpoints import load_settings
from federation.enrolment import read_enrolment
from federation.errors import Refused, Violation
from federation.model import from_safetensors
from federation.opening import check_opening, check_share
from federation.rehearsal import sealing_secret
from federation.runs import Held, whole
from federation.seal import ContentKey, SealingSecret, seal, seal_to, sealing_key_of, unseal, unseal_with
from federation.study import decode_spec
from federation.wire import Exclusion, cut, excluded_in
from node.settings import NodeSettings

from .rehearsing import HOSPITALS, A, C, key_of, rehearse, spec_of

CORPUS = Path(__file__).parent / "corpus"
KEY = ContentKey(bytes(range(32)))
LARGEST = 1 << 21  # bytes that a reader may hold at once of an input of some kilobytes
LARGEST_OF_OURS = 1 << 24  # of files that our own people write: an error of Python's holds its stack
SUITES = ("paillier", "hybrid")
EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A function of bytes that others choose."""

    right: Callable[[], bytes]  # a document that it takes
    read: Callable[[bytes, Path], object]
    refuses: tuple[type[Exception], ...] = (Violation,)
    most: int = LARGEST


Of = Callable[[str], Reader]


@cache
def finished(suite: str) -> RoundRecord:
    """A round of this suite, to its end."""
    return rehearse(suite, rounds=2).run_round()


def read_update(record: RoundRecord, data: bytes) -> object:
    """Returns an update or an exclusion, and never raises: an exception would name nobody."""
    return examine_update(record.agreement, record.round.commits[C], Held(data))


def read_share(record: RoundRecord, data: bytes) -> object:
    total, given_ = record.recomputed_total, record.round.shares[A]
    assert total is not None
    return check_share(record.agreement, record.id, total, member=A, digest=given_.digest, data=data)


def read_opening(record: RoundRecord, data: bytes) -> object:
    total = record.recomputed_total
    assert total is not None
    return check_opening(record.agreement, record.id, total, data)


def total_header(record: RoundRecord) -> bytes:
    assert record.total is not None
    return cut(record.total, record.agreement.total_shape).header


WHERE = b"""
[ledger]
url = "http://127.0.0.1:8545"
contract = "0x0101010101010101010101010101010101010101"
chain_id = 31337
deployment_block = 3
[store]
directory = "content"
"""
NODE_TOML = (
    b'name = "St. Elsewhere"\nidentity = "identity"\nvault = "vault"\ndata = "patients.csv"\n'
    b"poll_seconds = 0.5\n[policy]\nminimum_rows = 20\n" + WHERE
)
SERVICE_TOML = b'identity = "identity"\n[service]\nport = 0\n' + WHERE
AUDIT_TOML = b'[reader]\nidentity = "identity"\n' + WHERE
ENROLMENT = (
    b'{"address": "0x0101010101010101010101010101010101010101", "name": "St. Elsewhere", '
    b'"role": "institution", "sealing_key": "' + b"09" * 32 + b'"}'
)


def of_files(right: bytes, read: Callable[[Path], object]) -> Reader:
    """Of what our own people write."""

    def from_bytes(data: bytes, folder: Path) -> object:
        path = folder / "file"
        path.write_bytes(data)
        return read(path)

    return Reader(right=lambda: right, read=from_bytes, refuses=(Refused,), most=LARGEST_OF_OURS)


def of_rounds(right: Callable[[RoundRecord], bytes], read: Callable[[RoundRecord, bytes], object]) -> Of:
    """Of what peers put into the store, for a round of each suite."""
    return lambda suite: Reader(
        right=lambda: right(finished(suite)), read=lambda data, _: read(finished(suite), data)
    )


def public_key() -> bytes:
    return PublicKey(suite="paillier", key=key_of("paillier").public_key, members=HOSPITALS).encode()


def envelope() -> bytes:
    ephemeral = SealingSecret(bytes([7]) * 32)
    return seal_to(sealing_key_of(sealing_secret(A)), b"secret", context=b"", ephemeral=ephemeral)


OF_A_SUITE: dict[str, Of] = {
    "update": of_rounds(lambda record: whole(record.updates[C]), read_update),
    "total-header": of_rounds(total_header, lambda _, data: excluded_in(data)),
    "share": of_rounds(lambda record: record.shares[A], read_share),
    "opening": of_rounds(lambda record: next(iter(record.openings.values())), read_opening),
    "model": of_rounds(
        lambda record: next(iter(record.models.values())),
        lambda record, data: from_safetensors(data, record.agreement.task.parameters),
    ),
    "study": lambda suite: Reader(
        right=lambda: spec_of(suite).encode(), read=lambda data, _: decode_spec(data)
    ),
}
READERS = {
    f"{name} {suite}": of(suite) for name, of in OF_A_SUITE.items() for suite in ("paillier", "hybrid")
} | {
    "cbor": Reader(
        right=lambda: cbor.encode({1: [b"abc", "text", 2**40, -5], 7: {0: [[1]]}}),
        read=lambda data, _: cbor.decode(data, limit=1 << 16),
    ),
    "public-key": Reader(
        right=public_key,
        read=lambda data, _: decode_public_key(data).resolve(),
        refuses=(Violation, Refused),  # of a suite that this version does not know
    ),
    "box": Reader(
        right=lambda: seal(KEY, b"a secret", context=b"here", nonce=bytes(32)),
        read=lambda data, _: unseal(KEY, data, context=b"here"),
    ),
    "envelope": Reader(
        right=envelope, read=lambda data, _: unseal_with(sealing_secret(A), data, context=b"")
    ),
    "node-settings": of_files(NODE_TOML, lambda path: load_settings(NodeSettings, path)),
    "aggregator-settings": of_files(SERVICE_TOML, lambda path: load_settings(Settings, path)),
    "audit-settings": of_files(AUDIT_TOML, lambda path: load_settings(AuditSettings, path)),
    "enrolment": of_files(ENROLMENT, read_enrolment),
}


def kept(reader: str) -> list[bytes]:
    """What broke it once."""
    folder = CORPUS / reader.partition(" ")[0]
    return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []


@st.composite
def mutated(draw: st.DrawFn, reader: str) -> bytes:
    """A right document, or a kept one, with up to four changes."""
    data = bytearray(draw(st.sampled_from([READERS[reader].right(), *kept(reader)])))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        until = min(len(data), at + draw(st.integers(1, 64)))
        match draw(st.sampled_from(["bit", "bytes", "number", "gone", "twice", "cut", "grown"])):
            case "bit" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "bytes":
                data[at:until] = draw(st.binary(max_size=32))
            case "number":
                width = draw(st.sampled_from([1, 2, 4, 8]))
                data[at : at + width] = (draw(st.sampled_from(EDGES)) % (1 << 8 * width)).to_bytes(
                    width, "big"
                )
            case "gone":
                del data[at:until]
            case "twice":
                data[at:at] = data[at:until]
            case "cut":
                del data[at:]
            case _:
                data += bytes(draw(st.integers(1, 5000)))
    return bytes(data)


def read(name: str, data: bytes, folder: Path) -> None:
    """The reader takes it, or refuses it by name; whatever it holds meanwhile is bounded."""
    reader = READERS[name]
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    with suppress(*reader.refuses):
        reader.read(data, folder)
    _, peak = tracemalloc.get_traced_memory()
    assert peak - before < reader.most + 64 * len(data)


@pytest.fixture(scope="module", autouse=True)
def _traced() -> Iterator[None]:
    for suite in SUITES:
        finished(suite)
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.parametrize("name", READERS)
def test_a_right_document_is_read(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    assert not isinstance(reader.read(reader.right(), tmp_path), Exclusion)


@pytest.mark.parametrize("name", READERS)
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_bytes_are_read_or_refused_by_name(name: str, tmp_path: Path, data: st.DataObject) -> None:
    read(name, data.draw(mutated(name)), tmp_path)


@pytest.mark.parametrize("name", READERS)
def test_what_broke_a_reader_once_does_so_no_more(name: str, tmp_path: Path) -> None:
    for data in kept(name):
        read(name, data, tmp_path)
