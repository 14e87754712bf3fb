"""What leaves a key ceremony: one public document, and one sealed share a member (PROTOCOL §7.11).

The shares travel as files, by whatever road: each opens with its member's X25519 secret alone, and is
checked against the public document before it is kept. Sealing is all the dealer does with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from . import cbor
from .ciphers import suite_for
from .ciphers.suite import CipherSuite, Dealing, KeyShare
from .digest import Digest, labelled
from .errors import Violation
from .members import ADDRESS_BYTES, Address, SealingKey
from .seal import SealingSecret, seal_to, unseal_with

DOCUMENT_LIMIT: Final = 1 << 16  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A study's public key and who holds its shares: member i (from 1) holds share i."""

    suite: str
    key: bytes
    members: tuple[Address, ...]  # increasing

    def encode(self) -> bytes:
        """The document's bytes."""
        holders: list[cbor.Value] = list(self.members)
        return cbor.encode({0: 1, 1: self.suite, 2: self.key, 3: holders})

    def resolve(self) -> CipherSuite:
        """The suite under this key; raises `Violation` unless the key proof holds for these members."""
        suite = suite_for(self.suite, self.key, values=1)
        suite.check_key()
        if suite.holders != len(self.members):
            raise Violation("§7.11", "share-holders", expected=suite.holders, found=len(self.members))
        return suite


def decode_public_key(data: bytes) -> PublicKey:
    """The document in `data`; raises `Violation` for any other."""
    match cbor.decode(data, limit=DOCUMENT_LIMIT):
        case {0: 1, 1: str() as suite, 2: bytes() as key, 3: list() as holders} if all(
            isinstance(holder, bytes) and len(holder) == ADDRESS_BYTES for holder in holders
        ):
            members = tuple(Address(holder) for holder in holders if isinstance(holder, bytes))
            found = PublicKey(suite=suite, key=key, members=members)
        case _:
            raise Violation("§7.11", "a public key's document", expected="version 1", found="another one")
    if found.encode() != data or list(members) != sorted(set(members)):
        raise Violation("§7.11", "a public key's document", expected="increasing members", found="others")
    return found


def seal_shares(
    dealing: Dealing,
    public: PublicKey,
    sealing_keys: dict[Address, SealingKey],
    *,
    random: Callable[[int], bytes],
) -> dict[Address, bytes]:
    """A box for each member with its share of the key."""
    digest = public.resolve().key_digest
    return {
        member: seal_to(
            sealing_keys[member],
            share,
            context=_context(digest, member),
            ephemeral=SealingSecret(random(32)),
        )
        for member, share in zip(public.members, dealing.key_shares, strict=True)
    }


def open_share(
    box: bytes, public: PublicKey, *, member: Address, secret: SealingSecret
) -> tuple[Digest, KeyShare]:
    """The key's digest and this member's share of it; raises `Violation` unless proof and share hold."""
    suite = public.resolve()
    if member not in public.members:
        raise Violation("§7.11", "a key dealt to others", culprit=member)
    try:
        share = KeyShare(unseal_with(secret, box, context=_context(suite.key_digest, member)))
    except Violation as error:
        problem = f"a sealed share that is not ours of this key: expected one for 0x{member.hex()}"
        raise Violation("§7.11", f"{problem}; ask the dealer for that file") from error
    suite.check_key_share(public.members.index(member) + 1, share)
    return suite.key_digest, share


def _context(key: Digest, member: Address) -> bytes:
    return labelled("key-share", key, member)
