"""`tally devnet`: a development chain in the foreground, until it is interrupted."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from federation.exits import told_plainly

from .devnet import Devnet, Kind

app = typer.Typer(name="devnet", help="A local development chain.", pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
@told_plainly()
def devnet(
    chain: Annotated[Kind, typer.Option(help="anvil or ganache.")] = "anvil",
    directory: Annotated[Path, typer.Option(help="Blocks and log; kept.")] = Path("runs/devnet"),
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8545,
    block_seconds: Annotated[int, typer.Option(help="Seconds between blocks.")] = 1,
) -> None:
    """Start Anvil or Ganache on the loopback interface with well-known accounts, never for real value."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Devnet.start(chain, directory=directory, block_time=block_seconds, port=port) as running:
        typer.echo(f"{chain} at {running.url}, chain id {running.chain_id}; Ctrl-C ends it")
        stop.wait()
