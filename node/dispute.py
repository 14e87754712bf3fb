"""A total that we refuse to open is charged before the court, where a fault can be shown (PROTOCOL §5.7)."""

from __future__ import annotations

import logging

from federation.audit.charges import find_charge
from federation.digest import Digest
from federation.errors import LedgerRejected, Refused
from federation.events import RoundId
from federation.ledger.ledger import Receipt
from federation.members import show_address
from federation.races import is_lost_race

from .journal import Entry
from .seat import Seat

log = logging.getLogger(__name__)


def dispute(seat: Seat, round: RoundId, total: Digest) -> Receipt | None:
    """The fault of the total of this name is proven on chain; or the journal says that we cannot prove any.

    What was proven the ledger remembers: should a fork undo it, it is due again. An account that cannot pay
    for a dispute gives up on it, and on nothing else. Raises `Unavailable` while bytes are missing or
    nothing is known of the call's fate, and `LedgerRejected` where somebody else was faster.
    """
    charge = find_charge(seat.record(round, results=False))
    why = "no fault that the contract can judge"
    if charge is not None:
        try:
            receipt = seat.ledger.dispute(charge)
        except Refused as refusal:
            if isinstance(refusal, LedgerRejected) and is_lost_race(refusal):
                raise
            why = str(
                refusal
            )  # its court finds otherwise than ours, or we cannot pay: a second call mends nothing
        else:
            member = "" if charge.member is None else show_address(charge.member)
            about = {"round": str(round), "fault": charge.fault.name, "member": member, "gas": receipt.gas}
            log.warning("fault proven", extra=about)
            return receipt
    seat.journal.remember(Entry.UNPROVEN, round, total)
    log.warning("not provable", extra={"round": str(round), "why": why})
    return None
