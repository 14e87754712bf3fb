"""A rehearsed study whose aggregator is the real conductor, and what can break between it and the world."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from aggregator.conductor import Conductor
from aggregator.duty import Abandon, Duty, Finish, PostTotal
from federation.digest import Cid, Digest, LedgerId, sha256
from federation.errors import Unavailable
from federation.events import Event, Reason, RoundId
from federation.in_memory import InMemoryStore
from federation.ledger.ledger import Block, Ledger, Receipt
from federation.members import Address
from federation.rehearsal import AGGREGATOR, AUDITOR, Rehearsal, readers_of, sealing_secret
from federation.store.content import Absent, ContentStore
from federation.wire import Kind

from ..rehearsing import CONTENT_KEY, HOSPITALS, hospital, rehearse, spec_of


def sealed_with_us(rounds: int = 2) -> Rehearsal:
    """A study that only its readers can read, with the aggregator among them."""
    chain = rehearse("plain").chain.id  # the same founders at the same second: the same chain
    readers = [*HOSPITALS, AUDITOR, AGGREGATOR]
    audience = readers_of(readers, CONTENT_KEY, chain)
    spec = replace(spec_of("plain"), rounds=rounds, audience=audience)
    return Rehearsal(spec, [hospital(address, "plain") for address in HOSPITALS])


def conductor(
    stage: Rehearsal, *, ledger: Ledger | None = None, store: ContentStore | None = None
) -> Conductor:
    """A new aggregator that remembers nothing."""
    return Conductor(ledger or stage.ledger(AGGREGATOR), store or stage.store, sealing_secret(AGGREGATOR))


def hospitals_reveal(stage: Rehearsal, who: Sequence[Address] = HOSPITALS) -> RoundId:
    """These hospitals commit and reveal; the windows of the others close."""
    id = stage.round().id
    for address in who:
        stage.commit(address)
    if len(who) < len(HOSPITALS):
        stage.wait(61)
    for address in who:
        stage.reveal(address, id)
    return id


def hospitals_share(stage: Rehearsal, id: RoundId, who: Sequence[Address] = HOSPITALS[:2]) -> None:
    """These hospitals give their shares."""
    for address in who:
        stage.post_share(address, id)


def wrong_share(stage: Rehearsal, who: Address, id: RoundId, junk: bytes) -> None:
    """It gives these bytes for a share of the total that stands."""
    cid = stage.put(Kind.SHARE, id, junk)
    stage.ledger(who).post_share(id, sha256(junk), cid, total=posted_root(stage, id))


def posted_root(stage: Rehearsal, id: RoundId) -> Digest:
    """Of the total that stands."""
    posted = stage.round(id).total
    assert posted is not None
    return posted.root


def works(conductor: Conductor) -> list[Duty]:
    """What it does until it has to wait."""
    done: list[Duty] = []
    while isinstance(due := conductor.step(), PostTotal | Finish | Abandon):
        done.append(due)
        assert len(done) < 10, "the conductor repeats itself"
    return done


class ReadThrough:
    """The reading half of a ledger, passed on; its blocks may be withheld."""

    def __init__(self, inner: Ledger) -> None:
        self.inner = inner
        self.shows_until: Block | None = None

    @property
    def id(self) -> LedgerId:
        return self.inner.id

    @property
    def code_digest(self) -> Digest:
        return self.inner.code_digest

    @property
    def account(self) -> Address:
        return self.inner.account

    def head(self) -> Block:
        return self.shows_until or self.inner.head()

    def events(self, after: int, until: int) -> Sequence[Event]:
        return self.inner.events(after, until)

    def post_total(self, round: RoundId, members: Sequence[Address], root: Digest, cid: Cid) -> Receipt:
        return self.inner.post_total(round, members, root, cid)

    def finish(
        self, round: RoundId, opening: Digest, model: Digest, *, opening_cid: Cid, model_cid: Cid
    ) -> Receipt:
        return self.inner.finish(round, opening, model, opening_cid=opening_cid, model_cid=model_cid)

    def abandon(self, round: RoundId, reason: Reason) -> Receipt:
        return self.inner.abandon(round, reason)


@dataclass
class Patchy:
    """A store that has lost some content, and may be out of reach altogether."""

    inner: ContentStore = field(default_factory=InMemoryStore)
    lost: set[Cid] = field(default_factory=set)
    silent: bool = False

    def put(self, chunks: Iterable[bytes]) -> Cid:
        self._answer()
        return self.inner.put(chunks)

    def get(self, cid: Cid, *, size: int) -> Iterator[bytes]:
        self._answer()
        if cid in self.lost:
            raise Absent("lost")
        return self.inner.get(cid, size=size)

    def has(self, cid: Cid) -> bool:
        self._answer()
        return cid not in self.lost and self.inner.has(cid)

    def _answer(self) -> None:
        if self.silent:
            raise Unavailable("the store is silent")
