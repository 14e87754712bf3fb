"""Third on an update's way: t shares open the total, and the opened sum leads to the next model.

The aggregator has no key share. It joins what the members gave, checks it as anyone can, and learns
the sum only where the study counts it among its readers.
"""

from __future__ import annotations

from collections.abc import Callable

from federation.audit.checks import Weight, total_is_the_sum
from federation.audit.record import RoundRecord
from federation.audit.result_checks import shares_are_right
from federation.errors import Unavailable, Violation
from federation.result import Result
from federation.wire import Kind


def open_total(record: RoundRecord, accuse: Callable[[Violation], None]) -> Result:
    """The opening and the next model; `accuse` is told of each wrong share, and the rest go on.

    Raises `Unavailable` while updates or shares cannot be fetched, `Violation` when all that was posted
    is here and leads to no result: a second aggregator does not believe the first one's total either.
    """
    for finding in total_is_the_sum(record):
        if finding.weight is Weight.FAULT:
            raise finding.violation()
    for author in sorted(record.authors_of_unreadable(Kind.SHARE)):
        accuse(Violation("§5.4", "a share that cannot be unsealed", culprit=author))
    for finding in shares_are_right(record):
        if finding.weight is Weight.FAULT:
            accuse(finding.violation())
    try:
        return record.result()
    except Unavailable as shortage:
        if record.missing or record.opening is not None:  # or a store that failed between two passes
            raise
        # All is here: only one more share helps, and that is another input.
        raise Violation("§5.4", "too few of the shares are right") from shortage
