"""DD: dataset distillation (Wang et al., 2018).

Needs nothing trained. What it makes is a whole training: images in an order, and the size of each step.
"""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from attar.condensed.condensed_set import CondensedSet
from attar.condensed.steps import Steps
from attar.data.task import Task
from attar.engine.run import Run
from attar.methods._seen import freeze
from attar.methods.performance._exam import JUDGED, Exam
from attar.synthesis.loop import optimise
from attar.synthesis.pixels import Init, Pixels
from attar.training.train import SGD
from attar.training.unrolled import Step, Unrolled


@dataclass(frozen=True, kw_only=True)
class DD:
    """Few steps of plain SGD from random weights lead to a small loss on real images.

    Each step shows images of its own, one of each class, so there are as many as images a class. Their order is kept.
    They are made `rounds` times, each time by sizes of their own, which are learned from `step_size` on and stay
    positive. Real images are `batch_real` of each class, at most as many as there are; the authors draw 1024 from all
    classes together. `lr` is Adam's, for images and for what sizes are made of. It is halved after each tenth of the
    updates, as after 40 of the authors' 400 epochs.
    """

    updates: int = 20_000
    rounds: int = 3
    step_size: float = 0.02
    lr: float = 0.01
    batch_real: int = 102
    init: Init = "noise"
    separable: ClassVar[bool] = False  # a step learns from the images of all classes

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        syn = Pixels.start(task, ipc, run, init=self.init)
        sizes = Sizes(self.step_size, self.rounds, ipc).to(task.device)
        owner = torch.arange(ipc).repeat(len(syn.classes))  # images lie class by class
        steps = [Step(rows.to(task.device), None) for rows in Steps(owner, sizes()).rows] * self.rounds
        plain, shown = SGD(momentum=0.0, weight_decay=0.0), self.updates * self.rounds * len(owner)
        unrolled = Unrolled.of(task.network, task.shape, plain, shown, run)
        exam = Exam.of(task, run, batch=self.batch_real, passes=self.updates * JUDGED)

        def episode(syn, rng):
            (x, y), questions = syn(), exam.draw(rng.fold("real"))
            start = freeze(task, task.network.init(rng.fold("network")), rng)

            def outer(w):
                return F.cross_entropy(exam.scores(w)(questions.x), questions.y)

            yield [unrolled(outer, start, x, y, sizes().flatten(), steps)]

        opt = torch.optim.Adam([*syn.parameters(), *sizes.parameters()], lr=self.lr, betas=(0.5, 0.999))
        optimise(episode, syn, opt, updates=self.updates, run=run, schedule=self.halve, state=sizes)
        return dataclasses.replace(syn.export(), steps=Steps(owner, sizes().detach().cpu()))

    def halve(self, done: int) -> float:
        """What `lr` is multiplied by after so many updates."""
        return 0.5 ** (10 * done // self.updates)


class Sizes(nn.Module):
    """The size of each step in each round: the softplus of what is learned."""

    def __init__(self, start: float, rounds: int, steps: int):
        super().__init__()
        if start == 0:
            raise ValueError("step_size must be above 0")
        self.raw = nn.Parameter(torch.full((rounds, steps), start).expm1().log())

    def forward(self) -> Float[Tensor, "rounds steps"]:
        return F.softplus(self.raw)
