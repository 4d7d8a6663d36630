"""Random selection: the baseline that every other method must beat."""

from dataclasses import dataclass
from typing import ClassVar

from attar.artefact import CondensedSet
from attar.run import Run
from attar.synthetic import need
from attar.task import Task


@dataclass(frozen=True)
class Random:
    """Real images of each class, uniformly and without replacement."""

    separable: ClassVar[bool] = True

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        classes = run.shard(task)
        need(task, classes, ipc)
        return CondensedSet.selected(task, task.indices(classes, ipc, run.rng.fold("select")))
