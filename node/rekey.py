"""`tally node rekey`: people here look at keys for later rounds, and accept one (PROTOCOL §3.3).

The daemon never does: it goes on under whatever key all institutions have accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Annotated

import typer

from federation.agreement import Agreement
from federation.ciphers import suite_of_key
from federation.dealing import PublicKey
from federation.digest import DIGEST_BYTES, Digest
from federation.endpoints import await_final, load_settings
from federation.epochs import check_new
from federation.errors import LedgerRejected, Refused, TallyError
from federation.exits import printable, told_plainly
from federation.identity import Identity, load_identity, read_password
from federation.members import Address, show_address
from federation.rounds import Study
from federation.store.content import put_bytes

from .key_commands import SettingsFile, as_typed
from .key_shares import KeyShares
from .open import Desk, check_key, open_study
from .rules import rules_of
from .settings import NodeSettings

CHECKED = "document, key proof, threshold, members, our share and our policy: all agree"


@told_plainly()
def rekey(
    settings: SettingsFile,
    digest: Annotated[str, typer.Option(help="Of the key that people here agree to: its whole digest.")] = "",
) -> None:
    """Show the study's keys, those proposed for later rounds too; or check and accept one of these."""
    node = load_settings(NodeSettings, settings)
    password = read_password(node.password_file)
    identity = load_identity(node.identity, password)
    desk = open_study(node, identity.account)
    study, shares = desk.observer.study, KeyShares(node.vault, password)
    identity = identity.known_to(study)
    if identity.address not in study.terms.members:
        account = show_address(identity.address)
        raise Refused(f"{account} is no member of study {node.study}: set `study` to one that it is in")
    if not digest:
        for line in _epochs(study, shares):
            typer.echo(line)
        for key in (*_pending(study), *_unasked(study, identity.address)):
            for line in (*_proposal(desk, key), *_examined(node, desk, shares, identity, key)):
                typer.echo(line)
            if not study.has_agreed(identity.address, key):
                typer.echo(f"  to accept it: {as_typed('rekey', settings)} --digest {key.hex()}")
        return
    key = _named(study, digest)
    if not study.has_agreed(identity.address, key):
        with rules_of(node, desk.ledger.id).kept("accept a key", study.id):
            agreement = _check(node, desk, shares, identity, key)
        for line in (_strength(desk, agreement), CHECKED):
            typer.echo(line)
        _accept(desk, agreement)
    for line in _accepted(study, key):
        typer.echo(line)
    typer.echo("Keep the shares of earlier keys until a round under this one has finished; then, for each:")
    typer.echo(f"  {as_typed('keys', settings)} --forget …")


def _check(node: NodeSettings, desk: Desk, shares: KeyShares, identity: Identity, key: Digest) -> Agreement:
    """The agreement under a key that people here may accept; raises whatever stands in its way."""
    agreement, study = desk.observer.agreement_under(key), desk.observer.study
    ours = [k for k in _pending(study) if k != key and identity.address in study.candidates[k].accepted]
    # Each of these may be adopted first; then this one would be unsound, and rounds under it stand still.
    check_new(agreement, {pending: desk.observer.encoded_key(pending) for pending in ours})
    check_key(rules_of(node, desk.ledger.id), shares, identity, agreement)
    return agreement


def _accept(desk: Desk, agreement: Agreement) -> None:
    """Our consent is final, and the key's document in our store: its proposer can withdraw it no more."""
    spec, key = agreement.spec, agreement.suite.key_digest
    document = PublicKey(suite=spec.suite, key=agreement.key, members=spec.members)
    put_bytes(desk.store, document.encode())
    try:
        receipt = desk.ledger.accept_key(desk.observer.study.id, key, agreement.suite.layout.capsule.count)
    except LedgerRejected as rejected:
        if rejected.rule != "KeyAlreadyAccepted":
            raise
        return  # by an earlier run whose call is not final yet
    await_final(desk.view, receipt.at.block)


def _epochs(study: Study, shares: KeyShares) -> Iterator[str]:
    ruling = [epoch for epoch in study.epochs if study.epoch_of(epoch.first) == epoch]
    until = {epoch.key: later.first - 1 for epoch, later in pairwise(ruling)}
    for epoch in study.epochs:
        rules = f"rules rounds {epoch.first} to {until[epoch.key]}" if epoch.key in until else ""
        rules = rules or f"rules from round {epoch.first} on"
        if epoch not in ruling:
            rules = "never rules a round: a later key was adopted in time"
        held = "our share is in the vault" if epoch.key in shares else "we hold no share of it"
        yield f"key {epoch.key.hex()}\n  {rules}; {held}"


def _proposal(desk: Desk, key: Digest) -> Iterator[str]:
    study, candidate = desk.observer.study, desk.observer.study.candidates[key]
    yield f"key {key.hex()}\n  proposed by {_people(desk, candidate.proposals)}"
    missing = [member for member in study.terms.members if member not in candidate.accepted]
    count = f"{len(candidate.accepted)} of {len(study.terms.members)}"
    yield f"  accepted by {count}; missing: {_people(desk, missing)}"


def _examined(
    node: NodeSettings, desk: Desk, shares: KeyShares, identity: Identity, key: Digest
) -> Iterator[str]:
    """How strong the key is, and what accepting it now would come to."""
    try:
        yield f"  {_strength(desk, desk.observer.agreement_under(key))}"
        _check(node, desk, shares, identity, key)
    except TallyError as trouble:  # its words may be a peer's
        yield f"  not to be accepted: {type(trouble).__name__}: {printable(str(trouble))}"
    else:
        yield f"  {CHECKED}"


def _strength(desk: Desk, agreement: Agreement) -> str:
    """Of this key and of the one that it would follow: nothing forbids fewer bits or fewer dealers."""
    *_, before = desk.observer.earlier_keys(agreement.suite.key_digest).values()
    return f"{agreement.suite.strength} (before: {suite_of_key(agreement.spec.suite, before).strength})"


def _accepted(study: Study, key: Digest) -> Iterator[str]:
    """Where a key stands that we have accepted, or began with."""
    adopted = [epoch for epoch in study.epochs if epoch.key == key]
    if adopted:
        yield f"key {key.hex()} is adopted: it rules from round {adopted[0].first} on"
        return
    count = f"{len(study.candidates[key].accepted)} of {len(study.terms.members)}"
    yield f"key {key.hex()} accepted; {count} members have: it rules from two rounds behind the last consent"


def _pending(study: Study) -> list[Digest]:
    adopted = {epoch.key for epoch in study.epochs}
    return [key for key, candidate in study.candidates.items() if candidate.proposals and key not in adopted]


def _unasked(study: Study, me: Address) -> list[Digest]:
    """Keys adopted while nobody could act in our seat, which people here have yet to accept."""
    return [epoch.key for epoch in study.later_epochs if not study.has_agreed(me, epoch.key)]


def _named(study: Study, text: str) -> Digest:
    """The key that people mean: one of the study's, or proposed for it; raises `Refused` for any other."""
    known = [epoch.key for epoch in study.epochs] + _pending(study)
    try:
        wanted = Digest(bytes.fromhex(text.removeprefix("0x")))
    except ValueError as error:
        raise Refused(f"--digest: expected a key digest in hexadecimal digits, found {text!a}") from error
    if len(wanted) != DIGEST_BYTES or wanted not in known:
        shown = ", ".join(key.hex() for key in known)
        raise Refused(f"--digest: expected a key of this study, or proposed for it ({shown}), found {text!a}")
    return wanted


def _people(desk: Desk, addresses: Iterable[Address]) -> str:
    roster = desk.view.history.roster
    return ", ".join(f"{show_address(who)} ({printable(roster[who].name)})" for who in addresses) or "nobody"
