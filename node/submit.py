"""One update's way out: trained, quantised, kept, encrypted, committed; later revealed (PROTOCOL §4.3)."""

from __future__ import annotations

import logging

from federation.arithmetic import weigh
from federation.digest import Digest
from federation.events import RoundId
from federation.ledger.ledger import Receipt
from federation.submission import clip_update, encrypt_update, quantise_update
from federation.wire import Payload

from .journal import Entry
from .seat import Seat
from .train import train

log = logging.getLogger(__name__)


def submit(seat: Seat, round: RoundId) -> Receipt:
    """We are bound to one update of this round; only its root has left the house.

    Raises `Refused` before anything is trained where we hold no share of the round's key (its sum could not
    be opened with our help), and `PolicyRefusal` where our rules forbid it.
    """
    seat.key_share_of(round)
    seat.may_commit(round)
    seat.rules.openings.note(seat.observer.history, seat.me, round)  # it counts before anybody can open it
    payload, base_model = prepare(seat, round)
    root = payload.root()
    seat.journal.remember(Entry.TRAINED, round, root)
    receipt = seat.ledger.commit_update(round, root, base_model)
    log.info("committed", extra={"round": str(round), "root": root.hex(), "gas": receipt.gas})
    return receipt


def reveal(seat: Seat, round: RoundId) -> Receipt:
    """The payload we committed to is in the store, and the ledger says where.

    Raises `Refused` before a byte leaves the house if we would now encrypt something else, as after
    the loss of the seed: two encryptions of one round are never both seen.
    """
    seat.may_give("reveal", round)
    payload, _ = prepare(seat, round)
    seat.journal.remember(Entry.TRAINED, round, payload.root())
    receipt = seat.ledger.reveal_update(round, seat.store.put(payload.read()))
    size = payload.shape.size(payload.header)
    log.info("revealed", extra={"round": str(round), "bytes": size, "gas": receipt.gas})
    return receipt


def prepare(seat: Seat, round: RoundId) -> tuple[Payload, Digest]:
    """Our update of this round and the digest of its base; the same bytes however often it is asked for.

    The integers are durable before anything is encrypted, and the seed is older still: encrypting
    again after a crash repeats the same ciphertexts and never uses their randomness twice.
    """
    agreement = seat.agreement_of(round)
    base = seat.observer.base_of(seat.round(round), seat.content_key)
    base_model = agreement.model_digest(base)
    seed = seat.vault.seed()
    if not seat.vault.has_values(round):
        patients = seat.may_commit(round)
        clipped = clip_update(agreement, train(seat, round, base, patients))
        if clipped.cut or clipped.kept < clipped.norm:
            log.warning("clipped", extra={"round": str(round), "values_cut": clipped.cut})
        weight = weigh(patients.samples, agreement.spec.scale)
        values = quantise_update(agreement, round, clipped, member=seat.me, weight=weight, seed=seed)
        seat.vault.keep_values(round, values)
    values = seat.vault.values(round)
    payload = encrypt_update(
        agreement,
        round,
        values,
        member=seat.me,
        base_model=base_model,
        seed=seed,
        executor=seat.executor,
    )
    return payload, base_model
