"""A hospital that types two commands: what it makes, and every invitation that it does not believe."""

from __future__ import annotations

import base64
import getpass
import os
import pty
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from deploy.devnet import Devnet
from deploy.invite import invitations
from federation.dealing import PublicKey
from federation.digest import Digest, sha256
from federation.endpoints import LedgerSettings, StoreSettings, load_settings
from federation.enrolment import enrolled, read_enrolment
from federation.errors import ExitCode, Refused, Violation
from federation.events import LogPosition, Motion, MotionKind, Timestamp, Voted
from federation.governance import Consortium
from federation.identity import PASSWORD_VARIABLE, load_identity, read_password, sealing_key_hex
from federation.invitation import INVITATION_LIMIT, Invitation, InvitedLedger, read_invitation
from federation.members import Address, Member, Role, SealingKey, show_address
from node.__main__ import app
from node.approvals import Approvals, Limits
from node.invited import check_roster
from node.settings import NodeSettings
from node.settings_file import amend
from node.vault import held_key_shares

from ..ciphers.keys import dealt
from .hospital import PASSWORD, OnChain, Place, found, settle, task_digest

BARE = ("ledger__url", "ledger__contract", "ledger__chain_id", "ledger__deployment_block", "store__directory")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devnet]:
    with Devnet.start("anvil", directory=tmp_path_factory.mktemp("chain")) as devnet:
        yield devnet


@pytest.fixture(scope="module")
def place(chain: Devnet, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return settle(chain, tmp_path_factory.mktemp("hospital"))


@pytest.fixture(scope="module")
def stage(place: Place) -> OnChain:
    """A study that waits for this hospital alone."""
    return found(place)


@pytest.fixture(scope="module")
def invitation(place: Place, stage: OnChain, tmp_path_factory: pytest.TempPathFactory) -> Invitation:
    """What `tally study invite` writes for this hospital."""
    ceremony = tmp_path_factory.mktemp("ceremony")
    for member, box in place.boxes.items():
        (ceremony / f"share-{show_address(member)}.sealed").write_bytes(box)
    store = StoreSettings(directory=place.folder / "content")
    written = dict(
        invitations(stage.observer, place.public, [ceremony], ledger=ledger_of(place), store=store)
    )
    assert [*written] == [*place.members]
    return written[place.me]


def ledger_of(place: Place) -> LedgerSettings:
    return load_settings(NodeSettings, place.write_settings("whole.toml")).ledger


def bare(place: Place, folder: Path) -> Path:
    """Settings as `provision` writes them, with the place's keys; nothing of a ledger, no task allowed."""
    file = folder / "node.toml"
    changes = {"identity": f'"{place.folder}/identity"', "data": f'"{place.folder}/patients.csv"'}
    written = place.write_settings("bare.toml", study="", **changes, **dict.fromkeys(BARE, ""))
    file.write_text(f"# ours\n{written.read_text()}")
    (folder / "password").write_text(PASSWORD)
    return file


def join(settings: Path, invitation: Invitation | None, *options: str) -> Result:
    where = ["join", "--settings", str(settings)]
    if invitation is not None:
        file = settings.with_name("invitation.toml")
        file.write_bytes(invitation.encode())
        where += ["--invitation", str(file)]
    return CliRunner().invoke(app, [*where, *options])


def changed(invitation: Invitation, **changes: object) -> Invitation:
    return Invitation.model_validate(invitation.model_dump(mode="json") | changes)


def test_an_invitation_is_read_as_it_was_written(invitation: Invitation, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(invitation.encode())
    assert read_invitation(tmp_path / "file") == invitation


def test_a_taken_invitation_is_in_vault_and_settings_and_nothing_is_agreed_to(
    place: Place, stage: OnChain, invitation: Invitation, tmp_path: Path
) -> None:
    settings = bare(place, tmp_path)
    for typed_again in (False, True):  # as after a crash in between
        ran = join(settings, invitation)
        assert "the code is the audited one" in ran.stdout
        assert typed_again or f"read through {place.devnet.url}: whoever runs that" in ran.stdout
        assert "least contributors" in ran.stdout, "the terms stand in full"
        assert ran.exit_code == ExitCode.REFUSED
        assert f"The task is not allowed here yet: {task_digest()}" in ran.stdout
    assert len(held_key_shares(tmp_path / "vault")) == 1
    node = load_settings(NodeSettings, settings)
    assert node.ledger == ledger_of(place)
    assert node.store == StoreSettings(directory=place.folder / "content")
    assert allowed(tmp_path) == []
    assert settings.read_text().startswith("# ours\n"), "what people wrote stays"
    assert place.me not in _accepted(stage)


def test_a_hospital_names_its_own_ethereum_node(place: Place, invitation: Invitation, tmp_path: Path) -> None:
    settings = bare(place, tmp_path)
    own = place.devnet.url.replace("127.0.0.1", "localhost")
    keyed = changed(invitation, ledger=invitation.ledger.model_dump(exclude_none=True, exclude={"url"}))
    ran = join(settings, keyed)
    assert "names no Ethereum node: name yours by --url" in ran.stderr
    ran = join(settings, keyed, "--url", own)
    assert "whoever runs that" not in ran.stdout
    assert load_settings(NodeSettings, settings).ledger.url == own
    assert "the settings have [ledger] already" in join(settings, keyed, "--url", own).stderr
    assert "beside --invitation alone" in join(settings, None, "--url", own).stderr


def test_what_the_settings_say_already_stays_and_the_rest_comes_with_the_invitation(
    place: Place, stage: OnChain, invitation: Invitation, tmp_path: Path
) -> None:
    for missing in ("store", "ledger"):
        folder = tmp_path / missing
        folder.mkdir()
        settings = bare(place, folder)
        kept = invitation.model_dump(mode="json", exclude_none=True)[
            "ledger" if missing == "store" else "store"
        ]
        amend(settings, {"store" if missing == "ledger" else "ledger": kept})
        assert "is not allowed here yet" in join(settings, invitation).stdout
        node = load_settings(NodeSettings, settings)
        assert (node.ledger, node.store) == (
            ledger_of(place),
            StoreSettings(directory=place.folder / "content"),
        )


def test_urls_that_may_hold_a_key_stay_at_home(place: Place) -> None:
    own = ledger_of(place)
    named = {"url": "http://10.0.0.1:8545/secret", "also": ("http://10.0.0.2:8545", "http://me:pw@10.0.0.3")}
    shown = InvitedLedger.of(LedgerSettings.model_validate(own.model_dump() | named))
    assert shown.url is None
    assert shown.also == ("http://10.0.0.2:8545",)
    assert shown.through("http://10.0.0.9:8545").also == (), "others would outvote ours while it is silent"
    with pytest.raises(Refused, match="names no Ethereum node"):
        shown.through(None)


def test_an_invitation_cannot_say_which_code_the_contract_may_run(
    place: Place, invitation: Invitation, tmp_path: Path
) -> None:
    file = tmp_path / "invitation.toml"
    text = invitation.encode().decode()
    file.write_text(text.replace("[ledger]\n", f'[ledger]\ncode = "{"44" * 32}"\n'))
    with pytest.raises(Refused, match=r"ledger\.code: unknown key"):
        read_invitation(file)
    other = LedgerSettings.model_validate(ledger_of(place).model_dump() | {"code": "44" * 32})
    assert InvitedLedger.of(other).through(None).code is None, "then our own build's is expected"


@pytest.mark.parametrize("also", [["http://10.0.0.2"] * 2, [f"http://10.0.0.{n}" for n in range(9)]])
def test_witnesses_that_no_settings_may_have_are_refused(also: list[str], invitation: Invitation) -> None:
    named = InvitedLedger.model_validate(invitation.ledger.model_dump() | {"also": also})
    with pytest.raises(Refused, match=r"the invitation's \[ledger\]"):
        named.through(None)


def allowed(folder: Path) -> list[tuple[str, str]]:
    """Which tasks people allowed, and who they were."""
    return [(decision.task, decision.by) for decision in Approvals(folder / "vault").decisions()]


def _accepted(stage: OnChain) -> set[Address]:
    stage.view.refresh()
    return set(stage.observer.study.accepted)


def forgeries(place: Place, invitation: Invitation) -> dict[str, tuple[dict[str, object], str]]:
    """What an invitation may say that is not so, and the words that name it."""
    another = PublicKey(suite="paillier", key=dealt(512, 2, 3).public_key, members=place.members)
    others = base64.b64encode(place.boxes[place.others[0]]).decode()
    ledger = invitation.ledger.model_dump(exclude_none=True)
    return {
        "another member": ({"member": show_address(place.others[0])}, "we are 0x"),
        "another study": ({"study": 7}, "the ledger has 1 studies"),
        "another document": ({"document": "00" * 32}, "expected document 0000"),
        "another task": ({"task": "11" * 32}, "the document's task is not 1111"),
        "another key": ({"dealt": base64.b64encode(another.encode()).decode()}, "expected the study's key"),
        "no key": ({"dealt": "AAAA"}, "§"),
        "another's share": ({"shares": [others]}, "a sealed share that is not ours"),
        "two shares of one dealer": ({"shares": [others, others]}, "1 sealed shares, one of each dealer"),
        "another chain": ({"ledger": {**ledger, "chain_id": 5}}, "expected chain id 5, found 31337"),
        "no contract": ({"ledger": {**ledger, "contract": "0x" + "77" * 20}}, "there is no contract at"),
        "no store": ({"store": {"directory": str(place.folder / "absent" / "store")}}, "found no folder"),
        "no name of a store": ({"store": {"directory": "x" * 5000}}, "found no folder"),
        "two stores": ({"store": {"directory": "/a", "ipfs": "/b"}}, "exactly one of"),
    }


FORGED = (
    "another member",
    "another study",
    "another document",
    "another task",
    "another key",
    "no key",
    "another's share",
    "two shares of one dealer",
    "another chain",
    "no contract",
    "no store",
    "no name of a store",
    "two stores",
)


@pytest.mark.parametrize("forged", FORGED)
def test_an_invitation_that_does_not_hold_leaves_no_trace(
    place: Place, invitation: Invitation, tmp_path: Path, forged: str
) -> None:
    known = forgeries(place, invitation)
    assert [*known] == [*FORGED]
    changes, words = known[forged]
    settings = bare(place, tmp_path)
    before = settings.read_bytes()
    ran = join(settings, changed(invitation, **changes), "--allow", task_digest())
    assert ran.exit_code in {ExitCode.REFUSED, ExitCode.VIOLATION}, ran.output
    (line,) = ran.stderr.splitlines()
    assert words in line
    assert ran.stdout == ""
    assert settings.read_bytes() == before
    assert held_key_shares(tmp_path / "vault") == []
    assert not (place.folder / "absent").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["invitation.toml", "node.toml", "password"]


@pytest.mark.parametrize(
    ("known_as", "kind", "words"),
    [
        ("nobody", Refused, "as an active institution, found nobody"),
        ("an auditor", Refused, "as an active institution, found active auditor"),
        ("another sealing key", Violation, "the enrolment was altered on its way"),
        ("suspended", Refused, "as an active institution, found suspended institution"),
    ],
)
def test_a_roster_that_has_us_otherwise_is_not_joined(
    place: Place, known_as: str, kind: type[Exception], words: str
) -> None:
    me = enrolled(place.identity, Role.INSTITUTION, "St. Elsewhere")
    consortium = Consortium()
    entry = {
        "an auditor": replace(me, role=Role.AUDITOR),
        "another sealing key": replace(me, sealing_key=SealingKey(bytes(32))),
    }.get(known_as, me)
    if known_as != "nobody":
        consortium.join(entry)
    if known_as == "suspended":
        suspend(consortium, me)
    with pytest.raises(kind, match=words):
        check_roster(consortium, place.identity)


def suspend(consortium: Consortium, member: Member) -> None:
    """Its own vote is enough where nobody else is on the roster."""
    motion = Motion(
        kind=MotionKind.SUSPEND,
        expires=Timestamp(10),
        subject=member.address,
        member=None,
        value=0,
        code=Digest(bytes(32)),
    )
    event = Voted(
        at=LogPosition(1, 0), time=Timestamp(1), sender=member.address, id=sha256(b"motion"), motion=motion
    )
    consortium.vote(event)


def typed(settings: Path, invitation: Path, answers: bytes) -> tuple[int, str]:
    """The command on a terminal of its own, with these answers; its end and what the terminal showed."""
    ours, theirs = pty.openpty()
    os.write(ours, answers)
    command = [
        sys.executable,
        "-m",
        "node",
        "join",
        "--settings",
        str(settings),
        "--invitation",
        str(invitation),
    ]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    out, _ = process.communicate(timeout=300)
    os.close(ours)
    os.close(theirs)
    return process.returncode, out


def test_a_person_at_a_terminal_is_asked_for_task_and_document(
    place: Place, stage: OnChain, invitation: Invitation, tmp_path: Path
) -> None:
    settings, file = bare(place, tmp_path), tmp_path / "from-the-consortium"
    file.write_bytes(invitation.encode())
    code, out = typed(settings, file, b"54545454\n")
    assert code == ExitCode.REFUSED, out
    assert "is not allowed here" in out
    assert allowed(tmp_path) == []
    assert place.me not in _accepted(stage)
    answers = f"{task_digest()[:8]}\n0x{invitation.document[:9].upper()}\n"
    code, out = typed(settings, file, answers.encode())
    assert code == ExitCode.OK, out
    assert allowed(tmp_path) == [(task_digest(), getpass.getuser())]
    assert "3 of 3 members have" in out
    assert place.me in _accepted(stage)


def test_elsewhere_both_answers_are_options_and_another_one_changes_nothing(
    place: Place, invitation: Invitation, tmp_path: Path
) -> None:
    settings = bare(place, tmp_path)
    ran = join(settings, invitation, "--allow", "22" * 32)
    assert "--allow: the study's task is another one: expected 2222" in ran.stderr
    assert allowed(tmp_path) == []
    ran = join(settings, invitation, "--allow", task_digest(), "--digest", "33" * 32)
    assert "is another document" in ran.stderr
    ran = join(settings, invitation, "--allow", task_digest(), "--digest", invitation.document, "--by", "Ada")
    assert ran.exit_code == ExitCode.OK, ran.output
    assert len(allowed(tmp_path)) == 1, "what stands is not approved again"
    assert "least contributors" not in ran.stdout


def test_an_approval_that_another_study_needs_in_full_is_not_narrowed_by_joining(
    place: Place, stage: OnChain, invitation: Invitation, tmp_path: Path
) -> None:
    agreement, approvals = stage.observer.agreement, Approvals(tmp_path / "vault")
    longer = replace(agreement, spec=replace(agreement.spec, rounds=agreement.spec.rounds + 90))
    approvals.approve(longer, by="Ada", at="before")
    ran = join(bare(place, tmp_path), invitation, "--allow", task_digest())
    assert "accept this very document" in ran.stdout, ran.output
    assert approvals.of(agreement.task.spec.digest) == Limits.of(longer)


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "long").open("wb") as file:
        file.truncate(INVITATION_LIMIT + 1)
    with pytest.raises(Refused, match="expected an invitation of at most 1048576 bytes"):
        read_invitation(tmp_path / "long")
    with pytest.raises(Refused, match="cannot be read"):
        read_invitation(tmp_path / "absent")


@pytest.mark.parametrize("text", [b"a = " + b"[" * 100_000, b"study = " + b"9" * 5_000, b"\xff", b"a"])
def test_a_file_that_breaks_its_parser_is_refused_like_any_other(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "file").write_bytes(text)
    with pytest.raises(Refused, match="expected TOML in UTF-8"):
        read_invitation(tmp_path / "file")


def test_settings_for_another_ledger_or_study_are_not_overwritten(
    place: Place, invitation: Invitation, tmp_path: Path
) -> None:
    settings = bare(place, tmp_path)
    join(settings, invitation)
    before = settings.read_bytes()
    assert (
        "study: the settings have 1, the invitation 2" in join(settings, changed(invitation, study=2)).stderr
    )
    ledger = invitation.ledger.model_dump(exclude_none=True) | {"deployment_block": 1}
    assert "deployment_block: expected" in join(settings, changed(invitation, ledger=ledger)).stderr
    assert settings.read_bytes() == before


def test_invitations_are_not_written_for_another_key(place: Place, stage: OnChain, tmp_path: Path) -> None:
    store = StoreSettings(directory=place.folder / "content")
    another = PublicKey(suite="paillier", key=dealt(512, 2, 3).public_key, members=place.members)
    for public, folders, words in (
        (another, [tmp_path], "is under the key"),
        (place.public, [tmp_path, tmp_path], "expected --ceremony 1 times"),
        (place.public, [tmp_path], "cannot be read"),
    ):
        with pytest.raises(Refused, match=words):
            list(invitations(stage.observer, public, folders, ledger=ledger_of(place), store=store))


def provision(folder: Path, *options: str, data: str = "patients.csv") -> Result:
    where = ("--data", data, "--out", str(folder))
    return CliRunner().invoke(app, ["provision", 'St. "Else" where', *where, *options])


def test_one_command_makes_a_hospital(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    folder = tmp_path / "new"
    ran = provision(folder, data=str(folder / "patients.csv"))
    assert ran.exit_code == ExitCode.OK, ran.output
    member = read_enrolment(folder / "enrolment.json")
    password = (folder / "password").read_text().strip()
    identity = load_identity(folder / "identity", password)
    assert (member.address, member.role) == (identity.address, Role.INSTITUTION)
    assert member.sealing_key.hex() in ran.stdout, "to be told by another road"
    assert f"tally node join --settings {folder}/node.toml --invitation FILE" in ran.stdout
    assert password not in ran.output
    node = load_settings(NodeSettings, folder / "node.toml")
    assert (node.name, node.data) == ('St. "Else" where', folder.resolve() / "patients.csv")
    assert not node.policy.accept_weak_keys
    assert 'data = "patients.csv"' in (folder / "node.toml").read_text(), "the folder can be moved"
    assert stat.S_IMODE((folder / "password").stat().st_mode) == 0o600
    assert "this hospital is provisioned" in provision(folder).stderr
    (folder / "node.toml").unlink()  # as a crash before the last step leaves it
    assert provision(folder).exit_code == ExitCode.OK
    assert read_enrolment(folder / "enrolment.json") == member


def test_no_hospital_is_made_where_others_may_have_laid_their_keys(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    ran = provision(tmp_path / "shared")
    assert ran.exit_code == ExitCode.REFUSED
    assert "others may write there" in ran.stderr
    assert list((tmp_path / "shared").iterdir()) == []


@pytest.mark.parametrize("writes", range(5))
def test_a_hospital_that_was_cut_off_while_it_was_made_is_finished_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    left, replace = [writes], Path.replace

    def replace_until_cut_off(partial: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return replace(partial, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace_until_cut_off)
        assert provision(tmp_path).exit_code not in {ExitCode.OK, ExitCode.REFUSED}
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json") if path.name != "enrolment.json"}
    assert provision(tmp_path).exit_code == ExitCode.OK
    member = read_enrolment(tmp_path / "enrolment.json")
    identity = load_identity(tmp_path / "identity", (tmp_path / "password").read_text().strip())
    assert (member.address, member.sealing_key.hex()) == (identity.address, sealing_key_hex(identity))
    assert all(path.read_bytes() == data for path, data in before.items()), "no key is made anew"


def test_a_password_from_the_environment_is_not_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, PASSWORD)
    assert provision(tmp_path).exit_code == ExitCode.OK
    assert not (tmp_path / "password").exists()
    assert load_settings(NodeSettings, tmp_path / "node.toml").password_file is None
    load_identity(tmp_path / "identity", PASSWORD)


def test_a_password_can_lie_elsewhere_or_be_a_credential_of_systemd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    secret = tmp_path / "credentials" / "TALLY_PASSWORD"
    secret.parent.mkdir()
    secret.write_text(PASSWORD + "\n")
    assert provision(tmp_path / "one", "--password-file", str(secret)).exit_code == ExitCode.OK
    assert load_settings(NodeSettings, tmp_path / "one" / "node.toml").password_file == secret
    load_identity(tmp_path / "one" / "identity", PASSWORD)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(secret.parent))
    assert provision(tmp_path / "two").exit_code == ExitCode.OK
    assert load_settings(NodeSettings, tmp_path / "two" / "node.toml").password_file is None
    load_identity(tmp_path / "two" / "identity", PASSWORD)
    monkeypatch.setenv(PASSWORD_VARIABLE, "typed by a person")
    assert read_password(None) == "typed by a person"


def test_a_settings_file_that_would_not_load_is_left_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("name = 3\n")
    with pytest.raises(Refused, match="name"):
        amend(file, {"study": 2})
    assert file.read_text() == "name = 3\n"
    file.write_text("name = [\n")
    with pytest.raises(Refused, match="expected TOML"):
        amend(file, {"study": 2})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["node.toml"]
