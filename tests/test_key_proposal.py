"""What `tally study rekey` puts before a study: a key that each member could accept, or nothing at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deploy.rekey import next_steps, propose_key
from federation.ciphers.hybrid.keys import join_keys
from federation.dealing import PublicKey, decode_public_key
from federation.digest import Digest
from federation.enrolment import read_public_key
from federation.errors import Refused
from federation.members import Address, show_address
from federation.rehearsal import AGGREGATOR, Rehearsal
from federation.store.content import get_bytes

from .rehearsing import HOSPITALS, A, B, key_of, later_key, rehearse

KEY = later_key(1)
DEALT = PublicKey(suite="auto", key=KEY.public_key, members=HOSPITALS)


def propose(stage: Rehearsal, document: PublicKey, by: Address = A) -> tuple[Digest, bool]:
    """The key, and whether a call was sent."""
    stage.view.refresh()
    key, receipt = propose_key(stage.ledger(by), stage.store, stage.observer, document)
    stage.view.refresh()
    return key, receipt is not None


@pytest.mark.parametrize("suite", ["paillier", "hybrid"])
def test_the_document_in_the_store_names_the_studys_suite_and_every_member_can_accept_it(suite: str) -> None:
    stage = rehearse(suite)
    key, sent = propose(stage, DEALT)
    assert sent
    proposal = stage.observer.study.candidates[key].proposals[A]
    stored = decode_public_key(get_bytes(stage.store, proposal.cid, size=1 << 16))
    assert stored == replace(DEALT, suite=suite)
    assert stage.observer.agreement_under(key).key == KEY.public_key


def test_proposing_again_sends_nothing_and_another_member_may_propose_the_same() -> None:
    stage = rehearse("paillier")
    key, _ = propose(stage, DEALT)
    assert propose(stage, DEALT) == (key, False)
    behind = stage.observer.study.candidates.pop(key)  # our call is not final yet
    assert propose_key(stage.ledger(A), stage.store, stage.observer, DEALT) == (key, None)
    stage.observer.study.candidates[key] = behind
    assert propose(stage, DEALT, by=B) == (key, True)
    assert [*stage.observer.study.candidates[key].proposals] == [A, B]


def test_a_key_that_two_dealers_made_serves_a_hybrid_study_alone() -> None:
    two = PublicKey(suite="hybrid", key=join_keys(KEY.public_key, later_key(2).public_key), members=HOSPITALS)
    stage = rehearse("hybrid")
    key, _ = propose(stage, two)
    assert stage.observer.agreement_under(key).key == two.key
    with pytest.raises(
        Refused, match="expected a key for the study's suite, 'paillier', found one for 'hybrid'"
    ):
        propose(rehearse("paillier"), two)


BAD = {
    "other members": (replace(DEALT, members=(*HOSPITALS[:3], Address(b"\x09" * 20))), "share-holders"),
    "a lower threshold": (replace(DEALT, key=later_key(3, threshold=3, members=5).public_key), "threshold"),
    "fewer holders": (replace(DEALT, key=later_key(4, members=3).public_key), "share-holders"),
    "no key": (replace(DEALT, key=b"\xff"), ""),
}


@pytest.mark.parametrize("what", BAD)
def test_a_key_that_no_member_could_accept_is_not_proposed(what: str) -> None:
    stage = rehearse("paillier")
    document, words = BAD[what]
    with pytest.raises(Refused, match=f"no member could accept this key: .*{words}"):
        propose(stage, document)
    assert stage.observer.study.candidates == {}


def test_who_is_no_institution_proposes_nothing() -> None:
    with pytest.raises(Refused, match="is no institution of study 1: name one's keys by --identity"):
        propose(rehearse("paillier"), DEALT, by=AGGREGATOR)


def test_the_first_keys_primes_in_another_dress_are_not_proposed() -> None:
    stage = rehearse("hybrid")
    dressed = join_keys(KEY.public_key, key_of("hybrid").public_key)
    first = stage.observer.study.terms.key.hex()
    with pytest.raises(Refused, match=f"expected secrets of its own, found those of the key {first}"):
        propose(stage, PublicKey(suite="hybrid", key=dressed, members=HOSPITALS))
    assert stage.observer.study.candidates == {}


def test_a_key_whose_time_is_over_is_not_proposed_again() -> None:
    stage = rehearse("paillier")
    stage.rekey(KEY)
    with pytest.raises(Refused, match="KeyAlreadyAdopted"):
        propose(stage, DEALT, by=B)


@pytest.mark.parametrize("dealers", [1, 2])
def test_each_member_is_told_what_to_type(dealers: int) -> None:
    stage = rehearse("hybrid")
    joined = join_keys(KEY.public_key, later_key(2).public_key)
    document = DEALT if dealers == 1 else PublicKey(suite="hybrid", key=joined, members=HOSPITALS)
    key, _ = propose(stage, document)
    lines = list(next_steps(document, key, stage.view.history.roster, Path("folder/the key")))
    assert len(lines) == 1 + 3 * len(HOSPITALS)
    for member in HOSPITALS:
        (accept,) = [line for line in lines if show_address(member) in line]
        assert accept.count("--accept ") == dealers
        assert accept.endswith("--public-key 'the key'")
    assert (
        sum(line.endswith(f"tally node rekey --settings node.toml --digest {key.hex()}") for line in lines)
        == 4
    )


def test_a_file_that_is_no_public_key_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "public.key").write_bytes(b"torn")
    with pytest.raises(Refused, match=r"public\.key: expected a public key of `tally keys`"):
        read_public_key(tmp_path / "public.key")
    (tmp_path / "public.key").write_bytes(DEALT.encode())
    assert read_public_key(tmp_path / "public.key") == DEALT
