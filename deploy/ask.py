"""`tally ask`: a hospital, an auditor or an aggregator asks an aggregator's service (docs/api.md).

It signs in with the account of its settings file, and names the ledger that it reads itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from federation.ask import Asker, trusting
from federation.endpoints import load_settings, open_ledger, place_of
from federation.errors import Refused
from federation.exits import printable, told_plainly

from .party import PartySettings, identity_of

app = typer.Typer(
    name="ask",
    help="Ask an aggregator's service, as one of the roster.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
@told_plainly()
def ask(
    at: Annotated[str, typer.Option("--at", help="Where the service is, as https://sums.example:8420.")],
    settings: Annotated[
        Path, typer.Option("--settings", help="A node.toml, audit.toml or aggregator.toml: who asks.")
    ],
    path: Annotated[list[str] | None, typer.Option("--path", help="What; once for each question.")] = None,
    trust: Annotated[
        Path | None, typer.Option(help="PEM file of the authority to trust, else this system's.")
    ] = None,
    in_the_clear: Annotated[
        bool, typer.Option("--in-the-clear", help="Allow http to another machine: others hear the token.")
    ] = False,
) -> None:
    """Sign in, print what it answers, one line of JSON for each question, and sign out."""
    party = load_settings(PartySettings, settings)
    if party.ledger is None:
        raise Refused(f"{settings}: expected [ledger]: its roster says who may ask")
    with Asker(at, tls=None if trust is None else trusting(trust), in_the_clear=in_the_clear) as asker:
        identity = identity_of(party, settings)
        asker.sign_in(place_of(open_ledger(party.ledger, None), party.ledger), identity.account)
        try:
            for asked in path or ("/v1/status", "/v1/studies"):
                typer.echo(printable(asker.get(asked)))
        finally:
            asker.sign_out()
