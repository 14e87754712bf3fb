"""Before a daemon runs: whatever would stop it is found, by its own line and with what to do."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from aggregator.settings import Settings as AggregatorSettings
from deploy.devnet import CHAIN_ID, Devnet
from deploy.preflight import app, machine, network, party
from deploy.preflight.lines import Checks, Doubt, State
from federation.audit.view import LedgerView
from federation.digest import CID_RAW, Cid, sha256
from federation.endpoints import load_settings
from federation.errors import ExitCode, Refused, Unavailable
from federation.events import NO_STAKE, Stake
from federation.identity import create_identity, load_identity
from federation.in_memory import InMemoryStore
from federation.ledger.nodes import Place
from federation.ledger.rpc import Rpc
from federation.members import Address, Role, show_address
from federation.seal import SealingSecret, sealing_key_of
from node.__main__ import app as node

from .node.hospital import COST, DEALING, PASSWORD, found, settle
from .node.hospital import Place as Hospital
from .worlds import in_memory

WALL = 1_800_000_000.0


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    """A hospital that has all it needs, and a study that waits for it; its secrets are its own."""
    with Devnet.start("anvil", directory=tmp_path_factory.mktemp("chain")) as devnet:
        place = settle(devnet, tmp_path_factory.mktemp("hospital"))
        found(place)
        (place.folder / "password").chmod(0o600)
        box, key = place.folder / f"{place.me.hex()}.sealed", place.folder / "public.key"
        arguments = [
            "keys",
            "--settings",
            str(place.settings),
            "--accept",
            str(box),
            "--public-key",
            str(key),
        ]
        assert CliRunner().invoke(node, arguments).exit_code == 0
        yield place


def run(settings: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--settings", str(settings), *arguments], env={"COLUMNS": "200"})


def states(ran: Result) -> dict[str, list[str]]:
    """The checks by their state, of a run with --json."""
    document = json.loads(ran.stdout)
    assert document["exit"] == ran.exit_code
    found: dict[str, list[str]] = {}
    for line in document["checks"]:
        found.setdefault(line["state"], []).append(line["check"])
        assert bool(line["todo"]) == (line["state"] in {"warning", "failed"}), line
    return found


def said(ran: Result, check: str) -> str:
    return "; ".join(line["said"] for line in json.loads(ran.stdout)["checks"] if line["check"] == check)


def closed_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_a_hospital_that_has_all_it_needs_passes_every_check(hospital: Hospital) -> None:
    ran = run(hospital.settings, "--json")
    assert ran.exit_code == ExitCode.OK, ran.output
    assert states(ran) == {
        "ok": [
            *("floats", "files", "space", "disk", "keys", "proxy", "node", "clock", "witnesses", "ledger"),
            *("store settings", "store disk", "store", "events", "roster", "study", "ether"),
            *("document", "key share", "policy", "patients"),
        ]
    }
    assert PASSWORD not in ran.output
    for share in DEALING.key_shares:
        assert share.hex() not in ran.output
    assert not list((hospital.folder / "vault").glob(".preflight*"))


def test_for_people_each_line_begins_with_its_state_and_what_to_do_stands_below(hospital: Hospital) -> None:
    ran = run(hospital.write_settings("chain.toml", ledger__chain_id="1"))
    lines = ran.stdout.splitlines()
    (failed,) = [index for index, line in enumerate(lines) if line.startswith("failed")]
    assert f"expected chain id 1, found {CHAIN_ID}" in lines[failed]
    assert "correct url, chain_id" in lines[failed + 1]
    assert any(line.startswith("ok        keys") for line in lines)
    assert ran.exit_code == ExitCode.REFUSED


NO_STUDY = ["document", "key share", "policy", "patients"]
NO_LEDGER = ["clock", "witnesses", "ledger", "roster", "ether", "study", *NO_STUDY]


@pytest.mark.parametrize(
    ("changes", "failed", "unchecked", "word"),
    [
        ({"ledger__chain_id": "1"}, ["node"], NO_LEDGER, "expected chain id 1"),
        ({"ledger__contract": f'"0x{"c0" * 20}"'}, ["node"], NO_LEDGER, "there is no contract"),
        ({"ledger__code": f'"{"00" * 32}"'}, ["node"], NO_LEDGER, "not the one that `code` names"),
        ({"ledger__deployment_block": "0"}, ["node"], NO_LEDGER, "was not deployed in block 0"),
        ({"password_file": '"wrong"'}, ["keys"], ["roster", "ether", "study", *NO_STUDY], "wrong password"),
        ({"store__directory": '"password/x"'}, ["store settings"], ["store", *NO_STUDY], "content store"),
        ({"store__directory": '"empty"'}, ["document"], NO_STUDY[1:], "not in"),
        ({"study": "7"}, ["study"], NO_STUDY, "the ledger has 1 studies"),
        ({"vault": '"empty"'}, ["key share", "policy"], [], "no share of key"),
        ({"policy__most_rounds": "1"}, ["policy"], [], "most_rounds"),
        ({"policy__accept_weak_keys": "false"}, ["policy"], [], "bits"),
        ({"policy__minimum_rows": "100000"}, ["patients"], [], "found fewer"),
        ({"data": '"nowhere.csv"'}, ["patients"], [], "expected a readable CSV file"),
        ({"identity": '"stranger"'}, ["roster", "study", "ether"], NO_STUDY, "is not on the roster"),
        ({"ledger__url": f'"{closed_url()}"'}, ["node"], NO_LEDGER, "is it running"),
    ],
)
def test_each_check_fails_on_its_own_and_names_what_is_wrong(
    hospital: Hospital, changes: dict[str, str], failed: list[str], unchecked: list[str], word: str
) -> None:
    (hospital.folder / "wrong").touch(mode=0o600)
    (hospital.folder / "wrong").write_text("another pass phrase\n")
    (hospital.folder / "empty").mkdir(mode=0o700, exist_ok=True)
    if not (hospital.folder / "stranger").exists():
        create_identity(hospital.folder / "stranger", PASSWORD, os.urandom, cost=COST)
    ran = run(hospital.write_settings("one-fault.toml", **changes), "--json")
    stand = states(ran)
    assert sorted(stand["failed"]) == sorted(failed), ran.output
    assert sorted(stand.get("unchecked", [])) == sorted(unchecked), ran.output
    assert stand.get("warning", []) == []
    assert word in said(ran, failed[0])
    away = (failed == ["node"] and "running" in word) or failed == ["document"]
    assert ran.exit_code == (ExitCode.UNAVAILABLE if away else ExitCode.REFUSED)


def test_a_silent_witness_is_named_and_the_ledger_waits_for_it(hospital: Hospital) -> None:
    silent = closed_url()
    settings = hospital.write_settings("witness.toml", ledger__also=f'["{silent}"]')
    ran = run(settings, "--json")
    assert states(ran)["failed"] == ["node", "ledger"]
    assert silent in said(ran, "node")
    assert ran.exit_code == ExitCode.UNAVAILABLE


def test_settings_without_a_ledger_are_checked_as_far_as_they_go(hospital: Hospital) -> None:
    whole = hospital.write_settings("start.toml").read_text()
    start = hospital.folder / "start.toml"
    start.write_text(whole.partition("[ledger]")[0])
    ran = run(start, "--json")
    assert ran.exit_code == ExitCode.OK, "nothing failed: the consortium has yet to say where it is"
    assert states(ran)["ok"] == ["floats", "files", "space", "disk", "keys"]
    assert "ledger" in states(ran)["unchecked"]


def test_a_file_that_others_can_read_is_named_with_the_mode_it_should_have(hospital: Hospital) -> None:
    path = hospital.folder / "identity" / "sealing.json"
    path.chmod(0o640)
    try:
        ran = run(hospital.settings, "--json")
    finally:
        path.chmod(0o600)
    assert states(ran)["failed"] == ["files"]
    assert f"{path} is 640, expected 600" in said(ran, "files")


def test_settings_that_cannot_be_read_are_refused_in_one_line(tmp_path: Path) -> None:
    ran = run(tmp_path / "nowhere.toml")
    assert ran.exit_code == ExitCode.REFUSED
    assert "cannot be read" in ran.stderr


@pytest.fixture
def aggregator(hospital: Hospital, tmp_path: Path) -> Path:
    """Settings of an aggregator whose keys no roster has."""
    create_identity(tmp_path / "keys", PASSWORD, os.urandom, cost=COST)
    (tmp_path / "password").touch(mode=0o600)
    (tmp_path / "password").write_text(PASSWORD + "\n")
    file = tmp_path / "aggregator.toml"
    tables = (hospital.folder / "node.toml").read_text().partition("[ledger]")[2].partition("[store]")
    file.write_text(
        f'identity = "keys"\npassword_file = "password"\n[ledger]{tables[0]}\n'
        '[store]\ndirectory = "content"\n'
        "[service]\nport = 0\n"
    )
    return file


def test_an_aggregator_that_nobody_has_enrolled_is_told_so(aggregator: Path) -> None:
    ran = run(aggregator, "--json")
    stand = states(ran)
    assert stand["failed"] == ["roster", "ether"]
    assert stand["warning"] == ["studies"]
    assert stand["unchecked"] == ["bond"]
    assert {"address", "store", "ledger", "keys"} <= set(stand["ok"])


def test_a_port_that_somebody_listens_on_is_doubted(aggregator: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Doubt, match="is it this aggregator"):
            party.listens("127.0.0.1", port)
    with pytest.raises(Unavailable):
        party.listens("192.0.2.1", port)  # an address of nobody's
    assert "is free" in party.listens("127.0.0.1", 0)


def test_the_stake_is_compared_with_what_the_studies_need() -> None:
    world = in_memory()
    assert party.served(world.start(3).world.catch_up(), world.aggregator)
    with pytest.raises(Doubt, match="no study names"):
        party.served(world.catch_up(), world.stranger)
    stake = Stake(gwei=5, lock=100, treasury=NO_STAKE.treasury)
    play = world.start(3, stake=stake)
    study = world.catch_up().study(play.study)
    with pytest.raises(Doubt, match=f"0 Ether staked in study {play.study}, 5 gwei needed"):
        party.staked(world.aggregator, [study])
    world.ledger(world.aggregator).deposit_bond(play.study, 5 * 10**9)
    assert "enough is staked" in party.staked(world.aggregator, [world.catch_up().study(play.study)])


def test_the_roster_has_to_know_us_in_our_role_and_with_our_sealing_key(hospital: Hospital) -> None:
    ledger = hospital.ledger(hospital.aggregator)
    view = LedgerView(ledger)
    view.refresh()
    consortium = view.history.consortium
    identity = load_identity(hospital.folder / "identity", PASSWORD)
    assert show_address(identity.address) in party.on_roster(consortium, identity, Role.INSTITUTION)
    with pytest.raises(Refused, match="enrolled as institution, expected aggregator"):
        party.on_roster(consortium, identity, Role.AGGREGATOR)
    other = replace(identity, sealing_secret=SealingSecret(b"\x07" * 32))
    assert sealing_key_of(other.sealing_secret) != sealing_key_of(identity.sealing_secret)
    with pytest.raises(Refused, match="another sealing key"):
        party.on_roster(consortium, other, Role.INSTITUTION)


def test_an_account_needs_enough_for_the_rounds_to_come(hospital: Hospital) -> None:
    rpc = Rpc(hospital.devnet.url, timeout=20)
    assert "2 rounds may take" in network.ether(rpc, hospital.me, rounds=2, gas=300_000)
    with pytest.raises(Refused, match="holds 0 Ether; one round takes about"):
        network.ether(rpc, Address(b"\x77" * 20), rounds=2, gas=300_000)
    with pytest.raises(Doubt, match="rounds may take"):
        network.ether(rpc, hospital.me, rounds=10**9, gas=300_000)


class Liar(InMemoryStore):
    """A store that names or returns something else."""

    def __init__(self, *, name: bytes = b"") -> None:
        super().__init__()
        self.name = name

    def put(self, chunks: Iterable[bytes]) -> Cid:
        cid = super().put(chunks)
        return Cid(CID_RAW + sha256(self.name)) if self.name else cid

    def get(self, cid: Cid, *, size: int, start: int = 0) -> Iterator[bytes]:
        yield from (b"something else than ", bytes(cid)[:size][start:])


def test_a_store_has_to_name_and_return_what_it_took() -> None:
    assert "under the right CID" in network.keeps(InMemoryStore())
    with pytest.raises(Refused, match="another CID"):
        network.keeps(Liar(name=b"another"))
    with pytest.raises(Unavailable, match="other bytes"):
        network.keeps(Liar())


@pytest.mark.parametrize("field", ["chain_id", "genesis", "deployed", "code"])
def test_two_nodes_of_different_chains_are_both_named(field: str) -> None:
    here = Place(chain_id=1, genesis=bytes(32), deployed=bytes(32), code=sha256(b"code"))
    there = replace(here, **{field: 2 if field == "chain_id" else sha256(b"other")})  # type: ignore[arg-type]
    assert network.one_chain({"http://a": here, "http://b": here}) == "2 nodes serve one chain"
    with pytest.raises(Refused, match="http://a and http://b serve different chains"):
        network.one_chain({"http://a": here, "http://b": there})


@pytest.mark.parametrize(
    ("newest", "problem", "word"),
    [
        ({"a": 0, "b": -30}, None, "0 s old, 2 nodes"),
        ({"a": 15}, None, "0 s old"),
        ({"a": 16}, Refused, "16 s behind the newest block at a"),
        ({"a": -3, "b": 900}, Refused, "900 s behind the newest block at b"),
        ({"a": -601}, Doubt, "the newest block is 601 s old"),
        ({"a": -5, "b": -700}, Doubt, "b is 695 s behind the other nodes"),
    ],
)
def test_the_clock_is_held_against_every_node(
    newest: dict[str, int], problem: type[Exception] | None, word: str
) -> None:
    times = {node: int(WALL) + ahead for node, ahead in newest.items()}
    if problem is None:
        assert word in machine.clock(WALL, times)
        return
    with pytest.raises(problem, match=word):
        machine.clock(WALL, times)


def test_flushed_denormals_are_found() -> None:
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormals")
    try:
        with pytest.raises(Refused, match="denormals"):
            machine.floats()
    finally:
        torch.set_flush_denormal(False)
    assert "denormals" in machine.floats()


@pytest.mark.parametrize(("free", "problem"), [(10 << 30, None), (1 << 30, Doubt), (100 << 20, Refused)])
def test_a_disk_needs_room(free: int, problem: type[Exception] | None, tmp_path: Path) -> None:
    folder = tmp_path / "vault" / "not made yet"

    def room(place: Path) -> int:
        assert place == tmp_path, "of the disk on which it will be"
        return free

    if problem is None:
        assert "10.0 GiB free" in machine.space(folder, free=room)
        return
    with pytest.raises(problem, match="GiB free"):
        machine.space(folder, free=room)


def test_a_disk_that_takes_nothing_is_found_by_writing_to_it(tmp_path: Path) -> None:
    assert "takes and syncs" in machine.writes(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="cannot be written"):
        machine.writes(tmp_path / "file")


def test_permissions_name_every_file_that_is_open_and_every_one_that_is_missing(tmp_path: Path) -> None:
    folder, file = tmp_path / "keys", tmp_path / "keys" / "account.json"
    folder.mkdir(mode=0o700)
    file.touch(mode=0o600)
    assert machine.permissions([folder, file]) == "2 files and folders are their owner's alone"
    folder.chmod(0o750)
    file.chmod(0o604)
    with pytest.raises(Refused, match=r"is 750, expected 700; .* is 604, expected 600"):
        machine.permissions([folder, file])
    with pytest.raises(Refused, match="No such file"):
        machine.permissions([tmp_path / "nowhere"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_doubted(tmp_path: Path) -> None:
    file = tmp_path / "account.json"
    file.touch(mode=0o600)
    os.chown(file, 12345, -1)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(Doubt, match="another user's"):
        machine.permissions([file])


@pytest.mark.parametrize(
    ("url", "variables", "problem", "word"),
    [
        ("https://rpc.example", {}, None, "https://rpc.example is asked directly"),
        (
            "https://rpc.example",
            {"HTTPS_PROXY": "http://me:pw@p.example:3128"},
            None,
            "http://p.example:3128",
        ),
        ("https://rpc.example", {"HTTPS_PROXY": "http://p:1", "NO_PROXY": ".example"}, None, "directly"),
        ("http://10.0.0.5:8545", {"HTTP_PROXY": "http://p:1"}, Doubt, "although it is on this machine"),
        ("http://localhost:8545", {"ALL_PROXY": "http://p:1"}, Doubt, "although it is on this machine"),
    ],
)
def test_a_url_is_shown_with_the_proxy_it_goes_through_and_no_password(
    url: str,
    variables: dict[str, str],
    problem: type[Exception] | None,
    word: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if problem is None:
        assert word in machine.proxy(url)
        assert "pw" not in machine.proxy(url)
        return
    with pytest.raises(problem, match=word):
        machine.proxy(url)


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([], ExitCode.OK),
        ([Doubt("quiet")], ExitCode.OK),
        ([Unavailable("away")], ExitCode.UNAVAILABLE),
        ([Unavailable("away"), Refused("wrong")], ExitCode.REFUSED),
    ],
)
def test_the_exit_code_says_whether_waiting_may_help(errors: list[Exception], code: ExitCode) -> None:
    checks = Checks()

    def raising(error: Exception) -> Callable[[], str]:
        def question() -> str:
            raise error

        return question

    for error in errors:
        assert checks.ask("one", raising(error), todo="look") is None
    assert checks.ask("last", lambda: "fine") == "fine", "one failure stops no other check"
    checks.leave_out("rest", because="needs something")
    assert checks.exit_code == code
    assert checks.lines[-1].state is State.UNCHECKED


def test_every_setting_of_an_aggregator_is_known(aggregator: Path) -> None:
    assert load_settings(AggregatorSettings, aggregator).service.port == 0
