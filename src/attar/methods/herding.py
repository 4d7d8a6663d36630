"""Herding (Welling, ICML 2009): the mean of the selected features follows the mean of the class."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attar.artefact import CondensedSet
from attar.run import Run
from attar.selection import Space, select
from attar.task import Task


@dataclass(frozen=True)
class Herding:
    """`features`: pixels, or the last layer of an unlearned network, or of one trained on the whole set for `epochs` epochs."""

    features: Space = "trained"
    epochs: int = 20
    separable: ClassVar[bool] = True

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        return select(task, ipc, run, self.features, self.epochs, herd)


def herd(f: Float[Tensor, "n d"], m: int) -> Int[Tensor, " m"]:
    """Step i picks the j, not yet picked, that minimises ‖(i + 1) μ − Σ picked − f_j‖; O(n d) a pick, exact.

    Expanded, the score is ‖f_j‖² − 2 (i + 1) ⟨f_j, μ⟩ + 2 ⟨f_j, Σ picked⟩, whose products are kept up to date.
    """
    f = f.double()  # the three terms nearly cancel
    score = f.square().sum(1)
    toward_mean, toward_sum = f @ f.mean(0), torch.zeros(len(f), dtype=f.dtype, device=f.device)
    picked: list[int] = []
    for i in range(m):
        picked.append(int((score - 2 * (i + 1) * toward_mean + 2 * toward_sum).argmin()))
        score[picked[-1]] = torch.inf
        toward_sum += f @ f[picked[-1]]
    return torch.tensor(picked, device=f.device)
