"""`tally node join`: a study is shown, checked, allowed by people, and accepted (PROTOCOL §10.4, §10.6)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from federation.agreement import Agreement
from federation.endpoints import await_final, check_url, load_settings
from federation.errors import LedgerRejected, Refused
from federation.events import StudyId
from federation.exits import printable, told_plainly
from federation.identity import load_identity, read_password
from federation.invitation import read_invitation

from .approvals import Limits
from .invited import take_invitation
from .key_commands import SettingsFile, as_typed
from .key_shares import KeyShares
from .open import Desk, check_joining, open_study
from .policy_commands import who_decides
from .rules import Rules, rules_of, utc_now
from .settings import NodeSettings
from .terms import terms

TYPED_DIGITS: Final = 8  # that a person types of a digest: nobody does so by mistake


@told_plainly()
def join(
    settings: SettingsFile,
    invitation: Annotated[
        Path | None, typer.Option(help="What the consortium sent: ledger, store, study, key share.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Our own Ethereum node's, rather than the invitation's.")
    ] = None,
    allow: Annotated[str, typer.Option(help="Digest of the task that people here have read and allow.")] = "",
    digest: Annotated[str, typer.Option(help="Of the document that people here have agreed to.")] = "",
    by: Annotated[str, typer.Option(help="Who allows the task; else the name of this machine's user.")] = "",
) -> None:
    """Show a study, check it against protocol, policy and key share; accept it by its document's digest.

    On a terminal it asks for both digests; elsewhere both are options, and nothing is taken as agreed.
    """
    if invitation is not None:
        _take(settings, invitation, url)
    elif url is not None:
        raise Refused("expected --url beside --invitation alone: the settings have [ledger] for it")
    node = load_settings(NodeSettings, settings)
    password = read_password(node.password_file)
    identity = load_identity(node.identity, password)
    desk = open_study(node, identity.account)
    study = desk.observer.study
    identity = identity.known_to(study)
    agreement = desk.observer.agreement_of(study.current().id.number)
    found = study.terms.digest.hex()
    if not digest:
        # Before our rules are asked: people can only allow what they have read.
        for line in terms(agreement, desk.view.history.roster):
            typer.echo(line)
    rules = rules_of(node, desk.ledger.id)
    _allow(rules, agreement, allow, by)
    with rules.kept("join", study.id):
        check_joining(node, rules, KeyShares(node.vault, password), identity, agreement)
        rules.check_joining(desk.view.history, identity.address, study)
    if not digest:
        typer.echo(
            "Sound, and allowed here. Compare the document with another hospital before you accept it:"
        )
        typer.echo(f"  {found}")
        digest = _typed("to accept this very document", found)
    if not digest:
        typer.echo("To accept this very document:")
        typer.echo(f"  {as_typed('join', settings)} --digest {found}")
        return
    if _digits(digest) != found:
        raise Refused(f"study {node.study} is another document: expected {digest}, found {found}")
    while identity.address not in desk.observer.study.accepted:
        _accept(desk, StudyId(node.study))
    accepted = f"{len(desk.observer.study.accepted)} of {len(agreement.spec.members)} members"
    typer.echo(f"study {node.study} accepted; {accepted} have")
    typer.echo(f"Next, and for as long as the study lasts:\n  {as_typed('run', settings)}")
    if invitation is not None:
        typer.echo("And a copy of the key share, for the day this machine is lost:")
        typer.echo(f"  {as_typed('backup', settings)} --passphrase-file … --out …")


def _take(settings: Path, file: Path, url: str | None) -> None:
    try:
        url = None if url is None else check_url(url)
    except ValueError as error:
        raise Refused(f"--url: {error}") from error
    node = load_settings(NodeSettings, settings)
    for line in take_invitation(settings, node, read_invitation(file), url):
        typer.echo(printable(line))


def _allow(rules: Rules, agreement: Agreement, allow: str, by: str) -> None:
    """The task is approved, if somebody here has just said so; an approval that stands is not asked for.

    Nor is one that is wide enough replaced: another study may need all of it.
    """
    found = agreement.task.spec.digest
    if allow and _digits(allow) != found.hex():
        raise Refused(f"--allow: the study's task is another one: expected {allow}, found {found.hex()}")
    if not allow and rules.approvals.of(found) is None:
        typer.echo(f"The task is not allowed here yet: {found.hex()}")
        allow = _typed("to allow it on this hospital's patients, once people here have read it", found.hex())
    standing = rules.approvals.of(found)
    if allow and (standing is None or not standing.allow(Limits.of(agreement))):
        rules.approvals.approve(agreement, by=who_decides(by), at=utc_now())


def _typed(purpose: str, digest: str) -> str:
    """`digest`, if a person at a terminal types its first digits; else nothing."""
    if not sys.stdin.isatty():
        return ""
    typed = _digits(typer.prompt(f"Type its first {TYPED_DIGITS} digits {purpose} (or nothing)", default=""))
    return digest if len(typed) >= TYPED_DIGITS and digest.startswith(typed) else ""


def _digits(text: str) -> str:
    return text.strip().removeprefix("0x").lower()


def _accept(desk: Desk, study: StudyId) -> None:
    """Our acceptance is final, or a reorganisation has taken it back."""
    try:
        block = desk.ledger.accept_study(study, desk.observer.study.terms.digest).at.block
    except LedgerRejected as rejected:
        if rejected.rule != "AlreadyAccepted":
            raise
        block = desk.view.head.number + 1  # by an earlier run whose call is not final yet
    await_final(desk.view, block)
