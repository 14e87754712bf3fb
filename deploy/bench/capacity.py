"""One whole round at a model's true size: is it exact, and what does each party need for it?

The round runs twice: once for seconds, once under `tracemalloc`, which slows it, for memory. A party's
peak is what it holds beyond what lay there before its step: at a hospital its update, at the others
nothing of the round.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from federation.ciphers.suite import Dealing
from federation.errors import ExitCode
from federation.model import Tensor, size_of
from federation.tasks.shaped import ShapedModel

from .clock import MEGABYTE, one_core, settled
from .figures import Figures
from .watch import Taken
from .whole_round import WholeRound


class Step(Figures):
    """One step; where several parties take it, the median of their seconds and the most of the rest."""

    party: str
    step: str
    times: int
    wall_s: float
    core_s: float
    peak_mb: float
    peak_vectors: float  # the same in vectors of the model's length, 8 bytes a value
    sent_bytes: int  # into the store
    read_bytes: int  # from the store, blocks that are read again counted again


class Outcome(Figures):
    """What the round came to."""

    model: str
    parameters: int
    tensors: int
    hospitals: int
    suite: str
    exact: bool  # the opened sum is that of the plain integers, and the model follows from it
    vector_mb: float
    steps: list[Step]

    @property
    def exit_code(self) -> ExitCode:
        """OK, or that of a broken protocol."""
        return ExitCode.OK if self.exact else ExitCode.VIOLATION


def rehearse_twice(
    tensors: Sequence[Tensor],
    dealing: Dealing,
    *,
    model: str,
    suite: str,
    hospitals: int,
    tell: Callable[[str], None],
) -> Outcome:
    """The round, once for seconds and once for bytes; `tell` hears what is being done."""
    task = ShapedModel(parameters=tuple(tensors))
    runs, exact = [], True
    for what, traced in (("seconds", False), ("memory", True)):
        tell(f"a round of {hospitals} hospitals and {task.size:,} parameters, for its {what}")
        with TemporaryDirectory() as folder, one_core(), settled():
            if traced:
                tracemalloc.start()
            try:
                taken, same = WholeRound(task, dealing, suite, hospitals).run(Path(folder))
            finally:
                tracemalloc.stop()
        runs.append(taken)
        exact = exact and same
    return Outcome(
        model=model,
        parameters=size_of(tensors),
        tensors=len(tensors),
        hospitals=hospitals,
        suite=suite,
        exact=exact,
        vector_mb=8 * task.size / MEGABYTE,
        steps=list(_summed_up(*runs, vector=8 * task.size)),
    )


def _summed_up(timed: list[Taken], traced: list[Taken], *, vector: int) -> Iterator[Step]:
    for party, step in dict.fromkeys((one.party, one.step) for one in timed):
        clocked, weighed = (
            [one for one in taken if (one.party, one.step) == (party, step)] for taken in (timed, traced)
        )
        peak = max(one.peak for one in weighed)
        yield Step(
            party=party,
            step=step,
            times=len(clocked),
            wall_s=median(one.wall for one in clocked),
            core_s=median(one.core for one in clocked),
            peak_mb=peak / MEGABYTE,
            peak_vectors=peak / vector,
            sent_bytes=max(one.sent for one in clocked),
            read_bytes=max(one.read for one in clocked),
        )


def show(outcome: Outcome, out: Console) -> None:
    """The steps as a table, then whether the sum is exact."""
    title = f"{outcome.model}: {outcome.parameters:,} parameters in {outcome.tensors} tensors"
    table = Table(title=f"{title}, {outcome.hospitals} hospitals, {outcome.suite}")
    for column in ("party", "step", "times", "wall s", "CPU s", "peak MB", "vectors", "MB sent", "MB read"):
        table.add_column(column, justify="left" if column in {"party", "step"} else "right")
    for one in outcome.steps:
        figures = (f"{one.wall_s:.2f}", f"{one.core_s:.2f}", f"{one.peak_mb:.1f}", f"{one.peak_vectors:.2f}")
        moved = (f"{count / MEGABYTE:.1f}" for count in (one.sent_bytes, one.read_bytes))
        table.add_row(one.party, one.step, str(one.times), *figures, *moved)
    out.print(table)
    out.print(f"a vector is {outcome.vector_mb:.1f} MB: 8 bytes a value", highlight=False)
    verdict = "is exactly" if outcome.exact else "is NOT"
    out.print(f"the opened sum {verdict} that of the plain integers", highlight=False)
