"""K-center by farthest-first traversal (Sener & Savarese, ICLR 2018): every image lies near a selected one."""

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
class KCenter:
    """`features`: pixels, or the last layer of an unlearned network, or of one trained on the whole set for `epochs` epochs."""

    features: Space = "trained"
    epochs: int = 20
    separable: ClassVar[bool] = True

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        return select(task, ipc, run, self.features, self.epochs, farthest_first)


def farthest_first(f: Float[Tensor, "n d"], m: int) -> Int[Tensor, " m"]:
    """The image nearest to the class mean, then again and again the one farthest from all picked."""
    picked = [int((f - f.mean(0)).square().sum(1).argmin())]
    distance = torch.full((len(f),), torch.inf, device=f.device)
    for _ in range(m - 1):
        distance = torch.minimum(distance, (f - f[picked[-1]]).square().sum(1))
        distance[picked[-1]] = -1  # never twice, also among equal images
        picked.append(int(distance.argmax()))
    return torch.tensor(picked, device=f.device)
