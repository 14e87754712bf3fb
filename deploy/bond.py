"""`tally bond`: what an account has on the contract in one study (PROTOCOL §5.9).

Aggregators stake on their totals and take back what no total locks any more; whoever proved a fault takes
what the contract awarded for it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from federation.audit.view import LedgerView
from federation.bonds import ether_as_wei, show_ether
from federation.endpoints import await_final, load_settings, open_ledger
from federation.errors import Refused
from federation.events import StudyId
from federation.exits import told_plainly
from federation.ledger.ledger import Ledger, Receipt
from federation.members import show_address

from .party import PartySettings, identity_of

app = typer.Typer(
    name="bond",
    help="Stake on totals in a study; take back what is ours.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
@told_plainly()
def bond(
    settings: Annotated[
        Path, typer.Option("--settings", help="A node.toml, audit.toml or aggregator.toml: whose bond.")
    ],
    study: Annotated[int, typer.Option(min=1, help="Its number on the ledger.")],
    deposit: Annotated[float, typer.Option(min=0, help="Ether to stake on our totals.")] = 0,
    withdraw: Annotated[float, typer.Option(min=0, help="Ether to take back, or that we were awarded.")] = 0,
) -> None:
    """Show what we have in a study; stake more, or take what is locked no more."""
    party = load_settings(PartySettings, settings)
    if party.ledger is None:
        raise Refused(f"{settings}: expected [ledger]: its contract holds the bonds")
    identity = identity_of(party, settings)
    ledger = open_ledger(party.ledger, identity.account)
    view = LedgerView(ledger)
    sent = [move(StudyId(study), ether_as_wei(ether)) for move, ether in _moves(ledger, deposit, withdraw)]
    if sent:
        await_final(view, max(receipt.at.block for receipt in sent))
    view.refresh()
    if StudyId(study) not in view.history.studies:
        known = len(view.history.studies)
        raise Refused(f"--study: expected a study of this ledger, which has {known}, found {study}")
    held = view.history.studies[StudyId(study)].bonds.of(identity.address)
    locked = f", locked until {held.locked_until}" if held.locked_until >= view.now else ""
    typer.echo(f"{show_address(identity.address)} has {show_ether(held.amount)} in study {study}{locked}")


def _moves(
    ledger: Ledger, deposit: float, withdraw: float
) -> list[tuple[Callable[[StudyId, int], Receipt], float]]:
    if deposit and withdraw:
        raise Refused("expected --deposit or --withdraw, found both")
    asked = ((ledger.deposit_bond, deposit), (ledger.withdraw_bond, withdraw))
    return [(move, ether) for move, ether in asked if ether]
