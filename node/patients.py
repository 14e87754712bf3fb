"""The patients, as their file has them when they are needed: it may change between two rounds."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from federation.errors import Refused
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
    _mark: tuple[int, ...] | None = None
    _held: Dataset | None = field(default=None, repr=False)

    def read(self) -> Dataset:
        """See `Patients`; a file that changes while it is read is half of one and half of another."""
        mark = _mark_of(self.path)
        if self._held is None or mark is None or mark != self._mark:
            held = self.task.load(self.path)
            if _mark_of(self.path) != mark:
                raise Refused(f"{self.path}: expected a file at rest, found one that is being written")
            self._held, self._mark = held, mark
        return self._held


def _mark_of(path: Path) -> tuple[int, ...] | None:
    """What changes with a file's content; None where that cannot be told."""
    try:
        found = path.stat()
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    # The last one, because a copy can bring its times along, and nobody can set that.
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
