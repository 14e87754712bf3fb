"""Real IPFS daemons: large payloads in little memory, their CARs and ours, and what a private swarm refuses.

The laws of every store run against the same daemon (`laws/test_content_store.py`). 100 MB through it take
some ten seconds, the four Kubo nodes of the swarm some fifteen.
"""

from __future__ import annotations

import base64
import json
import random
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from deploy.private_swarm import environment, make_private, swarm_key
from federation.digest import Cid, sha256, show_cid
from federation.rehearsal import Rehearsal
from federation.store.car import car_of, put_car
from federation.store.directory import DirectoryStore
from federation.store.ipfs import IpfsStore
from federation.store.unixfs import CHUNK_BYTES, cut

from .daemons import kubo
from .daemons.kubo import Kubo
from .rehearsing import HOSPITALS, audited, hospital, spec_of

MEGABYTE = 1_000_000
LARGE = 100  # megabytes
SILENCE = 60.0  # seconds; a loaded machine is slow, and no test here waits for what is absent
APART = 5.0  # seconds in which a node that has no way to a content fails to get it


def payload(megabytes: int) -> Iterator[bytes]:
    """Each megabyte another one, made as it is taken."""
    piece = random.Random(megabytes).randbytes(MEGABYTE - 8)
    return (index.to_bytes(8, "big") + piece for index in range(megabytes))


@pytest.fixture
def daemon(ipfs_api: str) -> Iterator[IpfsStore]:
    store = IpfsStore(ipfs_api, timeout=SILENCE)
    yield store
    store.close()


def test_a_payload_of_100_megabytes_goes_through_a_daemon_in_little_memory(daemon: IpfsStore) -> None:
    tracemalloc.start()
    try:
        cid = daemon.put(payload(LARGE))
        sent = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        read = sum(len(piece) for piece in daemon.get(cid, size=LARGE * MEGABYTE))
        received = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read == LARGE * MEGABYTE
    assert sent < 16 * MEGABYTE
    assert received < 16 * MEGABYTE


@pytest.mark.parametrize("length", [0, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES - 1, 5 * CHUNK_BYTES])
def test_a_daemons_own_car_is_ours_byte_for_byte(ipfs_api: str, daemon: IpfsStore, length: int) -> None:
    content = random.Random(length).randbytes(length)
    cid = daemon.put([content])
    port = ipfs_api.split("/")[4]
    answer = httpx.post(
        f"http://127.0.0.1:{port}/api/v0/dag/export", params={"arg": show_cid(cid)}, timeout=SILENCE
    )
    assert answer.content == b"".join(car_of(daemon, cid, size=length))


def test_the_same_bytes_have_one_cid_and_one_car_in_a_folder_and_in_a_daemon(
    daemon: IpfsStore, tmp_path: Path
) -> None:
    there, place = DirectoryStore(tmp_path / "store"), tmp_path / "x.car"
    cid = daemon.put(payload(3))
    with place.open("wb") as file:
        file.writelines(car_of(daemon, cid, size=3 * MEGABYTE))
    with place.open("rb") as file:
        assert put_car(there, file, size=3 * MEGABYTE) == cid == there.put(payload(3))
    assert b"".join(car_of(there, cid, size=3 * MEGABYTE)) == place.read_bytes()


def test_a_study_whose_store_is_a_daemon_is_audited_without_a_finding(daemon: IpfsStore) -> None:
    hospitals = [hospital(address, "paillier") for address in HOSPITALS]
    rehearsal = Rehearsal(spec_of("paillier", rounds=2), hospitals, store=daemon)
    for _ in range(2):
        rehearsal.run_round()
    for address in HOSPITALS[:2]:
        rehearsal.confirm(address, rehearsal.observer.study.finished[-1].id)
    assert audited(rehearsal).findings == []


def place_blocks(repository: Path, content: bytes) -> Cid:
    """Our blocks lie where a running engine keeps its own, so it can be asked for them by CID."""
    for block in cut([content]):
        name = base64.b32encode(b"\x12\x20" + sha256(block.data)).decode().rstrip("=")
        folder = repository / "blocks" / name[-3:-1]
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.data").write_bytes(block.data)
    return block.cid


def private_node(stack: ExitStack, repository: Path, key: bytes | None) -> Kubo:
    """A node to run on loopback: in the swarm of `key`, or without one, as public as loopback lets it be."""
    engine = stack.enter_context(kubo.node(repository, None if key is None else environment(repository)))
    engine.ask("create")
    if key is None:
        config = json.loads((repository / "config").read_text())
        config["Addresses"]["Swarm"] = ["/ip4/127.0.0.1/tcp/0"]
        config |= {"Bootstrap": [], "Routing": {"Type": "none"}, "Discovery": {"MDNS": {"Enabled": False}}}
        (repository / "config").write_text(json.dumps(config))
    else:
        make_private(repository, key, listen="/ip4/127.0.0.1/tcp/0", peers=[], random=random.randbytes)
    return engine


def address_of(engine: Kubo) -> str:
    addresses = json.loads(str(engine.ask("addresses")))
    (loopback,) = [address for address in addresses if address.startswith("/ip4/127.0.0.1/tcp/")]
    return f"{loopback}/p2p/{engine.ask('identity')}"


@pytest.mark.usefixtures("kubo_engine")
def test_a_node_without_the_swarm_key_neither_connects_nor_gets_a_byte(tmp_path: Path) -> None:
    content = random.Random(5).randbytes(2 * CHUNK_BYTES + 5)
    ours, other = swarm_key(random.Random(1).randbytes), swarm_key(random.Random(2).randbytes)
    with ExitStack() as stack:
        nodes = {
            name: private_node(stack, tmp_path / name, key)
            for name, key in {"holder": ours, "member": ours, "rival": other, "stranger": None}.items()
        }
        assert [engine.ask("run") for engine in nodes.values()] == [1, 1, 1, 1]
        cid = show_cid(place_blocks(tmp_path / "holder", content))
        address = address_of(nodes["holder"])
        got = {}
        for name in ("rival", "stranger", "member"):
            connected = nodes[name].ask("connect", address)
            out = tmp_path / f"{name}.out"
            seconds = SILENCE if name == "member" else APART
            got[name] = (connected, nodes[name].ask("download", cid, str(out), seconds), out.exists())
        assert got["member"][1:] == (True, True)
        assert (tmp_path / "member.out").read_bytes() == content
        assert got["member"][0] not in {got["rival"][0], got["stranger"][0]}
        assert got["rival"][1:] == got["stranger"][1:] == (False, False)
        assert json.loads(str(nodes["holder"].ask("peers"))) == [nodes["member"].ask("identity")]


@pytest.mark.usefixtures("kubo_engine")
def test_a_daemon_told_to_be_private_does_not_start_without_the_key(tmp_path: Path) -> None:
    repository = tmp_path / "keyless"
    with ExitStack() as stack:
        engine = private_node(stack, repository, swarm_key(random.randbytes))
        (repository / "swarm.key").unlink()
        assert engine.ask("run") != 1


@pytest.mark.usefixtures("kubo_engine")
@pytest.mark.parametrize("length", [CHUNK_BYTES, CHUNK_BYTES + 1, 174 * CHUNK_BYTES + 1])
def test_kubo_reads_our_blocks_under_our_cid_as_the_file_that_they_are(tmp_path: Path, length: int) -> None:
    content = random.Random(length).randbytes(length)
    with ExitStack() as stack:
        engine = private_node(stack, tmp_path / "node", swarm_key(random.randbytes))
        assert engine.ask("run") == 1
        cid = place_blocks(tmp_path / "node", content)
        assert engine.ask("download", show_cid(cid), str(tmp_path / "out"), SILENCE)
    assert (tmp_path / "out").read_bytes() == content
