"""One study of one round at a model's true size: the parties of `federation.rehearsal`, a store on disk."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from federation.arithmetic import MILLION, IntVector, Model, Scale, Vector, apply, default_bits, mean, weigh
from federation.audience import EVERYBODY
from federation.audit.record import RoundRecord, StudyRecord
from federation.audit.report import verify
from federation.ciphers.suite import Dealing
from federation.events import NO_STAKE, RoundId
from federation.members import Address
from federation.model import model_digest
from federation.rehearsal import AGGREGATOR, Hospital, Rehearsal, default_windows, seeded
from federation.store.directory import DirectoryStore
from federation.study import StudySpec
from federation.submission import clip_update, quantise_update
from federation.tasks.shaped import ShapedModel

from .watch import Metered, Taken, Watch

_CLIP: Final = 5 * MILLION  # of an update's length, in millionths
_BOUND: Final = MILLION // 50  # of a coordinate
_SPREAD: Final = 1e-3  # standard deviation of a coordinate
_CAP: Final = 1000  # samples


class Updates:
    """What hospitals found: random, reproducible, and handed over once, so that nobody else holds it."""

    def __init__(self, parameters: int) -> None:
        self._parameters: Final = parameters
        self._drawn: dict[Address, Vector] = {}

    def draw(self, address: Address) -> Vector:
        """This hospital's update."""
        update = np.random.default_rng(address[0]).standard_normal(self._parameters)
        update *= _SPREAD
        return update

    def keep(self, address: Address) -> None:
        """It is there now, as after training."""
        self._drawn[address] = self.draw(address)

    def training(self, address: Address) -> Callable[[Model, RoundId], Vector]:
        """Gives it away."""
        return lambda _model, _round: self._drawn.pop(address)


class WholeRound:
    """One study of one round."""

    def __init__(self, task: ShapedModel, dealing: Dealing, suite: str, hospitals: int) -> None:
        self.task: Final = task
        self.addresses: Final = tuple(Address(bytes([1 + index]) * 20) for index in range(hospitals))
        self.scale: Final = Scale(
            clip=_CLIP, bound=_BOUND, weight_cap=_CAP, members=hospitals, bits=default_bits(hospitals)
        )
        self._updates: Final = Updates(task.size)
        self._hospitals: Final = [
            Hospital(
                address=address,
                key_share=dealing.key_shares[index],
                seed=seeded(b"a rehearsal's secret", address),
                samples=300 + 150 * index,
                train=self._updates.training(address),
            )
            for index, address in enumerate(self.addresses)
        ]
        threshold = (hospitals + 1) // 2
        self.spec: Final = StudySpec(
            name="capacity",
            task=task.spec.name,
            task_parameters=task.spec.parameters,
            scale=self.scale,
            suite=suite,
            key=dealing.public_key,
            members=self.addresses,
            aggregators=(AGGREGATOR,),
            threshold=threshold,
            minimum=threshold + 1,
            rounds=1,
            windows=default_windows(),
            genesis=model_digest(task.initial(), task.shape_digest),
            audience=EVERYBODY,
            stake=NO_STAKE,
        )

    def run(self, folder: Path) -> tuple[list[Taken], bool]:
        """Its steps, and whether sum and model are exactly those of the plain integers."""
        watch = Watch(store=Metered(DirectoryStore(folder)))
        rehearsal = Rehearsal(self.spec, self._hospitals, store=watch.store)
        id = rehearsal.round().id
        for address in self.addresses:
            self._updates.keep(address)
            watch.step("hospital", "quantise, encrypt, commit", partial(rehearsal.commit, address))
        for address in self.addresses:
            watch.step("hospital", "reveal", partial(rehearsal.reveal, address, id))
        watch.step("aggregator", "admit and add", partial(rehearsal.post_total, id))
        for address in self.addresses[: self.spec.threshold]:
            watch.step("hospital", "recompute, share", partial(rehearsal.post_share, address, id))
        watch.step("aggregator", "recompute, join, apply", partial(rehearsal.finish, id))
        audits: list[StudyRecord] = []

        def audit() -> None:
            record = rehearsal.study_record()
            report = verify(record, audited_code=record.code)
            audits.extend([record] if not report.findings else [])

        watch.step("auditor", "verify the whole study", audit)
        return watch.taken, bool(audits) and is_exact(
            audits[0].rounds[-1], *self._in_the_clear(rehearsal, id)
        )

    def _in_the_clear(self, rehearsal: Rehearsal, id: RoundId) -> tuple[IntVector, Model]:
        """Sum and model of the plain integers, by someone who sees every update."""
        total: IntVector = np.zeros(self.task.size + 1, np.int64)
        for hospital in self._hospitals:
            clipped = clip_update(rehearsal.agreement, self._updates.draw(hospital.address))
            weight = weigh(hospital.samples, self.scale)
            total += quantise_update(
                rehearsal.agreement,
                id,
                clipped,
                member=hospital.address,
                weight=weight,
                seed=hospital.seed,
            )
        change = mean(total, members=len(self._hospitals), scale=self.scale)
        return total, apply(self.task.initial(), change)


def is_exact(record: RoundRecord, total: IntVector, model: Model) -> bool:
    """Whether a round has come to this very sum, and to this very model."""
    if not isinstance(record.summed, np.ndarray) or not isinstance(record.model, np.ndarray):
        return False
    return np.array_equal(record.summed, total) and record.model.tobytes() == model.tobytes()
