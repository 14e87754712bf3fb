"""The patients, as their file has them when they are needed: it may change between two rounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from federation.tasks.task import Dataset, Task


class Patients(Protocol):
    """One hospital's patients."""

    def read(self) -> Dataset:
        """As they are now; raises `Refused`, naming the place and never a value, where they are unusable."""


@dataclass(slots=True, kw_only=True)
class PatientsFile:
    """A file in the task's format, read again whenever it has changed."""

    path: Path
    task: Task
    _mark: tuple[int, int, int] | None = None
    _held: Dataset | None = field(default=None, repr=False)

    def read(self) -> Dataset:
        """See `Patients`."""
        mark = _mark_of(self.path)  # before the file is read: what changes meanwhile is read once more
        if self._held is None or mark is None or mark != self._mark:
            self._held = self.task.load(self.path)
            self._mark = mark
        return self._held


def _mark_of(path: Path) -> tuple[int, int, int] | None:
    """What changes with a file's content; None where that cannot be told."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns) if path.is_file() else None
