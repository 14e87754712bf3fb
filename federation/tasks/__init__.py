"""The tasks that a study can name. Adding one is adding a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ..errors import Refused
from . import shaped, tabular
from .task import Dataset, Scores, Task, TaskSpec, named_sizes

__all__ = ["Dataset", "Scores", "Task", "TaskSpec", "named_sizes", "task_for"]

TASKS: Final[Mapping[str, Callable[[bytes], Task]]] = {
    shaped.NAME: shaped.ShapedModel.decode,
    tabular.NAME: tabular.LogisticRegression.decode,
}


def task_for(spec: TaskSpec) -> Task:
    """The task of a study; raises `Refused` where this version does not know it."""
    build = TASKS.get(spec.name)
    if build is None:
        raise Refused(f"expected a task among {', '.join(sorted(TASKS))}, found {spec.name!r}")
    return build(spec.parameters)
