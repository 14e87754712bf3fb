"""An invitation, compared with the ledger and taken: key share kept, settings amended (PROTOCOL §10.6).

Nothing is kept or written before everything holds, and nothing is agreed to: that is `tally node join`'s.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from federation.ciphers.suite import KeyShare
from federation.dealing import decode_public_key, open_shares
from federation.digest import Digest
from federation.endpoints import LedgerSettings, Section, StoreSettings
from federation.errors import Refused, Violation
from federation.governance import Consortium
from federation.identity import Identity, load_identity, read_password, sealing_key_hex
from federation.invitation import Invitation
from federation.members import Role, show_address

from .key_shares import KeyShares
from .open import open_study
from .settings import NodeSettings
from .settings_file import amend
from .vault import keep_key_share


@dataclass(frozen=True, slots=True, kw_only=True)
class Invited:
    """What an invitation comes to, once it has held against the ledger."""

    ledger: LedgerSettings
    key: Digest
    share: KeyShare


def take_invitation(path: Path, node: NodeSettings, invitation: Invitation, url: str | None) -> Iterator[str]:
    """Share and settings are kept, durably and in this order; a line for each thing that was found to hold.

    Typed again, or after a crash in between, it goes on. Raises `Refused` or `Violation`.
    """
    password = read_password(node.password_file)
    identity = load_identity(node.identity, password)
    found = _checked(node, invitation, identity, url)
    ledger = found.ledger
    yield f"chain {ledger.chain_id}, contract {ledger.contract}: the code is the audited one"
    yield f"on its roster: {node.name}, {show_address(identity.address)}, with our sealing key"
    yield f"study {invitation.study}: document {invitation.document}, as the ledger has it"
    yield f"key {found.key.hex()}: proven, the study's own, and our share belongs to it"
    if found.key not in KeyShares(node.vault, password):
        keep_key_share(node.vault, password, found.share, key=found.key, random=secrets.token_bytes)
    entries = _entries(node, invitation, ledger)
    if entries:
        amend(path, entries)
    if node.ledger is not None:
        return
    if url is None:
        nodes = ", ".join((ledger.url, *ledger.also))
        yield f"read through {nodes}: whoever runs that decides what we see; name ours by --url"
    yield f"final after {ledger.confirmations} blocks, as the invitation says: 0 only where nothing is undone"


def _checked(node: NodeSettings, invitation: Invitation, identity: Identity, url: str | None) -> Invited:
    """All that the invitation says, seen on ledger and in store; raises `Refused` or `Violation`."""
    ledger, store = _ledger(node, invitation, url), node.store or _store(invitation)
    known = node.model_copy(update={"study": invitation.study, "ledger": ledger, "store": store})
    desk = open_study(known, None)
    check_roster(desk.view.history.consortium, identity)
    identity = identity.known_to(desk.observer.study)
    ours = show_address(identity.address)
    if invitation.member != ours:
        raise Refused(f"the invitation is for {invitation.member}, we are {ours}: ask for our own")
    document = desk.observer.study.terms.digest.hex()
    if document != invitation.document:
        expected = f"document {invitation.document} as study {invitation.study}"
        raise Refused(f"the invitation: expected {expected}, the ledger has {document}: ask who wrote it")
    agreement = desk.observer.agreement
    if invitation.task != agreement.task.spec.digest.hex():
        raise Refused(f"the invitation: the document's task is not {invitation.task}: ask who wrote it")
    public = decode_public_key(invitation.dealt)
    if (public.key, public.members) != (agreement.key, agreement.spec.members):
        expected, found = agreement.suite.key_digest.hex(), public.resolve().key_digest.hex()
        raise Refused(f"the invitation: expected the study's key {expected}, found {found}: ask who wrote it")
    secret = identity.sealing_secret
    key, share = open_shares(
        invitation.shares, public, member=identity.named_among(public.members), secret=secret
    )
    return Invited(ledger=ledger, key=key, share=share)


def _ledger(node: NodeSettings, invitation: Invitation, url: str | None) -> LedgerSettings:
    """Ours where we have said it; then the invitation has to mean the same contract and study."""
    if node.ledger is None:
        return invitation.ledger.through(url)
    if url is not None:
        raise Refused("--url: the settings have [ledger] already: change `url` there")
    for name in ("contract", "chain_id", "deployment_block"):
        ours, theirs = getattr(node.ledger, name), getattr(invitation.ledger, name)
        if ours != theirs:
            hint = "for another ledger, use a copy of the settings without [ledger] and [store]"
            raise Refused(f"{name}: expected {ours}, as [ledger] has it, the invitation has {theirs}; {hint}")
    if node.study != invitation.study:
        hint = "for another study, use a copy of the settings without [ledger] and [store]"
        raise Refused(f"study: the settings have {node.study}, the invitation {invitation.study}; {hint}")
    return node.ledger


def _store(invitation: Invitation) -> StoreSettings:
    """The store that it names; raises `Refused` for a folder that is not there, since opening makes one."""
    store = invitation.store.settings()
    if store.ipfs is None and store.directory is not None and not _is_folder(store.directory):
        raise Refused(
            f"the invitation: expected a store, found no folder {str(store.directory)[:200]}: mount what the "
            "hospitals share, or name yours by `directory` under [store]"
        )
    return store


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # no name that a file could have
        return False


def check_roster(consortium: Consortium, identity: Identity) -> None:
    """Raises unless the ledger knows us, under the sealing key that only we can open."""
    me = identity.address
    member = consortium.members.get(me)
    if member is None or not consortium.is_active(me) or member.role is not Role.INSTITUTION:
        found = (
            "nobody" if member is None else f"{consortium.standing(me).state.name} {member.role.name}".lower()
        )
        expected = f"{show_address(me)} as an active institution"
        raise Refused(f"roster: expected {expected}, found {found}: ask the consortium to enrol us")
    ours = sealing_key_hex(identity)
    if member.sealing_key.hex() != ours:
        problem = "the roster has a sealing key for us that is not ours: the enrolment was altered on its way"
        raise Violation("§10.6", problem, expected=ours, found=member.sealing_key.hex())


def _entries(node: NodeSettings, invitation: Invitation, ledger: LedgerSettings) -> dict[str, object]:
    """What our settings do not say themselves."""
    entries: dict[str, object] = {}
    if node.ledger is None:
        entries |= {"study": invitation.study, "ledger": _table(ledger)}
    if node.store is None:
        entries["store"] = _table(invitation.store)
    return entries


def _table(section: Section) -> dict[str, object]:
    """What was said, and no default of this version: a later one may know better."""
    return section.model_dump(mode="json", exclude_unset=True)
