"""A round's checks as named steps, and which of them refuses a forgery."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from federation.errors import Malformed, Refused, Violation

Step = tuple[str, Callable[[], object]]


def first_failure(steps: Iterable[Step]) -> dict[str, object]:
    """Which step refuses, and by what; empty where none does."""
    for name, step in steps:
        try:
            step()
        except Malformed as fault:
            return {"step": name, "clause": fault.clause, "leaf": fault.leaf, "rule": fault.rule}
        except Violation as fault:
            return {"step": name, "clause": fault.clause}
        except Refused:
            return {"step": name}
    return {}
