"""The command line: keys, settings, one service from start to SIGTERM; and what it may not import."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import httpx
import pytest
from eth_account import Account
from typer.testing import CliRunner

from aggregator.__main__ import app
from deploy.ask import app as ask
from deploy.contracts import deploy
from deploy.devnet import CHAIN_ID, Devnet
from federation.ask import trusting
from federation.errors import ExitCode
from federation.identity import create_identity, load_identity, sealing_key_hex
from federation.members import Member, Role, SealingKey, parse_address, show_address

from .certificates import issue

PASSWORD = "correct horse"
KEY_IN_URL = "an-api-key-that-is-nobodys-business"


def settings_file(
    folder: Path,
    *,
    url: str,
    contract: str = "0x" + "c0" * 20,
    block: int = 0,
    port: int = 8420,
    service: str = "",
) -> Path:
    """A whole settings file beside its folders."""
    (folder / "password").write_text(PASSWORD + "\n")
    file = folder / "aggregator.toml"
    file.write_text(
        f"""
        identity = "keys"
        password_file = "password"
        [ledger]
        url = "{url}"
        contract = "{contract}"
        chain_id = {CHAIN_ID}
        deployment_block = {block}
        [store]
        directory = "content"
        [service]
        port = {port}
        {service}
        [conduct]
        poll_seconds = 0.05
        """
    )
    return file


def test_init_prints_what_the_roster_needs_and_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    arguments = ["init", "--identity", str(tmp_path / "keys"), "--name", "adder"]
    arguments += ["--password-file", str(tmp_path / "password")]
    first, second = CliRunner().invoke(app, arguments), CliRunner().invoke(app, arguments)
    made = load_identity(tmp_path / "keys", PASSWORD)
    assert json.loads(first.stdout) == {
        "address": show_address(made.address),
        "role": "aggregator",
        "sealing_key": sealing_key_hex(made),
        "name": "adder",
    }
    assert made.sealing_secret.hex() not in first.output
    assert second.exit_code == ExitCode.REFUSED
    assert load_identity(tmp_path / "keys", PASSWORD).address == made.address


def test_a_name_that_no_roster_takes_makes_no_keys(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    arguments = ["init", "--identity", str(tmp_path / "keys"), "--name", "Zürich"]
    ended = CliRunner().invoke(app, [*arguments, "--password-file", str(tmp_path / "password")])
    assert ended.exit_code == ExitCode.REFUSED
    assert "1 … 31 printable ASCII characters" in ended.stderr
    assert not (tmp_path / "keys").exists()


def test_settings_are_shown_with_defaults_and_without_the_key_in_the_url(tmp_path: Path) -> None:
    file = settings_file(tmp_path, url=f"https://someone:{KEY_IN_URL}@node.example:8545/v3/{KEY_IN_URL}")
    shown = CliRunner().invoke(app, ["settings", "--settings", str(file)])
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["ledger"]["url"] == "https://node.example:8545/********"
    assert json.loads(shown.stdout)["password_file"] == "********"
    assert json.loads(shown.stdout)["service"]["host"] == "127.0.0.1"
    assert KEY_IN_URL not in shown.output
    assert PASSWORD not in shown.output


def test_a_misspelt_setting_is_refused_by_its_name(tmp_path: Path) -> None:
    file = settings_file(tmp_path, url="http://127.0.0.1:1")
    file.write_text(file.read_text().replace("poll_seconds", "pol_seconds"))
    shown = CliRunner().invoke(app, ["settings", "--settings", str(file)])
    assert shown.exit_code == ExitCode.REFUSED
    assert "conduct.pol_seconds" in shown.output


def test_status_without_a_service_says_so(tmp_path: Path) -> None:
    file = settings_file(tmp_path, url="http://127.0.0.1:1", port=free_port())
    asked = CliRunner().invoke(app, ["status", "--settings", str(file)])
    assert asked.exit_code == ExitCode.UNAVAILABLE
    assert "no aggregator answers" in asked.output


def test_the_aggregator_runs_where_no_torch_is_installed() -> None:
    program = "import sys; sys.modules['torch'] = None; import aggregator.__main__; print('torchless')"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.stdout == "torchless\n", ran.stderr


def test_the_aggregator_imports_neither_nodes_nor_deployment() -> None:
    program = (
        "import sys, aggregator.__main__; print({m.split('.')[0] for m in sys.modules} & {'node', 'deploy'})"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.stdout == "set()\n", ran.stderr


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory):
    with Devnet.start("anvil", directory=tmp_path_factory.mktemp("anvil")) as chain:
        yield chain


def test_the_service_starts_answers_those_on_the_roster_over_tls_and_leaves_on_sigterm(
    chain: Devnet, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    arguments = ["init", "--identity", str(tmp_path / "keys"), "--name", "adder"]
    arguments += ["--password-file", str(tmp_path / "password")]
    enrolment = json.loads(CliRunner().invoke(app, arguments).stdout)
    founders = [
        Member(
            address=parse_address(enrolment["address"]),
            role=Role.AGGREGATOR,
            sealing_key=SealingKey(bytes.fromhex(enrolment["sealing_key"])),
            name="adder",
        ),
        *(
            Member(
                address=parse_address(Account.from_key(key).address),
                role=Role.INSTITUTION,
                sealing_key=SealingKey(bytes([index]) * 32),
                name=f"site {index}",
            )
            for index, key in enumerate(chain.funded[:3], start=1)
        ),
    ]
    deployment = deploy(chain.url, chain.funded[-1], founders)
    port, tls = free_port(), issue(tmp_path / "tls")
    contract = show_address(deployment.address)
    service_lines = 'certificate = "tls/certificate.pem"\n        key = "tls/key.pem"'
    file = settings_file(
        tmp_path, url=chain.url, contract=contract, block=deployment.block, port=port, service=service_lines
    )
    asker = hospital_settings(tmp_path / "site", file, chain.funded[0])
    stranger = hospital_settings(tmp_path / "stranger", file, b"\x05" * 32)
    watched = free_port()
    file.write_text(f"{file.read_text()}\n[metrics]\nport = {watched}\n")
    command = [sys.executable, "-m", "aggregator", "run", "--settings", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as service:
        try:
            url = f"https://127.0.0.1:{port}"
            wait_for(f"{url}/readyz", service, tls.authority)
            asked = CliRunner().invoke(app, ["status", "--settings", str(file)])
            told = [
                CliRunner().invoke(
                    ask, ["--at", url, "--settings", str(who), "--trust", str(trust), "--path", "/v1/studies"]
                )
                for who, trust in (
                    (asker, tls.authority),
                    (stranger, tls.authority),
                    (asker, issue(tmp_path / "other").authority),
                )
            ]
            numbers = httpx.get(f"http://127.0.0.1:{watched}/metrics", trust_env=False).text
            file.write_text(file.read_text().replace(str(watched), str(free_port())))
            second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        finally:
            service.send_signal(signal.SIGTERM)
            _, log = service.communicate(timeout=60)
    assert asked.exit_code == 0, asked.output
    assert '"conductor":true' in asked.output
    assert '"role":"operator"' in asked.output
    assert told[0].exit_code == 0, told[0].output
    assert json.loads(told[0].stdout)["studies"] == []
    assert [ended.exit_code for ended in told[1:]] == [ExitCode.REFUSED] * 2
    assert "no role on the ledger's roster" in told[1].stderr
    assert "--trust" in told[2].stderr
    assert second.returncode == ExitCode.UNAVAILABLE, second.stderr
    assert "cannot listen" in second.stderr
    assert service.returncode in {0, -signal.SIGTERM}
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert "serving" in events
    assert "stopped" in events
    assert f'tally_rpc_answers_total{{node="{chain.url}",outcome="done"}}' in numbers
    assert 'tally_store_answers_total{operation="put",outcome="done"}' in numbers
    kept = CliRunner().invoke(app, ["logs", "--settings", str(file), "--json", "--since", "1d"])
    assert "stopped" in {json.loads(line)["event"] for line in kept.stdout.splitlines()}
    assert list((tmp_path / "keys").glob("bookmark-*.json")), "what was final is remembered"
    assert "Traceback" not in log
    assert "signed in" in events
    assert PASSWORD not in log


def hospital_settings(folder: Path, like: Path, key: bytes) -> Path:
    """The settings of somebody with this account, on the same ledger."""
    folder.mkdir()
    handed_out = iter([b"\x01" * 32, key])  # the sealing secret, then the account's
    create_identity(folder / "keys", PASSWORD, lambda length: next(handed_out, bytes(length)), cost=1 << 4)
    file = folder / "node.toml"
    file.write_text(like.read_text().replace('"password"', '"../password"'))
    return file


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, service: subprocess.Popen[str], authority: Path) -> None:
    deadline = monotonic() + 60  # seconds: an import of everything on a busy machine
    while monotonic() < deadline:
        assert service.poll() is None, "the service gave up"
        try:
            if httpx.get(url, verify=trusting(authority), trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        sleep(0.1)
    raise AssertionError("the service never got ready")
