"""What the federated model is compared with: one pool of all patients, each hospital alone, plain integers.

`python -m deploy.baselines` measures all of them over several divisions of the demo's patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from federation import arithmetic
from federation.arithmetic import Clipped, IntVector, Model, Scale, default_bits
from federation.digest import labelled
from federation.errors import Refused
from federation.tasks import Dataset, Scores, Task, named_sizes

from . import patients

CONVERGED: Final = 100  # repetitions of a round's training without any federation
DEMO_MEMBERS: Final = 4
DEMO_ROUNDS: Final = 10
SPLITS: Final = range(17, 33)  # seeds; the recipe was chosen on 1 … 16, so these are unseen


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """All the randomness of one hospital's contribution to one round."""

    training_seed: int
    secret: bytes  # of the rounding
    context: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """One hospital's integers, and what clipping did to its update."""

    values: IntVector
    clipped: Clipped


def demo_scale(members: int = DEMO_MEMBERS) -> Scale:
    """The demo's arithmetic, for `members` hospitals of some hundred patients each."""
    return Scale(clip=1_500_000, bound=500_000, weight_cap=250, members=members, bits=default_bits(members))


def contribute(task: Task, model: Model, data: Dataset, *, scale: Scale, draw: Draw) -> Contribution:
    """What a hospital encrypts: train, clip, weigh, quantise."""
    update = task.train(model, data, seed=draw.training_seed)
    clipped = arithmetic.clip(update, scale=scale, tensors=named_sizes(task.parameters))
    weight = arithmetic.weigh(data.samples, scale)
    values = arithmetic.quantise(
        clipped, weight=weight, scale=scale, secret=draw.secret, context=draw.context
    )
    return Contribution(values=values, clipped=clipped)


def plain_run(
    task: Task, scale: Scale, datasets: Sequence[Dataset], *, rounds: Sequence[Mapping[int, Draw]]
) -> list[Model]:
    """The models after each round of the same federation on plain integers, without any cryptography.

    `rounds` maps each round's contributors, as indices into `datasets`, to their randomness. With the
    draws of an encrypted run, its models have to equal these bit for bit.
    """
    models = []
    model = task.initial()
    for draws in rounds:
        values = [
            contribute(task, model, datasets[who], scale=scale, draw=draw).values
            for who, draw in draws.items()
        ]
        total: IntVector = np.sum(values, axis=0, dtype=np.int64)
        model = arithmetic.apply(model, arithmetic.mean(total, members=len(values), scale=scale))
        models.append(model)
    return models


def bit_equal(one: Sequence[Model], other: Sequence[Model]) -> bool:
    """Whether two runs went through the same models, to the last bit."""
    return [model.tobytes() for model in one] == [model.tobytes() for model in other]


def converged(task: Task, data: Dataset, *, repetitions: int = CONVERGED) -> Model:
    """The model of one data set alone: the same recipe, neither clipped nor quantised, until it has settled.

    It is the mean over the second half of the repetitions, since at a constant learning rate the last one
    alone still jumps about and would make a weak opponent.
    """
    model = task.initial()
    settled = []
    for seed in range(repetitions):
        model = arithmetic.apply(model, task.train(model, data, seed=seed))
        settled.append(model)
    late = np.stack(settled[repetitions // 2 :]).astype(np.float64)
    average: Model = (late.sum(axis=0) / len(late)).astype(np.float32)
    return average


def pool(datasets: Sequence[Dataset]) -> Dataset:
    """All samples in one place, which is what hospitals may not do."""
    if not datasets:
        raise Refused("expected at least 1 data set to pool, found none")
    inputs = np.concatenate([data.inputs for data in datasets])
    return Dataset(inputs=inputs, labels=np.concatenate([data.labels for data in datasets]))


def demo_draws(seed: int, *, rounds: int = DEMO_ROUNDS, members: int = DEMO_MEMBERS) -> list[dict[int, Draw]]:
    """Reproducible randomness for `plain_run`; not secret, so for measurements only."""
    return [
        {who: _draw(labelled("baseline", bytes([seed, number, who]))) for who in range(members)}
        for number in range(rounds)
    ]


def _draw(digest: bytes) -> Draw:
    return Draw(training_seed=int.from_bytes(digest[:7], "big"), secret=digest, context=b"baseline")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Scores on the held-out patients of one division."""

    samples: tuple[int, ...]  # of each hospital
    pooled: Scores
    alone: tuple[Scores, ...]
    federated: Scores
    clipped: int  # updates that the L2 bound scaled
    cut: int  # values that the coordinate range cut

    @property
    def mean_alone(self) -> float:
        """Accuracy of a hospital that learns from its own patients only, averaged over hospitals."""
        return float(np.mean([scores.accuracy for scores in self.alone]))


def compare(seed: int, *, members: int = DEMO_MEMBERS) -> Comparison:
    """The three ways to learn from one division of the demo's patients."""
    task, scale = patients.demo_task(), demo_scale(members)
    with TemporaryDirectory() as directory:
        paths = patients.write(Path(directory), hospitals=members, seed=seed)
        datasets = [task.load(path) for path in paths]
        test = task.load(Path(directory) / "test.csv")
    draws = demo_draws(seed, members=members)
    models = plain_run(task, scale, datasets, rounds=draws)
    bases = [task.initial(), *models[:-1]]
    contributions = [
        contribute(task, base, datasets[who], scale=scale, draw=draw)
        for base, drawn in zip(bases, draws, strict=True)
        for who, draw in drawn.items()
    ]
    return Comparison(
        samples=tuple(data.samples for data in datasets),
        pooled=task.evaluate(converged(task, pool(datasets)), test),
        alone=tuple(task.evaluate(converged(task, data), test) for data in datasets),
        federated=task.evaluate(models[-1], test),
        clipped=sum(c.clipped.norm > scale.clip / arithmetic.MILLION for c in contributions),
        cut=sum(c.clipped.cut for c in contributions),
    )


def main(splits: Sequence[int] = SPLITS) -> None:
    """Prints one line for each division, then the means."""
    print("accuracy on 113 held-out patients (AUC in brackets), 4 hospitals, Dirichlet(0.5), 10 rounds")
    print(
        "split  patients             pooled          federated       gap     alone  clipped of 40, values cut"
    )
    found = [compare(seed) for seed in splits]
    for seed, one in zip(splits, found, strict=True):
        sizes = " ".join(f"{samples:4d}" for samples in one.samples)
        print(f"{seed:5d}  {sizes}  {_row(one)}  {one.clipped:7d} {one.cut:3d}")
    gaps = [one.pooled.accuracy - one.federated.accuracy for one in found]
    pooled = np.mean([one.pooled.accuracy for one in found])
    federated = np.mean([one.federated.accuracy for one in found])
    alone = np.mean([one.mean_alone for one in found])
    print(f"mean: pooled {pooled:.4f}, federated {federated:.4f}, alone {alone:.4f}")
    print(f"gap: mean {np.mean(gaps):+.4f}, median {np.median(gaps):+.4f}, largest {max(gaps):+.4f}")


def _row(one: Comparison) -> str:
    gap = one.pooled.accuracy - one.federated.accuracy
    scores = "  ".join(f"{s.accuracy:.4f} ({s.auc:.4f})" for s in (one.pooled, one.federated))
    return f"{scores}  {gap:+.4f}  {one.mean_alone:.4f}"


if __name__ == "__main__":
    main()
