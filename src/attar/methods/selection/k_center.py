"""K-center by farthest-first traversal (Sener & Savarese, ICLR 2018): every image lies near a selected one.

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
class KCenter:
    """`features`: pixels, or what enters the last layer of a network.

    That is unlearned (`random`), `trained` on the whole set for `epochs` epochs, or the task's `encoder`.
    """

    features: FeatureSpace = "trained"
    epochs: int = 20
    separable: ClassVar[bool] = True

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        return select(task, ipc, run, self.features, self.epochs, farthest_first)


def farthest_first(f: Float[Tensor, "n d"], m: int) -> Int[Tensor, " m"]:
    """The image nearest to the class mean, then again and again the one farthest from all picked.

    Squared distances are expanded, so that a pick takes one product of f and a vector. What cancels is far from the
    farthest.
    """
    g = f - f.mean(0)
    norm = torch.linalg.vector_norm(g, dim=1).square()  # without a copy of g
    picked = [int(norm.argmin())]
    distance = torch.full_like(norm, torch.inf)
    for _ in range(m - 1):
        distance = torch.minimum(distance, (norm + norm[picked[-1]] - 2 * (g @ g[picked[-1]])).clamp_min(0))
        distance[picked[-1]] = -torch.inf  # never twice, also among equal images
        picked.append(int(distance.argmax()))
    return torch.tensor(picked, device=f.device)
