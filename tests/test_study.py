"""A study's document has one encoding; every field counts, and whatever else a peer sends is refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation import cbor
from federation.agreement import Agreement, agree, terms_of
from federation.audience import EVERYBODY, Audience, invite
from federation.digest import CID_RAW, Cid, LedgerId, labelled, sha256
from federation.errors import Refused, TallyError, Violation
from federation.events import Leaves, Stake, StudyId, Windows
from federation.members import Address
from federation.seal import ContentKey, SealingSecret, sealing_key_of
from federation.study import SPEC_LIMIT, StudySpec, decode_spec

from .rehearsing import HOSPITALS, rehearse, spec_of

CID = Cid(CID_RAW + bytes(32))
DIGEST = labelled("some digest")
LEDGER = LedgerId(labelled("here"))
READER = SealingSecret(b"\x01" * 32)
KEY = ContentKey(b"\x02" * 32)
AUDIENCE = invite(KEY, {HOSPITALS[0]: sealing_key_of(READER)}, LEDGER, random=lambda n: b"\x03" * n)
SPEC = replace(spec_of("plain"), audience=AUDIENCE)
LEAVES = Leaves(suite=0, ciphertexts=1, chunks=0, binding=labelled("some binding"))
AGGREGATORS = tuple(Address(bytes([index]) * 20) for index in (0x99, 0x98, 0x97))  # in no order of bytes
STAKE = Stake(gwei=2**64 - 1, lock=2**32 - 1, treasury=Address(b"\x96" * 20))
CHANGES: dict[str, object] = {
    "name": "another",
    "task": "tabular/another",
    "task_parameters": b"\xa0",
    "scale": replace(SPEC.scale, clip=SPEC.scale.clip + 1),
    "suite": "paillier",
    "key": b"another key",
    "members": HOSPITALS[:3],
    "aggregators": AGGREGATORS,
    "threshold": 3,
    "minimum": 4,
    "rounds": 99,
    "windows": Windows(60, 60, 60, 61),
    "genesis": sha256(b"another"),
    "audience": EVERYBODY,
    "stake": STAKE,
}


def raw(spec: StudySpec = SPEC) -> dict[int, cbor.Value]:
    decoded = cbor.decode(spec.encode(), limit=SPEC_LIMIT)
    assert isinstance(decoded, dict)
    return decoded


def test_a_document_comes_back_as_it_was() -> None:
    assert decode_spec(SPEC.encode()) == SPEC
    assert decode_spec(spec_of("paillier").encode()) == spec_of("paillier")


def test_the_list_of_changes_knows_every_field() -> None:
    assert set(CHANGES) == {field.name for field in fields(StudySpec)}


@pytest.mark.parametrize("field", CHANGES)
def test_every_field_is_in_the_digest(field: str) -> None:
    changed = replace(SPEC, **{field: CHANGES[field]})
    assert decode_spec(changed.encode()) == changed
    assert changed.terms(CID, DIGEST, LEAVES).digest != SPEC.terms(CID, DIGEST, LEAVES).digest


def test_aggregators_in_another_order_are_another_study() -> None:
    spec = replace(SPEC, aggregators=AGGREGATORS)
    turned = replace(SPEC, aggregators=AGGREGATORS[::-1])
    assert decode_spec(spec.encode()).aggregators == AGGREGATORS
    assert spec.encode() != turned.encode()


@pytest.mark.parametrize("part", Stake._fields)
def test_every_part_of_the_stake_is_in_the_digest(part: str) -> None:
    changed = replace(SPEC, stake=SPEC.stake._replace(**{part: getattr(STAKE, part)}))
    assert decode_spec(changed.encode()) == changed != SPEC


@pytest.mark.parametrize("part", ["clip", "bound", "weight_cap", "members", "bits"])
def test_every_part_of_the_scale_is_in_the_digest(part: str) -> None:
    changed = replace(SPEC, scale=replace(SPEC.scale, **{part: getattr(SPEC.scale, part) + 1}))
    assert decode_spec(changed.encode()) == changed != SPEC


@pytest.mark.parametrize("key", range(16))
def test_a_missing_field_is_refused(key: int) -> None:
    document = raw()
    del document[key]
    with pytest.raises(Violation, match="16 fields of version 1"):
        decode_spec(cbor.encode(document))


TYPES: dict[int, type] = {key: type(value) for key, value in raw().items()}
FREE = {1, 2, 3, 5, 6, 9, 10, 11}  # fields that anything of their type may stand in; others check it later


@pytest.mark.parametrize("key", range(16))
@pytest.mark.parametrize("value", [b"\x00", "text", [], [[]], {}, -1], ids=str)
def test_a_field_of_another_type_is_refused(key: int, value: cbor.Value) -> None:
    document = cbor.encode(raw() | {key: value})
    nobody_listed = key in {7, 8, 14} and value == []
    if nobody_listed or (key in FREE and type(value) is TYPES[key]):
        assert decode_spec(document).encode() == document
    else:
        with pytest.raises(Violation, match=r"§3|§6\.3"):
            decode_spec(document)


@pytest.mark.parametrize("key", [16, 17, 2**32])
def test_a_further_field_is_refused(key: int) -> None:
    with pytest.raises(Violation, match="no further fields"):
        decode_spec(cbor.encode(raw() | {key: 1}))


@pytest.mark.parametrize("version", [0, 2, 2**40])
def test_another_version_is_refused(version: int) -> None:
    with pytest.raises(Violation, match="version 1"):
        decode_spec(cbor.encode(raw() | {0: version}))


@pytest.mark.parametrize("length", [0, 19, 21, 32])
@pytest.mark.parametrize("place", [7, 8, 14, 15])
def test_an_address_of_another_length_is_refused(length: int, place: int) -> None:
    envelopes: list[cbor.Value] = [bytes(32), [[bytes(length), b"box"]]]
    wrong: dict[int, cbor.Value] = {
        7: [bytes(length)],
        8: [bytes(length)],
        14: envelopes,
        15: [0, 0, bytes(length)],
    }
    with pytest.raises(Violation, match=r"addresses of 20 bytes|envelopes \[reader, box\]"):
        decode_spec(cbor.encode(raw() | {place: wrong[place]}))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_genesis_that_is_no_digest_is_refused(length: int) -> None:
    with pytest.raises(Violation):
        decode_spec(cbor.encode(raw() | {13: bytes(length)}))


def test_trailing_bytes_and_too_many_bytes_are_refused() -> None:
    with pytest.raises(Violation, match="trailing"):
        decode_spec(SPEC.encode() + b"\x00")
    with pytest.raises(Violation, match=f"at most {SPEC_LIMIT} bytes"):
        decode_spec(replace(SPEC, key=bytes(SPEC_LIMIT)).encode())


@given(data=st.binary(max_size=100))
def test_any_bytes_end_in_a_violation(data: bytes) -> None:
    with pytest.raises(Violation):
        decode_spec(data)


@given(position=st.integers(0, len(SPEC.encode()) - 1), mask=st.integers(1, 255))
def test_an_altered_byte_is_another_study_or_none(position: int, mask: int) -> None:
    data = SPEC.encode()
    altered = data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]
    with suppress(Violation):
        assert decode_spec(altered) != SPEC
    with pytest.raises(Violation, match=r"§3\.1"):
        agree(LEDGER, StudyId(1), terms_of(SPEC, CID, LEDGER), altered)


@pytest.mark.parametrize(
    "change",
    [
        {"members": HOSPITALS[:3]},
        {"aggregators": AGGREGATORS},
        {"stake": STAKE},
        {"threshold": 3},
        {"minimum": 4},
        {"rounds": 4},
        {"windows": Windows(1, 1, 1, 1)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_terms_on_the_ledger_that_say_something_else_than_the_document_are_refused(
    change: dict[str, object],
) -> None:
    with pytest.raises(Violation, match="the terms on the ledger"):
        agree(LEDGER, StudyId(1), replace(terms_of(SPEC, CID, LEDGER), **change), SPEC.encode())


@pytest.mark.parametrize("suite", ["plain", "paillier", "hybrid"])
@pytest.mark.parametrize("part", Leaves._fields)
def test_terms_that_would_make_the_court_judge_by_other_leaves_are_refused(part: str, suite: str) -> None:
    spec = spec_of(suite)
    terms = terms_of(spec, CID, LEDGER)
    told = getattr(terms.leaves, part)
    leaves = terms.leaves._replace(**{part: told + 1 if isinstance(told, int) else DIGEST})
    with pytest.raises(Violation, match="the leaves on the ledger"):
        agree(LEDGER, StudyId(1), replace(terms, leaves=leaves), spec.encode())


def test_terms_that_were_made_for_another_ledger_are_refused() -> None:
    terms = terms_of(SPEC, CID, LedgerId(labelled("there")))
    with pytest.raises(Violation, match="the leaves on the ledger"):
        agree(LEDGER, StudyId(1), terms, SPEC.encode())


@pytest.mark.parametrize("suite", ["plain", "paillier"])
def test_terms_that_name_another_key_than_the_document_holds_are_refused(suite: str) -> None:
    spec = spec_of(suite)
    with pytest.raises(Violation, match="the key on the ledger"):
        agree(LEDGER, StudyId(1), spec.terms(CID, DIGEST, LEAVES), spec.encode())


UNSOUND: dict[str, tuple[Callable[[StudySpec], StudySpec], str]] = {
    "threshold": (lambda spec: replace(spec, threshold=3, minimum=4), "threshold"),
    "holders": (lambda spec: replace(spec, members=spec.members[:3]), "share-holders"),
    "scale": (
        lambda spec: replace(spec, scale=replace(spec.scale, members=3)),
        "most members|bits|head-room",
    ),
    "genesis": (lambda spec: replace(spec, genesis=sha256(b"another")), "genesis"),
    "minimum": (lambda spec: replace(spec, minimum=2), "minimum contributors"),
}


@pytest.mark.parametrize("suite", ["plain", "paillier"])
@pytest.mark.parametrize("what", UNSOUND)
def test_an_unsound_study_is_refused_for_what_is_wrong_with_it(what: str, suite: str) -> None:
    alter, words = UNSOUND[what]
    spec = alter(spec_of(suite))
    agreement = agree(LEDGER, StudyId(1), terms_of(spec, CID, LEDGER), spec.encode())
    with pytest.raises((Violation, Refused), match=words):
        agreement.check()


def test_a_sound_study_passes() -> None:
    for suite in ("plain", "paillier"):
        agreement: Agreement = rehearse(suite).agreement
        agreement.check()


@pytest.mark.parametrize("field", ["suite", "task"])
def test_a_suite_or_task_that_nobody_knows_is_refused(field: str) -> None:
    spec = replace(spec_of("plain"), **{field: "nobody knows this"})
    with pytest.raises(TallyError, match="nobody knows this"):
        agree(LEDGER, StudyId(1), spec.terms(CID, DIGEST, LEAVES), spec.encode())


def test_a_reader_gets_the_agreed_content_key_and_nobody_else_any() -> None:
    assert AUDIENCE.content_key(HOSPITALS[0], READER, LEDGER) == KEY
    with pytest.raises(Violation, match="not among the study's readers"):
        AUDIENCE.content_key(HOSPITALS[1], READER, LEDGER)
    with pytest.raises(Violation, match="another key or context"):
        AUDIENCE.content_key(HOSPITALS[0], READER, LedgerId(labelled("there")))


def test_a_reader_who_was_sealed_another_key_than_the_others_finds_out() -> None:
    other = invite(
        ContentKey(b"\x09" * 32), {HOSPITALS[0]: sealing_key_of(READER)}, LEDGER, random=lambda n: b"\x03" * n
    )
    mixed = Audience(commitment=AUDIENCE.commitment, envelopes=other.envelopes)
    with pytest.raises(Violation, match="another content key than agreed"):
        mixed.content_key(HOSPITALS[0], READER, LEDGER)


@pytest.mark.parametrize(
    "lines",
    [
        [[HOSPITALS[1], b"box"], [HOSPITALS[0], b"box"]],
        [[HOSPITALS[0], b"box"], [HOSPITALS[0], b"box"]],
        [[HOSPITALS[0]]],
        [[HOSPITALS[0], 1]],
        [1],
    ],
    ids=["unsorted", "twice", "no box", "a number", "no list"],
)
def test_an_audience_that_is_none_is_refused(lines: list[cbor.Value]) -> None:
    with pytest.raises(Violation, match="an audience"):
        decode_spec(cbor.encode(raw() | {14: [bytes(32), lines]}))
