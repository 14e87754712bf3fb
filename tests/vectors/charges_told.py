"""Cases and charges as JSON, and back: byte strings in hexadecimal, fields by their names."""

from __future__ import annotations

from dataclasses import fields

from federation.digest import Digest, LedgerId
from federation.disputes import Charge, HeaderEvidence, KeyEvidence, LeafEvidence, SumEvidence
from federation.events import Fault, Leaves, RoundId, StudyId
from federation.judge import Case
from federation.members import Address

from .disputed_rounds import ROUND

Json = dict[str, object]


def case_told(case: Case) -> Json:
    suite, ciphertexts, chunks, binding = case.leaves
    return {
        "study": case.round.study,
        "round": case.round.number,
        "suite": suite,
        "ciphertexts": ciphertexts,
        "chunks": chunks,
        "binding": binding.hex(),
        "key": case.key.hex(),
        "total": case.total.hex(),
        "members": [member.hex() for member in case.members],
        "roots": [root.hex() for root in case.roots],
    }


def case_in(told: Json) -> Case:
    return Case(
        round=RoundId(StudyId(told["study"]), told["round"]),
        leaves=Leaves(told["suite"], told["ciphertexts"], told["chunks"], _digest(told["binding"])),
        key=_digest(told["key"]),
        total=_digest(told["total"]),
        members=tuple(Address(bytes.fromhex(member)) for member in told["members"]),
        roots=tuple(map(_digest, told["roots"])),
    )


def told_of(charge: Charge) -> Json:
    member = None if charge.member is None else charge.member.hex()
    return {"fault": int(charge.fault), "member": member, "evidence": _told(charge.evidence)}


def charge_in(told: Json) -> Charge:
    member = None if told["member"] is None else Address(bytes.fromhex(told["member"]))
    evidence = _evidence_in(told["evidence"])
    return Charge(round=ROUND, fault=Fault(told["fault"]), member=member, evidence=evidence)


def _told(value: object) -> object:
    match value:
        case bytes():
            return value.hex()
        case tuple():
            return [_told(one) for one in value]
        case KeyEvidence() | SumEvidence() | LeafEvidence() | HeaderEvidence():
            return {field.name: _told(getattr(value, field.name)) for field in fields(value)}
    return value


def _evidence_in(told: Json) -> SumEvidence | LeafEvidence | HeaderEvidence:
    match told:
        case {"header": header}:
            return HeaderEvidence(
                ledger=LedgerId(_digest(told["ledger"])),
                shape=_digest(told["shape"]),
                header=bytes.fromhex(header),
                path=tuple(map(_digest, told["path"])),
            )
        case {"found": found}:
            return SumEvidence(
                leaf=told["leaf"],
                found=_digest(found),
                key=_key_in(told["key"]),
                leaves=bytes.fromhex(told["leaves"]),
                paths=tuple(map(_digest, told["paths"])),
            )
    return LeafEvidence(
        leaf=told["leaf"],
        key=_key_in(told["key"]),
        data=bytes.fromhex(told["data"]),
        path=tuple(map(_digest, told["path"])),
        witness=bytes.fromhex(told["witness"]),
    )


def _key_in(told: Json) -> KeyEvidence:
    return KeyEvidence(
        modulus=bytes.fromhex(told["modulus"]),
        rest=_digest(told["rest"]),
        other=_digest(told["other"]),
        second=told["second"],
    )


def _digest(text: str) -> Digest:
    return Digest(bytes.fromhex(text))
