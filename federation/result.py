"""What a round comes to: one opening, one model, and how anybody proposes them (PROTOCOL §5.5)."""

from __future__ import annotations

from dataclasses import dataclass

from .agreement import Agreement
from .arithmetic import Model
from .events import RoundId
from .ledger.ledger import Ledger, Receipt
from .model import to_safetensors
from .runs import whole
from .seal import ContentKey
from .store.content import ContentStore, put_bytes
from .wire import Kind, Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The opening of a round's total and the model it leads to. Never printed: it holds the sum."""

    opening: Payload
    model: Model

    def __repr__(self) -> str:
        return "Result(…)"


def propose_result(
    ledger: Ledger,
    store: ContentStore,
    round: RoundId,
    *,
    agreement: Agreement,
    key: ContentKey,
    result: Result,
) -> Receipt:
    """Opening and model are stored, sealed if the study is, and then proposed on the ledger.

    Whoever proposes the same result stores the same bytes. Raises `Unavailable` or `LedgerRejected`.
    """
    file = to_safetensors(result.model, agreement.task.parameters)
    opening = agreement.wrap(key, Kind.OPENING, round, whole(result.opening))
    model = agreement.wrap(key, Kind.MODEL, round, file)
    opening_cid, model_cid = put_bytes(store, opening), put_bytes(store, model)
    root, digest = result.opening.root(), agreement.model_digest(result.model)
    return ledger.finish(round, root, digest, opening_cid=opening_cid, model_cid=model_cid)
