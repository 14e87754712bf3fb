"""`tally store`: contents go from one store into another as files; a Kubo repository becomes private."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from deploy.private_swarm import make_private, swarm_key
from deploy.store import app
from federation.digest import parse_cid, show_cid
from federation.errors import ExitCode, Refused
from federation.store.content import get_bytes, put_bytes
from federation.store.directory import DirectoryStore
from federation.store.unixfs import CHUNK_BYTES

from .test_ipfs import honest, serving

CONTENT = b"".join(bytes([i]) * CHUNK_BYTES for i in range(3)) + b"the last leaf"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return settings(tmp_path, "here", 'directory = "here"')


def settings(folder: Path, name: str, store: str) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(f"[store]\n{store}\n")
    return path


def test_a_content_goes_into_another_store_as_a_car_file(tmp_path: Path, here: Path) -> None:
    there = settings(tmp_path, "there", 'directory = "there"')
    cid = show_cid(put_bytes(DirectoryStore(tmp_path / "here"), CONTENT))
    assert run("export", cid, "--out", tmp_path / "x.car", "--settings", here).exit_code == ExitCode.OK
    imported = run("import", tmp_path / "x.car", "--settings", there)
    assert (imported.exit_code, imported.output) == (ExitCode.OK, f"{cid}\n")
    store = DirectoryStore(tmp_path / "there")
    assert get_bytes(store, parse_cid(cid), size=len(CONTENT)) == CONTENT
    assert run("export", cid, "--out", tmp_path / "y.car", "--settings", there).exit_code == ExitCode.OK
    assert (tmp_path / "x.car").read_bytes() == (tmp_path / "y.car").read_bytes()


def test_what_cannot_be_carried_is_said_in_a_line(tmp_path: Path, here: Path) -> None:
    out = tmp_path / "x.car"
    cid = show_cid(put_bytes(DirectoryStore(tmp_path / "here"), CONTENT))
    nowhere = cid[:-1] + ("a" if cid[-1] != "a" else "e")
    for words, code, problem in (
        (["export", "QmYwAPJzv5", "--out", out], ExitCode.REFUSED, "expected a CIDv1"),
        (["export", nowhere, "--out", out], ExitCode.UNAVAILABLE, "is not in"),
        (["export", cid, "--out", out, "--most-bytes", 5], ExitCode.VIOLATION, "larger than allowed"),
        (["import", tmp_path / "none.car"], ExitCode.REFUSED, "No such file"),
        (["import", here], ExitCode.REFUSED, "the CAR is cut off"),
    ):
        ended = run(*words, "--settings", here)
        assert ended.exit_code == code, ended.output
        assert problem in ended.output
    assert not out.exists()


def test_the_status_names_each_place_and_fails_with_our_own_alone(tmp_path: Path, here: Path) -> None:
    shown = run("status", "--settings", here)
    assert shown.exit_code == ExitCode.OK
    assert shown.output == f"own       {tmp_path / 'here'}  answers\n"
    with serving(honest) as server:
        daemon = f'ipfs = "/ip4/127.0.0.1/tcp/{server.server_port}"\n'
        silent = '[[store.fallback]]\nipfs = "/ip4/127.0.0.1/tcp/9"\nattempts = 1\n'
        shown = run("status", "--settings", settings(tmp_path, "both", daemon + silent))
    assert shown.exit_code == ExitCode.OK
    assert "tcp/9  no IPFS daemon answers" in shown.output
    away = run(
        "status", "--settings", settings(tmp_path, "away", 'ipfs = "/ip4/127.0.0.1/tcp/9"\nattempts = 1')
    )
    assert away.exit_code == ExitCode.UNAVAILABLE
    assert "our own store does not answer" in away.output


def test_settings_without_a_store_are_refused(tmp_path: Path) -> None:
    (tmp_path / "none.toml").write_text("study = 1\n")
    assert run("status", "--settings", tmp_path / "none.toml").exit_code == ExitCode.REFUSED


@pytest.mark.parametrize("text", ["", "b", "bafk", "bafkreié", "B" + "A" * 58, "mAXASIA"])
def test_what_is_no_cid_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="expected a CIDv1"):
        parse_cid(text)


def repository(folder: Path) -> Path:
    """As `ipfs init` leaves it, as far as we touch it."""
    folder.mkdir()
    public = {
        "Identity": {"PeerID": "12D3KooWus", "PrivKey": "ours"},
        "Addresses": {"API": "/ip4/0.0.0.0/tcp/5001", "Swarm": ["/ip4/0.0.0.0/udp/4001/quic-v1"]},
        "Bootstrap": ["/dnsaddr/bootstrap.libp2p.io/p2p/QmNnoo"],
        "Swarm": {"ConnMgr": {"HighWater": 96}, "RelayClient": {}},
    }
    (folder / "config").write_text(json.dumps(public))
    return folder


def test_a_private_repository_knows_the_key_its_peers_and_no_stranger(tmp_path: Path) -> None:
    repo, key, secret = repository(tmp_path / "repo"), tmp_path / "swarm.key", tmp_path / "secret"
    assert run("swarm-key", "--out", key).exit_code == ExitCode.OK
    peer = "/dns4/b.example/tcp/4001/p2p/12D3KooWthem"
    made = run("private", repo, "--swarm-key", key, "--authorization", secret, "--peer", peer)
    assert made.exit_code == ExitCode.OK, made.output
    assert "LIBP2P_FORCE_PNET=1 ipfs daemon --enable-gc" in made.output
    config = json.loads((repo / "config").read_text())
    assert (repo / "swarm.key").read_bytes() == key.read_bytes()
    assert config["Bootstrap"] == []
    assert config["Addresses"]["API"] == "/ip4/127.0.0.1/tcp/5001"
    assert config["Addresses"]["Swarm"] == ["/ip4/0.0.0.0/tcp/4001"]
    assert config["Swarm"]["Transports"]["Network"] == {
        "TCP": True,
        **dict.fromkeys(("QUIC", "Relay", "WebRTCDirect", "WebTransport", "Websocket"), False),
    }
    assert config["Peering"]["Peers"] == [{"ID": "12D3KooWthem", "Addrs": ["/dns4/b.example/tcp/4001"]}]
    assert config["Swarm"]["ConnMgr"] == {"HighWater": 96}
    assert config["Identity"]["PrivKey"] == "ours"
    (allowed,) = config["API"]["Authorizations"].values()
    token = allowed["AuthSecret"].removeprefix("bearer:")
    assert secret.read_text() == f"bearer {token}\n"
    assert token not in made.output
    for file in (key, secret, repo / "swarm.key", repo / "config"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_private_repositorys_rpc_is_beyond_loopback_only_where_asked_for(
    tmp_path: Path,
) -> None:
    repo, key = repository(tmp_path / "repo"), tmp_path / "swarm.key"
    run("swarm-key", "--out", key)
    rpc = "/ip4/0.0.0.0/tcp/5001"
    made = run("private", repo, "--swarm-key", key, "--authorization", tmp_path / "secret", "--rpc", rpc)
    assert made.exit_code == ExitCode.OK, made.output
    assert json.loads((repo / "config").read_text())["Addresses"]["API"] == rpc


def test_no_key_is_replaced_and_no_other_file_is_taken_for_one(tmp_path: Path) -> None:
    repo, key = repository(tmp_path / "repo"), tmp_path / "swarm.key"
    run("swarm-key", "--out", key)
    before = key.read_bytes()
    assert run("swarm-key", "--out", key).exit_code == ExitCode.REFUSED
    assert key.read_bytes() == before
    for wrong in (b"", b"hush", before[:-3], before.replace(b"base16", b"base64")):
        key.write_bytes(wrong)
        ended = run("private", repo, "--swarm-key", key, "--authorization", tmp_path / "secret")
        assert ended.exit_code == ExitCode.REFUSED
        assert "hush" not in ended.output
    assert not (repo / "swarm.key").exists()


def test_a_repository_that_is_none_or_in_use_is_left_alone(tmp_path: Path) -> None:
    key = swarm_key(bytes)
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refused, match="cannot be read"):
        make_private(tmp_path / "empty", key, listen="/ip4/127.0.0.1/tcp/1", peers=[], random=bytes)
    repo = repository(tmp_path / "repo")
    with pytest.raises(Refused, match="expected a peer such as"):
        make_private(repo, key, listen="/ip4/127.0.0.1/tcp/1", peers=["/ip4/1.2.3.4/tcp/1"], random=bytes)
    (repo / "api").write_text("/ip4/127.0.0.1/tcp/5001")
    before = (repo / "config").read_bytes()
    with pytest.raises(Refused, match="its daemon runs"):
        make_private(repo, key, listen="/ip4/127.0.0.1/tcp/1", peers=[], random=bytes)
    assert (repo / "config").read_bytes() == before
    (repo / "config").write_text("not JSON")
    with pytest.raises(Refused, match="expected the JSON"):
        make_private(repo, key, listen="/ip4/127.0.0.1/tcp/1", peers=[], random=bytes)
