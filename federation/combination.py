"""The total: admitted updates, added leaf by leaf (PROTOCOL §5.3).

Adding is deterministic, so a total is not believed but recomputed: by every node before it gives
its share, and by every auditor.
"""

from __future__ import annotations

from concurrent.futures import Executor

from .admission import Admission
from .agreement import Agreement
from .events import RoundId
from .piecework import Sum
from .runs import HERE
from .wire import Payload, total_header


def combine(
    agreement: Agreement, round: RoundId, admission: Admission, *, executor: Executor = HERE
) -> Payload:
    """The total of all admitted updates, and of nothing else; needs at least one.

    Its leaves are added when they are read, on `executor`.
    """
    updates = tuple(admission.admitted.values())
    leaves = Sum(suite=agreement.suite_name, updates=updates, executor=executor)
    header = total_header(
        agreement.binding(round), members=list(admission.roots.items()), excluded=list(admission.excluded)
    )
    return Payload(header=header, leaves=leaves, tail=b"", shape=agreement.total_shape)
