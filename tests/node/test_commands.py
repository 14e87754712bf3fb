"""What a hospital types: every mistake ends in one clear line, the documented exit code, and no secret."""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from aggregator.settings import Settings
from deploy.audit import AuditSettings
from deploy.devnet import Devnet
from federation.endpoints import load_settings
from federation.errors import ExitCode
from federation.events import NO_STAKE, Stake, StudyAccepted
from federation.identity import PASSWORD_VARIABLE
from federation.members import Address, show_address
from federation.seal import sealing_key_of
from node.__main__ import app
from node.journal import Journal
from node.open import open_study
from node.settings import NodeSettings
from node.terms import terms

from .hospital import CONTENT_KEY, DEALING, PASSWORD, Place, approve, found, settle, task_digest

KEY_IN_URL = "an-api-key-that-is-nobodys-business"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A hospital whose study waits for it alone; its key share is kept."""
    with Devnet.start("anvil", directory=tmp_path_factory.mktemp("chain")) as devnet:
        place = settle(devnet, tmp_path_factory.mktemp("hospital"))
        stage = found(place)
        approve(stage, "empty")
        assert accept(place).exit_code == 0
        yield place


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    """`run` sends the log to a stream that ends with the test."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], level = before
    root.setLevel(level)


def tally(place: Place, command: str, *arguments: str, settings: Path | None = None) -> Result:
    """The command's end; whatever it printed holds no secret."""
    file = settings or place.settings
    ran = CliRunner().invoke(app, [command, "--settings", str(file), *arguments])
    free_of_secrets(place, ran.output)
    return ran


def free_of_secrets(place: Place, text: str) -> None:
    identity = place.identity
    hidden = [bytes(identity.account.key), identity.sealing_secret, CONTENT_KEY, *DEALING.key_shares]
    for secret in hidden:
        assert secret.hex() not in text
    assert PASSWORD not in text
    assert KEY_IN_URL not in text
    assert "Traceback" not in text


def accept(place: Place, *, share: str | None = None, settings: Path | None = None) -> Result:
    box = place.folder / (share or f"{place.me.hex()}.sealed")
    key = place.folder / "public.key"
    return tally(place, "keys", "--accept", str(box), "--public-key", str(key), settings=settings)


def refused(ran: Result, code: ExitCode, *words: str) -> None:
    """It printed nothing but one line on standard error, and ended with this code."""
    assert ran.stdout == ""
    ended(ran, code, *words)


def ended(ran: Result, code: ExitCode, *words: str) -> None:
    """It ended with this code and said why in one line on standard error."""
    assert ran.exit_code == code, ran.output
    (line,) = ran.stderr.splitlines()
    for word in words:
        assert word in line, line


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"pol_seconds": "2"}, ExitCode.REFUSED, ["pol_seconds: unknown key: check its spelling"]),
        ({"ledger__confirmation": "2"}, ExitCode.REFUSED, ["ledger.confirmation: unknown key"]),
        ({"vault": ""}, ExitCode.REFUSED, ["vault: missing key: add it"]),
        ({"poll_seconds": "-1"}, ExitCode.REFUSED, ["poll_seconds: expected 0.05 to 3600 seconds"]),
        ({"poll_seconds": '"often"'}, ExitCode.REFUSED, ["poll_seconds", "number"]),
        ({"name": "never closed"}, ExitCode.REFUSED, ["expected TOML"]),
        ({"policy__minimum_contributors": "2"}, ExitCode.REFUSED, ["policy.minimum_contributors"]),
        ({"ledger__url": '"localhost:8545"'}, ExitCode.REFUSED, ["ledger.url: expected http(s)://HOST"]),
        ({"ledger__url": '"http://h:99999"'}, ExitCode.REFUSED, ["ledger.url", "a port in 1 … 65535"]),
        (
            {"ledger__contract": '"0x12"'},
            ExitCode.REFUSED,
            ["ledger.contract: expected an address of 20 bytes"],
        ),
        ({"ledger__chain_id": "5"}, ExitCode.REFUSED, ["expected chain id 5, found 31337"]),
        ({"ledger__contract": f'"0x{"77" * 20}"'}, ExitCode.REFUSED, ["there is no contract at 0x7777"]),
        ({"ledger__deployment_block": "0"}, ExitCode.REFUSED, ["was not deployed in block 0"]),
        ({"ledger__deployment_block": "9999"}, ExitCode.UNAVAILABLE, ["is it still catching up?"]),
        (
            {"ledger__url": f'"http://someone:{KEY_IN_URL}@127.0.0.1:PORT/{KEY_IN_URL}"'},
            ExitCode.UNAVAILABLE,
            ["no answer from the node at http://127.0.0.1", "is it running, and is the URL right?"],
        ),
        (
            {"store__directory": "", "store__ipfs": '"/ip4/127.0.0.1/tcp/PORT/http"'},
            ExitCode.UNAVAILABLE,
            ["127.0.0.1"],
        ),
        ({"store__ipfs": '"/ip4/127.0.0.1/tcp/PORT/http"'}, ExitCode.REFUSED, ["exactly one of"]),
        ({"store__directory": ""}, ExitCode.REFUSED, ["[ledger] and [store] are needed"]),
        ({"store__directory": '"password/inside"'}, ExitCode.REFUSED, ["cannot use", "password/inside"]),
        ({"store__directory": '"another"'}, ExitCode.UNAVAILABLE, ["is not in"]),
        (
            {f"ledger__{key}": "" for key in ("url", "contract", "chain_id", "deployment_block")},
            ExitCode.REFUSED,
            ["[ledger] and [store] are needed"],
        ),
        ({"study": "7"}, ExitCode.REFUSED, ["study 7: the ledger has 1 studies; set `study` to one"]),
        ({"password_file": '"wrong"'}, ExitCode.REFUSED, ["account.json: wrong password"]),
        ({"password_file": '"nowhere"'}, ExitCode.REFUSED, ["nowhere: cannot be read: No such file"]),
        ({"password_file": ""}, ExitCode.REFUSED, ["no password", PASSWORD_VARIABLE]),
        ({"identity": '"nowhere"'}, ExitCode.REFUSED, ["account.json: cannot be read"]),
        (
            {"vault": '"empty"'},
            ExitCode.REFUSED,
            ["run `tally node keys --settings … --accept … --public-key …`"],
        ),
        (
            {"vault": '"unapproved"'},
            ExitCode.REFUSED,
            ["policy, approval: ", task_digest(), "review it with `tally node approve --settings …`"],
        ),
        ({"policy__tasks": "[]"}, ExitCode.REFUSED, ["policy.tasks: unknown key"]),
        ({"policy__least_seconds": "{commit = 0}"}, ExitCode.REFUSED, ["policy.least_seconds.commit"]),
        (
            {"policy__least_seconds": "{open = 9999999}"},
            ExitCode.REFUSED,
            ["policy: least_seconds.open: expected at most most_seconds.open (2592000), found 9999999"],
        ),
        ({"policy__most_openings": "0"}, ExitCode.REFUSED, ["policy.most_openings", "greater than"]),
        ({"policy__most_rounds": "1"}, ExitCode.REFUSED, ["policy, most_rounds: ", "at most 1 rounds"]),
        ({"policy__most_parameters": "5"}, ExitCode.REFUSED, ["policy, most_parameters: ", "found 6"]),
        ({"policy__most_payload_bytes": "99"}, ExitCode.REFUSED, ["policy, most_payload_bytes: "]),
        (
            {"policy__least_seconds": "{open = 10001}"},
            ExitCode.REFUSED,
            ["policy, least_seconds.open: expected a window of 10001 to 2592000 seconds, found 10000"],
        ),
        ({"policy__accept_weak_keys": "false"}, ExitCode.REFUSED, ["`accept_weak_keys` under [policy]"]),
        ({"policy__minimum_contributors": "4"}, ExitCode.REFUSED, ["at least 4 contributors"]),
        ({"policy__minimum_rows": "100000"}, ExitCode.REFUSED, ["at least 100000 patients"]),
        ({"data": '"no-label.csv"'}, ExitCode.REFUSED, ["no-label.csv: expected one column 'outcome'"]),
        ({"data": '"nowhere.csv"'}, ExitCode.REFUSED, ["nowhere.csv: expected a readable CSV file"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) and value else "",
)
@pytest.mark.parametrize("command", ["join", "run"])
def test_a_mistake_in_the_settings_ends_in_one_line_that_names_it(
    place: Place,
    command: str,
    changes: dict[str, str],
    code: ExitCode,
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    (place.folder / "wrong").write_text("another pass phrase\n")
    (place.folder / "no-label.csv").write_text("marker0,marker1,marker2,marker3,marker4\n1,2,3,4,5\n")
    port = str(closed_port())
    lines = {key: value.replace("PORT", port) for key, value in changes.items()}
    settings = place.write_settings("mistaken.toml", **lines)
    ran = tally(place, command, settings=settings)
    if ran.stdout:  # people read the terms before they allow anything
        assert command == "join"
        assert ran.stdout.startswith("name ")
    ended(ran, code, *words)


def test_the_readmes_settings_files_are_taken_as_printed(tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    section = readme.split("## How a consortium begins")[1].split("\n## ")[0]
    *heads, common, witnesses = [
        textwrap.dedent(part.split("```")[0]) for part in section.split("```toml\n")[1:]
    ]
    kinds = {"aggregator.toml": Settings, "audit.toml": AuditSettings}
    for name, head in zip(kinds, heads, strict=True):
        (tmp_path / name).write_text(head + common.replace("[ledger]\n", f"[ledger]\n{witnesses}"))
        assert load_settings(kinds[name], tmp_path / name).store is not None
    ledger = load_settings(Settings, tmp_path / "aggregator.toml").ledger
    assert len(ledger.also) == ledger.agreeing == 2


def test_a_settings_file_that_is_not_there_is_refused_by_name(place: Place) -> None:
    refused(tally(place, "status", settings=place.folder / "nowhere.toml"), ExitCode.REFUSED, "nowhere.toml")


def test_a_settings_file_in_another_encoding_is_refused(place: Place) -> None:
    path = place.folder / "latin.toml"
    path.write_bytes('name = "Münster"'.encode("latin-1"))
    refused(tally(place, "status", settings=path), ExitCode.REFUSED, "latin.toml: expected TOML in UTF-8")


def test_another_members_share_is_a_violation_that_says_whose_is_wanted(place: Place) -> None:
    settings = place.write_settings("fresh.toml", vault='"fresh"')
    other = place.others[0]
    ran = accept(place, share=f"{other.hex()}.sealed", settings=settings)
    refused(ran, ExitCode.VIOLATION, f"expected one for {show_address(place.me)}", "ask the dealer")
    assert not list((place.folder / "fresh").glob("key-share-*"))


@pytest.mark.parametrize(
    ("key", "words"),
    [("patients.csv", "expected the dealer's public key"), ("nowhere", "cannot be read")],
)
def test_a_file_that_is_no_public_key_is_refused_by_name(place: Place, key: str, words: str) -> None:
    box = str(place.folder / f"{place.me.hex()}.sealed")
    ran = tally(place, "keys", "--accept", box, "--public-key", str(place.folder / key))
    refused(ran, ExitCode.REFUSED, key, words)


def test_a_share_without_the_public_key_is_not_accepted(place: Place) -> None:
    ran = tally(place, "keys", "--accept", str(place.folder / f"{place.me.hex()}.sealed"))
    refused(ran, ExitCode.REFUSED, "--public-key")


def test_a_key_share_is_kept_once_and_locked(place: Place) -> None:
    refused(accept(place), ExitCode.REFUSED, "already in the vault")
    (file,) = (place.folder / "vault").glob("key-share-*")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    free_of_secrets(place, file.read_text())


def test_an_heir_takes_shares_dealt_to_its_predecessor_and_its_backup(place: Place) -> None:
    folder = place.folder / "heirs"
    ran = tally(place, "renew", "--out", str(folder / "identity"))
    assert ran.exit_code == 0, ran.output
    heir = place.write_settings("heir.toml", identity='"heirs/identity"', vault='"heirs/vault"')
    kept = accept(place, settings=heir)
    assert kept.exit_code == 0, kept.output
    (folder / "phrase").write_text("a pass phrase of the backup")
    phrase, backup = ("--passphrase-file", str(folder / "phrase")), str(folder / "backup")
    ran = tally(place, "backup", "--out", backup, *phrase)
    assert ran.exit_code == 0, ran.output
    anew = place.write_settings("anew.toml", identity='"heirs/identity"', vault='"heirs/vault anew"')
    key = ("--public-key", str(place.folder / "public.key"))
    ran = tally(place, "restore", "--from", backup, *key, *phrase, settings=anew)
    assert ran.exit_code == 0, ran.output


def test_the_enrolment_is_what_the_roster_needs(place: Place) -> None:
    ran = tally(place, "keys")
    assert json.loads(ran.stdout) == {
        "address": show_address(place.me),
        "role": "institution",
        "sealing_key": sealing_key_of(place.identity.sealing_secret).hex(),
        "name": "St. Elsewhere",
    }


def test_init_makes_keys_once(place: Place) -> None:
    settings = place.write_settings("new.toml", identity='"new"')
    first, second = (tally(place, "init", settings=settings) for _ in range(2))
    assert first.exit_code == 0, first.output
    assert f"tally node keys --settings {settings}" in first.stdout
    refused(second, ExitCode.REFUSED, "no key is lost")
    shown = json.loads(tally(place, "keys", settings=settings).stdout)
    assert shown["address"] in first.stdout.replace("\n", "")
    assert shown["address"] != show_address(place.me)


def test_who_is_no_member_is_told_so(place: Place) -> None:
    settings = place.write_settings("stranger.toml", identity='"stranger"')
    assert tally(place, "init", settings=settings).exit_code == 0
    for command in ("join", "run"):
        ran = tally(place, command, settings=settings)
        ended(ran, ExitCode.REFUSED, "is no member of study 1", "set `study`")


def _acceptances(place: Place) -> list[StudyAccepted]:
    view = place.ledger(place.aggregator)
    return [e for e in view.events(-1, view.head().number) if isinstance(e, StudyAccepted)]


def test_join_shows_the_study_and_accepts_it_by_its_digest_alone_and_once(place: Place) -> None:
    (digest,) = {event.digest.hex() for event in _acceptances(place)}
    before = [event.sender for event in _acceptances(place)].count(place.me)
    ran = tally(place, "join")
    assert ran.exit_code == 0, ran.output
    assert f"tally node join --settings {place.settings} --digest {digest}\n" in ran.stdout
    assert [event.sender for event in _acceptances(place)].count(place.me) == before
    refused(tally(place, "join", "--digest", "00" * 32), ExitCode.REFUSED, "is another document", digest)
    for _ in range(2):
        ran = tally(place, "join", "--digest", digest)
        assert ran.exit_code == 0, ran.output
        assert "3 of 3 members have" in ran.stdout
    assert [event.sender for event in _acceptances(place)].count(place.me) == 1


def test_the_terms_stand_in_full_even_where_our_policy_refuses_them(place: Place) -> None:
    settings = place.write_settings("reviewing.toml", vault='"unapproved"')
    ran = tally(place, "join", settings=settings)
    assert ran.exit_code == ExitCode.REFUSED
    lines = [line.split(maxsplit=1) for line in ran.stdout.splitlines()]
    shown = {name: rest for name, *more in lines for rest in more}
    assert task_digest() in ran.stdout
    for word in ("label", "positive", "negative", "features", "epochs", "batch", "learning", "l2"):
        assert word in shown
    for word in ("clip", "bound", "weight", "bits", "suite", "weakness", "rounds", "windows"):
        assert word in shown
    assert shown["positive"] == "yes"
    assert shown["weakness"] != "none"  # a test's key is short
    for member in place.members:
        assert f"{show_address(member)}  (institution, institution)" in ran.stdout
    assert f"{show_address(place.aggregator)}  (aggregator, aggregator)" in ran.stdout


@pytest.mark.parametrize(
    ("stake", "words"),
    [
        (NO_STAKE, "none"),
        (
            Stake(gwei=1_500_000_000, lock=600, treasury=Address(bytes(20))),
            "1.5 Ether, locked for 600 s after each total; for a fault it goes to whoever proves it",
        ),
        (
            Stake(gwei=1, lock=0, treasury=Address(b"\x77" * 20)),
            f"1 gwei, locked for 0 s after each total; for a fault it goes to 0x{'77' * 20}",
        ),
    ],
)
def test_people_read_what_an_aggregator_stands_to_lose_and_who_gets_it(
    place: Place, stake: Stake, words: str
) -> None:
    agreement = open_study(load_settings(NodeSettings, place.settings), None).observer.agreement
    (line,) = [
        line
        for line in terms(replace(agreement, spec=replace(agreement.spec, stake=stake)), {})
        if line.startswith("stake")
    ]
    assert line.split(maxsplit=4)[-1] == words


def test_aggregators_are_listed_in_the_order_of_their_turns(place: Place) -> None:
    agreement = open_study(load_settings(NodeSettings, place.settings), None).observer.agreement
    two = (Address(b"\x99" * 20), Address(b"\x11" * 20))
    shown = terms(replace(agreement, spec=replace(agreement.spec, aggregators=two)), {})
    listed = [line.split()[1] for line in shown if line.startswith("aggregator")]
    assert listed == [show_address(aggregator) for aggregator in two]


def test_a_peers_words_reach_no_terminal_as_commands(place: Place) -> None:
    desk = open_study(load_settings(NodeSettings, place.settings), None)
    agreement = desk.observer.agreement
    spec = replace(agreement.spec, name="\x1b[2Jharmless\nweakness  none")
    lines = list(terms(replace(agreement, spec=spec), {}))
    assert lines[0].endswith("\\x1b[2Jharmless\\nweakness  none")


def test_status_shows_the_settings_in_force_and_masks_what_is_secret(place: Place) -> None:
    ran = tally(place, "status", "--json")
    assert ran.exit_code == 0, ran.output
    shown = json.loads(ran.stdout)
    assert (shown["members"], shown["rounds"], shown["round"], shown["phase"]) == (3, 2, 1, "Committing")
    assert shown["settings"]["password_file"] == "********"
    assert shown["settings"]["ledger"]["url"] == place.devnet.url
    assert shown["settings"]["ledger"]["confirmations"] == 0
    assert shown["settings"]["policy"]["minimum_rows"] == 20
    assert shown["openings"] == 0
    assert shown["awaits"].partition(" to ")[2].startswith(("accept the study", "commit"))
    assert (shown["running"], shown["journal"], shown["holds_key_share"]) == (False, [], True)
    table = tally(place, "status")
    assert "Committing" in table.stdout
    assert f"awaits    {shown['awaits']}" in table.stdout
    assert "node      not running: `tally node run`" in table.stdout


def test_status_beside_a_running_node_says_so_and_shows_its_last_trouble(place: Place) -> None:
    settings = place.write_settings("watched.toml", vault='"watched"')
    refused(tally(place, "logs", settings=settings), ExitCode.REFUSED, "keep = true")
    journal = Journal(place.folder / "watched" / "journal.sqlite", place.ledger(place.aggregator).id)
    kept = place.folder / "watched" / "log" / "node.jsonl"
    kept.parent.mkdir()
    trouble = {"time": "2026-01-31T12:00:00+0000", "level": "WARNING", "part": "node.daemon"}
    kept.write_text(json.dumps(trouble | {"event": "retrying", "why": "no answer"}) + "\n")
    try:
        shown = json.loads(tally(place, "status", "--json", settings=settings).stdout)
    finally:
        journal.close()
    assert shown["running"]
    assert "no answer" in shown["trouble"]
    assert not shown["holds_key_share"]
    assert "no answer" in tally(place, "logs", "--level", "warning", settings=settings).stdout
    assert tally(place, "logs", "--round", "1", settings=settings).stdout == ""


def test_a_task_is_shown_approved_listed_and_revoked_while_the_node_runs(place: Place) -> None:
    settings = place.write_settings("deciding.toml", vault='"deciding"', password_file="")  # no secret needed
    running = Journal(place.folder / "deciding" / "journal.sqlite", place.ledger(place.aggregator).id)
    shown = tally(place, "approve", settings=settings)
    assert shown.exit_code == ExitCode.OK, shown.output
    assert f"--digest {task_digest()} --by" in shown.stdout
    for word in ("label", "epochs", "least contributors", "rounds", "reads sums and models", "parameters"):
        assert word in shown.stdout
    other = tally(place, "approve", "--digest", "ab" * 32, settings=settings)
    refused(other, ExitCode.REFUSED, "has another task", task_digest())
    refused(tally(place, "approve", "--digest", "ab", settings=settings), ExitCode.REFUSED, "of 64 digits")
    ran = tally(place, "approve", "--digest", task_digest(), "--by", "Dr. Ada\x1b[2J", settings=settings)
    assert ran.exit_code == ExitCode.OK, ran.output
    (line,) = tally(place, "approve", "--list", settings=settings).stdout.splitlines()
    assert f"approved  {task_digest()}  by Dr. Ada\\x1b[2J  for 2 rounds, 3 contributors" in line
    assert "read by its audience  over the terms of 'rehearsal'" in line
    ran = tally(place, "approve", "--revoke", task_digest(), settings=settings)
    assert ran.exit_code == ExitCode.OK, ran.output
    again = tally(place, "approve", "--revoke", task_digest(), settings=settings)
    refused(again, ExitCode.REFUSED, "no approval of task")
    assert [
        line.split()[1] for line in tally(place, "approve", "--list", settings=settings).stdout.splitlines()
    ] == ["approved", "revoked"]
    both = tally(place, "approve", "--list", "--revoke", task_digest(), settings=settings)
    refused(both, ExitCode.REFUSED, "one at a time")
    running.close()


def test_what_was_refused_is_listed_once_and_shown_by_status(place: Place) -> None:
    settings = place.write_settings("refusing.toml", vault='"refusing"')
    assert tally(place, "refusals", settings=settings).stdout == ""
    for _ in range(2):
        assert tally(place, "join", settings=settings).exit_code == ExitCode.REFUSED
        assert tally(place, "run", settings=settings).exit_code == ExitCode.REFUSED
    records = json.loads(tally(place, "refusals", "--json", settings=settings).stdout)
    assert sorted((one["act"], one["rule"], one["study"], one["round"]) for one in records) == [
        (act, "approval", 1, None) for act in ("join", "start")
    ]
    assert all(one["expected"] and one["found"] and one["at"] for one in records)
    lines = tally(place, "refusals", settings=settings).stdout.splitlines()
    assert len(lines) == 2
    assert "study 1, join: approval: expected a task that people here have approved" in "".join(lines)
    shown = json.loads(tally(place, "status", "--json", settings=settings).stdout)
    assert (shown["refusals"], shown["refused"]) == (2, lines[1])


def test_a_study_that_would_pass_the_cap_is_refused_before_it_is_joined(place: Place) -> None:
    settings = place.write_settings("capped.toml", policy__most_openings="1")
    ran = tally(place, "join", settings=settings)
    ended(ran, ExitCode.REFUSED, "policy, most_openings: ", "in at most 1 sums, of all studies, found 2")


def test_status_masks_credentials_in_the_url(place: Place) -> None:
    host = place.devnet.url.removeprefix("http://")
    settings = place.write_settings(
        "keyed.toml", ledger__url=f'"http://someone:{KEY_IN_URL}@{host}/?key={KEY_IN_URL}"'
    )
    ran = tally(place, "status", "--json", settings=settings)
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["settings"]["ledger"]["url"] == f"http://{host}/********"


def test_status_needs_no_password(place: Place) -> None:
    settings = place.write_settings("reader.toml", password_file='"nowhere"')
    assert tally(place, "status", settings=settings).exit_code == 0


@pytest.mark.parametrize("command", ["init", "keys", "join", "run", "status", "approve", "refusals"])
def test_no_command_takes_a_secret_as_an_argument(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    for word in ("--password", "--key ", "--secret", "--seed", "--private"):
        assert word not in shown.stdout


def test_a_missing_option_is_a_usage_error() -> None:
    ran = CliRunner().invoke(app, ["run"])
    assert ran.exit_code == ExitCode.USAGE
    assert "--settings" in ran.stderr


def module(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "node", *arguments]
    bare = {key: value for key, value in os.environ.items() if key != PASSWORD_VARIABLE}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=bare | environment, timeout=120
    )


def test_a_process_ends_with_the_documented_code_and_one_line(place: Place) -> None:
    (place.folder / "wrong").write_text("another pass phrase\n")
    wrong = place.write_settings("wrong.toml", password_file='"wrong"')
    silent = place.write_settings("silent.toml", ledger__url=f'"http://127.0.0.1:{closed_port()}"')
    cases: list[tuple[str, Path, ExitCode]] = [
        ("run", wrong, ExitCode.REFUSED),
        ("status", silent, ExitCode.UNAVAILABLE),
    ]
    for command, settings, code in cases:
        ran = module(command, "--settings", str(settings))
        assert ran.returncode == code, ran.stderr
        assert len(ran.stderr.splitlines()) == 1
        free_of_secrets(place, ran.stderr + ran.stdout)


def test_the_password_may_come_from_the_environment_and_a_second_process_is_refused(place: Place) -> None:
    settings = place.write_settings("env.toml", password_file="")
    ran = module("join", "--settings", str(settings), **{PASSWORD_VARIABLE: PASSWORD})
    assert ran.returncode == 0, ran.stderr
    free_of_secrets(place, ran.stdout + ran.stderr)
    held = Journal(place.folder / "vault" / "journal.sqlite", place.ledger(place.aggregator).id)
    second = module("run", "--settings", str(settings), **{PASSWORD_VARIABLE: PASSWORD})
    held.close()
    assert second.returncode == ExitCode.REFUSED
    assert second.stderr.splitlines()[-1].endswith("is this node running already?")
    free_of_secrets(place, second.stderr)
