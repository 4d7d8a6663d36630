"""Random selection: the baseline that every other method must beat.

Needs nothing, and takes no time.
"""

from dataclasses import dataclass
from typing import ClassVar

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.engine.run import Run


@dataclass(frozen=True)
class Random:
    """Real images of each class, uniformly and without replacement."""

    separable: ClassVar[bool] = True

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        classes = run.shard(len(task.classes))
        task.need(classes, ipc)
        return CondensedSet.selected(task, task.indices(classes, ipc, run.rng.fold("select")))
