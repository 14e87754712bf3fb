"""`tally study invite`: a file for each hospital of a study, with all that it takes to join (§10.6)."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path

from federation.audit.observer import Observer
from federation.dealing import PublicKey
from federation.endpoints import LedgerSettings, StoreSettings
from federation.errors import Refused
from federation.identity import read_file
from federation.invitation import Invitation, InvitedLedger, InvitedStore
from federation.members import Address, show_address

from .ceremony_record import share_file


def invitations(
    observer: Observer,
    public: PublicKey,
    ceremonies: Sequence[Path],
    *,
    ledger: LedgerSettings,
    store: StoreSettings,
) -> Iterator[tuple[Address, Invitation]]:
    """One for each member, in order; raises `Refused` where key or shares are not those of the study."""
    agreement, study = observer.agreement, observer.study
    if (public.key, public.members) != (agreement.key, agreement.spec.members):
        expected = agreement.suite.key_digest.hex()
        found = public.resolve().key_digest.hex()
        raise Refused(
            f"study {study.id} is under the key {expected}, `public_key` of the settings is {found}"
        )
    if len(ceremonies) != (dealers := len(public.dealers())):
        raise Refused(f"expected --ceremony {dealers} times, once for each dealer, found {len(ceremonies)}")
    for member in public.members:
        name = share_file(show_address(member))
        yield (
            member,
            Invitation(
                member=show_address(member),
                study=study.id,
                document=study.terms.digest.hex(),
                task=agreement.task.spec.digest.hex(),
                dealt=_base64(public.encode()),
                shares=tuple(_base64(read_file(folder / name)) for folder in ceremonies),
                ledger=InvitedLedger.of(ledger),
                store=InvitedStore.of(store),
            ),
        )


def _base64(data: bytes) -> bytes:
    return base64.b64encode(data)  # the field decodes what it is given


def invitation_file(member: Address) -> str:
    """The name of the file for this member."""
    return f"invitation-{show_address(member)}.toml"
