"""A key's life as people type it: dealt, checked, joined, accepted, backed up, lost, restored, destroyed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from deploy.command import Ended
from deploy.tally import application
from federation.ciphers import suite_for
from federation.ciphers.suite import KeyShare, RoundContext, Seed, TotalContext
from federation.dealing import decode_public_key
from federation.digest import Digest, LedgerId, labelled, sha256
from federation.enrolment import enrolled, show_enrolment
from federation.errors import ExitCode
from federation.events import RoundId, StudyId
from federation.identity import Identity, create_identity
from federation.members import Role, show_address
from node.key_commands import PASSPHRASE_VARIABLE
from node.vault import read_key_share

PASSWORD, PASSPHRASE = "correct horse", "battery staple"


@dataclass(frozen=True)
class Hospital:
    """A folder with keys, settings, and an enrolment."""

    folder: Path
    identity: Identity

    @property
    def settings(self) -> Path:
        return self.folder / "node.toml"

    @property
    def vault(self) -> Path:
        return self.folder / "vault"

    @property
    def share(self) -> str:
        return f"share-{show_address(self.identity.address)}.sealed"

    def moved(self, folder: Path) -> Hospital:
        """The same hospital on a new machine: identity and settings, an empty vault."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("vault"))
        return Hospital(folder, self.identity)

    def keys(self, *arguments: object) -> Ended:
        return tally("node", "keys", "--settings", self.settings, *arguments)

    def accepts(self, key: Path, *folders: Path) -> Ended:
        boxes = [word for folder in folders for word in ("--accept", folder / self.share)]
        return self.keys(*boxes, "--public-key", key)

    def backup(self, out: Path, *more: object) -> Ended:
        where = ("--passphrase-file", self.folder / "passphrase")
        return tally("node", "backup", "--settings", self.settings, "--out", out, *where, *more)

    def restore(self, source: Path, *more: object) -> Ended:
        where = ("--passphrase-file", self.folder / "passphrase")
        return tally("node", "restore", "--settings", self.settings, "--from", source, *where, *more)


def tally(*words: object) -> Ended:
    ran = CliRunner().invoke(application(str(words[0])), list(map(str, words)))
    assert "Traceback" not in ran.output
    for secret in (PASSWORD, PASSPHRASE):
        assert secret not in ran.output
    return Ended(code=ran.exit_code, out=ran.stdout, err=ran.stderr)


def told(ended: Ended) -> str:
    assert ended.code == ExitCode.OK, ended
    return ended.out


def failed(ended: Ended, code: ExitCode) -> str:
    """The one line with which a command ended."""
    assert ended.code == code, ended
    (line,) = ended.err.splitlines()
    return line


def refusal(ended: Ended) -> str:
    return failed(ended, ExitCode.REFUSED)


@pytest.fixture(autouse=True)
def _no_passphrase_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSPHRASE_VARIABLE, raising=False)


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> list[Hospital]:
    made = []
    for number in (1, 2, 3):
        folder = tmp_path_factory.mktemp(f"hospital-{number}")
        identity = create_identity(folder / "identity", PASSWORD, os.urandom, cost=1 << 4)
        member = enrolled(identity, Role.INSTITUTION, f"hospital-{number}")
        (folder / "enrolment.json").write_text(show_enrolment(member))
        (folder / "password").write_text(PASSWORD)
        (folder / "passphrase").write_text(PASSPHRASE)
        (folder / "node.toml").write_text(
            f'name = "hospital-{number}"\nidentity = "identity"\npassword_file = "password"\n'
            'vault = "vault"\ndata = "patients.csv"\n'
        )
        made.append(Hospital(folder, identity))
    return made


def deal(hospitals: list[Hospital], out: Path, *more: object, bits: int = 256) -> Ended:
    enrolments = [hospital.folder / "enrolment.json" for hospital in hospitals]
    small = ("--threshold", 2, "--bits", bits, "--unsafe")
    return tally("keys", "deal", *enrolments, "--out", out, *small, *more)


@pytest.fixture(scope="module")
def ceremonies(hospitals: list[Hospital], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two dealers' folders, for the same members; the first one signed."""
    folder = tmp_path_factory.mktemp("ceremonies")
    signer = ("--identity", hospitals[0].folder / "identity", "--password-file")
    told(deal(hospitals, folder / "one", *signer, hospitals[0].folder / "password"))
    told(deal(hospitals, folder / "two"))
    return folder / "one", folder / "two"


@pytest.fixture(scope="module")
def joined(ceremonies: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("joined") / "public.key"
    assert "of two dealers" in told(
        tally("keys", "join", *(folder / "public.key" for folder in ceremonies), "--out", out)
    )
    return out


def digest_of(key: Path) -> Digest:
    return decode_public_key(key.read_bytes()).resolve().key_digest


# The ceremony and its record


def test_the_suite_is_left_to_each_study_unless_one_is_named(
    hospitals: list[Hospital], ceremonies: tuple[Path, Path], tmp_path: Path
) -> None:
    assert decode_public_key((ceremonies[0] / "public.key").read_bytes()).suite == "auto"
    for suite in ("paillier", "hybrid", "plain"):
        told(deal(hospitals, tmp_path / suite, "--suite", suite))
        assert decode_public_key((tmp_path / suite / "public.key").read_bytes()).suite == suite
        told(tally("keys", "check", tmp_path / suite))


def test_a_suite_that_is_none_or_hides_nothing_is_refused(hospitals: list[Hospital], tmp_path: Path) -> None:
    assert "auto, hybrid, paillier, or plain with --unsafe" in refusal(
        deal(hospitals, tmp_path / "out", "--suite", "rot13")
    )
    files = [hospital.folder / "enrolment.json" for hospital in hospitals]
    ended = tally("keys", "deal", *files, "--out", tmp_path / "out", "--threshold", 2, "--suite", "plain")
    assert "which encrypts nothing; found 'plain'" in refusal(ended)
    assert not (tmp_path / "out").exists()


def test_a_ceremony_checks_out_and_says_who_signed_it(
    hospitals: list[Hospital], ceremonies: tuple[Path, Path]
) -> None:
    one, two = ceremonies
    shown = told(tally("keys", "check", one))
    assert f"2 of 3 key {digest_of(one / 'public.key').hex()}, suite auto" in shown
    assert "weakness: a modulus of 256 bits" in shown
    assert "3 of its 3 sealed shares are here" in shown
    assert f"signed by {show_address(hospitals[0].identity.address)}" in shown
    assert "unsigned" in told(tally("keys", "check", two / "public.key", two / "ceremony.json"))
    assert "no record was given" in told(tally("keys", "check", two / "public.key"))


def test_the_record_is_printed_and_has_every_files_digest(ceremonies: tuple[Path, Path]) -> None:
    page = told(tally("keys", "show", ceremonies[0]))
    assert page == told(tally("keys", "show", ceremonies[0] / "ceremony.json"))
    for path in ceremonies[0].iterdir():
        assert path.name == "ceremony.json" or f"{sha256(path.read_bytes()).hex()}  {path.name}" in page
    assert "reads every single update" in page


def test_what_was_altered_after_a_ceremony_is_a_violation(
    hospitals: list[Hospital], ceremonies: tuple[Path, Path], tmp_path: Path
) -> None:
    one, two = ceremonies
    for name in ("share", "record", "key"):
        shutil.copytree(one, tmp_path / name)
    (tmp_path / "share" / hospitals[1].share).write_bytes((two / hospitals[1].share).read_bytes())
    line = failed(tally("keys", "check", tmp_path / "share"), ExitCode.VIOLATION)
    assert f"{hospitals[1].share} is not the file of the record" in line
    record = tmp_path / "record" / "ceremony.json"
    record.write_text(record.read_text().replace('"hospital-2"', '"hospital-9"'))
    line = failed(tally("keys", "check", tmp_path / "record"), ExitCode.VIOLATION)
    assert "a record's signature" in line
    shutil.copy(two / "public.key", tmp_path / "key" / "public.key")
    line = failed(tally("keys", "check", tmp_path / "key"), ExitCode.VIOLATION)
    assert f"expected {digest_of(two / 'public.key').hex()}" in line


def test_a_folder_has_its_own_record_and_a_key_one_for_each_dealer(
    ceremonies: tuple[Path, Path], joined: Path
) -> None:
    one, two = (folder / "ceremony.json" for folder in ceremonies)
    assert "expected a folder alone" in refusal(tally("keys", "check", ceremonies[0], one))
    assert "expected 2 records, one of each dealer, found 1" in refusal(tally("keys", "check", joined, one))
    twice = failed(tally("keys", "check", joined, one, one), ExitCode.VIOLATION)
    assert f"expected {digest_of(ceremonies[1] / 'public.key').hex()}" in twice
    shown = told(tally("keys", "check", joined, two, one))
    assert ", suite hybrid, of two dealers" in shown
    assert shown.count("3 of its 3 sealed shares are here") == 2


@pytest.mark.parametrize("name", ["public.key", "ceremony.json"])
def test_what_is_not_there_or_no_key_is_refused_by_name(
    name: str, ceremonies: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(ceremonies[0], tmp_path / "ceremony")
    (tmp_path / "ceremony" / name).unlink()
    assert f"{name}: cannot be read" in refusal(tally("keys", "check", tmp_path / "ceremony"))
    (tmp_path / "ceremony" / name).write_text("torn")
    assert f"{name}: expected" in refusal(tally("keys", "check", tmp_path / "ceremony"))


# Two dealers


def test_keys_that_do_not_go_together_are_not_joined(
    hospitals: list[Hospital], ceremonies: tuple[Path, Path], joined: Path, tmp_path: Path
) -> None:
    told(deal(hospitals, tmp_path / "longer", bits=272))
    one = ceremonies[0] / "public.key"
    out = ("--out", tmp_path / "joined.key")
    line = refusal(tally("keys", "join", one, tmp_path / "longer" / "public.key", *out))
    assert "expected (256, 2, 3), found (272, 2, 3); deal one of them again to match" in line
    assert "no common factor" in refusal(tally("keys", "join", one, one, *out))
    assert "found 2 dealers'" in refusal(tally("keys", "join", joined, one, *out))
    assert not (tmp_path / "joined.key").exists()
    again = tally("keys", "join", one, ceremonies[1] / "public.key", "--out", joined)
    assert "a key is never overwritten" in refusal(again)


def test_a_member_needs_the_shares_of_both_dealers(
    hospitals: list[Hospital], ceremonies: tuple[Path, Path], joined: Path, tmp_path: Path
) -> None:
    hospital = hospitals[0].moved(tmp_path / "moved")
    assert "found 1: give --accept once for each" in refusal(hospital.accepts(joined, ceremonies[0]))
    line = failed(hospital.accepts(joined, ceremonies[0], ceremonies[0]), ExitCode.VIOLATION)
    assert f"no sealed share of the key {digest_of(ceremonies[1] / 'public.key').hex()}" in line
    assert told(hospital.keys("--list")) == ""


def test_what_members_accepted_of_two_dealers_opens_a_sum_for_any_two_of_them(
    hospitals: list[Hospital], ceremonies: tuple[Path, Path], joined: Path
) -> None:
    key, digest = decode_public_key(joined.read_bytes()), digest_of(joined)
    shares: dict[int, KeyShare] = {}
    for hospital in hospitals:
        told(hospital.accepts(joined, *ceremonies))
        number = key.members.index(hospital.identity.address) + 1
        shares[number] = read_key_share(hospital.vault, PASSWORD, key=digest)
    suite = suite_for("hybrid", key.key, values=5)
    context = RoundContext(ledger=LedgerId(labelled("here")), round=RoundId(StudyId(1), 1))
    values = [np.array([number, -number, 1000 * number, 0, 7], np.int64) for number in (1, 2, 3)]
    updates = [
        suite.encrypt(one, seed=Seed(bytes([i]) * 32), header=b"header %d" % i, context=context)
        for i, one in enumerate(values)
    ]
    total = {run: suite.combine(run, [update.run(run) for update in updates]) for run in suite.layout.runs()}
    capsule = b"".join(data for run, data in total.items() if run.first < suite.layout.body.first)
    body = [data for run, data in total.items() if run.first >= suite.layout.body.first]
    place = TotalContext(ledger=context.ledger, round=context.round, root=labelled("root"))
    for pair in combinations(shares, 2):
        given = {i: suite.share(capsule, member=i, key_share=shares[i], context=place) for i in pair}
        opening = suite.join(capsule, given)
        found = suite.decode(opening, body, context=context, count=5, members=3)
        assert found.tolist() == np.sum(values, axis=0).tolist()


# A share's life


@pytest.fixture
def keeper(hospitals: list[Hospital], ceremonies: tuple[Path, Path], tmp_path: Path) -> Iterator[Hospital]:
    """A hospital with the shares of two epochs."""
    hospital = hospitals[1].moved(tmp_path / "keeper")
    for ceremony in ceremonies:
        told(hospital.accepts(ceremony / "public.key", ceremony))
    return hospital


def test_shares_of_several_keys_lie_side_by_side_and_one_is_forgotten(
    keeper: Hospital, ceremonies: tuple[Path, Path]
) -> None:
    one, two = (digest_of(folder / "public.key") for folder in ceremonies)
    assert set(told(keeper.keys("--list")).split()) == {one.hex(), two.hex()}
    assert "in hexadecimal digits" in refusal(keeper.keys("--forget", "zz" * 32))
    assert "the whole digest of 64 digits" in refusal(keeper.keys("--forget", one.hex()[:16]))
    unknown = refusal(keeper.keys("--forget", "00" * 32))
    assert one.hex() in unknown
    assert two.hex() in unknown
    gone = told(keeper.keys("--forget", one.hex()))
    assert "backups, snapshots" in gone
    assert told(keeper.keys("--list")).split() == [two.hex()]
    assert "one at a time" in refusal(keeper.keys("--forget", two.hex(), "--list"))


def test_a_lost_vault_comes_back_from_its_backup(
    keeper: Hospital, ceremonies: tuple[Path, Path], tmp_path: Path
) -> None:
    told(keeper.backup(tmp_path / "backup"))
    new = keeper.moved(tmp_path / "new machine")
    keys = [folder / "public.key" for folder in ceremonies]
    checked = [word for key in keys for word in ("--public-key", key)]
    shown = told(new.restore(tmp_path / "backup", *checked))
    assert "gives nothing in rounds that have" in shown
    for key in map(digest_of, keys):
        assert read_key_share(new.vault, PASSWORD, key=key) == read_key_share(keeper.vault, PASSWORD, key=key)
    assert "nothing is restored over a share that is here" in refusal(new.restore(tmp_path / "backup"))
    assert "never overwritten" in refusal(keeper.backup(tmp_path / "backup"))


def test_what_is_wrong_with_a_backup_is_told_apart(
    keeper: Hospital, hospitals: list[Hospital], joined: Path, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    told(keeper.backup(backup))
    other = hospitals[2].moved(tmp_path / "other")
    assert f"found one of {show_address(keeper.identity.address)}" in refusal(other.restore(backup))
    new = keeper.moved(tmp_path / "new")
    assert "expected a key that the backup has a share of" in refusal(
        new.restore(backup, "--public-key", joined)
    )
    (new.folder / "passphrase").write_text("another passphrase")
    assert "wrong password, or the file was altered" in refusal(new.restore(backup))
    (new.folder / "passphrase").write_text(PASSPHRASE)
    document = json.loads(backup.read_text())
    box = document["box"]
    backup.write_text(json.dumps(document | {"box": box[:-1] + ("0" if box[-1] != "0" else "1")}))
    assert "altered" in refusal(new.restore(backup))
    assert not new.vault.exists()


def test_a_backup_has_a_passphrase_of_its_own(
    keeper: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ("node", "backup", "--settings", keeper.settings, "--out", tmp_path / "backup")
    assert f"give --passphrase-file, or set {PASSPHRASE_VARIABLE}" in refusal(tally(*plain))
    line = refusal(tally(*plain, "--passphrase-file", keeper.folder / "password"))
    assert "found the node's password: choose another" in line
    assert not (tmp_path / "backup").exists()
    monkeypatch.setenv(PASSPHRASE_VARIABLE, PASSPHRASE)
    told(tally(*plain))
    assert (tmp_path / "backup").exists()


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_no_passphrase_is_taken_from_the_command_line(command: str) -> None:
    shown = told(tally("node", command, "--help"))
    assert "--passphrase-file" in shown
    assert "--passphrase " not in shown
