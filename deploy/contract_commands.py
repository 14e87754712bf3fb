"""`tally contract`: the ledger's contract, built, checked and deployed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from federation.errors import Refused, Violation
from federation.exits import told_plainly
from federation.identity import load_identity, read_password
from federation.members import show_address

from .contracts import built, compile_contracts, deploy, difference
from .keys import read_enrolment

app = typer.Typer(
    name="contract",
    help="The ledger's contract: build, check, deploy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command()
@told_plainly()
def check() -> None:
    """Compile the sources again and compare with the build that this package ships."""
    different = difference(built(), compile_contracts())
    if different is not None:
        raise Violation("§10.1", f"the shipped build is not what its sources compile to: {different}")
    typer.echo("the shipped build is what its sources compile to")


@app.command("deploy")
@told_plainly()
def deploy_(
    url: Annotated[str, typer.Option(help="RPC of a node of the chain.")],
    identity: Annotated[Path, typer.Option(help="Folder with the account that pays.")],
    enrolments: Annotated[list[Path], typer.Argument(help="Founding members, an enrolment file each.")],
    password_file: Annotated[Path | None, typer.Option(help="Else the variable TALLY_PASSWORD.")] = None,
) -> None:
    """Deploy the contract with its founding roster, and print what every settings file needs."""
    founders = [read_enrolment(path) for path in enrolments]
    if len({member.address for member in founders}) != len(founders):
        raise Refused("expected each member once, found an address twice among the enrolments")
    payer = load_identity(identity, read_password(password_file))
    deployment = deploy(url, bytes(payer.account.key), founders)
    typer.echo(f'[ledger]\nurl = "{url}"\ncontract = "{show_address(deployment.address)}"')
    typer.echo(f"deployment_block = {deployment.block}")
