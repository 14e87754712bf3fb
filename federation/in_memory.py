"""A ledger and a content store in this process, obeying the same laws as the real ones.

For rehearsals and tests. The ledger is lawful by construction: every call becomes an event that
`law.History` must accept, at the time that the given clock tells. Safe to use from many threads.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final, TypedDict

from .digest import Cid, Digest, LedgerId, labelled, ledger_id, show_cid
from .disputes import Charge
from .events import (
    BondDeposited,
    BondWithdrawn,
    Event,
    FaultProven,
    KeyAccepted,
    KeyProposed,
    LogPosition,
    MemberJoined,
    ModelConfirmed,
    Motion,
    Reason,
    ResultObjected,
    ResultProposed,
    RoundAbandoned,
    RoundId,
    RoundTainted,
    SeatFollowed,
    SharePosted,
    StudyAccepted,
    StudyCreated,
    StudyId,
    StudyTerms,
    Timestamp,
    TotalPosted,
    UpdateCommitted,
    UpdateRevealed,
    Voted,
)
from .judge import case_of, judge
from .law import History
from .ledger.abi import motion_id
from .ledger.ledger import Block, Ledger, Receipt
from .members import ADDRESS_BYTES, Address, Member
from .store.content import Absent, verified
from .store.unixfs import Block as StoredBlock
from .store.unixfs import blocks_of, cut, is_leaf, walk

CHAIN_ID: Final = 0  # no real chain has it
CODE: Final = labelled("in-memory code")  # there is no contract, so no audited build can equal it


class _Stamp(TypedDict):
    at: LogPosition
    time: Timestamp
    sender: Address


class InMemoryChain:
    """One contract on a chain of its own: every call mines one block, final at once.

    `clock` gives the time in seconds; should it go back, block time stands still. `name` tells
    chains apart that have the same founders and start at the same second.
    """

    def __init__(
        self, founders: Sequence[Member], clock: Callable[[], Timestamp], *, name: bytes = b""
    ) -> None:
        self._clock = clock
        self._lock = Lock()
        self._history = History()
        self._events: list[Event] = []
        genesis = labelled("in-memory genesis", name)
        self._blocks = [Block(number=0, hash=genesis, time=clock())]
        deployment = self._mine()
        for index, member in enumerate(founders):
            self._append(
                MemberJoined(
                    at=LogPosition(deployment.number, index),
                    time=deployment.time,
                    sender=member.address,  # the log names nobody else
                    member=member,
                )
            )
        self.id: Final = ledger_id(CHAIN_ID, genesis, bytes(ADDRESS_BYTES), deployment.hash)

    def ledger(self, account: Address) -> Ledger:
        """The ledger as `account` sees it and writes to it; it may be anybody's, a stranger's too."""
        return _AccountsLedger(chain=self, account=account)

    def head(self) -> Block:
        """The newest block; an empty one is mined first whenever the clock has moved."""
        with self._lock:
            newest = self._blocks[-1]
            return self._mine() if self._clock() > newest.time else newest

    def events(self, after: int, until: int) -> Sequence[Event]:
        """All events of blocks `after + 1` … `until`, in order."""
        with self._lock:
            start = bisect_right(self._events, after, key=_block_of)
            return self._events[start : bisect_right(self._events, until, key=_block_of)]

    def take(self, call: str, account: Address, happens: Callable[[History, _Stamp], Event]) -> Receipt:
        """One more block holds the event; mines nothing and raises `LedgerRejected` if the law forbids it."""
        with self._lock:
            newest = self._blocks[-1]
            at = LogPosition(newest.number + 1, 0)
            time = max(self._clock(), newest.time)
            self._append(happens(self._history, _Stamp(at=at, time=time, sender=account)))
            self._mine(time)
            return Receipt(call=call, at=at, gas=0)

    def _append(self, event: Event) -> None:
        self._history.follow(event)
        self._events.append(event)

    def _mine(self, time: Timestamp | None = None) -> Block:
        parent = self._blocks[-1]
        now = max(self._clock(), parent.time) if time is None else time
        number = parent.number + 1
        hash = labelled("in-memory block", parent.hash, number.to_bytes(8, "big"), now.to_bytes(8, "big"))
        self._blocks.append(Block(number=number, hash=hash, time=now))
        return self._blocks[-1]


def _block_of(event: Event) -> int:
    return event.at.block


@dataclass(frozen=True, slots=True, kw_only=True)
class _AccountsLedger:
    """What one account sees and sends."""

    chain: InMemoryChain
    account: Address

    @property
    def id(self) -> LedgerId:
        return self.chain.id

    @property
    def code_digest(self) -> Digest:
        return CODE

    def head(self) -> Block:
        return self.chain.head()

    def events(self, after: int, until: int) -> Sequence[Event]:
        return self.chain.events(after, until)

    def create_study(self, terms: StudyTerms) -> Receipt:
        def happens(history: History, stamp: _Stamp) -> Event:
            return StudyCreated(**stamp, study=StudyId(len(history.studies) + 1), terms=terms)

        return self.chain.take("createStudy", self.account, happens)

    def accept_study(self, study: StudyId, digest: Digest) -> Receipt:
        return self._take("acceptStudy", lambda stamp: StudyAccepted(**stamp, study=study, digest=digest))

    def propose_key(self, study: StudyId, key: Digest, cid: Cid) -> Receipt:
        return self._take("proposeKey", lambda stamp: KeyProposed(**stamp, study=study, key=key, cid=cid))

    def accept_key(self, study: StudyId, key: Digest, ciphertexts: int) -> Receipt:
        return self._take(
            "acceptKey",
            lambda stamp: KeyAccepted(**stamp, study=study, key=key, ciphertexts=ciphertexts),
        )

    def commit_update(self, round: RoundId, root: Digest, base_model: Digest) -> Receipt:
        return self._take(
            "commitUpdate",
            lambda stamp: UpdateCommitted(**stamp, round=round, root=root, base_model=base_model),
        )

    def reveal_update(self, round: RoundId, cid: Cid) -> Receipt:
        return self._take("revealUpdate", lambda stamp: UpdateRevealed(**stamp, round=round, cid=cid))

    def post_total(self, round: RoundId, members: Sequence[Address], root: Digest, cid: Cid) -> Receipt:
        frozen = tuple(members)
        return self._take(
            "postTotal", lambda stamp: TotalPosted(**stamp, round=round, members=frozen, root=root, cid=cid)
        )

    def post_share(self, round: RoundId, digest: Digest, cid: Cid, *, total: Digest) -> Receipt:
        return self._take(
            "postShare", lambda stamp: SharePosted(**stamp, round=round, total=total, digest=digest, cid=cid)
        )

    def finish(
        self, round: RoundId, opening: Digest, model: Digest, *, opening_cid: Cid, model_cid: Cid
    ) -> Receipt:
        return self._take(
            "finish",
            lambda stamp: ResultProposed(
                **stamp,
                round=round,
                opening=opening,
                model=model,
                opening_cid=opening_cid,
                model_cid=model_cid,
            ),
        )

    def confirm_model(self, round: RoundId, model: Digest) -> Receipt:
        return self._take("confirmModel", lambda stamp: ModelConfirmed(**stamp, round=round, model=model))

    def object_to_result(
        self,
        round: RoundId,
        *,
        proposed_opening: Digest,
        proposed_model: Digest,
        found_opening: Digest,
        found_model: Digest,
    ) -> Receipt:
        return self._take(
            "objectToResult",
            lambda stamp: ResultObjected(
                **stamp,
                round=round,
                proposed_opening=proposed_opening,
                proposed_model=proposed_model,
                found_opening=found_opening,
                found_model=found_model,
            ),
        )

    def dispute(self, charge: Charge) -> Receipt:
        def happens(history: History, stamp: _Stamp) -> Event:
            round = history.round(charge.round)
            sentence = history.sentence(round, stamp["sender"])
            judge(case_of(history.study(round.id.study), round), charge)
            return FaultProven(
                **stamp,
                round=round.id,
                aggregator=sentence.aggregator,
                member=charge.member,
                fault=charge.fault,
                leaf=charge.leaf,
                slashed=sentence.slashed,
                beneficiary=sentence.beneficiary,
            )

        return self.chain.take("dispute", self.account, happens)

    def vote(self, motion: Motion) -> Receipt:
        return self._take("vote", lambda stamp: Voted(**stamp, id=motion_id(motion), motion=motion))

    def follow_roster(self, study: StudyId, account: Address) -> Receipt:
        def happens(history: History, stamp: _Stamp) -> Event:
            standing = history.consortium.standing(account)
            return SeatFollowed(
                **stamp, study=study, account=account, state=standing.state, heir=standing.heir
            )

        return self.chain.take("followRoster", self.account, happens)

    def deposit_bond(self, study: StudyId, wei: int) -> Receipt:
        return self._take("depositBond", lambda stamp: BondDeposited(**stamp, study=study, amount=wei))

    def withdraw_bond(self, study: StudyId, wei: int) -> Receipt:
        return self._take("withdrawBond", lambda stamp: BondWithdrawn(**stamp, study=study, amount=wei))

    def abandon(self, round: RoundId, reason: Reason) -> Receipt:
        def happens(history: History, stamp: _Stamp) -> Event:
            study = history.studies.get(round.study)
            opened = study is not None and any(r.id == round and r.opened for r in study.rounds)
            if opened:
                return RoundTainted(**stamp, round=round, reason=reason)
            return RoundAbandoned(**stamp, round=round, reason=reason)

        return self.chain.take("abandon", self.account, happens)

    def _take(self, call: str, happens: Callable[[_Stamp], Event]) -> Receipt:
        return self.chain.take(call, self.account, lambda _, stamp: happens(stamp))


class InMemoryStore:
    """Blocks in a dictionary, under the CIDs that IPFS would give them."""

    def __init__(self) -> None:
        self._blocks: dict[Cid, bytes] = {}

    def put(self, chunks: Iterable[bytes]) -> Cid:
        """The content is stored, and this is its CID."""
        blocks: list[StoredBlock] = list(cut(chunks))
        self._blocks.update(blocks)
        return blocks[-1].cid

    def get(self, cid: Cid, *, size: int, start: int = 0) -> Iterator[bytes]:
        """Yields the content in order; errors as of `ContentStore.get`."""
        return walk(cid, self._block, size=size, start=start)

    def has(self, cid: Cid) -> bool:
        """Whether the root block is here."""
        is_leaf(cid)
        return cid in self._blocks

    def discard(self, contents: Collection[Cid], *, kept: Collection[Cid]) -> None:
        """Blocks that only `contents` have are forgotten."""
        spared = {name for cid in kept for name in blocks_of(cid, self._blocks.get)}
        for cid in contents:
            for name in list(blocks_of(cid, self._blocks.get)):
                if name not in spared:
                    self._blocks.pop(name, None)

    def _block(self, cid: Cid, most: int) -> bytes:
        if cid not in self._blocks:
            raise Absent(f"{show_cid(cid)} is not in this store")
        return verified(cid, (self._blocks[cid],), most=most)
