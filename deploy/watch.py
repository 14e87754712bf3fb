"""A study as it goes: a live table of rounds, of who has done what, and of how good the model is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.console import Console
from rich.live import Live
from rich.table import Table

from federation.events import RoundId, Timestamp
from federation.members import Address
from federation.rounds import Finished, Round, Study


class Watch:
    """Shows a study as often as it is told to: on a terminal in place, elsewhere a line an ended round."""

    def __init__(self, console: Console, names: Mapping[Address, str]) -> None:
        self._console = console
        self._names = names
        self._told: set[RoundId] = set()
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Watch:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, study: Study, now: Timestamp, accuracy: Callable[[Round], float | None]) -> None:
        """The study as it is at `now`."""
        if self._live is not None:
            self._live.update(self._table(study, now, accuracy), refresh=True)
            return
        for round in study.rounds:
            if round.ended and round.id not in self._told:
                self._told.add(round.id)
                found = accuracy(round)
                shown = "" if found is None else f", accuracy {found:.4f}"
                phase = type(round.phase(now)).__name__.lower()
                self._console.print(f"round {round.id.number}: {phase}, {self._doings(round)}{shown}")

    def _table(self, study: Study, now: Timestamp, accuracy: Callable[[Round], float | None]) -> Table:
        table = Table(
            title=f"study {study.id}: {len(study.finished)} of {study.terms.rounds} rounds finished"
        )
        for column in ("round", "phase", *self._names.values(), "accuracy"):
            table.add_column(column)
        for round in study.rounds:
            found = accuracy(round) if isinstance(round.phase(now), Finished) else None
            taken_back = _taken_back(round)
            table.add_row(
                str(round.id.number),
                type(round.phase(now)).__name__ + (f", {taken_back}" if taken_back else ""),
                *(_doing(round, member) for member in self._names),
                "" if found is None else f"{found:.4f}",
            )
        return table

    def _doings(self, round: Round) -> str:
        done = f"{len(round.commits)} committed, {len(round.reveals)} revealed, {len(round.shares)} shared"
        taken_back = _taken_back(round)
        return f"{done}, {taken_back}" if taken_back else done


def _taken_back(round: Round) -> str:
    """How many totals of the round were proven wrong; empty for none."""
    count = len(round.rescinded)
    return f"{count} total{'s' * (count != 1)} taken back" if count else ""


def _doing(round: Round, member: Address) -> str:
    if member in round.objections:
        return "objected"
    if member in round.shares:
        return "shared"
    if member in round.reveals:
        return "revealed"
    return "committed" if member in round.commits else ""
