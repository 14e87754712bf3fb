"""One update's way out of the hospital: trained, quantised, encrypted, bound to its round (PROTOCOL §4.3)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from .agreement import Agreement
from .arithmetic import Clipped, IntVector, clip, quantise
from .arithmetic import Vector as Update
from .ciphers.suite import Encryption, Seed
from .digest import Digest, labelled
from .events import RoundId
from .members import Address
from .runs import HERE, Run, in_order, in_runs
from .tasks.task import named_sizes
from .wire import Payload, update_header

# Ciphertexts encrypted in one piece: few enough to keep several processes busy, at a millisecond or two each.
_PIECE: Final = 128


def clip_update(agreement: Agreement, update: Update) -> Clipped:
    """The update, at most C long; raises `Refused` for NaN or infinity, naming the tensor."""
    return clip(update, scale=agreement.spec.scale, tensors=named_sizes(agreement.task.parameters))


def quantise_update(
    agreement: Agreement, round: RoundId, clipped: Clipped, *, member: Address, weight: int, seed: Seed
) -> IntVector:
    """Integers to encrypt, the weight last; rounded by a stream of the seed's own, so reproducible."""
    context = rounding_context(agreement, round, member)
    return quantise(clipped, weight=weight, scale=agreement.spec.scale, secret=seed, context=context)


def rounding_context(agreement: Agreement, round: RoundId, member: Address) -> bytes:
    """What separates the rounding of this update from every other of the same seed."""
    return labelled("rounding-context", agreement.ledger, round.encode(), member)


def encrypt_update(
    agreement: Agreement,
    round: RoundId,
    values: IntVector,
    *,
    member: Address,
    base_model: Digest,
    seed: Seed,
    executor: Executor = HERE,
) -> Payload:
    """The payload whose root is committed; the same seed and values give the same bytes again.

    The capsule is encrypted once, on `executor`, which has to be of this machine: it is handed secrets. The
    body, cheap and large, is encrypted again each time it is read.
    """
    header = update_header(agreement.binding(round), member=member, base_model=base_model)
    context = agreement.round_context(round)
    encryption = agreement.suite.encrypt(values, seed=seed, header=header, context=context)
    layout = agreement.suite.layout
    pieces = [(piece,) for piece in in_runs((layout.capsule,), most=_PIECE)]
    place = executor if len(pieces) > 1 else HERE  # one piece is not worth sending the values along
    capsule = b"".join(in_order(place, encryption.run, pieces))
    leaves = _Encrypted(capsule=capsule, encryption=encryption, body=layout.body)
    bare = Payload(header=header, leaves=leaves, tail=b"", shape=agreement.update_shape)
    return bare.with_tail(encryption.prove(bare.root_before_tail()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Encrypted:
    capsule: bytes
    encryption: Encryption
    body: Run

    def read(self) -> Iterator[bytes]:
        yield self.capsule
        yield from (self.encryption.run(run) for run in in_runs((self.body,)))
