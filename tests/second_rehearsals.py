"""Rounds rehearsed in memory, put down as the plain data that a stranger's verifier starts from."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from federation.audience import PUBLIC
from federation.events import KeyAccepted, KeyProposed, RoundId, StudyId, UpdateCommitted
from federation.opening import join_shares
from federation.rehearsal import Rehearsal
from federation.runs import whole
from federation.store.content import get_bytes

from .ciphers.suites import two_dealers
from .rehearsing import CONTENT_KEY, HOSPITALS, hospital, rehearse, spec_of
from .second_suites import Suite
from .second_verifier import Call, Facts, Study, verify

FEATURES = (
    30  # with bias and weight 32 values: four plaintexts of nine lanes, the last not full; or one block
)
SHAPE = (("weight", (FEATURES,)), ("bias", (1,)))
GENESIS = (bytes(4 * FEATURES), bytes(4))  # §8.8
SUITES = ("paillier", "hybrid", "hybrid of two dealers")


def rehearsed(kind: str) -> Rehearsal:
    """A study that all have accepted; `kind` is one of `SUITES`, or it with ", sealed"."""
    suite, _, sealed = kind.partition(", ")
    if suite != "hybrid of two dealers":
        return rehearse(kind, rounds=6, features=FEATURES)
    dealing = two_dealers(2, 4).dealing
    spec = replace(spec_of("hybrid", rounds=6, features=FEATURES), key=dealing.public_key)
    hospitals = [
        replace(hospital(address, "hybrid"), key_share=share)
        for address, share in zip(HOSPITALS, dealing.key_shares, strict=True)
    ]
    return Rehearsal(spec, hospitals, content_key=CONTENT_KEY if sealed else PUBLIC)


def facts_of(
    rehearsal: Rehearsal, number: int, base: tuple[bytes, ...], *, features: int = FEATURES
) -> Facts:
    """What ledger and store say of one round; without a result, the opening that its shares lead to."""

    def fetch(cid) -> bytes:
        return get_bytes(rehearsal.store, cid, size=1 << 20)

    id = RoundId(StudyId(1), number)
    round = rehearsal.round(id)
    if round.proposals:
        told = round.proposals[0]
        proposer, opening, model = told.sender, (told.opening, fetch(told.opening_cid)), fetch(told.model_cid)
        result = told.model
    else:
        record = rehearsal.record(id)
        shares = {m: (record.round.shares[m].digest, data) for m, data in record.shares.items()}
        joined = join_shares(record.agreement, id, record.recomputed_total, shares).payload
        proposer, opening, model, result = b"", (joined.root(), whole(joined)), b"", bytes(32)
    return Facts(
        study_digest=round.terms.digest,
        key_digest=round.terms.key,
        document=fetch(round.terms.cid),
        ledger=rehearsal.agreement.ledger,
        study=1,
        round=number,
        shape=SHAPE,
        base=base,
        log=list(log_of(rehearsal)),
        commits={m: (event.root, event.base_model) for m, event in round.commits.items()},
        reveals={m: fetch(event.cid) for m, event in round.reveals.items()},
        members=round.total.members,
        total_root=round.total.root,
        total=fetch(round.total.cid),
        shares={m: (event.digest, fetch(event.cid)) for m, event in round.shares.items()},
        proposer=proposer,
        opening_digest=opening[0],
        opening=opening[1],
        model_digest=result,
        model=model,
        content_key=CONTENT_KEY if rehearsal.agreement.spec.audience.is_sealed else None,
    )


def log_of(rehearsal: Rehearsal) -> Iterator[Call]:
    """What §3.3 reads of the ledger."""
    ledger = rehearsal.ledger(HOSPITALS[0])
    for event in ledger.events(-1, ledger.head().number):
        match event:
            case UpdateCommitted():
                yield "commitUpdate", event.round.number
            case KeyProposed():
                document = get_bytes(rehearsal.store, event.cid, size=1 << 16)
                yield "proposeKey", event.sender, event.key, document
            case KeyAccepted():
                yield "acceptKey", event.sender, event.key


@cache
def second_round(kind: str) -> Facts:
    """An honest round that is not a study's first."""
    rehearsal = rehearsed(kind)
    rehearsal.run_round()
    rehearsal.run_round()
    base = verify(facts_of(rehearsal, 1, GENESIS))
    return facts_of(rehearsal, 2, tuple(base))


def suite_of(facts: Facts) -> Suite:
    """The suite under the round's key, for its layout."""
    return Study(facts).suite
