"""Enrolment files: what one party writes, every other one reads, or refuses by the file's name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from federation.enrolment import enrol, read_enrolment, read_enrolments, show_enrolment
from federation.errors import Refused
from federation.identity import load_identity
from federation.members import Member, Role, SealingKey, parse_address

MEMBER = Member(
    address=parse_address("0x" + "ab" * 20),
    role=Role.AUDITOR,
    sealing_key=SealingKey(bytes(range(32))),
    name="St. Elsewhere",
)


def written(folder: Path, **changes: object) -> Path:
    path = folder / "enrolment.json"
    path.write_text(json.dumps(json.loads(show_enrolment(MEMBER)) | changes))
    return path


@pytest.mark.parametrize("role", Role)
def test_what_is_enrolled_is_read_back(role: Role, tmp_path: Path) -> None:
    member = enrol(tmp_path / "keys", "a password", role=role, name="N" * 31, random=os.urandom)
    (tmp_path / "enrolment.json").write_text(show_enrolment(member))
    assert read_enrolment(tmp_path / "enrolment.json") == member
    assert load_identity(tmp_path / "keys", "a password").address == member.address


@pytest.mark.parametrize("name", ["", "x" * 32, "Zürich", "two\nlines", "bell\a"])
def test_a_name_that_no_roster_takes_is_refused_before_any_key_is_made(name: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="1 … 31 printable ASCII characters"):
        enrol(tmp_path / "keys", "a password", role=Role.AUDITOR, name=name, random=os.urandom)
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"address": "0x12"}, "expected an address of 20 bytes, found 1"),
        ({"address": "nobody"}, "expected an address of 40 hexadecimal digits"),
        ({"role": "dealer"}, "expected a role among institution, aggregator, auditor, found 'dealer'"),
        ({"role": "AUDITOR"}, "found 'AUDITOR'"),
        ({"sealing_key": "00" * 31}, "expected a sealing_key of 32 bytes, found 31"),
        ({"sealing_key": "zz"}, "expected a sealing_key in hexadecimal digits, found 'zz'"),
        ({"name": "x" * 32}, "expected a name of 1 … 31 printable ASCII characters, found 32"),
        ({"name": None}, "expected an enrolment with the texts address, role, sealing_key and name"),
        ({"address": 7}, "expected an enrolment with the texts"),
    ],
    ids=str,
)
def test_a_field_out_of_its_range_is_refused_by_file_expected_and_found(
    changes: dict[str, object], said: str, tmp_path: Path
) -> None:
    path = written(tmp_path, **changes)
    with pytest.raises(Refused) as caught:
        read_enrolment(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[]", b"{}", b"7", b"[" * 4096, b"[" * 100_000])
def test_what_is_no_enrolment_is_refused_by_the_files_name(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "torn.json"
    path.write_bytes(data)
    with pytest.raises(Refused, match=r"torn\.json: expected an enrolment"):
        read_enrolment(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"nowhere\.json: cannot be read"):
        read_enrolment(tmp_path / "nowhere.json")


def test_a_member_in_two_files_is_refused_with_both(tmp_path: Path) -> None:
    first, second = written(tmp_path), tmp_path / "again.json"
    second.write_text(first.read_text())
    with pytest.raises(Refused, match="each member once") as caught:
        read_enrolments([first, second])
    assert f"in {first} and {second}" in str(caught.value)
