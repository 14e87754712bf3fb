"""Last on an update's way: total and result lie in the store, then stand on the ledger. Never the other way.

Whatever is stored follows from the ledger alone, nonces included, so a second attempt or a second
aggregator stores the same bytes under the same CIDs and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from federation.agreement import Agreement
from federation.audit.record import RoundRecord
from federation.errors import LedgerRejected
from federation.events import Reason, RoundId
from federation.ledger.ledger import Ledger, Receipt
from federation.members import Address
from federation.races import is_lost_race
from federation.result import Result, propose_result
from federation.seal import ContentKey
from federation.store.content import ContentStore
from federation.wire import Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Overtaken:
    """Somebody was faster, or the block's time passed a deadline: the ledger has to be read again."""

    rule: str


Outcome = Receipt | Overtaken


def keep_admitted(store: ContentStore, record: RoundRecord) -> None:
    """What is in the total is in our store too: no member can serve us alone and then withdraw."""
    for member in record.admission.admitted:
        store.put(record.updates[member].read())


def post_total(
    ledger: Ledger, store: ContentStore, round: RoundId, *, total: Payload, members: Sequence[Address]
) -> Outcome:
    """The total is stored and posted; raises `Unavailable` or `LedgerRejected`."""
    cid = store.put(total.read())
    return _unless_overtaken(lambda: ledger.post_total(round, members, total.root(), cid))


def post_result(
    ledger: Ledger,
    store: ContentStore,
    round: RoundId,
    *,
    agreement: Agreement,
    key: ContentKey,
    result: Result,
) -> Outcome:
    """Opening and model are stored, sealed if the study is, and proposed; errors as of `post_total`."""
    return _unless_overtaken(
        lambda: propose_result(ledger, store, round, agreement=agreement, key=key, result=result)
    )


def end_round(ledger: Ledger, round: RoundId, reason: Reason) -> Outcome:
    """The overdue round is ended; errors as of `post_total`."""
    return _unless_overtaken(lambda: ledger.abandon(round, reason))


def _unless_overtaken(call: Callable[[], Receipt]) -> Outcome:
    try:
        return call()
    except LedgerRejected as rejected:
        if is_lost_race(rejected):
            return Overtaken(rule=rejected.rule)
        raise
