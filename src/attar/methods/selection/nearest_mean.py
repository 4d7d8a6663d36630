"""Nearest mean: the real images whose features lie nearest to the mean of their class.

Needs a network trained on the whole set, which takes minutes; `features=random` or `pixels` needs none.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.engine.run import Run
from attar.methods.selection._features import FeatureSpace, select


@dataclass(frozen=True)
class NearestMean:
    """`features`: pixels, or what enters the last layer of a network.

    That is unlearned (`random`), `trained` on the whole set for `epochs` epochs, or the task's `encoder`.
    """

    features: FeatureSpace = "trained"
    epochs: int = 20
    separable: ClassVar[bool] = True

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        return select(task, ipc, run, self.features, self.epochs, nearest)


def nearest(f: Float[Tensor, "n d"], m: int) -> Int[Tensor, " m"]:
    """The m images with the least ‖f_j − μ‖, the nearest first; of equal ones the first."""
    return torch.linalg.vector_norm(f - f.mean(0), dim=1).argsort(stable=True)[:m]
