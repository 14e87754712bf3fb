"""`tally demo`: a whole study on this machine, with real processes, a real chain and real patients.

Four hospitals, each a process with a folder, keys and patients of its own, an aggregator without any
key, and a development chain. At the end an auditor recomputes everything from ledger and store.
"""

from __future__ import annotations

import json
import signal
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from federation.audit.report import Report, to_json
from federation.ciphers import AUTO
from federation.ciphers.threshold.keys import SAFE_BITS
from federation.errors import ExitCode, Refused, Unavailable
from federation.exits import told_plainly

from .accusations import accusations
from .audit import show
from .consortium import AGGREGATORS, Consortium, Plan
from .devnet import Devnet, Kind
from .outcome import Auditor, Summary, summarise
from .tamper import ROUND, Cheat, cheater
from .watch import Watch

app = typer.Typer(
    name="demo",
    help="A whole study on this machine, audited.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

PATIENCE_SECONDS: Final = 1800  # for the whole study


@app.callback(invoke_without_command=True)
@told_plainly()
def demo(
    hospitals: Annotated[int, typer.Option(min=3, max=8, help="How many take part.")] = 4,
    threshold: Annotated[int, typer.Option(min=2, help="How many shares open a sum.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="How many rounds finish.")] = 10,
    bits: Annotated[int, typer.Option(help="Bits of the Paillier key.")] = 3072,
    suite: Annotated[str, typer.Option(help="auto (by the model's size), paillier or hybrid.")] = AUTO,
    unsafe: Annotated[bool, typer.Option("--unsafe", help="Allow short keys, for a quick look.")] = False,
    chain: Annotated[Kind, typer.Option(help="anvil or ganache.")] = "anvil",
    tamper: Annotated[Cheat | None, typer.Option(help="Let one party cheat, and see it caught.")] = None,
    window: Annotated[int, typer.Option(min=1, help="Most seconds that each phase waits.")] = 30,
    out: Annotated[Path | None, typer.Option(help="A new folder for the run; default below runs/.")] = None,
) -> None:
    """Run a federated study end to end and audit it; exit 0 if all is well, 3 if somebody cheated."""
    console = Console()
    directory = (out or Path("runs") / datetime.now(UTC).strftime("%Y%m%d-%H%M%S")).resolve()
    if directory.exists():
        raise Refused(f"{directory} exists: a run never writes into another one; choose a new folder")
    if tamper and rounds < ROUND:
        raise Refused(f"expected at least {ROUND} rounds: the cheat waits for round {ROUND}, found {rounds}")
    if bits < SAFE_BITS and not unsafe:
        raise Refused(f"expected a key of at least {SAFE_BITS} bits or --unsafe, found {bits}")
    signal.signal(signal.SIGTERM, _interrupt)
    plan = Plan(
        hospitals=hospitals,
        threshold=threshold,
        minimum=threshold + 1,
        rounds=rounds,
        bits=bits,
        suite=suite,
        unsafe=unsafe,
        chain=chain,
        window_seconds=window,
    )
    plan.check()
    with Devnet.start(chain, directory=directory / "chain", block_time=1) as devnet:
        console.print(f"{chain} runs; {hospitals} hospitals enrol, a {bits}-bit key is dealt …")
        started = time.monotonic()
        with Consortium.found(directory, plan, devnet) as consortium:
            setup = time.monotonic() - started
            console.print(f"set up in {setup:.0f} s; the study begins\n")
            started = time.monotonic()
            _start(consortium, tamper)
            auditor = Auditor(consortium)
            _follow(consortium, auditor, console)
            took = time.monotonic() - started
            report = auditor.audit()
            summary = summarise(consortium, auditor, report, setup=setup, took=took)
    (directory / "summary.json").write_text(json.dumps(asdict(summary), indent=2) + "\n")
    (directory / "audit.json").write_text(json.dumps(to_json(report), indent=2) + "\n")
    _print_result(console, summary, report, directory)
    if tamper and not report.findings:
        console.print(f"NOT CAUGHT: {cheater(tamper)} cheated and the audit found nothing", soft_wrap=True)
        raise typer.Exit(ExitCode.INTERNAL)
    raise typer.Exit(report.exit_code)


def _interrupt(*_: object) -> None:
    """SIGTERM ends a demo as Ctrl-C does: with everything that it started."""
    raise KeyboardInterrupt


def _start(consortium: Consortium, tamper: Cheat | None) -> None:
    cheating = None if tamper is None else cheater(tamper)
    for name in [*AGGREGATORS, *(f"hospital-{i}" for i in range(1, consortium.plan.hospitals + 1))]:
        if name == cheating and tamper is not None:
            consortium.start(name, module=("deploy.tamper", tamper))
        else:
            consortium.start(name)


def _follow(consortium: Consortium, auditor: Auditor, console: Console) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    names = {member.address: member.name for member in consortium.members}
    with Watch(console, names) as watch:
        while True:
            auditor.refresh()
            study = auditor.study
            watch.show(study, auditor.now, auditor.accuracy)
            if auditor.is_over:
                return
            for name, code in consortium.ended().items():
                if code != ExitCode.OK:
                    words = " | ".join(consortium.last_words(name).splitlines())
                    raise Unavailable(f"{name} ended with {code}; its log ends: {words}")
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"the study did not finish within {PATIENCE_SECONDS} s; see {consortium.directory}"
                )
            time.sleep(0.5)


def _print_result(console: Console, summary: Summary, report: Report, directory: Path) -> None:
    quality = Table(title="accuracy on patients that no hospital has")
    for column in ("federated", "all patients in one place", "each hospital alone, mean"):
        quality.add_column(column)
    accuracies = (summary.accuracy, summary.central_accuracy, summary.local_mean_accuracy)
    quality.add_row(*(f"{accuracy:.4f}" for accuracy in accuracies))
    console.print(quality)
    console.print("seconds: " + ", ".join(f"{phase} {took:.1f}" for phase, took in summary.seconds.items()))
    console.print("bytes: " + ", ".join(f"{kind} {size:,}" for kind, size in summary.bytes.items()))
    gas = Table(title="gas")
    for column in ("call", "calls", "least", "mean", "most"):
        gas.add_column(column, justify="left" if column == "call" else "right")
    for call, figures in summary.gas.items():
        gas.add_row(call, *(f"{figure:,}" for figure in figures.values()))
    console.print(gas)
    equal = "bit-equal to" if summary.bit_equal else "DIFFERENT from"
    console.print(f"the encrypted run is {equal} the same run on plain integers")
    show(report, console)
    console.print(f"all of it lies in {directory}", soft_wrap=True)
    for line in accusations(report):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
