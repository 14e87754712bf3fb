"""Our one share of a round's opening, given only for a total that we have recomputed (PROTOCOL §5.4)."""

from __future__ import annotations

import logging
from dataclasses import replace

from federation.audit.checks import BEFORE_SHARE, Weight
from federation.audit.record import RoundRecord
from federation.errors import Unavailable
from federation.events import RoundId, TotalPosted
from federation.ledger.ledger import Receipt
from federation.opening import share_total
from federation.runs import whole
from federation.store.content import put_bytes
from federation.store.unixfs import cid_of
from federation.wire import Kind

from .journal import Entry, name_of
from .seat import Seat

log = logging.getLogger(__name__)


def give_share(seat: Seat, round: RoundId, posted: TotalPosted) -> Receipt:
    """Our share of this total is on the ledger, or the journal says that we withhold it.

    Raises `Violation` in the second case, naming who broke what, and `Unavailable` while bytes that
    the total depends on cannot be fetched; `PolicyRefusal` before any of it where our rules forbid it.
    """
    seat.may_give("share", round)
    record = seat.record(round, results=False)
    _check(seat, record, posted)
    total = record.recomputed_total
    if total is None:  # pragma: no cover  # then `total_is_the_sum` has found it
        raise Unavailable(f"round {round}: the total cannot be recomputed")
    key_share = seat.key_share_of(round)
    # The record comes before the share: after a crash we send this share again, never another one.
    seat.journal.remember(Entry.SHARED, round, total.root())
    share = share_total(record.agreement, round, total, member=seat.me, key_share=key_share)
    stored = record.agreement.wrap(seat.content_key, Kind.SHARE, round, whole(share))
    seat.vault.keep_share(round, stored)
    receipt = seat.ledger.post_share(round, share.root(), cid_of((stored,)), total=total.root())
    log.info("shared", extra={"round": str(round), "total": total.root().hex(), "gas": receipt.gas})
    return receipt


def publish_share(seat: Seat, round: RoundId) -> None:
    """The bytes of a share that the ledger shows as given are in the store.

    Never before that: a share whose call came too late would open a round that counts as unopened, and
    the next one might be opened with a member fewer (§5.1).
    """
    cid = put_bytes(seat.store, seat.vault.share(round))
    seat.journal.remember(Entry.PUBLISHED, round, cid)


def _check(seat: Seat, record: RoundRecord, posted: TotalPosted) -> None:
    findings = [finding for check in BEFORE_SHARE for finding in check(record)]
    faults = [finding for finding in findings if finding.weight is Weight.FAULT]
    if faults:
        seat.journal.remember(Entry.WITHHELD, record.id, name_of(posted))
        fault = faults[0]
        message = f"round {fault.round}: {fault.message}; no share is given"
        raise replace(fault, message=message).violation()
    missing = [finding for finding in findings if finding.weight is Weight.UNKNOWN]
    if missing:
        raise Unavailable(f"round {record.id}: {missing[0].message}")
