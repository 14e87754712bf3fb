"""One contract on one ledger, with everybody who may call it, and a clock that tests can move."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from eth_account import Account

from deploy.contracts import Deployment, deploy
from deploy.devnet import Devnet
from federation.digest import CID_RAW, Cid, Digest, sha256
from federation.errors import LedgerRejected
from federation.events import (
    NO_STAKE,
    Event,
    Leaves,
    LogPosition,
    Reason,
    RoundId,
    StudyCreated,
    StudyId,
    StudyTerms,
    Timestamp,
    Windows,
)
from federation.in_memory import InMemoryChain
from federation.law import History
from federation.ledger.chain import ChainLedger, connect
from federation.ledger.ledger import Ledger
from federation.members import Address, Member, Role, SealingKey, parse_address
from federation.rounds import Phase

CIPHERTEXTS = 9  # of any later key
WINDOW = 10_000  # seconds of each phase; far more than a test takes


@dataclass(kw_only=True)
class World:
    """Five institutions, two aggregators, an auditor, and a stranger, on one contract."""

    name: str
    institutions: tuple[Address, ...]
    aggregator: Address
    auditor: Address
    stranger: Address
    standby: Address  # the second aggregator
    ledger: Callable[[Address], Ledger]
    advance: Callable[[int], None]
    another: Callable[[], World]  # the same people on a contract of its own
    deployment: Deployment | None = None  # of a world on a chain
    history: History = field(default_factory=History)
    seen: list[Event] = field(default_factory=list)
    read_until: int = -1

    @property
    def cast(self) -> list[Address]:
        """Everybody, in the order that `in_memory` takes."""
        return [*self.institutions, self.aggregator, self.auditor, self.stranger, self.standby]

    def catch_up(self) -> History:
        """All events so far, followed in order: none breaks the law."""
        ledger = self.ledger(self.auditor)
        head = ledger.head()
        for event in ledger.events(self.read_until, head.number):
            self.history.follow(event)
            self.seen.append(event)
        self.read_until = head.number
        return self.history

    def terms(self, n: int = 3, **changes: object) -> StudyTerms:
        """Lawful terms for the first n institutions, threshold 2, unless changed."""
        lawful = StudyTerms(
            digest=named("spec"),
            cid=cid("spec"),
            key=named("first key"),
            members=self.institutions[:n],
            leaves=Leaves(suite=2, ciphertexts=7, chunks=64, binding=named("binding")),
            aggregators=(self.aggregator,),
            threshold=2,
            minimum=3,
            rounds=2,
            windows=Windows(WINDOW, WINDOW, WINDOW, WINDOW),
            stake=NO_STAKE,
        )
        return replace(lawful, **changes)  # type: ignore[arg-type]  # names are checked at run time

    def propose(self, n: int = 3, **changes: object) -> Play:
        """A new study that nobody has accepted."""
        terms = self.terms(n, **changes)
        creator = self.ledger(self.auditor)
        receipt = creator.create_study(terms)
        (created,) = creator.events(receipt.at.block - 1, receipt.at.block)
        assert isinstance(created, StudyCreated)
        assert created.terms == terms
        return Play(world=self, study=created.study, members=terms.members)

    def start(self, n: int = 3, **changes: object) -> Play:
        """A new study that all its members have accepted."""
        play = self.propose(n, **changes)
        for member in play.members:
            self.ledger(member).accept_study(play.study, named("spec"))
        return play


@dataclass(kw_only=True)
class Play:
    """One study, and who does what in its rounds; methods return themselves so that rounds read as lines."""

    world: World
    study: StudyId
    members: tuple[Address, ...]
    number: int = 1

    @property
    def round(self) -> RoundId:
        return RoundId(self.study, self.number)

    @property
    def next(self) -> Play:
        return replace(self, number=self.number + 1)

    @property
    def aggregator(self) -> Ledger:
        return self.world.ledger(self.world.aggregator)

    def member(self, index: int) -> Ledger:
        return self.world.ledger(self.members[index])

    def phase(self) -> Phase:
        now = self.world.ledger(self.world.auditor).head().time
        return self.world.catch_up().round(self.round).phase(now)

    def late(self) -> Play:
        """Whatever window was open is over."""
        self.world.advance(WINDOW + 1)
        return self

    def commit(self, *who: int, base: str = "genesis", roots: Sequence[Digest] = ()) -> Play:
        """With `roots` of real payloads, or with some that nobody can prove anything of."""
        for index in who:
            root = roots[index] if roots else named(f"update {index}")
            self.member(index).commit_update(self.round, root, named(base))
        return self

    def reveal(self, *who: int) -> Play:
        for index in who:
            self.member(index).reveal_update(self.round, cid(f"update {index}"))
        return self

    def total(self, *of: int, by: Address | None = None, root: Digest | None = None) -> Play:
        addresses = [self.members[index] for index in of]
        aggregator = self.world.ledger(by or self.world.aggregator)
        aggregator.post_total(self.round, addresses, root or named("total"), cid("total"))
        return self

    def share(self, *who: int, of: Digest | None = None) -> Play:
        for index in who:
            self.member(index).post_share(
                self.round, named(f"share {index}"), cid(f"share {index}"), total=of or named("total")
            )
        return self

    def finish(self, who: Ledger, result: str = "result") -> Play:
        who.finish(
            self.round, named(result), named(f"{result} model"), opening_cid=cid(result), model_cid=cid("m")
        )
        return self

    def confirm(self, *who: int, model: str = "result model") -> Play:
        for index in who:
            self.member(index).confirm_model(self.round, named(model))
        return self

    def object(self, who: int, proposed: str = "result") -> Play:
        self.member(who).object_to_result(
            self.round,
            proposed_opening=named(proposed),
            proposed_model=named(f"{proposed} model"),
            found_opening=named("other"),
            found_model=named("other model"),
        )
        return self

    def abandon(self, who: Ledger, reason: Reason) -> Play:
        who.abandon(self.round, reason)
        return self

    def propose_key(self, who: int, key: str, place: str = "key document") -> Play:
        self.member(who).propose_key(self.study, named(key), cid(place))
        return self

    def accept_key(self, key: str, *who: int) -> Play:
        for index in who:
            self.member(index).accept_key(self.study, named(key), CIPHERTEXTS)
        return self

    def finished(self) -> Play:
        """The whole happy way."""
        return self.commit(0, 1, 2).reveal(0, 1, 2).total(0, 1, 2).share(0, 1).finish(self.aggregator)


def named(text: str) -> Digest:
    """Some digest that is easy to say."""
    return sha256(text.encode())


def cid(text: str) -> Cid:
    """The CID of these few bytes."""
    return Cid(CID_RAW + sha256(text.encode()))


@contextmanager
def rejects(rule: str, *values: object) -> Iterator[None]:
    """The call inside is refused by this rule, with these values first; block times may follow."""
    with pytest.raises(LedgerRejected) as caught:
        yield
    assert (caught.value.rule, caught.value.values[: len(values)]) == (rule, values)


def timeless(events: Sequence[Event]) -> list[Event]:
    """The same facts without when and where."""
    return [replace(event, at=LogPosition(0, 0), time=Timestamp(0)) for event in events]


def keys(devnet: Devnet) -> dict[Address, bytes]:
    """The funded accounts with their private keys, by increasing address."""
    by_address = {parse_address(Account.from_key(key).address): key for key in devnet.funded}
    return dict(sorted(by_address.items()))


def on_devnet(devnet: Devnet) -> World:
    """A contract of its own on the chain; the purse (the last funded account) stays out of it."""
    secrets = keys(devnet)
    cast = [address for address, key in secrets.items() if key != devnet.funded[-1]][:9]
    deployment = deploy(devnet.url, devnet.funded[-1], _founders(cast))
    opened: dict[Address, ChainLedger] = {}

    def ledger(account: Address) -> ChainLedger:
        if account not in opened:
            opened[account] = connect(
                devnet.url,
                deployment.address,
                Account.from_key(secrets[account]),
                deployment_block=deployment.block,
                confirmations=0,
            )
        return opened[account]

    world = _world(devnet.kind, cast, ledger, devnet.advance, lambda: on_devnet(devnet))
    return replace(world, deployment=deployment)


def in_memory(cast: Sequence[Address] | None = None) -> World:
    """A world in this process, at a time that only `advance` moves."""
    cast = cast or [Address(bytes([index]) * 20) for index in range(1, 10)]
    now = [1_700_000_000]

    def advance(seconds: int) -> None:
        now[0] += seconds

    chain = InMemoryChain(_founders(cast), lambda: Timestamp(now[0]))
    return _world("in memory", cast, chain.ledger, advance, lambda: in_memory(cast))


def start_devnet(kind: str, directory: Path) -> Devnet:
    """A devnet of this kind, chosen by a parameter's name."""
    assert kind in {"anvil", "ganache"}
    return Devnet.start("anvil" if kind == "anvil" else "ganache", directory=directory)


def _founders(cast: Sequence[Address]) -> list[Member]:
    roles = [Role.INSTITUTION] * 5 + [Role.AGGREGATOR, Role.AUDITOR, None, Role.AGGREGATOR]
    return [
        Member(
            address=address, role=role, sealing_key=SealingKey(named(f"key {index}")), name=f"site {index}"
        )
        for index, (address, role) in enumerate(zip(cast, roles, strict=True))
        if role is not None
    ]


def _world(
    name: str,
    cast: Sequence[Address],
    ledger: Callable[[Address], Ledger],
    advance: Callable[[int], None],
    another: Callable[[], World],
) -> World:
    return World(
        name=name,
        institutions=tuple(cast[:5]),
        aggregator=cast[5],
        auditor=cast[6],
        stranger=cast[7],
        standby=cast[8],
        ledger=ledger,
        advance=advance,
        another=another,
    )
