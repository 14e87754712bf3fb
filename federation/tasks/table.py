"""A CSV file of patients as numbers, or one line that says which row and column is unusable.

Messages name places and expectations, never a cell: they end up in logs that leave the hospital.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import Refused


def read_table(
    path: Path, *, columns: Sequence[str], label: str, classes: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The named columns, one row a patient, and for each the index in `classes` of what `label` holds.

    The first line is the header; further columns are ignored, as are lines without any cell.
    """
    inputs: list[list[float]] = []
    labels: list[int] = []
    lines = _lines(path)
    _, header = next(lines, (0, []))
    if not header:
        _refuse(path, "a header line", "an empty file")
    positions = [_find(path, header, name) for name in columns]
    label_position = _find(path, header, label)
    for line, cells in lines:
        if len(cells) != len(header):
            _refuse(path, f"{len(header)} cells in line {line}", str(len(cells)))
        numbers = zip(columns, positions, strict=True)
        inputs.append([_number(path, f"line {line}, column {name!r}", cells[at]) for name, at in numbers])
        if cells[label_position] not in classes:
            _refuse(path, f"one of {list(classes)} in line {line}, column {label!r}", "something else")
        labels.append(classes.index(cells[label_position]))
    if not labels:
        _refuse(path, "at least one row below the header", "none")
    return np.array(inputs), np.array(labels, np.int64)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and cells, without empty lines."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                if cells:
                    yield reader.line_num, [cell.strip() for cell in cells]
    except OSError as error:
        raise Refused(f"{path}: expected a readable CSV file, found: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        # `from None`: the cause would carry the file's bytes into a traceback
        raise Refused(f"{path}: expected CSV in UTF-8, found {type(error).__name__}") from None


def _find(path: Path, header: Sequence[str], name: str) -> int:
    if header.count(name) != 1:
        _refuse(path, f"one column {name!r}", f"{header.count(name)} among {len(header)} columns")
    return header.index(name)


def _number(path: Path, place: str, cell: str) -> float:
    if not cell:
        _refuse(path, f"a number in {place}", "an empty cell")
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or not cell.isascii() or "_" in cell:
        _refuse(path, f"a finite decimal number in {place}", "something else")
    return number


def _refuse(path: Path, expected: str, found: str) -> NoReturn:
    raise Refused(f"{path}: expected {expected}, found {found}") from None
