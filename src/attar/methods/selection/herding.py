"""Herding (Welling, ICML 2009): the mean of the selected features follows the mean of the class.

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
class Herding:
    """`features`: pixels, or what enters the last layer of a network.

    That is unlearned (`random`), `trained` on the whole set for `epochs` epochs, or the task's `encoder`.
    """

    features: FeatureSpace = "trained"
    epochs: int = 20
    separable: ClassVar[bool] = True

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        return select(task, ipc, run, self.features, self.epochs, herd)


def herd(f: Float[Tensor, "n d"], m: int) -> Int[Tensor, " m"]:
    """Step i picks the j, not yet picked, that minimises ‖(i + 1) μ − Σ picked − f_j‖.

    With g = f − μ that is ‖Σ g_picked + g_j‖, whose square is, but for a constant, ‖g_j‖² + 2 ⟨g_j, Σ g_picked⟩. So a
    pick takes one product of f and a vector.
    """
    g = f - f.mean(0)
    score, total = torch.linalg.vector_norm(g, dim=1).square(), torch.zeros_like(g[0])
    picked: list[int] = []
    for _ in range(m):
        picked.append(int((score + 2 * (g @ total)).argmin()))
        score[picked[-1]] = torch.inf
        total += g[picked[-1]]
    return torch.tensor(picked, device=f.device)
