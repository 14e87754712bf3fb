"""Who can read a study: one key for all readers, and nobody else."""

from __future__ import annotations

import os

import pytest

from federation.audience import EVERYBODY, PUBLIC, Audience, invite, read_audience
from federation.digest import LedgerId, sha256
from federation.errors import Violation
from federation.members import Address
from federation.seal import ContentKey, SealingSecret, sealing_key_of

LEDGER = LedgerId(sha256(b"ledger"))
SECRETS = {Address(bytes([i]) * 20): SealingSecret(bytes([i]) * 32) for i in (3, 1, 2)}
KEY = ContentKey(b"k" * 32)


def audience(key=KEY):
    readers = {reader: sealing_key_of(secret) for reader, secret in SECRETS.items()}
    return invite(key, readers, LEDGER, random=os.urandom)


def test_every_reader_opens_the_same_key():
    invited = read_audience(audience().value())
    assert {invited.content_key(reader, secret, LEDGER) for reader, secret in SECRETS.items()} == {KEY}


def test_a_stranger_is_told_that_it_is_none_of_the_readers():
    stranger = Address(b"\x09" * 20)
    with pytest.raises(Violation, match="not among the study's readers") as told:
        audience().content_key(stranger, SealingSecret(bytes(32)), LEDGER)
    assert told.value.culprit == stranger


def test_an_envelope_opens_for_its_own_reader_and_ledger_alone():
    (first, secret), (second, _) = list(SECRETS.items())[:2]
    with pytest.raises(Violation, match="another key or context"):
        audience().content_key(second, secret, LEDGER)
    with pytest.raises(Violation, match="another key or context"):
        audience().content_key(first, secret, LedgerId(sha256(b"another ledger")))


def test_a_proposer_who_seals_different_keys_to_different_readers_is_found_out():
    honest, other = audience(), audience(ContentKey(b"o" * 32))
    mixed = Audience(commitment=honest.commitment, envelopes=(*honest.envelopes[:2], other.envelopes[2]))
    reader = mixed.envelopes[2][0]
    with pytest.raises(Violation, match="another content key than agreed"):
        mixed.content_key(reader, SECRETS[reader], LEDGER)


def test_a_public_study_has_an_empty_audience_and_no_key():
    assert read_audience([]) == EVERYBODY
    assert EVERYBODY.content_key(Address(bytes(20)), SealingSecret(bytes(32)), LEDGER) == PUBLIC


@pytest.mark.parametrize(
    "value",
    [
        [b""],
        [b"short", []],
        [bytes(32), {}],
        [bytes(32), [[b"short", b"box"]]],
        [bytes(32), [[bytes(20), b"box"], [bytes(20), b"box"]]],
        [bytes(32), [[b"\x02" * 20, b"box"], [b"\x01" * 20, b"box"]]],
        [bytes(32), [[bytes(20)]]],
        b"",
        7,
    ],
)
def test_anything_else_is_no_audience(value):
    with pytest.raises(Violation, match="an audience"):
        read_audience(value)
