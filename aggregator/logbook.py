"""What the service writes down: an event and its facts, one line each (see `federation.logs`).

Only names, numbers, digests and addresses go in; the values inside an opening, keys and passwords never do.
Of a `Violation` only clause, problem and culprit are written: what was found may be part of a sum.
"""

from __future__ import annotations

import logging

from federation.errors import Violation

LOG = logging.getLogger("aggregator")


def note(event: str, *, level: int = logging.INFO, **facts: object) -> None:
    """One line says that `event` happened; bytes among the facts are shown in hexadecimal."""
    shown = {key: f"0x{fact.hex()}" if isinstance(fact, bytes) else str(fact) for key, fact in facts.items()}
    LOG.log(level, event, extra=shown)


def blame(event: str, fault: Violation, *, called: str, **facts: object) -> None:
    """One line says who broke which clause; `called` is the culprit's name on the roster, for people."""
    note(event, level=logging.WARNING, **fault.for_logs, called=called, **facts)
