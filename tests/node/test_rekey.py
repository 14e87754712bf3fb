"""A hospital and the keys of later rounds: people accept them by a command, the daemon goes on under them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import Result
from eth_account import Account
from typer.testing import CliRunner

from deploy.devnet import Devnet
from federation.ciphers.hybrid.keys import join_keys
from federation.ciphers.suite import Dealing, KeyShare
from federation.dealing import PublicKey, seal_shares
from federation.digest import Digest, labelled
from federation.errors import ExitCode, Refused, Unavailable
from federation.events import KeyAccepted, Motion, MotionKind, RoundId, StudyId, Timestamp
from federation.identity import Identity
from federation.in_memory import InMemoryStore
from federation.members import Address, show_address
from federation.rehearsal import Rehearsal, sealing_secret
from federation.seal import sealing_key_of
from federation.store.content import ContentStore, put_bytes
from node.__main__ import app
from node.adopt import adopt
from node.approvals import Approvals
from node.duty import Submit, Wait
from node.key_shares import KeyShares, check_unneeded
from node.open import Desk
from node.rekey import CHECKED, _accept, _examined
from node.settings import NodeSettings, PolicySettings
from node.vault import forget_key_share, keep_key_share

from ..rehearsing import A, B, C, D, audited, faults, key_of, later_key, opened, rehearse, up_to_reveals
from .hospital import PASSWORD, OnChain, Place, found, settle
from .ward import Node, others_act, without

KEY = later_key(1)
THREE = later_key(1, members=3)  # for the three members of a hospital's study


def staged(folder: Path) -> tuple[Rehearsal, Node]:
    stage = rehearse("paillier", rounds=4)
    return stage, Node(stage, A, folder / "vault")


def round_ends(stage: Rehearsal, node: Node) -> None:
    """The round that is under way or next, to its end."""
    before = len(stage.observer.study.finished)
    while len(stage.observer.study.finished) == before:
        node.works()
        others_act(stage, without(A))
        stage.round()


# The daemon


def test_a_node_goes_on_under_each_rounds_key(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    round_ends(stage, node)
    key = stage.rekey(KEY)
    for _ in range(3):
        round_ends(stage, node)
    keys = [record.agreement.suite.key_digest for record in stage.study_record().rounds]
    assert keys == [keys[0], keys[0], key, key]
    assert all(A in round.shares for round in stage.observer.study.rounds)
    assert audited(stage).findings == []


def test_a_node_takes_no_part_under_a_key_whose_share_it_does_not_hold(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    round_ends(stage, node)
    key = stage.rekey(KEY)
    del stage.hospitals[A].later_shares[key]
    round_ends(stage, node)  # still under the first key
    with pytest.raises(Refused, match=f"no share of key {key.hex()[:16]}"):
        node.works()
    assert len(node.calls("commit_update")) == 2
    stage.hospitals[A].later_shares[key] = KEY.key_shares[0]
    assert node.step() == Submit(round=RoundId(StudyId(1), 3))


def test_a_daemon_never_accepts_a_key_by_itself(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    node.works()
    key = stage.agreement.under(KEY.public_key).suite.key_digest
    stage.propose_key(B, key, stage.document_of(KEY.public_key))
    for member in (B, C, D):
        stage.accept_key(member, key)
    assert isinstance(node.step(), Wait)
    round_ends(stage, node)
    assert A not in stage.observer.study.candidates[key].accepted


def test_a_node_takes_no_part_under_a_key_that_was_adopted_while_it_was_suspended(tmp_path: Path) -> None:
    """It holds its share; but nobody here has checked the key, or said that it may be used."""
    stage, node = staged(tmp_path)

    def decide(kind: MotionKind, *voters: Address) -> None:
        motion = Motion(kind=kind, subject=A, expires=Timestamp(stage.time + 60))
        for member in voters:
            stage.ledger(member).vote(motion)
        stage.ledger(B).follow_roster(StudyId(1), A)

    decide(MotionKind.SUSPEND, B, C, D)
    key = stage.agreement.under(KEY.public_key).suite.key_digest
    stage.propose_key(B, key, stage.document_of(KEY.public_key))
    for member in (B, C, D):
        stage.accept_key(member, key)
    stage.hospitals[A].later_shares[key] = KEY.key_shares[0]
    decide(MotionKind.REINSTATE, B, C)
    round_ends(stage, node)  # still under the first key
    with pytest.raises(Refused, match=f"the key {key.hex()} was adopted while we were suspended"):
        node.works()
    assert faults(audited(stage)) == set()
    stage.accept_key(A, key)
    assert node.step() == Submit(round=RoundId(StudyId(1), 2))


def test_where_the_old_share_is_destroyed_its_rounds_result_is_waited_for(tmp_path: Path) -> None:
    stage, node = staged(tmp_path)
    record = opened(stage, up_to_reveals(stage, (B, C, D)), B, C)
    for proposal in record.round.proposals:
        node.store.lost.add(proposal.opening_cid)
    node.store.lost.add(record.round.shares[B].cid)
    node.view.refresh()
    node.seat.key_shares.first = Digest(bytes(32))  # type: ignore[attr-defined]  # the stage's own class
    with pytest.raises(Unavailable, match="the result cannot be recomputed yet"):
        adopt(node.seat, record.id, last=False, may_share=True)
    assert node.calls("post_share") == []


# The vault


def test_shares_appear_when_they_are_accepted_and_go_when_they_are_forgotten(tmp_path: Path) -> None:
    one, two = labelled("one key"), labelled("another key")
    shares = KeyShares(tmp_path, "pass phrase")
    with pytest.raises(Refused, match=rf"no share of key {one.hex()[:16]} .* run `tally node keys"):
        shares.of(one)
    assert one not in shares
    keep_key_share(tmp_path, "pass phrase", KeyShare(b"a share"), key=one, random=os.urandom)
    assert one in shares
    assert two not in shares
    assert shares.of(one) == shares.of(one) == b"a share"
    forget_key_share(tmp_path, one, random=os.urandom)
    with pytest.raises(Refused, match="no share of key"):
        shares.of(one)


# `tally node rekey`


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Devnet.start("anvil", directory=tmp_path_factory.mktemp("chain")) as devnet:
        yield settle(devnet, tmp_path_factory.mktemp("hospital"))


@pytest.fixture(scope="module")
def stage(place: Place) -> OnChain:
    """A study that all have accepted; another key is dealt, its sealed share for this hospital beside it."""
    stage = found(place)
    place.accounts[place.me] = bytes(place.identity.account.key)
    place.ledger(place.me).accept_study(StudyId(1), stage.observer.study.terms.digest)
    public = PublicKey(suite="auto", key=THREE.public_key, members=place.members)
    keys = {member: sealing_key_of(sealing_secret(member)) for member in place.members}
    keys[place.me] = sealing_key_of(place.identity.sealing_secret)
    boxes = seal_shares(THREE, public, keys, random=os.urandom)
    (place.folder / "later.key").write_bytes(public.encode())
    (place.folder / "later.sealed").write_bytes(boxes[place.me])
    return stage


def rekey(place: Place, *words: str, settings: Path | None = None) -> Result:
    return CliRunner().invoke(app, ["rekey", "--settings", str(settings or place.settings), *words])


def told(ran: Result) -> str:
    assert ran.exit_code == ExitCode.OK, ran.output
    return ran.stdout


def desk_of(stage: Rehearsal, store: ContentStore | None = None) -> Desk:
    stage.view.refresh()
    ledger = stage.ledger(A)
    return Desk(view=stage.view, observer=stage.observer, ledger=ledger, store=store or stage.store)


def proposed(stage: Rehearsal, dealing: Dealing, document: PublicKey | None = None) -> Digest:
    key = stage.agreement.under(dealing.public_key).suite.key_digest
    stage.propose_key(B, key, document or stage.document_of(dealing.public_key))
    return key


def two_dealers(one: Dealing, other: Dealing) -> Dealing:
    shares = zip(one.key_shares, other.key_shares, strict=True)
    return Dealing(
        public_key=join_keys(one.public_key, other.public_key),
        key_shares=tuple(KeyShare(a + b) for a, b in shares),
    )


def seen(stage: Rehearsal, key: Digest, place: Bystander) -> list[str]:
    return list(_examined(place.settings, desk_of(stage), place.shares, place.identity, key))


class OfA(Identity):
    """A rehearsal's addresses belong to no account."""

    @property
    def address(self) -> Address:
        return A


@dataclass(frozen=True)
class Bystander:
    """Hospital A of a rehearsal, as its people's commands see it."""

    settings: NodeSettings
    shares: KeyShares
    identity: Identity


@pytest.fixture
def bystander(tmp_path: Path) -> Bystander:
    mine = OfA(account=Account.create(), sealing_secret=sealing_secret(A))
    policy = PolicySettings(
        accept_weak_keys=True,
        accept_public_results=True,
    )
    Approvals(tmp_path / "vault").approve(rehearse("hybrid", rounds=4).agreement, by="a test", at="then")
    settings = NodeSettings(
        name="A", identity=tmp_path, vault=tmp_path / "vault", data=tmp_path, policy=policy
    )
    return Bystander(settings=settings, shares=KeyShares(tmp_path / "vault", "a pass phrase"), identity=mine)


def hold(place: Bystander, key: Digest, share: KeyShare) -> None:
    keep_key_share(place.settings.vault, "a pass phrase", share, key=key, random=os.urandom)


def test_a_proposers_words_command_no_terminal(bystander: Bystander) -> None:
    stage = rehearse("hybrid")
    evil = replace(stage.document_of(KEY.public_key), suite="x\x1b[2K\x1b[1A\n  all agree\x1b[8m")
    (line,) = seen(stage, proposed(stage, KEY, evil), bystander)
    assert line.isprintable()
    assert "not to be accepted: Violation: §3.3" in line
    assert "x\\x1b[2K\\x1b[1A\\n  all agree\\x1b[8m" in line


def test_people_see_how_strong_a_key_is_and_how_strong_the_one_before_it_was(bystander: Bystander) -> None:
    stage = rehearse("hybrid", rounds=4)
    both = two_dealers(KEY, later_key(2))
    key = proposed(stage, both)
    hold(bystander, key, both.key_shares[0])
    assert seen(stage, key, bystander) == [
        "  256 bits, 2 dealers (before: 256 bits, 1 dealer)",
        f"  {CHECKED}",
    ]
    for member in stage.agreement.spec.members:
        stage.accept_key(member, key)
    lone = proposed(stage, later_key(3))
    assert seen(stage, lone, bystander)[0] == "  256 bits, 1 dealer (before: 256 bits, 2 dealers)"


def test_a_key_over_the_first_keys_primes_is_not_to_be_accepted(bystander: Bystander) -> None:
    stage = rehearse("hybrid")
    first = stage.observer.study.terms.key.hex()
    (line,) = seen(stage, proposed(stage, two_dealers(KEY, key_of("hybrid"))), bystander)
    assert "not to be accepted: Violation: §3.3 a later key: expected secrets of its own" in line
    assert f"found those of the key {first}" in line


def test_of_two_pending_keys_over_the_same_primes_only_one_is_accepted(bystander: Bystander) -> None:
    """Else both are adopted, and nobody may work under the second."""
    stage = rehearse("hybrid")
    one, other = two_dealers(KEY, later_key(2)), two_dealers(later_key(2), KEY)
    keys = [proposed(stage, dealing) for dealing in (one, other)]
    for key, dealing in zip(keys, (one, other), strict=True):
        hold(bystander, key, dealing.key_shares[0])
    assert all(CHECKED in seen(stage, key, bystander)[-1] for key in keys)
    stage.accept_key(A, keys[0])
    assert f"found those of the key {keys[0].hex()}" in seen(stage, keys[1], bystander)[-1]


def test_who_consents_keeps_the_keys_document_and_nobody_can_withdraw_it() -> None:
    stage, ours = rehearse("hybrid"), InMemoryStore()
    key = proposed(stage, KEY)
    desk = desk_of(stage, ours)
    _accept(desk, stage.observer.agreement_under(key))
    stage.view.refresh()
    candidate = stage.observer.study.candidates[key]
    assert A in candidate.accepted
    assert ours.has(candidate.proposals[B].cid)


def needed(stage: Rehearsal, key: Digest) -> str:
    """Until when, or nothing."""
    stage.view.refresh()
    try:
        check_unneeded([stage.observer.study], key, me=A)
    except Refused as error:
        return str(error)
    return ""


def test_a_share_is_needed_until_a_round_under_a_later_key_has_finished() -> None:
    stage = rehearse("paillier", rounds=4)
    first = stage.observer.study.terms.key
    stage.run_round()
    assert "2 members have confirmed its last result, or a later key rules" in needed(stage, first)
    later = stage.rekey(KEY)
    stage.run_round()
    assert "until a round from 3 on, under a later key, has finished" in needed(stage, first)
    stage.run_round()
    assert needed(stage, first) == ""
    assert "members have confirmed its last result" in needed(stage, later)
    stage.run_round()
    assert "members have confirmed its last result" in needed(stage, later)
    for member in (A, B):
        stage.confirm(member, RoundId(stage.study, 4))
    assert needed(stage, later) == ""


def test_the_share_of_a_pending_key_is_needed_once_we_have_accepted_it() -> None:
    stage = rehearse("paillier", rounds=1)
    key = proposed(stage, KEY)
    stage.accept_key(B, key)
    assert needed(stage, key) == ""
    stage.accept_key(A, key)
    assert "until it is complete" in needed(stage, key)
    stage.run_round()
    assert needed(stage, key) == ""


def test_studies_that_we_have_not_accepted_need_no_share_of_ours() -> None:
    stage = rehearse("paillier")
    study = stage.observer.study
    assert "may need our share" in needed(stage, study.terms.key)
    del study.accepted[A]
    check_unneeded([study], study.terms.key, me=A)


def refused(ran: Result, *words: str, code: ExitCode = ExitCode.REFUSED) -> None:
    assert ran.exit_code == code, ran.output
    (line,) = ran.stderr.splitlines()
    for word in words:
        assert word in line, line


def consents(place: Place) -> list[KeyAccepted]:
    ledger = place.ledger(place.aggregator)
    return [e for e in ledger.events(-1, ledger.head().number) if isinstance(e, KeyAccepted)]


def test_people_look_at_a_key_and_accept_it_once(place: Place, stage: OnChain) -> None:
    first, key = stage.observer.study.terms.key, stage.agreement.under(THREE.public_key).suite.key_digest
    shown = told(rekey(place))
    assert f"key {first.hex()}\n  rules from round 1 on; we hold no share of it" in shown
    refused(rekey(place, "--digest", key.hex()), "a key of this study, or proposed for it", first.hex())
    proposer, other = place.others
    # The first proposer's place is useless; the second one's leads to the document.
    useless = put_bytes(stage.store, b"no document")
    place.ledger(proposer).propose_key(StudyId(1), key, useless)
    refused(rekey(place, "--digest", key.hex()), "no document of the key", code=ExitCode.VIOLATION)
    stage.propose_key(other, key, stage.document_of(THREE.public_key))
    refused(rekey(place, "--digest", key.hex()), f"no share of key {key.hex()[:16]}", "tally node keys")
    shown = told(rekey(place))
    assert f"proposed by {show_address(proposer)}" in shown
    assert "accepted by 0 of 3" in shown
    assert "not to be accepted: Refused: no share of key" in shown
    accept = ("--accept", str(place.folder / "later.sealed"), "--public-key", str(place.folder / "later.key"))
    told(CliRunner().invoke(app, ["keys", "--settings", str(place.settings), *accept]))
    strict = place.write_settings("strict.toml", policy__accept_weak_keys="false")
    refused(rekey(place, "--digest", key.hex(), settings=strict), "`accept_weak_keys` under [policy]")
    assert consents(place) == []
    shown = told(rekey(place))
    assert "all agree" in shown
    assert f"tally node rekey --settings {place.settings} --digest {key.hex()}" in shown
    assert consents(place) == []
    for _ in range(2):
        assert "accepted; 1 of 3 members have" in told(rekey(place, "--digest", key.hex()))
    assert [consent.sender for consent in consents(place)] == [place.me]
    for member in place.others:
        stage.accept_key(member, key)
    assert "is adopted: it rules from round 2 on" in told(rekey(place, "--digest", f"0x{key.hex().upper()}"))
    shown = told(rekey(place))
    assert f"key {first.hex()}\n  rules rounds 1 to 1; we hold no share of it" in shown
    assert f"key {key.hex()}\n  rules from round 2 on; our share is in the vault" in shown


@pytest.mark.parametrize("text", ["zz", "00", "00" * 32])
def test_a_digest_that_is_no_keys_is_refused(place: Place, stage: OnChain, text: str) -> None:
    refused(rekey(place, "--digest", text), "--digest: expected a key")


def test_a_share_is_destroyed_only_once_the_ledger_says_that_no_round_needs_it(
    place: Place, stage: OnChain
) -> None:
    first, other = stage.observer.study.terms.key, labelled("another study's key")
    for key in (first, other):
        keep_key_share(place.folder / "vault", PASSWORD, KeyShare(b"a share"), key=key, random=os.urandom)
    forget = ("keys", "--settings", str(place.settings), "--forget")
    refused(CliRunner().invoke(app, [*forget, first.hex()]), f"may need our share of the key {first.hex()}")
    assert first in KeyShares(place.folder / "vault", PASSWORD)
    told(CliRunner().invoke(app, [*forget, other.hex()]))
    assert other not in KeyShares(place.folder / "vault", PASSWORD)
    nothing = {f"ledger__{name}": "" for name in ("url", "contract", "chain_id", "deployment_block")}
    alone = place.write_settings("alone.toml", **nothing)
    ran = CliRunner().invoke(app, ["keys", "--settings", str(alone), "--forget", first.hex()])
    assert "not checked, without [ledger]" in ran.stderr
    told(ran)
    assert first not in KeyShares(place.folder / "vault", PASSWORD)


def test_who_is_no_member_has_no_say(place: Place, stage: OnChain) -> None:
    settings = place.write_settings("stranger.toml", identity='"stranger"')
    told(CliRunner().invoke(app, ["init", "--settings", str(settings)]))
    refused(rekey(place, settings=settings), "is no member of study 1")
