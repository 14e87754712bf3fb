"""A service over real HTTP whose consortium has members with keys of their own, in every standing."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

from eth_account.signers.local import LocalAccount
from fastapi import FastAPI
from httpx import Client

from aggregator.app import create_app
from aggregator.buckets import Buckets
from aggregator.checkup import Auditor, Probe
from aggregator.door import Door
from aggregator.server import server_of
from aggregator.settings import ServiceSettings
from aggregator.work import Work
from federation.ask import trusting
from federation.events import Motion, MotionKind, Timestamp
from federation.ledger.abi import motion_id
from federation.members import Member, Role, SealingKey
from federation.rehearsal import AGGREGATOR, Rehearsal, sealing_secret

from ..rehearsing import HOSPITALS
from .callers import OPERATOR_KEY, address_of, door_of, key, plenty, sign_in
from .stage import conductor

JOINED = {
    "institution": Role.INSTITUTION,
    "auditor": Role.AUDITOR,
    "aggregator": Role.AGGREGATOR,
    "suspended": Role.INSTITUTION,
    "removed": Role.AUDITOR,
    "replaced": Role.INSTITUTION,
}
PATIENCE = 30  # seconds; far more than anything here takes


@dataclass
class Clock:
    """Seconds that pass when a test says so; begins at some time of day."""

    now: float = 1_767_225_600

    def __call__(self) -> float:
        return self.now


@dataclass(kw_only=True)
class Live:
    """The service, and how to reach and change what it stands on."""

    url: str
    app: FastAPI
    stage: Rehearsal
    door: Door
    work: Work
    clock: Clock
    client: Client

    def sign_in(self, account: LocalAccount) -> str:
        """A token of its own."""
        return sign_in(self.client, self.door, account).token

    def decide(self, kind: MotionKind, **about: object) -> None:
        """The hospitals carry a motion, and the service has seen it."""
        expires = Timestamp(self.stage.ledger(AGGREGATOR).head().time + 3600)
        motion = Motion(kind=kind, expires=expires, **about)  # type: ignore[arg-type]  # names are checked at run time
        for hospital in HOSPITALS:
            self.stage.ledger(hospital).vote(motion)
            self.stage.view.refresh()
            if self.stage.view.history.consortium.ballots[motion_id(motion)].carried:
                break
        self.catch_up()

    def admit(self, name: str, role: Role) -> None:
        """An account by this name is on the roster."""
        self.decide(MotionKind.ADMIT, member=line(name, role))

    def catch_up(self) -> None:
        """The service has read all that the ledger shows."""
        newest = self.stage.ledger(AGGREGATOR).head()
        deadline = monotonic() + PATIENCE
        while not self.work.conductor.has_read or self.work.conductor.view.head.number < newest.number:
            assert monotonic() < deadline, "the conductor never got there"
            sleep(0.005)


def line(name: str, role: Role) -> Member:
    """What the roster says of an account with a known key."""
    return Member(
        address=address_of(key(name)), role=role, sealing_key=SealingKey(b"\x07" * 32), name=name[:31]
    )


@contextmanager
def alive(
    stage: Rehearsal,
    *,
    settings: Mapping[str, object] | None = None,
    accounts: Buckets | None = None,
    clients: Buckets | None = None,
    trust: Path | None = None,
) -> Iterator[Live]:
    """The service listens, as its settings say, on a port of this machine; its clock stands still."""
    # asyncio spares small packets their wait only where the protocol is named.
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        chosen = ServiceSettings.model_validate({**(settings or {}), "port": listening.getsockname()[1]})
        ledger, clock = stage.ledger(AGGREGATOR), Clock()
        work = Work(conductor(stage), poll=0.02, longest=0.02, when_it_ends=lambda: None)
        door = door_of(stage, work, service=chosen.known_as, wall=clock, clock=clock)
        secret, code = sealing_secret(AGGREGATOR), ledger.code_digest
        app = create_app(
            work,
            Probe(ledger, stage.store),
            Auditor(ledger, stage.store, secret, audited_code=code, every=60),
            door,
            accounts=accounts or plenty(),
            clients=clients or plenty(),
        )
        server = server_of(app, chosen)
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            deadline = monotonic() + PATIENCE
            while not server.started:
                assert thread.is_alive()
                assert monotonic() < deadline, "the service never listened"
                sleep(0.005)
            verify = trusting(trust) if trust else ssl.create_default_context()
            with Client(base_url=chosen.url, verify=verify, trust_env=False, timeout=PATIENCE) as client:
                live = Live(
                    url=chosen.url, app=app, stage=stage, door=door, work=work, clock=clock, client=client
                )
                live.catch_up()
                yield live
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


def everybody(live: Live) -> dict[str, str]:
    """A token for each kind of caller, some of which have lost their validity since."""
    for name, role in JOINED.items():
        live.admit(name, role)
    tokens = {"expired": live.sign_in(key("institution"))}
    live.clock.now += 901
    tokens |= {name: live.sign_in(key(name)) for name in JOINED}
    tokens["operator"] = live.sign_in(OPERATOR_KEY)
    live.decide(MotionKind.SUSPEND, subject=address_of(key("suspended")))
    live.decide(MotionKind.REMOVE, subject=address_of(key("removed")))
    live.decide(
        MotionKind.REPLACE,
        subject=address_of(key("replaced")),
        member=line("heir", Role.INSTITUTION),
    )
    tokens["heir"] = live.sign_in(key("heir"))
    return tokens
