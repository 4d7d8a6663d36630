"""What students are judged by: real images, in the batches and with the augmentation of an update."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from attar.augment.dsa import Augment, apply
from attar.data.task import Task
from attar.engine.run import Run
from attar.engine.slices import map_slices
from attar.networks.weights import TRAINING, Weights
from attar.rng import Rng

JUDGED = TRAINING + 1  # what it costs to judge a student with the derivative, in forward passes
Scores = Callable[[Tensor], Tensor]
"""Class scores of images, by one network."""


class Questions(NamedTuple):
    """Real images as networks see them, and their classes."""

    x: Float[Tensor, "n c h w"]
    y: Int[Tensor, " n"]


@dataclass(frozen=True)
class Exam:
    """`batch` real images of each class, drawn afresh at each update, and the scores that networks give them."""

    task: Task
    batch: int
    augment: Augment
    call: Callable[[Weights, Tensor], Tensor]
    size: int

    @classmethod
    def of(cls, task: Task, run: Run, *, batch: int, passes: int, augment: str = "") -> "Exam":
        """On the run's engine; `passes` are all those of such a batch, forward ones and what costs as much.

        No class is asked for more than the largest one has.
        """
        batch = min(batch, int(task.counts.max()))
        n = batch * len(task.classes)
        call = run.engine(task.network.scores, passes * n * task.network.flop(task.shape))
        augmented = Augment(augment) if task.flip else Augment(augment).without_flip()
        return cls(task, batch, augmented, call, run.slice_size(n))

    def draw(self, rng: Rng) -> Questions:
        everyone = range(len(self.task.classes))
        x = self.task.sample(everyone, self.batch, rng).flatten(0, 1)
        y = torch.tensor(everyone, device=x.device).repeat_interleave(self.batch)
        if not self.augment.names:
            return Questions(x, y)
        draw = self.augment.draw_each(len(x), x.shape[1:], rng.fold("augment")).to(x.device)
        return Questions(apply(x[:, None], draw)[:, 0], y)

    def scores(self, w: Weights) -> Scores:
        """Those of a network, differentiable in it. The memory does not grow with the batch: slices are seen twice."""

        def once_more(part: Tensor) -> Tensor:
            return checkpoint(self.call, w, part, use_reentrant=False, preserve_rng_state=False)

        return partial(map_slices, once_more, size=self.size)
