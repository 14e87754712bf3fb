"""What a consortium agrees on: one document, digested on the ledger, accepted by all (PROTOCOL §3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from . import cbor
from .arithmetic import Scale
from .audience import Audience, read_audience
from .digest import DIGEST_BYTES, Cid, Digest, sha256
from .errors import Violation
from .events import Leaves, Stake, StudyTerms, Windows
from .members import ADDRESS_BYTES, Address

SPEC_VERSION: Final = 1
SPEC_LIMIT: Final = 1 << 16  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StudySpec:
    """The agreed study. Integers and bytes only, so that it has one encoding and one digest."""

    name: str  # for people
    task: str
    task_parameters: bytes  # CBOR, read by the task alone
    scale: Scale
    suite: str
    key: bytes  # public key with verification keys, read by the suite alone
    members: tuple[Address, ...]  # institutions, increasing; the i-th (from 1) holds key share i
    aggregators: tuple[Address, ...]  # one to three, in the order of their turns in round 1
    threshold: int
    minimum: int  # contributors
    rounds: int
    windows: Windows
    genesis: Digest  # digest of the model that round 1 starts from
    audience: Audience  # who can read shares, openings and models
    stake: Stake  # what an aggregator loses for a proven fault

    def encode(self) -> bytes:
        """The document's bytes."""
        members: list[cbor.Value] = list(self.members)
        scale: list[cbor.Value] = [
            self.scale.clip,
            self.scale.bound,
            self.scale.weight_cap,
            self.scale.members,
            self.scale.bits,
        ]
        return cbor.encode(
            {
                0: SPEC_VERSION,
                1: self.name,
                2: self.task,
                3: self.task_parameters,
                4: scale,
                5: self.suite,
                6: self.key,
                7: members,
                8: list(self.aggregators),
                9: self.threshold,
                10: self.minimum,
                11: self.rounds,
                12: list(self.windows),
                13: self.genesis,
                14: self.audience.value(),
                15: list(self.stake),
            }
        )

    def terms(self, cid: Cid, key: Digest, leaves: Leaves) -> StudyTerms:
        """What the contract is told; `cid` is where the document lies, `key` its key's digest (§7.2)."""
        return StudyTerms(
            digest=sha256(self.encode()),
            cid=cid,
            key=key,
            leaves=leaves,
            members=self.members,
            aggregators=self.aggregators,
            threshold=self.threshold,
            minimum=self.minimum,
            rounds=self.rounds,
            windows=self.windows,
            stake=self.stake,
        )


def decode_spec(data: bytes) -> StudySpec:
    """The study in `data`; raises `Violation` unless each field has its type and no other encoding exists."""
    match cbor.decode(data, limit=SPEC_LIMIT):
        case {
            0: 1,
            1: str() as name,
            2: str() as task,
            3: bytes() as task_parameters,
            4: [int() as clip, int() as bound, int() as weight_cap, int() as most, int() as bits],
            5: str() as suite,
            6: bytes() as key,
            7: list() as members,
            8: list() as aggregators,
            9: int() as threshold,
            10: int() as minimum,
            11: int() as rounds,
            12: [int() as commit, int() as reveal, int() as combine, int() as open_],
            13: bytes() as genesis,
            14: list() as audience,
            15: [int() as gwei, int() as lock, bytes() as treasury],
        } if len(genesis) == DIGEST_BYTES:
            spec = StudySpec(
                name=name,
                task=task,
                task_parameters=task_parameters,
                scale=Scale(clip=clip, bound=bound, weight_cap=weight_cap, members=most, bits=bits),
                suite=suite,
                key=key,
                members=tuple(_address(member) for member in members),
                aggregators=tuple(_address(aggregator) for aggregator in aggregators),
                threshold=threshold,
                minimum=minimum,
                rounds=rounds,
                windows=Windows(commit, reveal, combine, open_),
                genesis=Digest(genesis),
                audience=read_audience(audience),
                stake=Stake(gwei, lock, _address(treasury)),
            )
        case _:
            raise Violation("§3", "a study's document", expected="the 16 fields of version 1", found="others")
    if spec.encode() != data:
        raise Violation("§3", "a study's document", expected="no further fields", found="more")
    return spec


def _address(value: cbor.Value) -> Address:
    if not isinstance(value, bytes) or len(value) != ADDRESS_BYTES:
        raise Violation("§3", "a study's document", expected="addresses of 20 bytes", found=repr(value))
    return Address(value)
