"""The total: admitted updates, added leaf by leaf (PROTOCOL §5.3).

Adding is deterministic, so a total is not believed but recomputed: by every node before it gives
its share, and by every auditor.
"""

from __future__ import annotations

from .admission import Admission
from .agreement import Agreement
from .events import RoundId
from .wire import Payload, total_header


def combine(agreement: Agreement, round: RoundId, admission: Admission) -> Payload:
    """The total of all admitted updates, and of nothing else; needs at least one."""
    parts = [agreement.runs(update) for update in admission.admitted.values()]
    leaves = b"".join(
        agreement.suite.combine(run, [leaves for _, leaves in same])
        for run, *same in zip(agreement.suite.layout.runs(), *parts, strict=True)
    )
    header = total_header(
        agreement.binding(round), members=list(admission.roots.items()), excluded=list(admission.excluded)
    )
    return Payload(header=header, leaves=leaves, tail=b"", shape=agreement.total_shape)
