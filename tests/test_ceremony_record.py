"""A ceremony's record has one encoding, bears its dealer's signature, and is caught where it does not fit."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from deploy.ceremony_record import (
    CeremonyRecord,
    check_record,
    printed,
    read_record,
    share_file,
    write_record,
)
from federation.dealing import PublicKey, seal_shares
from federation.errors import Refused, TallyError, Violation
from federation.members import Member, Role, show_address
from federation.rehearsal import sealing_secret
from federation.seal import sealing_key_of

from .ciphers.keys import dealt
from .rehearsing import HOSPITALS, flip

DEALING = dealt(256, 2, 4)
PUBLIC = PublicKey(suite="auto", key=DEALING.public_key, members=HOSPITALS)
MEMBERS = [
    Member(
        address=address,
        role=Role.INSTITUTION,
        sealing_key=sealing_key_of(sealing_secret(address)),
        name=f"hospital {number}",
    )
    for number, address in enumerate(HOSPITALS, start=1)
]
BOXES = seal_shares(DEALING, PUBLIC, {m.address: m.sealing_key for m in MEMBERS}, random=os.urandom)
FILES = {"public.key": PUBLIC.encode()} | {share_file(show_address(a)): box for a, box in BOXES.items()}
DEALER = Account.from_key(b"\x07" * 32)
RECORD = write_record(
    PUBLIC, MEMBERS, FILES, time=datetime(2026, 11, 23, 9, 5, 2, tzinfo=UTC), tool="tallystick 0"
)
SIGNED = RECORD.signed_by(DEALER)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ceremony")
    for name, data in {**FILES, "ceremony.json": SIGNED.encode()}.items():
        (made / name).write_bytes(data)
    return made


def altered(record: CeremonyRecord, **changes: object) -> CeremonyRecord:
    return record.model_copy(update=changes)


def test_a_record_comes_back_as_it_was(folder: Path) -> None:
    assert read_record(folder / "ceremony.json") == SIGNED
    assert SIGNED.time == "2026-11-23T09:05:02Z"
    assert (SIGNED.bits, SIGNED.threshold, len(SIGNED.members)) == (256, 2, 4)
    assert "can be factored" in SIGNED.weakness


def test_all_that_a_right_record_says_is_confirmed(folder: Path) -> None:
    proof, agrees, signed = check_record(SIGNED, PUBLIC, folder)
    assert PUBLIC.resolve().key_digest.hex() in proof
    assert "4 of its 4 sealed shares are here, unaltered" in agrees
    assert signed == f"signed by {DEALER.address.lower()}"


def test_an_unsigned_record_says_so_and_shares_elsewhere_are_no_fault(tmp_path: Path) -> None:
    *_, agrees, unsigned = check_record(RECORD, PUBLIC, tmp_path)
    assert "0 of its 4" in agrees
    assert unsigned.startswith("unsigned")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"key_digest": "00" * 32}, "key digest"),
        ({"suite": "hybrid"}, "suite"),
        ({"bits": 3072}, "bits"),
        ({"threshold": 3}, "threshold"),
        ({"weakness": ""}, "weakness"),
        ({"members": RECORD.members[:-1]}, "members"),
        ({"members": RECORD.members[::-1]}, "members"),
        ({"members": tuple(altered(h, number=1) for h in RECORD.members)}, "numbers"),
        ({"files": RECORD.files | {"more": "00" * 32}}, "list of files"),
        ({"files": {"public.key": RECORD.files["public.key"]}}, "list of files"),
        ({"files": RECORD.files | {"public.key": "00" * 32}}, "digest of the public key"),
    ],
)
def test_what_a_record_claims_wrongly_is_named(
    changes: dict[str, object], named: str, tmp_path: Path
) -> None:
    with pytest.raises(Violation, match=rf"§7.11 the record's {named}: expected .*, found "):
        check_record(altered(RECORD, **changes), PUBLIC, tmp_path)


def test_a_sealed_share_that_was_exchanged_is_named(folder: Path, tmp_path: Path) -> None:
    name = share_file(show_address(HOSPITALS[2]))
    (tmp_path / name).write_bytes(flip(FILES[name]))
    with pytest.raises(Violation, match=f"{name} is not the file of the record"):
        check_record(SIGNED, PUBLIC, tmp_path)


def test_a_key_whose_proof_fails_is_found_before_its_record_is_believed(tmp_path: Path) -> None:
    with pytest.raises(TallyError):
        check_record(SIGNED, replace(PUBLIC, key=flip(PUBLIC.key)), tmp_path)


def test_a_signature_is_of_this_record_by_this_signer() -> None:
    assert SIGNED.check_signature() == DEALER.address.lower()
    assert RECORD.check_signature() == ""
    moved = altered(RECORD, time="2026-11-24T09:05:02Z", signature=SIGNED.signature)
    other = altered(SIGNED.signature, signer=show_address(HOSPITALS[0]))
    broken = altered(SIGNED.signature, value="0x" + "ff" * 64 + "1b")
    for record in (moved, altered(RECORD, signature=other), altered(RECORD, signature=broken)):
        with pytest.raises(Violation, match="a record's signature"):
            record.check_signature()


def test_the_same_key_signs_the_same_record_alike() -> None:
    assert RECORD.signed_by(DEALER) == SIGNED


@given(data=st.data())
def test_any_altered_byte_of_a_signed_record_is_found(data: st.DataObject, tmp_path_factory) -> None:
    encoded = SIGNED.encode()
    position = data.draw(st.integers(0, len(encoded) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != encoded[position]))
    path = tmp_path_factory.getbasetemp() / "altered.json"
    path.write_bytes(encoded[:position] + bytes([byte]) + encoded[position + 1 :])
    with pytest.raises(TallyError):
        check_record(read_record(path), PUBLIC, path.parent)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", "{}", json.dumps({"version": 1}), '{"version": 1' + " " * (1 << 16) + "}", "\x00" * 9],
    ids=range(7),
)
def test_what_is_no_record_is_refused_by_its_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(Refused, match=r"other\.json: expected"):
        read_record(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tool", "\x1b[2Jharmless"),
        ("time", "yesterday"),
        ("key_proof", "fails"),
        ("what", "another thing"),
        ("files", {"../../etc/passwd": "00" * 32}),
        ("extra", 1),
    ],
)
def test_a_record_with_a_field_that_no_dealer_writes_is_refused(
    field: str, value: object, tmp_path: Path
) -> None:
    document = json.loads(RECORD.encode()) | {field: value}
    (tmp_path / "ceremony.json").write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    with pytest.raises(Refused, match=f"found at '{field}"):
        read_record(tmp_path / "ceremony.json")


def test_a_record_that_was_rewritten_is_refused_although_it_says_the_same(tmp_path: Path) -> None:
    (tmp_path / "ceremony.json").write_text(json.dumps(json.loads(SIGNED.encode())))
    with pytest.raises(Refused, match="found it rewritten"):
        read_record(tmp_path / "ceremony.json")


def test_the_printed_page_has_everything_that_a_person_files() -> None:
    page = "\n".join(printed(SIGNED))
    for holder in SIGNED.members:
        for word in (holder.name, holder.address, holder.sealing_key, SIGNED.files[holder.file]):
            assert word in page
    for word in (SIGNED.key_digest, SIGNED.time, SIGNED.tool, SIGNED.weakness, SIGNED.trust):
        assert word in page
    assert DEALER.address.lower() in page
    assert "unsigned" in list(printed(RECORD))


def test_a_signature_has_one_form() -> None:
    """(r, n - s) with v turned round verifies as well: one record would have two files."""
    assert SIGNED.signature is not None
    value = SIGNED.signature.value
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    other = f"{order - int(value[66:130], 16):064x}" + ("1c" if value.endswith("1b") else "1b")
    twin = SIGNED.signature.model_copy(update={"value": value[:66] + other})
    assert SIGNED.check_signature() == SIGNED.signature.signer
    with pytest.raises(Violation, match="expected the lower s"):
        altered(SIGNED, signature=twin).check_signature()


@pytest.mark.parametrize(
    "change", [{"trust": "You may trust me."}, {"time": "\u0662026-11-23T09:05:02Z"}], ids=str
)
def test_a_dealer_does_not_choose_what_it_is_trusted_with_nor_other_digits(tmp_path: Path, change) -> None:
    path = tmp_path / "ceremony.json"
    path.write_bytes(altered(RECORD, **change).encode())
    with pytest.raises(TallyError):
        read_record(path)
