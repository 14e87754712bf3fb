"""All that leaves the parties in a study is recorded; no hospital's numbers and nobody's secrets are in it.

Recorded: every JSON-RPC body of every process, and so all calldata; every file of the store; every
answer of the aggregator's service; what the key ceremony hands out; every log.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import gmpy2
import numpy as np
import pytest

from aggregator.settings import Settings
from deploy.consortium import AGGREGATORS, Consortium, Plan
from deploy.devnet import Devnet
from deploy.outcome import Auditor
from federation import cbor
from federation.arithmetic import weigh
from federation.ask import Asker
from federation.audit.record import RoundRecord
from federation.ciphers.threshold.packing import lanes_of, pack_lanes
from federation.digest import derive
from federation.endpoints import load_settings, open_ledger, place_of
from federation.identity import load_identity, read_password
from federation.runs import whole
from federation.submission import clip_update
from federation.wire import HEADER_LIMIT, cut
from node.settings import NodeSettings
from node.train import training_seed
from node.vault import Vault, read_key_share

from .wire import Haystack, Recorder, Secret, fields_in, leaks, of_bytes, of_floats, of_integers, of_number

HOSPITALS = ("hospital-1", "hospital-2", "hospital-3")
BITS = 512
PATIENCE = 240  # seconds until something that must happen counts as failed
ROUTES = (
    "/healthz",
    "/readyz",
    "/v1/status",
    "/v1/sessions",
    "/v1/openapi.json",
    "/v1/studies",
    "/v1/studies/1",
    "/v1/studies/1/members",
    "/v1/studies/1/rounds",
    "/v1/studies/1/rounds/1",
    "/v1/studies/1/rounds/2",
    "/v1/studies/1/models",
    "/v1/studies/1/models/1",
    "/v1/studies/1/models/2",
    "/v1/studies/1/audit",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """A finished study, all that was seen of it, and all that must not have been."""

    haystack: Haystack
    rpc: Recorder
    answers: dict[str, bytes]  # of the aggregator's service, by route
    stored: list[bytes]
    secrets: list[Secret]
    auditor: Auditor
    rounds: list[RoundRecord]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    folder = tmp_path_factory.mktemp("wire")
    plan = Plan(hospitals=3, rounds=2, bits=BITS, unsafe=True, window_seconds=120)
    with (
        Devnet.start("anvil", directory=folder / "chain", block_time=1) as devnet,
        Recorder(devnet.url).recording() as recorder,
        Consortium.found(folder, plan, replace(devnet, url=recorder.url)) as consortium,
    ):
        service = _open_service(folder)
        for name in (*AGGREGATORS, *HOSPITALS):
            consortium.start(name)
        auditor = Auditor(consortium)
        _wait(consortium, auditor)
        answers = _answers(folder, service)
        stored = [path.read_bytes() for path in (folder / "store").rglob("*") if path.is_file()]
        handed_out = [
            *(folder / "ceremony").iterdir(),
            *folder.glob("*/enrolment.json"),
            *(folder / "invitations").iterdir(),
        ]
        others = [path.read_bytes() for path in (*handed_out, *folder.glob("*/log"))]
        rounds = auditor.record().rounds
        yield Capture(
            haystack=Haystack.of([*recorder.bodies, *answers.values(), *stored, *others]),
            rpc=recorder,
            answers=answers,
            stored=stored,
            secrets=[
                *_everybodys(folder),
                *_updates(folder, auditor, rounds),
                *_results(folder, auditor, rounds),
            ],
            auditor=auditor,
            rounds=rounds,
        )


def _open_service(folder: Path) -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = folder / "aggregator" / "aggregator.toml"
    file.write_text(file.read_text().replace("port = 0", f"port = {port}"))
    return f"http://127.0.0.1:{port}"


def _answers(folder: Path, service: str) -> dict[str, bytes]:
    """All that the service tells the one to whom it tells the most: its operator."""
    settings = load_settings(Settings, folder / "aggregator" / "aggregator.toml")
    keys = load_identity(settings.identity, read_password(settings.password_file))
    with Asker(service, proxied=False) as asker:
        asker.sign_in(place_of(open_ledger(settings.ledger, None), settings.ledger), keys.account)
        return {route: asker.get(route).encode() for route in ROUTES}


def _wait(consortium: Consortium, auditor: Auditor) -> None:
    deadline = time.monotonic() + PATIENCE
    while not auditor.is_over:
        assert time.monotonic() < deadline, [consortium.last_words(name) for name in HOSPITALS]
        time.sleep(0.2)
        auditor.refresh()


def _everybodys(folder: Path) -> Iterator[Secret]:
    """Passwords, private keys, sealing secrets, seeds, key shares, and the audience's content key."""
    for name in (*HOSPITALS, *AGGREGATORS, "auditor"):
        password = (folder / name / "password").read_text().strip()
        identity = load_identity(folder / name / "identity", password)
        yield Secret(what=f"{name}: password", forms=frozenset({password.encode()}))
        yield of_bytes(f"{name}: private key", bytes(identity.account.key))
        yield of_bytes(f"{name}: sealing secret", identity.sealing_secret)
    for name in HOSPITALS:
        rows = (folder / name / "patients.csv").read_text().splitlines()[1:]
        yield Secret(what=f"{name}: patients", forms=frozenset(row[:60].encode() for row in rows))


def _updates(folder: Path, auditor: Auditor, rounds: list[RoundRecord]) -> Iterator[Secret]:
    """Seeds, key shares, and each update from training to plaintext."""
    agreement = auditor.observer.agreement
    lanes = lanes_of(BITS)
    for name in HOSPITALS:
        node = load_settings(NodeSettings, folder / name / "node.toml")
        password = read_password(node.password_file)
        identity = load_identity(node.identity, password)
        vault = Vault(node.vault, identity, agreement.ledger, lambda _: b"")
        yield of_bytes(f"{name}: seed", vault.seed())
        yield of_bytes(f"{name}: vault key", derive(identity.sealing_secret, "vault"))
        share = read_key_share(node.vault, password, key=agreement.suite.key_digest)
        yield of_bytes(f"{name}: key share", share)
        patients = agreement.task.load(node.data)
        yield of_floats(f"{name}: features", patients.inputs[: 2**4].ravel())
        for record in rounds:
            values = vault.values(record.id)
            yield of_integers(f"{name}: quantised update {record.id}", values)
            for leaf, row in enumerate(
                values[start : start + lanes] for start in range(0, len(values), lanes)
            ):
                yield of_number(f"{name}: plaintext {leaf} of {record.id}", _plaintext(row, lanes, auditor))
            assert record.base is not None
            seed = training_seed(vault.seed(), agreement.ledger, record.id)
            update = agreement.task.train(record.base, patients, seed=seed)
            clipped = clip_update(agreement, update).vector
            weight = weigh(patients.samples, agreement.spec.scale)
            yield of_floats(f"{name}: update {record.id}", update)
            yield of_floats(f"{name}: clipped update {record.id}", clipped)
            yield of_floats(
                f"{name}: weighted update {record.id}", clipped * weight / agreement.spec.scale.weight_cap
            )


def _plaintext(row: np.ndarray, lanes: int, auditor: Auditor) -> int:
    key = cbor.decode(auditor.observer.agreement.spec.key, limit=1 << 16)
    assert isinstance(key, dict)
    padded = np.zeros(lanes, dtype=np.int64)
    padded[: len(row)] = row
    return int(pack_lanes(padded) % gmpy2.mpz.from_bytes(key[2], "big"))


def _results(folder: Path, auditor: Auditor, rounds: list[RoundRecord]) -> Iterator[Secret]:
    """The study is sealed: sums, openings and models are for its audience alone."""
    own = folder / "auditor"
    identity = load_identity(own / "identity", read_password(own / "password"))
    agreement = auditor.observer.agreement
    yield of_bytes("content key", agreement.content_key(identity.address, identity.sealing_secret))
    for record in rounds:
        assert record.opening is not None
        assert isinstance(record.summed, np.ndarray)
        assert isinstance(record.model, np.ndarray)
        yield of_integers(f"opened total {record.id}", record.summed)
        leaf = agreement.suite.opening_leaf
        for index in range(leaf.count):
            plaintext = record.opening.first_part[index * leaf.width : (index + 1) * leaf.width]
            yield of_number(f"opened plaintext {index} of {record.id}", int.from_bytes(plaintext, "big"))
        yield of_floats(f"model {record.id}", record.model)


def test_no_update_no_total_and_no_secret_is_in_anything_that_left_a_party(capture: Capture) -> None:
    assert leaks(capture.haystack, capture.secrets) == []


def test_the_search_was_for_every_kind_of_secret_of_every_party(capture: Capture) -> None:
    named = {secret.what for secret in capture.secrets}
    for name in HOSPITALS:
        of_each = ("password", "private key", "sealing secret", "seed", "vault key", "key share", "patients")
        assert {f"{name}: {what}" for what in of_each} <= named
        for number in (1, 2):
            of_round = ("quantised update", "update", "clipped update", "weighted update")
            assert {f"{name}: {what} 1/{number}" for what in of_round} <= named
            assert f"{name}: plaintext 0 of 1/{number}" in named
    assert {"content key", "opened total 1/1", "opened total 1/2", "model 1/2"} <= named
    assert sum(len(secret.forms) for secret in capture.secrets) > 5000


def test_the_search_finds_every_secret_in_every_form_when_it_is_there(capture: Capture) -> None:
    for secret in capture.secrets:
        for form in secret.forms:
            raw = b"\x00some bytes\x07" + form + b"\xa5and more"
            in_hex = json.dumps({"jsonrpc": "2.0", "id": 7, "params": ["0x" + form.hex()]}).encode()
            assert leaks(Haystack.of([raw]), [secret]) == [secret.what]
            assert leaks(Haystack.of([in_hex]), [secret]) == [secret.what]


def test_a_secret_planted_in_the_capture_is_the_one_that_is_found(capture: Capture) -> None:
    planted = next(secret for secret in capture.secrets if "quantised" in secret.what)
    form = max(planted.forms)
    spoiled = Haystack(capture.haystack.seen + b"\x00" + form)
    assert planted.what in leaks(spoiled, capture.secrets)


def test_the_capture_holds_all_that_was_committed_stored_and_sent(capture: Capture) -> None:
    sent = Haystack.of(capture.rpc.bodies)
    for record in capture.rounds:
        assert len(record.round.commits) == len(HOSPITALS)
        for commit in record.round.commits.values():
            assert sent.holds(commit.root)
            assert sent.holds(commit.base_model)
        for update in record.updates.values():
            assert whole(update) in capture.stored
        for share in record.round.shares.values():
            assert sent.holds(share.digest)
        assert record.round.total is not None
        assert record.total is not None
        assert whole(record.total) in capture.stored
        assert sent.holds(record.round.total.root)
    # Each hospital accepted, and committed and revealed in both rounds; the aggregator posted.
    assert len(capture.rpc.calls("eth_sendRawTransaction")) >= 3 * (1 + 2 * 2) + 2


def test_the_service_answered_every_question(capture: Capture) -> None:
    assert capture.answers.keys() == set(ROUTES)
    assert json.loads(capture.answers["/v1/studies/1/models/2"])["digest"]


def test_no_field_anywhere_tells_a_hospitals_number_of_patients(capture: Capture) -> None:
    spoken = [*capture.rpc.bodies, *capture.answers.values()]
    fields = {(name, str(value)) for body in spoken for name, value in fields_in(json.loads(body))}
    assert ("jsonrpc", "2.0") in fields
    telling = re.compile(r"weight|sample|patient|rows|count(?!er)", re.IGNORECASE)
    assert not {(name, value) for name, value in fields if telling.search(name) and value.isdigit()}


def test_a_header_holds_what_everybody_knows_and_no_count_of_patients(capture: Capture) -> None:
    agreement = capture.auditor.observer.agreement
    for record in capture.rounds:
        for update in record.updates.values():
            header = cbor.decode(cut(update, agreement.update_shape).header, limit=HEADER_LIMIT)
            assert isinstance(header, dict)
            numbers = {key: value for key, value in header.items() if isinstance(value, int)}
            assert numbers == {
                0: 1,  # version
                1: 1,  # kind
                3: 1,  # study
                4: record.id.number,
                9: agreement.suite.layout.leaves,
            }
