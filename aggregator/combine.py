"""Second on an update's way: the admitted updates become one total.

The arithmetic is `federation.combination`; here stands what the aggregator asks before it signs.
"""

from __future__ import annotations

from copy import copy
from dataclasses import replace

from federation.audit.checks import retries_keep_their_members
from federation.audit.record import RoundRecord
from federation.digest import CID_BYTES, Cid
from federation.errors import Violation
from federation.events import LogPosition, Timestamp, TotalPosted
from federation.members import Address
from federation.wire import Payload


def combine_admitted(record: RoundRecord, me: Address) -> Payload:
    """The total of all admitted updates; raises `Violation` where every node would have to refuse it.

    That is a retry of a tainted round with other members: posting it would be the aggregator's own
    fault (§9.14), and a share given for it could reveal one member.
    """
    total = record.recomputed_total
    if total is None:
        raise Violation("§5.2", "too few updates pass")
    members = tuple(record.admission.admitted)
    imagined = TotalPosted(
        at=LogPosition(0, 0),
        time=Timestamp(0),
        sender=me,
        round=record.id,
        members=members,
        root=total.root(),
        cid=Cid(bytes(CID_BYTES)),
    )
    as_if_posted = copy(record)  # keeps what is already computed
    as_if_posted.round = replace(record.round, total=imagined)
    for finding in retries_keep_their_members(as_if_posted):
        raise Violation(finding.clause, finding.message, expected=finding.expected, found=finding.found)
    return total
