"""One update's way out of the hospital: trained, quantised, encrypted, bound to its round (PROTOCOL §4.3)."""

from __future__ import annotations

from .agreement import Agreement
from .arithmetic import Clipped, IntVector, clip, quantise
from .arithmetic import Vector as Update
from .ciphers.suite import Seed
from .digest import Digest, labelled
from .events import RoundId
from .members import Address
from .tasks.task import named_sizes
from .wire import Payload, update_header


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
) -> Payload:
    """The payload whose root is committed; the same seed and values give the same bytes again."""
    header = update_header(agreement.binding(round), member=member, base_model=base_model)
    context = agreement.round_context(round)
    encryption = agreement.suite.encrypt(values, seed=seed, header=header, context=context)
    leaves = b"".join(encryption.run(run) for run in agreement.suite.layout.runs())
    bare = Payload(header=header, leaves=leaves, tail=b"", shape=agreement.update_shape)
    proof = encryption.prove(bare.root_before_tail())
    return Payload(header=header, leaves=leaves, tail=proof, shape=agreement.update_shape)
