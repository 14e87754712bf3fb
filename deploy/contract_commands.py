"""`tally contract`: the ledger's contract, built, checked and deployed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from federation.endpoints import check_url
from federation.enrolment import read_enrolments
from federation.errors import Refused, Violation
from federation.exits import told_plainly
from federation.identity import load_identity, read_password
from federation.ledger.abi import audited_code_digest

from .contracts import BUILT, built, compile_contracts, deploy, difference, write_build

app = typer.Typer(
    name="contract",
    help="The ledger's contract: build, check, deploy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
@told_plainly()
def build() -> None:
    """Compile the sources and write the build that this package ships."""
    write_build()
    typer.echo(f"{BUILT.name} is written")


@app.command()
@told_plainly()
def check() -> None:
    """Compile the sources again and compare with the build that this package ships."""
    different = difference(built(), compile_contracts())
    if different is not None:
        raise Violation("§10.1", f"the shipped build is not what its sources compile to: {different}")
    typer.echo("the shipped build is what its sources compile to")


@app.command()
@told_plainly()
def code() -> None:
    """Print the SHA-256 of the code that this version ships, its court's included: for votes and settings."""
    typer.echo(audited_code_digest().hex())


@app.command("deploy")
@told_plainly()
def deploy_(
    url: Annotated[str, typer.Option(help="RPC of a node of the chain.")],
    identity: Annotated[Path, typer.Option(help="Folder with the account that pays.")],
    enrolments: Annotated[list[Path], typer.Argument(help="Founding members, an enrolment file each.")],
    password_file: Annotated[Path | None, typer.Option(help="Else the variable TALLY_PASSWORD.")] = None,
) -> None:
    """Deploy the contract with its founding roster; print the [ledger] table of every settings file."""
    founders = read_enrolments(enrolments)
    try:
        check_url(url)
    except ValueError as error:
        raise Refused(f"--url: {error}") from error
    payer = load_identity(identity, read_password(password_file))
    deployment = deploy(url, bytes(payer.account.key), founders)
    typer.echo(deployment.ledger_table(url), nl=False)
