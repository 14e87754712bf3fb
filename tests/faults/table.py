"""The kill matrix as people read it: a row for each step of each duty."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from .killed import Killed
from .matrix import SHOWN_ELSEWHERE
from .row import Row

WHEN = {"before": "before", "in the middle of": "in the middle", "after": "after"}


def kill_table(killed: Iterable[Killed]) -> Iterator[str]:
    """Markdown: `same ×7` says that of 7 runs, each killed there, all ended as if nothing had happened."""
    found: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for one in killed:
        found[one.step.duty, one.step.what][one.step.when].append(one.wrong)
    rows = [(*step, *(_outcome(moments[when]) for when in WHEN)) for step, moments in found.items()]
    yield from markdown(("duty", "step", *(f"killed {when}" for when in WHEN.values())), rows)


def fault_table(party: str, rows: Iterable[tuple[Row, str]]) -> Iterator[str]:
    """Markdown: each fault, how it has to end, and whether it did."""
    head = (party, "rounds", "blamed by the audit", "cannot be judged for want of bytes", "stops", "played")
    yield from markdown(
        head,
        (
            (
                f"{row.fault} †" if row.shown else row.fault,
                "; ".join(row.ends),
                ", ".join(sorted(row.blamed)) or "nobody",
                ", ".join(sorted(row.missing)) or "–",
                ", ".join(sorted(row.stopped)) or "–",
                played,
            )
            for row, played in rows
        ),
    )


def elsewhere_table() -> Iterator[str]:
    """Markdown: what one adapter or one machine meets, and the tests that show it."""
    rows = [(fault, "<br>".join(f"`{test}`" for test in tests)) for fault, tests in SHOWN_ELSEWHERE.items()]
    yield from markdown(("fault", "shown by"), rows)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A table."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _outcome(wrongs: list[str]) -> str:
    if not wrongs:
        return "–"
    found = sorted({wrong for wrong in wrongs if wrong})
    return f"WRONG: {'; '.join(found)}" if found else f"same ×{len(wrongs)}"
