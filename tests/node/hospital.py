"""One hospital as its people see it: folders, settings, a chain; the others are rehearsed on that chain."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from eth_account import Account

from deploy.contracts import Deployment, deploy
from deploy.devnet import CHAIN_ID, Devnet
from federation.agreement import terms_of
from federation.audience import invite
from federation.audit.observer import Observer
from federation.audit.view import LedgerView
from federation.dealing import PublicKey, seal_shares
from federation.digest import LedgerId
from federation.events import StudyId, Windows
from federation.identity import Identity, create_identity
from federation.ledger.chain import ChainLedger, connect
from federation.members import Address, Member, Role, parse_address, show_address
from federation.rehearsal import Hospital, Rehearsal, sealing_secret, seeded
from federation.seal import ContentKey, sealing_key_of
from federation.store.content import put_bytes
from federation.store.directory import DirectoryStore
from federation.tasks import TaskSpec
from node.approvals import Approvals

from ..ciphers.keys import dealt
from ..rehearsing import spec_of, training
from .ward import patients

PASSWORD = "a pass phrase that must never be seen"
CONTENT_KEY = ContentKey(b"\x2a" * 32)
COST = 1 << 4  # of scrypt: a test has no secrets
DEALING = dealt(256, 2, 3)
PATIENTS_OF = Address(b"\x01" * 20)  # whose rehearsed patients the hospital has


@dataclass
class Place:
    """What exists before the study: a chain, a contract, keys and a ceremony."""

    devnet: Devnet
    folder: Path
    identity: Identity
    members: tuple[Address, ...]
    accounts: dict[Address, bytes]
    aggregator: Address
    deployment: Deployment
    public: PublicKey
    boxes: dict[Address, bytes]
    ledgers: dict[Address, ChainLedger]

    @property
    def me(self) -> Address:
        return self.identity.address

    @property
    def settings(self) -> Path:
        return self.folder / "node.toml"

    @property
    def others(self) -> tuple[Address, ...]:
        return tuple(member for member in self.members if member != self.me)

    def ledger(self, account: Address) -> ChainLedger:
        if account not in self.ledgers:
            self.ledgers[account] = connect(
                self.devnet.url,
                self.deployment.address,
                Account.from_key(self.accounts[account]),
                deployment_block=self.deployment.block,
                confirmations=0,
            )
        return self.ledgers[account]

    @property
    def key_share_index(self) -> int:
        return self.members.index(self.me)

    def write_settings(self, file: str = "node.toml", **changes: str) -> Path:
        """The settings file; `changes` replace the right side of a line, or add one on top."""
        lines = {
            "name": '"St. Elsewhere"',
            "identity": '"identity"',
            "password_file": '"password"',
            "vault": '"vault"',
            "data": '"patients.csv"',
            "study": "1",
            "poll_seconds": "0.05",
        }
        tables = {
            "policy": {
                "minimum_rows": "20",
                "minimum_contributors": "3",
                "accept_weak_keys": "true",
            },
            "ledger": {
                "url": f'"{self.devnet.url}"',
                "contract": f'"{show_address(self.deployment.address)}"',
                "chain_id": str(CHAIN_ID),
                "deployment_block": str(self.deployment.block),
            },
            "store": {"directory": '"content"'},
        }
        for key, value in changes.items():
            table, _, inner = key.partition("__")
            into = tables[table] if inner else lines
            into[inner or key] = value
        text = "\n".join(f"{key} = {value}" for key, value in lines.items() if value)
        for table, entries in tables.items():
            kept = [f"{key} = {value}" for key, value in entries.items() if value]
            text += "\n".join(["", f"[{table}]", *kept, ""]) if kept else ""
        path = self.folder / file
        path.write_text(text)
        return path


class OnChain(Rehearsal):
    """The rehearsed hospitals and aggregator of the first study, on a real chain and a real folder."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.store = DirectoryStore(place.folder / "content")
        self.hospitals = {
            member: Hospital(
                address=member,
                key_share=DEALING.key_shares[place.members.index(member)],
                seed=seeded(b"a secret of tests", member),
                samples=50,
                train=training(member),
            )
            for member in place.others
        }
        self.study = StudyId(1)
        self.view = LedgerView(place.ledger(place.aggregator))
        self.view.refresh()
        self.observer = Observer(self.view, place.ledger(place.aggregator), self.store, self.study)
        self.agreement = self.observer.agreement
        reader = place.others[0]
        self.content_key = self.agreement.content_key(reader, sealing_secret(reader))

    def ledger(self, account: Address) -> ChainLedger:
        return self.place.ledger(account)


def approve(stage: OnChain, vault: str = "vault") -> None:
    """The hospital's people allow the study's task, under its terms."""
    Approvals(stage.place.folder / vault).approve(stage.agreement, by="a test", at="then")


def task_digest() -> str:
    spec = spec_of("paillier")
    return TaskSpec(name=spec.task, parameters=spec.task_parameters).digest.hex()


def settle(devnet: Devnet, folder: Path) -> Place:
    """A hospital with patients and keys, a contract with everybody on it, and dealt shares; no study."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "password").write_text(PASSWORD + "\n")
    identity = create_identity(folder / "identity", PASSWORD, os.urandom, cost=COST)
    accounts = {parse_address(Account.from_key(key).address): key for key in devnet.funded[:4]}
    (*others, aggregator, auditor) = accounts
    members = tuple(sorted([identity.address, *others]))
    keys = {address: sealing_key_of(sealing_secret(address)) for address in accounts}
    keys[identity.address] = sealing_key_of(identity.sealing_secret)
    roles = dict.fromkeys(members, Role.INSTITUTION) | {
        aggregator: Role.AGGREGATOR,
        auditor: Role.AUDITOR,
    }
    founders = [
        Member(address=address, role=role, sealing_key=keys[address], name=role.name.lower())
        for address, role in roles.items()
    ]
    devnet.fund(identity.address, 10**18)
    public = PublicKey(suite="paillier", key=DEALING.public_key, members=members)
    place = Place(
        devnet=devnet,
        folder=folder,
        identity=identity,
        members=members,
        accounts=accounts,
        aggregator=aggregator,
        deployment=deploy(devnet.url, devnet.funded[-1], founders),
        public=public,
        boxes=seal_shares(DEALING, public, keys, random=os.urandom),
        ledgers={},
    )
    write_patients(folder / "patients.csv")
    (folder / "public.key").write_bytes(public.encode())
    for member, box in place.boxes.items():
        (folder / f"{member.hex()}.sealed").write_bytes(box)
    place.write_settings()
    return place


def found(place: Place, *, rounds: int = 2) -> OnChain:
    """A study that all but this hospital have accepted; its people have approved the task."""
    keys: Mapping[Address, object] = place.accounts
    readers = {a: sealing_key_of(sealing_secret(a)) for a in keys}
    readers[place.me] = sealing_key_of(place.identity.sealing_secret)
    ledger: LedgerId = place.ledger(place.aggregator).id
    spec = replace(
        spec_of("paillier", rounds=rounds),
        key=DEALING.public_key,
        members=place.members,
        aggregators=(place.aggregator,),
        windows=Windows(10_000, 10_000, 10_000, 10_000),
        audience=invite(CONTENT_KEY, readers, ledger, random=os.urandom),
    )
    store = DirectoryStore(place.folder / "content")
    terms = terms_of(spec, put_bytes(store, spec.encode()), ledger)
    place.ledger(place.aggregator).create_study(terms)
    for member in place.others:
        place.ledger(member).accept_study(StudyId(1), terms.digest)
    stage = OnChain(place)
    approve(stage)
    return stage


def write_patients(path: Path) -> None:
    held = patients(PATIENTS_OF)
    lines = [",".join([*(f"marker{k}" for k in range(5)), "outcome"])]
    for row, label in zip(held.inputs, held.labels, strict=True):
        lines.append(",".join([*(repr(float(cell)) for cell in row), "yes" if label else "no"]))
    path.write_text("\n".join(lines) + "\n")
