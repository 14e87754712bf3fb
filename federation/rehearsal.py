"""A whole study in memory, all parties on one page: the executable specification (PROTOCOL §5).

The same functions as in the daemons, without processes, chain or disk. Each step is a method that a
test can leave out, repeat or replace by a cheat; `run_round` is the honest order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import numpy as np

from .agreement import Agreement, terms_of
from .arithmetic import Model, Vector, weigh
from .audience import PUBLIC, Audience, invite
from .audit.checks import BEFORE_SHARE, Weight
from .audit.observer import Observer
from .audit.record import RoundRecord, StudyRecord
from .audit.view import LedgerView
from .ciphers.suite import Dealing, KeyShare, Seed
from .combination import combine
from .dealing import PublicKey
from .digest import Cid, Digest, LedgerId, derive, labelled
from .errors import Refused
from .events import Reason, RoundId, StudyId, Timestamp, Windows
from .in_memory import InMemoryChain, InMemoryStore
from .ledger.ledger import Ledger
from .members import Address, Member, Role
from .opening import join_shares, share_total
from .result import Result, propose_result
from .rounds import Round
from .runs import whole
from .seal import ContentKey, SealingSecret, sealing_key_of
from .store.content import ContentStore, put_bytes
from .store.unixfs import cid_of
from .study import StudySpec
from .submission import clip_update, encrypt_update, quantise_update
from .wire import Kind, Payload

AGGREGATOR: Final = Address(b"\xa0" * 20)
AUDITOR: Final = Address(b"\xad" * 20)


@dataclass(kw_only=True)
class Hospital:
    """One member: its account, its share of the key, its secret seed and what it would train."""

    address: Address
    key_share: KeyShare
    seed: Seed
    samples: int
    train: Callable[[Model, RoundId], Vector]  # the update it finds from a base model
    later_shares: dict[Digest, KeyShare] = field(default_factory=dict)  # of the keys of later epochs
    payloads: dict[RoundId, Payload] = field(default_factory=dict)

    def share_of(self, key: Digest) -> KeyShare:
        """Its share of this key: one that was dealt later, else the first."""
        return self.later_shares.get(key, self.key_share)


class Chain(Protocol):
    """Where the contract stands, with everybody's account."""

    def ledger(self, account: Address, /) -> Ledger:
        """The ledger as one account sees it and writes to it."""


class Rehearsal:
    """One study whose members, aggregator, ledger and store are all in this process.

    With a `content_key`, shares, openings and models are sealed to the hospitals and the auditor, and
    not to the aggregator: then a hospital joins the shares. Given a `chain` and a `store`, the same
    course runs on those; then `time` has no meaning.
    """

    def __init__(
        self,
        spec: StudySpec,
        hospitals: Sequence[Hospital],
        *,
        content_key: ContentKey = PUBLIC,
        chain: Chain | None = None,
        store: ContentStore | None = None,
    ) -> None:
        self.time = 1_000_000  # seconds, of a chain in memory
        self.store: ContentStore = InMemoryStore() if store is None else store
        self.hospitals = {h.address: h for h in hospitals}
        self.chain: Chain = self._in_memory(spec) if chain is None else chain
        first = self.ledger(spec.aggregators[0])
        if content_key != PUBLIC:
            spec = replace(spec, audience=readers_of([*self.hospitals, AUDITOR], content_key, first.id))
        self.study = StudyId(1)
        terms = terms_of(spec, put_bytes(self.store, spec.encode()), first.id)
        first.create_study(terms)
        for address in self.hospitals:
            self.ledger(address).accept_study(self.study, terms.digest)
        self.view = LedgerView(first)
        self.observer = Observer(self.view, first, self.store, self.study)
        self.view.refresh()
        self.agreement: Agreement = self.observer.agreement  # of the first epoch
        self.content_key = self.agreement.content_key(AUDITOR, sealing_secret(AUDITOR))

    def _in_memory(self, spec: StudySpec) -> InMemoryChain:
        founders = [_member(address, Role.INSTITUTION) for address in self.hospitals]
        founders += [_member(address, Role.AGGREGATOR) for address in spec.aggregators]
        founders.append(_member(AUDITOR, Role.AUDITOR))
        return InMemoryChain(founders, lambda: Timestamp(self.time))

    def run_round(self) -> RoundRecord:
        """One honest round: train, commit, reveal, combine, open, finish; then everyone's own result."""
        id = self.round().id
        for address in self.hospitals:
            self.commit(address)
        for address in self.hospitals:
            self.reveal(address, id)
        self.post_total(id)
        for address in list(self.hospitals)[: self.agreement.spec.threshold]:
            self.post_share(address, id)
        self.finish(id)
        return self.record(id)

    def rekey(self, dealing: Dealing) -> Digest:
        """All have accepted another key, which rules from the newest round + 2 on."""
        spec = self.agreement.spec
        key = self.agreement.under(dealing.public_key).suite.key_digest
        for member, share in zip(spec.members, dealing.key_shares, strict=True):
            self.hospitals[member].later_shares[key] = share
        self.propose_key(spec.members[0], key, self.document_of(dealing.public_key))
        for member in spec.members:
            self.accept_key(member, key)
        return key

    def accept_key(self, member: Address, key: Digest) -> None:
        """The member agrees to a proposed key, whatever there is behind it."""
        self.view.refresh()
        outcome = self.observer.seek_key(key).outcome
        under = outcome if isinstance(outcome, Agreement) else self.agreement
        self.ledger(member).accept_key(self.study, key, under.suite.layout.capsule.count)

    def document_of(self, key: bytes) -> PublicKey:
        """The public document of a key that was dealt to the study's members, for its suite."""
        return PublicKey(suite=self.agreement.spec.suite, key=key, members=self.agreement.spec.members)

    def propose_key(self, proposer: Address, key: Digest, document: PublicKey) -> None:
        """The document is in the store, and the ledger says that it is the key's."""
        self.ledger(proposer).propose_key(self.study, key, put_bytes(self.store, document.encode()))

    def agreement_of(self, id: RoundId) -> Agreement:
        """The agreement under the key of the round's epoch."""
        self.view.refresh()
        return self.observer.agreement_of(id.number)

    def commit(self, address: Address) -> RoundId:
        """The hospital trains from the model it has itself recomputed, encrypts, and binds itself."""
        hospital, round = self.hospitals[address], self.round()
        agreement = self.agreement_of(round.id)
        base = self.base(round)
        weight = weigh(hospital.samples, agreement.spec.scale)
        clipped = clip_update(agreement, hospital.train(base, round.id))
        values = quantise_update(
            agreement, round.id, clipped, member=address, weight=weight, seed=hospital.seed
        )
        base_digest = agreement.model_digest(base)
        hospital.payloads[round.id] = encrypt_update(
            agreement,
            round.id,
            values,
            member=address,
            base_model=base_digest,
            seed=hospital.seed,
        )
        self.ledger(address).commit_update(round.id, hospital.payloads[round.id].root(), base_digest)
        return round.id

    def reveal(self, address: Address, id: RoundId) -> None:
        """The hospital publishes the payload it committed to."""
        cid = self.store.put(self.hospitals[address].payloads[id].read())
        self.ledger(address).reveal_update(id, cid)

    def post_total(self, id: RoundId, aggregator: Address | None = None) -> Payload:
        """An aggregator admits and adds: unless told otherwise the one whose turn is first."""
        record = self.record(id)
        total = combine(record.agreement, id, record.admission, executor=record.executor)
        members = tuple(record.admission.admitted)
        cid = self.store.put(total.read())
        first, *_ = (*record.round.turns, self.agreement.spec.aggregators[0])
        self.ledger(aggregator or first).post_total(id, members, total.root(), cid)
        return total

    def post_share(self, address: Address, id: RoundId) -> None:
        """The hospital gives its share, computed over the total that it has itself recomputed.

        Raises `Violation`, naming who broke what, where the posted total is not that one.
        """
        record = self.record(id)
        for finding in (finding for check in BEFORE_SHARE for finding in check(record)):
            if finding.weight is not Weight.NOTICE:
                raise finding.violation()
        total = record.recomputed_total
        if total is None:
            raise Refused(f"round {id}: no total to share in")
        agreement = record.agreement
        key_share = self.hospitals[address].share_of(agreement.suite.key_digest)
        share = share_total(agreement, id, total, member=address, key_share=key_share)
        stored = agreement.wrap(self.content_key, Kind.SHARE, id, whole(share))
        self.ledger(address).post_share(id, share.root(), cid_of((stored,)), total=total.root())
        put_bytes(self.store, stored)  # only now that the ledger shows it as given (§5.4)

    def finish(self, id: RoundId, proposer: Address | None = None) -> None:
        """Anyone joins t shares, opens the total, applies it and proposes the result."""
        record = self.record(id)
        total = record.recomputed_total
        if total is None:
            raise Refused(f"round {id}: no total to open")
        shares = {m: (record.round.shares[m].digest, data) for m, data in record.shares.items()}
        opening = join_shares(record.agreement, id, total, shares).payload
        if not isinstance(record.model, np.ndarray):
            raise Refused(f"round {id}: no model follows: {record.model}")
        propose_result(
            self.ledger(proposer or self.joiner),
            self.store,
            id,
            agreement=record.agreement,
            key=self.content_key,
            result=Result(opening=opening, model=record.model),
        )

    @property
    def joiner(self) -> Address:
        """Who joins the shares unless told otherwise: the aggregator, if it can read them."""
        spec = self.agreement.spec
        return spec.members[0] if spec.audience.is_sealed else spec.aggregators[0]

    def put(self, kind: Kind, id: RoundId, plaintext: bytes) -> Cid:
        """A share, an opening or a model lies in the store, sealed if the study says so."""
        return put_bytes(self.store, self.agreement.wrap(self.content_key, kind, id, plaintext))

    def confirm(self, address: Address, id: RoundId) -> None:
        """The hospital confirms the model it has recomputed: of the last round, which nobody trains from."""
        digest = self.record(id).model_digest
        if digest is None:
            raise Refused(f"round {id}: no model to confirm")
        self.ledger(address).confirm_model(id, digest)

    def abandon(self, id: RoundId, reason: Reason) -> None:
        """Anyone ends a round whose deadline has passed."""
        self.ledger(self.agreement.spec.aggregators[0]).abandon(id, reason)

    def wait(self, seconds: int) -> None:
        """Time passes on the ledger."""
        self.time += seconds

    def ledger(self, account: Address) -> Ledger:
        """The ledger as one account writes to it."""
        return self.chain.ledger(account)

    def round(self, id: RoundId | None = None) -> Round:
        """A round as the ledger has it now; without an id the one that is under way or next."""
        self.view.refresh()
        return self.observer.study.current() if id is None else self.view.history.round(id)

    def base(self, round: Round) -> Model:
        """The model that a round starts from, recomputed."""
        return self.observer.base_of(round, self.content_key)

    def record(self, id: RoundId) -> RoundRecord:
        """All that ledger and store hold of a round now."""
        round = self.round(id)
        return self.observer.record(round, self.content_key, self.base(round))

    def study_record(self) -> StudyRecord:
        """All that ledger and store hold: what an auditor starts from."""
        self.view.refresh()
        return self.observer.study_record(self.content_key)


def seeded(secret: bytes, member: Address) -> Seed:
    """A hospital's seed for tests: a function of one secret."""
    return Seed(derive(secret, "rehearsal-seed", member))


def sealing_secret(reader: Address) -> SealingSecret:
    """Everybody's X25519 secret in a rehearsal: no secret at all."""
    return SealingSecret(labelled("rehearsal sealing secret", reader))


def readers_of(addresses: Sequence[Address], key: ContentKey, ledger: LedgerId) -> Audience:
    """The content key, sealed to each of them; the same bytes every time."""
    keys = {reader: sealing_key_of(sealing_secret(reader)) for reader in addresses}
    return invite(key, keys, ledger, random=lambda _: labelled("rehearsal ephemeral", key))


def default_windows() -> Windows:
    """A minute for each phase."""
    return Windows(60, 60, 60, 60)


def _member(address: Address, role: Role) -> Member:
    sealing_key = sealing_key_of(sealing_secret(address))
    return Member(address=address, role=role, sealing_key=sealing_key, name=role.name.lower())
