"""From patients to an update: the only step of the node that needs a training framework."""

from __future__ import annotations

from federation.arithmetic import Model, Vector
from federation.ciphers.suite import Seed
from federation.digest import LedgerId, derive
from federation.events import RoundId
from federation.tasks.task import Dataset

from .seat import Seat


def train(seat: Seat, round: RoundId, base: Model, patients: Dataset) -> Vector:
    """What the patients here change in `base`; the same node and round give the same update again."""
    seed = training_seed(seat.vault.seed(), seat.agreement.ledger, round)
    return seat.agreement.task.train(base, patients, seed=seed)


def training_seed(seed: Seed, ledger: LedgerId, round: RoundId) -> int:
    """32 bits that order this round's batches: a stream of their own of the node's seed."""
    return int.from_bytes(derive(seed, "training", ledger, round.encode())[:4], "big")
