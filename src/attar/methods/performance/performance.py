"""Performance matching in general: networks trained on the real and on the synthetic images have the same losses.

Needs one network trained on the whole set first. It is kept.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from attar.data.task import Task
from attar.engine.run import Run
from attar.methods._seen import see
from attar.methods.performance._exam import JUDGED, Exam, Scores
from attar.methods.performance.bptt import BPTT, Judge
from attar.training.pretrained import Stage, pretrain, pretraining_left

Losses = Callable[[Scores, Tensor, Tensor], Tensor]
"""L: the losses of a network that gives such scores, as a vector, on real images and their classes."""


@dataclass(frozen=True, kw_only=True)
class Performance(BPTT):
    """‖L(f_θT) − L(f_θS)‖₂ is small, where L is a vector: the loss of each class on the same real images.

    θS is a student as in `bptt`. θT learned from the whole set for `epochs` epochs. Without `zca` it is one of those
    that `dance` and `ncfm` train, and `idc` with `models`: runs with as many `epochs` share it. A student gains nothing
    from being better than that network in a class.
    """

    epochs: int = 20
    passes: ClassVar[int] = JUDGED + 1

    def judge(self, exam: Exam, run: Run) -> Judge:
        """The distance to the network that learned from the whole set."""
        ((_, reference),) = pretrain(exam.task, run, 1, self.epochs)
        return match_losses(losses_by_class, exam.scores(reference))

    def stages(self, task: Task, run: Run) -> list[Stage]:
        """What is trained first, for a plan."""
        return [pretraining_left(see(task, self.zca), run, 1, self.epochs)]


def match_losses(losses: Losses, reference: Scores) -> Judge:
    """‖L(f_θT) − L(f_θS)‖₂ as a function of f_θS, for any L."""
    return lambda student, x, y: torch.linalg.vector_norm(losses(reference, x, y) - losses(student, x, y))


def losses_by_class(scores: Scores, x: Float[Tensor, "n ..."], y: Int[Tensor, " n"]) -> Float[Tensor, " classes"]:
    """The mean cross-entropy of the images of each class; 0 for a class without images."""
    found = scores(x)
    each, own = F.cross_entropy(found, y, reduction="none"), F.one_hot(y, found.shape[1])
    return (own * each[:, None]).sum(0) / own.sum(0).clamp_min(1)
