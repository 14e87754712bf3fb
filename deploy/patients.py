"""Public patients, divided among hospitals the way real ones differ: unevenly, in number and in kind.

The rows are the Wisconsin diagnostic breast cancer set (UCI, 569 patients, shipped with scikit-learn).
Each class is divided by a Dirichlet(α) draw; a fifth, stratified, is held out for everybody.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from federation.errors import Refused
from federation.tasks.tabular import Feature, LogisticRegression

MIN_ROWS: Final = 15  # of the smallest hospital, and at least one patient of each class
HELD_OUT: Final = 0.2  # fraction of each class
LABEL: Final = "diagnosis"
CLASSES: Final = ("M", "B")  # malignant, benign: the target's 0 and 1, and the original file's letters
_DRAWS: Final = 10_000  # before a split counts as impossible

# Minimum and maximum of each measurement, in millionths, as printed in the data set's own description
# (`DESCR`): public for decades and the same for everybody, hence no statistic of the federation's patients.
RANGES: Final[dict[str, tuple[int, int]]] = {
    "mean radius": (6_981_000, 28_110_000),
    "mean texture": (9_710_000, 39_280_000),
    "mean perimeter": (43_790_000, 188_500_000),
    "mean area": (143_500_000, 2_501_000_000),
    "mean smoothness": (53_000, 163_000),
    "mean compactness": (19_000, 345_000),
    "mean concavity": (0, 427_000),
    "mean concave points": (0, 201_000),
    "mean symmetry": (106_000, 304_000),
    "mean fractal dimension": (50_000, 97_000),
    "radius error": (112_000, 2_873_000),
    "texture error": (360_000, 4_885_000),
    "perimeter error": (757_000, 21_980_000),
    "area error": (6_802_000, 542_200_000),
    "smoothness error": (2_000, 31_000),
    "compactness error": (2_000, 135_000),
    "concavity error": (0, 396_000),
    "concave points error": (0, 53_000),
    "symmetry error": (8_000, 79_000),
    "fractal dimension error": (1_000, 30_000),
    "worst radius": (7_930_000, 36_040_000),
    "worst texture": (12_020_000, 49_540_000),
    "worst perimeter": (50_410_000, 251_200_000),
    "worst area": (185_200_000, 4_254_000_000),
    "worst smoothness": (71_000, 223_000),
    "worst compactness": (27_000, 1_058_000),
    "worst concavity": (0, 1_252_000),
    "worst concave points": (0, 291_000),
    "worst symmetry": (156_000, 664_000),
    "worst fractal dimension": (55_000, 208_000),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which rows of the data set each party has."""

    hospitals: tuple[NDArray[np.int64], ...]
    test: NDArray[np.int64]


def demo_task() -> LogisticRegression:
    """The demo's task: 30 features, centred on the lower quarter of their published range, in sevenths of it.

    Both factors are rules of thumb for measurements that are never negative and skewed to the right (most lie
    in the lower half, a standard deviation is about a seventh of the range), not computed from the patients.
    `python -m deploy.baselines` measures the recipe.
    """
    features = tuple(
        Feature(name=name, centre=low + (high - low) // 4, scale=(high - low) // 7)
        for name, (low, high) in RANGES.items()
    )
    return LogisticRegression(
        label=LABEL,
        positive="M",
        negative="B",
        features=features,
        epochs=1,
        batch=16,
        rate=500_000,
        l2=5_000,
    )


def split(hospitals: int, *, seed: int, alpha: float = 0.5) -> Split:
    """A label-skewed division: every row once, `MIN_ROWS` or more and both classes everywhere."""
    _, target = _patients()
    generator = np.random.default_rng(seed)
    test: list[NDArray[np.int64]] = []
    train: list[NDArray[np.int64]] = []
    for kind in range(len(CLASSES)):
        rows = generator.permutation(np.flatnonzero(target == kind))
        held_out = round(HELD_OUT * rows.size)
        test.append(rows[:held_out])
        train.append(rows[held_out:])
    for _ in range(_DRAWS):
        parts = [_divide(rows, generator.dirichlet([alpha] * hospitals)) for rows in train]
        shares = [np.sort(np.concatenate(own)) for own in zip(*parts, strict=True)]
        every_class = all(part.size for own in parts for part in own)
        if every_class and min(share.size for share in shares) >= MIN_ROWS:
            return Split(hospitals=tuple(shares), test=np.sort(np.concatenate(test)))
    raise Refused(f"expected a split with {MIN_ROWS} rows for each of {hospitals} hospitals, found none")


def write(directory: Path, *, hospitals: int, seed: int, alpha: float = 0.5) -> list[Path]:
    """`hospital-1/patients.csv` … and `test.csv` exist below `directory`; returns the hospitals' files."""
    division = split(hospitals, seed=seed, alpha=alpha)
    paths = []
    for number, rows in enumerate(division.hospitals, start=1):
        path = directory / f"hospital-{number}" / "patients.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, rows)
        paths.append(path)
    _write(directory / "test.csv", division.test)
    return paths


def _divide(rows: NDArray[np.int64], proportions: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    ends = np.round(np.cumsum(proportions)[:-1] * rows.size).astype(np.int64)
    return np.split(rows, ends)


def _write(path: Path, rows: Sequence[int] | NDArray[np.int64]) -> None:
    measurements, target = _patients()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*RANGES, LABEL])
        for row in rows:
            writer.writerow([*map(repr, measurements[row].tolist()), CLASSES[target[row]]])


def _patients() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Measurements in the order of `RANGES`, and the class of each row."""
    try:
        from sklearn.datasets import load_breast_cancer  # noqa: PLC0415 - only the demo installs scikit-learn
    except ModuleNotFoundError as error:
        raise Refused("expected scikit-learn: install tallystick[demo]") from error
    bunch = load_breast_cancer()
    return np.asarray(bunch.data, np.float64), np.asarray(bunch.target, np.int64)
