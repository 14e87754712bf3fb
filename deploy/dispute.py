"""`tally dispute`: a person has the fault of a posted total proven on the ledger (PROTOCOL §5.7).

Nodes and auditors do so by themselves; this is for whoever has told theirs not to, or wants to see it done.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from federation.audience import PUBLIC
from federation.audit.charges import find_charge
from federation.audit.checks import BEFORE_SHARE, Weight
from federation.audit.observer import Observer
from federation.audit.record import RoundRecord
from federation.audit.view import LedgerView
from federation.disputes import Charge
from federation.endpoints import await_final, load_settings, open_ledger, open_store
from federation.errors import Refused, Unavailable
from federation.events import RoundId, StudyId
from federation.exits import printable, told_plainly

from .filing import file_charge
from .party import PartySettings, identity_of
from .verdicts import named, standing, verdict

app = typer.Typer(
    name="dispute",
    help="Prove on the ledger what is wrong with a total.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _group() -> None:
    """Disputes about posted totals."""


@app.command("round")
@told_plainly()
def dispute_round(
    number: Annotated[int, typer.Argument(min=1, help="The round's number.")],
    settings: Annotated[
        Path, typer.Option("--settings", help="A node.toml, audit.toml or aggregator.toml: who disputes.")
    ],
    study: Annotated[
        int | None, typer.Option(min=1, help="The study's number, if not that of the file.")
    ] = None,
) -> None:
    """Prove the fault of a round's total; exit 0 once it is proven, 4 or 3 where nothing can be."""
    party = load_settings(PartySettings, settings)
    if party.ledger is None or party.store is None:
        raise Refused(f"{settings}: expected [ledger] and [store]")
    identity = identity_of(party, settings)
    ledger, store = open_ledger(party.ledger, identity.account), open_store(party.store)
    view = LedgerView(ledger)
    view.refresh()
    id = RoundId(StudyId(study or party.study), number)
    observer = Observer(view, ledger, store, id.study)
    round = view.history.round(id)
    fault = file_charge(ledger, charge_in(observer.record(round, PUBLIC, None, results=False)))
    await_final(view, fault.at.block)
    name = named(view.history.roster)
    typer.echo(printable(f"round {id}: {verdict(fault, name)}; {standing(view.history.round(id), name)}."))


def charge_in(record: RoundRecord) -> Charge:
    """What the total that stands can be charged with.

    Raises `Refused` where none stands, or its fault is proven, or it is right; `Violation` where it is wrong
    in a way that no contract can be shown, and `Unavailable` where that cannot be known for want of bytes.
    """
    round = record.round
    if round.total is None:
        raise Refused(f"round {record.id}: no total stands in it")
    if round.verdict is not None:
        raise Refused(f"round {record.id}: a fault of its total is proven already")
    charge = find_charge(record)
    if charge is not None:
        return charge
    findings = [finding for check in BEFORE_SHARE for finding in check(record)]
    for finding in findings:
        if finding.weight is Weight.FAULT:
            message = f"round {record.id}: {finding.message}, which no contract can be shown"
            raise replace(finding, message=message).violation()
    for finding in findings:
        if finding.weight is Weight.UNKNOWN:
            raise Unavailable(f"round {record.id}: {finding.message}")
    raise Refused(f"round {record.id}: its total is right, so there is nothing to prove")
