"""`tally study rekey`: another key is proposed for a study's later rounds (PROTOCOL §3.3)."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from federation.audit.observer import Observer
from federation.ciphers import AUTO
from federation.dealing import PublicKey
from federation.digest import Digest
from federation.epochs import check_document, check_new
from federation.errors import LedgerRejected, Refused, Violation
from federation.ledger.ledger import Ledger, Receipt
from federation.members import Address, Member, show_address
from federation.store.content import ContentStore, put_bytes

from .ceremony_record import share_file


def propose_key(
    ledger: Ledger, store: ContentStore, observer: Observer, document: PublicKey
) -> tuple[Digest, Receipt | None]:
    """The document is in the store and its key on the ledger, checked first as every member checks it.

    No receipt where we had proposed it before. Raises `Refused` for a key that no member could accept.
    """
    first, study = observer.agreement, observer.study
    if ledger.account not in study.terms.members:
        account = show_address(ledger.account)
        raise Refused(f"{account} is no institution of study {study.id}: name one's keys by --identity")
    if document.suite not in {AUTO, first.spec.suite}:
        found = f"one for {document.suite!a}"
        raise Refused(f"expected a key for the study's suite, {first.spec.suite!a}, found {found}")
    named = replace(document, suite=first.spec.suite)  # the ledger's document leaves nothing open
    try:
        agreement = first.under(document.key)
        key = agreement.suite.key_digest
        check_document(first, named, key)
        check_new(agreement, observer.earlier_keys(key))
    except Violation as fault:  # not a peer's: what we were about to propose
        raise Refused(f"no member could accept this key: {fault}") from fault
    candidate = study.candidates.get(key)
    if candidate is not None and ledger.account in candidate.proposals:
        return key, None
    cid = put_bytes(store, named.encode())
    try:
        return key, ledger.propose_key(study.id, key, cid)
    except LedgerRejected as rejected:
        if rejected.rule != "KeyAlreadyProposed":  # by an earlier run whose call is not final yet
            raise
        return key, None


def next_steps(
    document: PublicKey, key: Digest, roster: Mapping[Address, Member], file: Path
) -> Iterator[str]:
    """What each member types, its share first; the proposer too."""
    yield f"key {key.hex()} proposed; it rules from two rounds behind the last member's consent"
    dealers = len(document.dealers())
    for member in document.members:
        share = share_file(show_address(member))
        boxes = " ".join([f"--accept {share}"] if dealers == 1 else [f"--accept …/{share}"] * dealers)
        yield f"Next, at {roster[member].name}, with its sealed share of this key:"
        yield f"  tally node keys --settings node.toml {boxes} --public-key {shlex.quote(file.name)}"
        yield f"  tally node rekey --settings node.toml --digest {key.hex()}"
