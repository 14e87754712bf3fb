"""First on an update's way: what was revealed is fetched and passes every public check, or is left out.

The checks are `federation.admission`; here stands only how long the aggregator waits for bytes. To
leave a member out as UNAVAILABLE is the one exclusion that nobody can recompute, so it is the last resort.
"""

from __future__ import annotations

from federation.audience import PUBLIC
from federation.audit.observer import Observer
from federation.audit.record import RoundRecord
from federation.errors import Unavailable, Violation
from federation.events import Timestamp
from federation.members import show_address
from federation.rounds import Round
from federation.wire import Code


def still_patient(round: Round, now: Timestamp) -> bool:
    """Whether less than half of the combine window has passed: until then missing bytes may still come."""
    earliest = round.unavailable_from
    return earliest is None or now < earliest


def admit_reveals(observer: Observer, round: Round, *, patient: bool) -> RoundRecord:
    """The round's record, with enough updates admitted to go on.

    Raises `Unavailable` while a payload cannot be fetched and either waiting is in order (`patient`)
    or too few are left without it; `Violation` (§5.2) when all is there and too few pass, for ever.
    """
    record = observer.record(round, PUBLIC, base=None, results=False)  # there are none yet
    admission = record.admission
    absent = [left_out.member for left_out in admission.excluded if left_out.code is Code.UNAVAILABLE]
    minimum, admitted = round.terms.minimum, len(admission.admitted)
    if absent and (patient or admitted < minimum):
        names = ", ".join(map(show_address, absent))
        raise Unavailable(f"round {round.id}: the updates of {names} cannot be fetched yet")
    if admitted < minimum:
        raise Violation("§5.2", "too few updates pass", expected=f"at least {minimum}", found=admitted)
    return record
