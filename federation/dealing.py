"""What leaves a key ceremony: one public document, and one sealed share a member (PROTOCOL §7.11).

The shares travel as files, by whatever road: each opens with its member's X25519 secret alone, and is
checked against the public document before it is kept. Sealing is all the dealer does with them. Two
ceremonies for the same members can be joined: then each member has a box of each dealer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from . import cbor
from .ciphers import AUTO, DEALT, JOINED, suite_of_key
from .ciphers.hybrid.keys import dealers_of, join_keys
from .ciphers.suite import CipherSuite, Dealing, KeyShare
from .digest import Digest, labelled
from .errors import Refused, Violation
from .members import ADDRESS_BYTES, Address, SealingKey, show_address
from .seal import SealingSecret, seal_to, unseal_with

DOCUMENT_LIMIT: Final = 1 << 16  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A study's public key and who holds its shares: member i (from 1) holds share i."""

    suite: str  # or `AUTO`
    key: bytes
    members: tuple[Address, ...]  # increasing

    def encode(self) -> bytes:
        """The document's bytes."""
        holders: list[cbor.Value] = list(self.members)
        return cbor.encode({0: 1, 1: self.suite, 2: self.key, 3: holders})

    def resolve(self) -> CipherSuite:
        """The suite under this key; raises `Violation` unless the key proof holds for these members."""
        suite = suite_of_key(self.suite, self.key)
        suite.check_key()
        if suite.holders != len(self.members):
            raise Violation("§7.11", "share-holders", expected=suite.holders, found=len(self.members))
        return suite

    def dealers(self) -> tuple[PublicKey, ...]:
        """The document of each dealer alone; this one where there was one dealer."""
        keys = dealers_of(self.key)
        if len(keys) == 1:
            return (self,)
        return tuple(PublicKey(suite=AUTO, key=key, members=self.members) for key in keys)


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


def join_dealers(first: PublicKey, second: PublicKey) -> PublicKey:
    """The document of two ceremonies for the same members; raises unless both keys hold and go together."""
    for public in (first, second):
        public.resolve()
        if len(public.dealers()) != 1 or public.suite not in DEALT:
            found = f"{len(public.dealers())} dealers' under the suite {public.suite!r}"
            raise Refused(f"expected the key of one dealer, found {found}: join what `tally keys deal` made")
    if first.members != second.members:
        shown = [" ".join(map(show_address, public.members)) for public in (first, second)]
        raise Refused(
            f"expected two keys for the same members, found {shown[0]} and {shown[1]}: "
            "deal both for the same enrolments"
        )
    return PublicKey(suite=JOINED, key=join_keys(first.key, second.key), members=first.members)


def open_share(
    box: bytes, public: PublicKey, *, member: Address, secret: SealingSecret
) -> tuple[Digest, KeyShare]:
    """The digest of one dealer's key and this member's share of it; raises `Violation` unless both hold."""
    suite = public.resolve()
    if member not in public.members:
        raise Violation("§7.11", "a key dealt to others", culprit=member)
    try:
        share = KeyShare(unseal_with(secret, box, context=_context(suite.key_digest, member)))
    except Violation as error:
        problem = (
            f"a sealed share that is not ours of the key {suite.key_digest.hex()[:16]}: expected one for "
            f"{show_address(member)}, from the ceremony that this public key is from"
        )
        raise Violation("§7.11", f"{problem}; look for the two in one folder, or ask the dealer") from error
    suite.check_key_share(public.members.index(member) + 1, share)
    return suite.key_digest, share


def open_shares(
    boxes: Sequence[bytes], public: PublicKey, *, member: Address, secret: SealingSecret
) -> tuple[Digest, KeyShare]:
    """The key's digest and this member's whole share of it, from one box of each dealer, in any order.

    Raises `Violation` unless key proof and every part hold, `Refused` for another number of boxes.
    """
    suite, dealers = public.resolve(), public.dealers()
    if len(boxes) != len(dealers):
        expected = f"{len(dealers)} sealed shares, one of each dealer of this key"
        raise Refused(f"expected {expected}, found {len(boxes)}: give --accept once for each")
    if len(dealers) == 1:
        return open_share(boxes[0], public, member=member, secret=secret)
    if member not in public.members:
        raise Violation("§7.11", "a key dealt to others", culprit=member)
    parts = [_open_any(boxes, dealer, member=member, secret=secret) for dealer in dealers]
    share = KeyShare(b"".join(parts))
    suite.check_key_share(public.members.index(member) + 1, share)
    return suite.key_digest, share


def _open_any(
    boxes: Sequence[bytes], dealer: PublicKey, *, member: Address, secret: SealingSecret
) -> KeyShare:
    """What this dealer sealed to us: the key's digest in its box tells which box is whose."""
    suite = dealer.resolve()
    for box in boxes:
        try:
            share = KeyShare(unseal_with(secret, box, context=_context(suite.key_digest, member)))
        except Violation:  # the other dealer's; where both are, nothing is found below
            continue
        suite.check_key_share(dealer.members.index(member) + 1, share)
        return share
    problem = f"no sealed share of the key {suite.key_digest.hex()} among these"
    ask = f"expected one for {show_address(member)}; ask the dealer of that key for the file"
    raise Violation("§7.11", f"{problem}: {ask}")


def _context(key: Digest, member: Address) -> bytes:
    return labelled("key-share", key, member)
