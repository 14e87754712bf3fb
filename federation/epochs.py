"""A key of a later epoch: its document, found and checked, and the agreement under it (PROTOCOL §3.3).

The ledger holds the digest of the key, so a document is believed only if its key has that digest; any one
place that leads to it will do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .agreement import Agreement
from .ciphers import resolve
from .dealing import DOCUMENT_LIMIT, PublicKey, decode_public_key
from .digest import Cid, Digest
from .errors import Unavailable, Violation
from .members import Address, show_address
from .store.content import ContentStore, get_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Vain:
    """A place that a proposer named, and why the key's document is not found there."""

    proposer: Address
    why: Unavailable | Violation


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """A key's document, sought in one place after another, and the agreement under that key."""

    key: Digest
    encoded: bytes | None  # the key, where any place leads to its document; if not, `outcome` says why
    outcome: Agreement | Unavailable | Violation
    vain: tuple[Vain, ...]  # places that do not lead to it

    @property
    def found(self) -> bool:
        """Whether any place leads to the document."""
        return self.encoded is not None

    @property
    def agreement(self) -> Agreement:
        """The agreement; raises what stands in its way."""
        if isinstance(self.outcome, Agreement):
            return self.outcome
        raise self.outcome


def seek(first: Agreement, key: Digest, places: Mapping[Address, Cid], store: ContentStore) -> Sought:
    """The first of the proposers' places, in their order, that leads to the document of `key`.

    Whether that key is sound follows from its digest alone, so no further place is asked then.
    """
    vain: list[Vain] = []
    for proposer, cid in places.items():
        try:
            document = decode_public_key(get_bytes(store, cid, size=DOCUMENT_LIMIT))
            check_document(first, document, key)
        except (Unavailable, Violation) as why:
            vain.append(Vain(proposer=proposer, why=why))
            continue
        return Sought(key=key, encoded=document.key, outcome=_under(first, document.key), vain=tuple(vain))
    return Sought(key=key, encoded=None, outcome=_nowhere(key, vain), vain=tuple(vain))


def check_document(first: Agreement, document: PublicKey, key: Digest) -> None:
    """Raises `Violation` unless the document is of this key, for the study's suite and members."""
    spec = first.spec
    found = resolve(replace(first.suite_name, key=document.key)).key_digest
    if found != key:
        raise Violation("§3.3", "the document of a later key", expected=key, found=found)
    if document.suite != spec.suite:
        raise Violation("§3.3", "a later key's suite", expected=spec.suite, found=document.suite)
    if document.members != spec.members:
        expected, others = (" ".join(map(show_address, who)) for who in (spec.members, document.members))
        raise Violation("§3.3", "a later key's share-holders", expected=expected, found=others)


def check_new(agreement: Agreement, earlier: Mapping[Digest, bytes]) -> None:
    """Raises `Violation` where shares of an earlier key, encoded, open anything under the agreement's.

    Without it a destroyed key comes back under another digest, and t old shares that somebody kept read
    every update of the new epoch.
    """
    for digest, key in earlier.items():
        if not agreement.suite.is_independent_of(key):
            found = f"those of the key {digest.hex()}, which came before"
            raise Violation("§3.3", "a later key", expected="secrets of its own", found=found)


def check_ciphertexts(agreement: Agreement, accepted: int) -> None:
    """Raises `Violation` unless the members who accepted the key counted its capsule leaves right."""
    found = agreement.suite.layout.capsule.count
    if found != accepted:
        raise Violation("§3.3", "the ciphertexts of a later key", expected=found, found=accepted)


def _under(first: Agreement, key: bytes) -> Agreement | Violation:
    try:
        return first.under(key)
    except Violation as fault:
        return fault


def _nowhere(key: Digest, vain: list[Vain]) -> Unavailable | Violation:
    """While one place gives nothing, the document may still come; else it is a proposer's fault."""
    if not vain:
        return Unavailable(f"nobody has proposed the key {key.hex()} so far")
    silent = [line.why for line in vain if isinstance(line.why, Unavailable)]
    if silent:
        return Unavailable(f"the document of the key {key.hex()} cannot be fetched: {silent[0]}")
    return Violation("§3.3", f"no document of the key {key.hex()}: {vain[0].why}", culprit=vain[0].proposer)
