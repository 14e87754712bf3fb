"""`make faults`: every kill and every fault, played; prints the tables, and writes them to docs/faults.md.

Takes three minutes on two quiet cores: each step of each scenario is a study of its own.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from ..seams import Fuse
from . import killed, processes
from .conftest import in_memory
from .matrix import PLAYED
from .parties import PARTIES
from .row import Row
from .table import elsewhere_table, fault_table, kill_table

DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"

HEAD = """\
# What no fault stops

Written by `make faults`, which plays all of this and fails where anything ends otherwise.

## Killed at every step

One real party among others, killed once before, in the middle of and after everything that it writes or
sends, and started again. The steps are those that an undisturbed run touches: calls of the `Ledger`
protocol, contents put into the store, files of the vault, lines of the journal. *In the middle of* a call
is while it waits to be mined, so that it arrives after the restart. `same ×7`: of seven runs killed there,
in as many scenarios as have that step, each left the same events of each sender on the ledger, the same
contents in the store, and the same bytes on its disk as the run that nobody disturbed; so no duty had two
effects. `Fetch` only looks, `Wait` and `Done` do nothing.
"""
REAL = """
A real process on Anvil, which sends itself SIGKILL; chain and folders go back to one moment before each
run. Here every file that is opened for writing is a step, whoever opens it, as Python's audit hooks show.
"""
FAULTS = """
## Faults of peers, store, chain and disk

Four real nodes and two real aggregators in memory, two rounds; the fault is in the first unless it says
otherwise. In each row the honest are done with the study, and its model is what the contributors'
integers come to. D is the hospital that cheats, or is cheated; † also on a real chain, by the test that its
row in `tests/faults` names.
"""


def kills_in_memory(party: str, folder: Path) -> Iterator[killed.Killed]:
    """The party killed once at each of its steps, in every scenario."""
    for name, scenario in PARTIES[party].items():
        run = scenario(folder / party / name, Fuse())
        for number in killed.steps_of(run).values():
            yield killed.killed_at(scenario, run, number, folder / party / f"{name}, {number}")


def kills_on_anvil(daemon: str, stage: processes.Theatre) -> Iterator[killed.Killed]:
    """A real process killed by a real signal, once at each of its steps."""
    undisturbed = stage.play(daemon)
    for step in dict.fromkeys(undisturbed.steps):
        yield processes.killed_at(stage, daemon, undisturbed, step)


def played(row: Row, folder: Path) -> str:
    """`as it must`, or what came instead."""
    ending = row.play(folder)
    return "as it must" if ending == row.expected else f"WRONG: {ending}"


def report(folder: Path) -> Iterator[str]:
    """The document, line by line, as it is found out."""
    yield HEAD
    for party in PARTIES:
        yield f"### {party}, in memory\n"
        yield from kill_table(kills_in_memory(party, folder))
        yield ""
    yield REAL
    with processes.theatre(folder / "anvil") as stage:
        for daemon in ("node", "aggregator"):
            yield f"### {daemon}, on Anvil\n"
            yield from kill_table(kills_on_anvil(daemon, stage))
            yield ""
    yield FAULTS
    for party, rows in PLAYED.items():
        yield f"### {party}\n"
        yield from fault_table(party, [(row, played(row, folder / party / row.fault)) for row in rows])
        yield ""
    yield "### Elsewhere\n"
    yield from elsewhere_table()


def main() -> int:
    """0 if everything ended as it must."""
    logging.disable()
    lines = []
    with in_memory() as folder:
        for line in report(folder):
            print(line, flush=True)
            lines.append(line)
    DOCUMENT.write_text("\n".join(lines) + "\n")
    return int(any("WRONG:" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
