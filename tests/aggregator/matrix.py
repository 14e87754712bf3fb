"""The table of docs/api.md, made of what routes declare: `python -m tests.aggregator.matrix` writes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from fastapi import FastAPI

from aggregator.access import Line, matrix
from aggregator.door import Caller

from ..rehearsing import rehearse
from .live import alive

PAGE: Final = Path(__file__).parents[2] / "docs" / "api.md"
BEGIN: Final = "<!-- made by `python -m tests.aggregator.matrix` -->\n"
END: Final = "<!-- end of what was made -->\n"
YES: Final = "yes"


def table(app: FastAPI) -> str:
    """One row for each method of each route, one column for each kind of caller."""
    columns = list(Caller)
    rows = [["route", *columns], ["---"] * (1 + len(columns))]
    rows += [[f"`{line.method} {line.path}`", *(_cell(line, c) for c in columns)] for line in matrix(app)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cell(line: Line, caller: Caller) -> str:
    if caller in line.circle:
        return YES
    return "401" if caller is Caller.STRANGER else "403"


def committed() -> dict[tuple[str, str], dict[Caller, str]]:
    """What the page says, by method and path, of each kind of caller."""
    rows = [
        [cell.strip() for cell in row.strip().strip("|").split("|")]
        for row in _made(PAGE.read_text()).splitlines()
    ]
    callers = [Caller(name) for name in rows[0][1:]]
    found: dict[tuple[str, str], dict[Caller, str]] = {}
    for route, *cells in rows[2:]:
        method, path = route.strip("`").split(" ")
        found[method, path] = dict(zip(callers, cells, strict=True))
    return found


def _made(page: str) -> str:
    (made,) = re.findall(re.escape(BEGIN) + "(.*?)" + re.escape(END), page, re.DOTALL)
    return str(made)


def is_committed(app: FastAPI) -> bool:
    """Whether the page has the table that belongs there."""
    return _made(PAGE.read_text()) == table(app)


def write(app: FastAPI) -> None:
    """The page has the table."""
    page = PAGE.read_text()
    PAGE.write_text(page.replace(_made(page), table(app)))


if __name__ == "__main__":
    with alive(rehearse("plain")) as live:
        write(live.app)
