"""The commands of `tally bench`; what they measure stands in the modules beside."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console

from federation.ciphers import deal
from federation.ciphers.ceremony import DEFAULT_BITS
from federation.ciphers.suite import Dealing
from federation.ciphers.threshold.keys import SAFE_BITS
from federation.errors import Refused
from federation.exits import told_plainly
from federation.identity import read_file

from .capacity import rehearse_twice
from .capacity import show as show_outcome
from .figures import WIDTH, CipherReport
from .shapes import MODELS, flat

app = typer.Typer(
    name="bench",
    help="Measure the ciphers on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_LARGE = 50_000_000  # parameters
_Bits = Annotated[int, typer.Option(help=f"Length of the key; below {SAFE_BITS} for trials only.")]
_Json = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.callback()
def _group() -> None:
    """Measurements."""


@app.command()
@told_plainly()
def ciphers(
    as_json: _Json = False,
    quick: Annotated[bool, typer.Option(help="A look in a minute, with more noise.")] = False,
    large: Annotated[bool, typer.Option(help="50,000,000 values too: 2 GB of memory.")] = False,
    bits: _Bits = DEFAULT_BITS,
    values: Annotated[list[int] | None, typer.Option(min=1, help="Lengths under hybrid.")] = None,
) -> None:
    """Measure both suites beside phe, TenSEAL and plain floats, all in this run on one core."""
    # TenSEAL and matplotlib are imported only where they are needed: the other commands do without.
    from .ciphers import Plan, measure  # noqa: PLC0415
    from .report import show  # noqa: PLC0415

    lengths = sorted({*(values or Plan().hybrid), *([_LARGE] if large else [])})
    plan = Plan(hybrid=tuple(lengths))
    plan = plan.quick() if quick else plan
    report = measure(plan, _dealt(bits, 5), bits=bits, tell=_tell)
    if as_json:
        typer.echo(report.model_dump_json(indent=1))
    else:
        show(report, Console(width=WIDTH))


@app.command("show")
@told_plainly()
def show_(
    figures: Annotated[Path, typer.Argument(help="What `tally bench ciphers --json` printed.")],
    plot: Annotated[Path | None, typer.Option(help="Draw the plot into this SVG too.")] = None,
) -> None:
    """Print the tables of an earlier run, and draw its plot."""
    # matplotlib, as above
    from .report import draw, show  # noqa: PLC0415

    try:
        report = CipherReport.model_validate_json(read_file(figures))
    except ValidationError as error:
        raise Refused(f"{figures}: expected the JSON of `tally bench ciphers`: {error}") from error
    show(report, Console(width=WIDTH))
    if plot is not None:
        draw(report, plot)


@app.command()
@told_plainly()
def capacity(
    model: Annotated[str, typer.Option(help=f"The tensors of {', '.join(MODELS)}.")] = "resnet18",
    parameters: Annotated[int | None, typer.Option(min=1, help="So many in one tensor instead.")] = None,
    hospitals: Annotated[int, typer.Option(min=3, max=32)] = 5,
    suite: Annotated[str, typer.Option(help="A suite under a Paillier key.")] = "hybrid",
    bits: _Bits = DEFAULT_BITS,
    as_json: _Json = False,
) -> None:
    """Run one whole round at a model's true size, twice: for its seconds, and for each party's memory."""
    if parameters is None and model not in MODELS:
        raise Refused(f"expected one of the models {', '.join(MODELS)}, found {model!r}")
    tensors = MODELS[model]() if parameters is None else flat(parameters)
    name = model if parameters is None else "one tensor"
    dealing = _dealt(bits, hospitals)
    outcome = rehearse_twice(tensors, dealing, model=name, suite=suite, hospitals=hospitals, tell=_tell)
    if as_json:
        typer.echo(outcome.model_dump_json(indent=1))
    else:
        show_outcome(outcome, Console(width=WIDTH))
    raise typer.Exit(outcome.exit_code)


def _dealt(bits: int, members: int) -> Dealing:
    """A key that nobody uses for anything else; the most shares that may be needed."""
    _tell(f"dealing a key of {bits} bits")
    threshold = (members + 1) // 2
    return deal(
        "paillier",
        threshold=threshold,
        members=members,
        random=secrets.token_bytes,
        bits=bits,
        unsafe=bits < SAFE_BITS,
    )


def _tell(what: str) -> None:
    typer.echo(f"{what} …", err=True)
