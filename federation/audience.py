"""Who can read a study's shares, openings and models (PROTOCOL §6.3).

One content key, sealed to each reader. The document also holds its digest: a proposer who sealed
different keys to different readers would make honest boxes unreadable, and their authors look guilty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from . import cbor
from .digest import DIGEST_BYTES, LedgerId, labelled
from .errors import Violation
from .members import ADDRESS_BYTES, Address, SealingKey
from .seal import KEY_BYTES, ContentKey, SealingSecret, seal_to, unseal_with

PUBLIC: Final = ContentKey(b"")  # the content key of a study whose results anyone may read


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """The readers of one study, each with its envelope; `commitment` is empty where everybody may read."""

    commitment: bytes
    envelopes: tuple[tuple[Address, bytes], ...]

    @property
    def is_sealed(self) -> bool:
        """Whether only the readers can read."""
        return bool(self.commitment)

    def value(self) -> cbor.Value:
        """As it stands in the study's document."""
        envelopes: list[cbor.Value] = [[reader, box] for reader, box in self.envelopes]
        return [self.commitment, envelopes] if self.is_sealed else []

    def content_key(self, reader: Address, secret: SealingSecret, ledger: LedgerId) -> ContentKey:
        """The key that opens shares, openings and models.

        Raises `Violation` for one who is not meant to, and for a key that is not the agreed one.
        """
        if not self.is_sealed:
            return PUBLIC
        box = dict(self.envelopes).get(reader)
        if box is None:
            raise Violation("§6.3", "not among the study's readers", culprit=reader)
        key = ContentKey(unseal_with(secret, box, context=_context(ledger)))
        if len(key) != KEY_BYTES:  # an empty one would mean "public" to everybody else
            expected = f"a content key of {KEY_BYTES} bytes"
            raise Violation("§6.3", "an envelope", expected=expected, found=f"{len(key)} bytes")
        if _commitment(key) != self.commitment:
            found = _commitment(key)
            raise Violation("§6.3", "another content key than agreed", expected=self.commitment, found=found)
        return key


EVERYBODY: Final = Audience(commitment=b"", envelopes=())


def invite(
    key: ContentKey,
    readers: Mapping[Address, SealingKey],
    ledger: LedgerId,
    *,
    random: Callable[[int], bytes],
) -> Audience:
    """An audience whose readers, and nobody else, can open `key`."""
    envelopes = []
    for reader, sealing_key in sorted(readers.items()):
        ephemeral = SealingSecret(random(KEY_BYTES))
        box = seal_to(sealing_key, key, context=_context(ledger), ephemeral=ephemeral)
        envelopes.append((reader, box))
    return Audience(commitment=_commitment(key), envelopes=tuple(envelopes))


def read_audience(value: cbor.Value) -> Audience:
    """What `Audience.value` wrote; raises `Violation` for anything else, a reader listed twice included."""
    match value:
        case []:
            return EVERYBODY
        case [bytes() as commitment, list() as lines] if len(commitment) == DIGEST_BYTES:
            envelopes = tuple(_envelope(line) for line in lines)
        case _:
            raise Violation(
                "§6.3", "an audience", expected="[] or [digest, envelopes]", found="another value"
            )
    readers = [reader for reader, _ in envelopes]
    if readers != sorted(set(readers)):
        raise Violation("§6.3", "an audience", expected="readers in increasing order", found="another order")
    return Audience(commitment=commitment, envelopes=envelopes)


def _envelope(value: cbor.Value) -> tuple[Address, bytes]:
    match value:
        case [bytes() as reader, bytes() as box] if len(reader) == ADDRESS_BYTES:
            return Address(reader), box
        case _:
            raise Violation("§6.3", "an audience", expected="envelopes [reader, box]", found="another value")


def _commitment(key: ContentKey) -> bytes:
    return labelled("content-key-digest", key)


def _context(ledger: LedgerId) -> bytes:
    return labelled("content-key", ledger)
