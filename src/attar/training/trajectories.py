"""Experts: networks trained on the whole set, with the weights that they had after each epoch.

Computed once and kept on disk at half precision. Other runs, methods and budgets share them.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from attar.data.task import Task
from attar.engine.piece import Tick
from attar.engine.run import Run
from attar.networks.weights import TRAINING, flatten
from attar.rng import Rng
from attar.training.flatness import Flatness
from attar.training.protocol import DSA, NONE
from attar.training.stages import Cohort, Stage, Tensors, Wanted, describe_data, describe_engine
from attar.training.train import SGD, train

VERSION = 1  # of how experts are trained: with another, those in the cache are not taken
Trajectory = Float[Tensor, "ages p"]


@dataclass(frozen=True)
class Experts:
    """How many there are, how they are trained, and for how long. No momentum, no decay: as their authors have it."""

    count: int
    epochs: int
    flat: Flatness | None = None
    lr: float = 0.01
    batch: int = 256

    def load(self, task: Task, run: Run) -> list[Trajectory]:
        """The parameters of each before its training and after every epoch, flat, in half precision.

        Those that the cache lacks are trained, several at once where that pays; what is there is whole, whatever
        interrupts.
        """
        experts = self.gather(task, run)
        experts.announce()
        return [tensors["params"] for (tensors,) in experts.load()]

    def stage(self, task: Task, run: Run) -> Stage:
        """How many are missing, and what one costs."""
        return self.gather(task, run).stage()

    def gather(self, task: Task, run: Run) -> Cohort:
        """All of them, each a file."""
        flop, wanted = self.flop(task), []
        data, engine = describe_data(task), describe_engine(run, flop, self.count)
        recipe = self.epochs, self.flat, self.lr, self.batch
        for i in range(self.count):
            what = repr((VERSION, data, engine, torch.__version__, task.network.key, recipe, i))
            name = f"{task.network.name} on {task.name}, {'flat ' * (self.flat is not None)}epochs: {self.epochs}"
            wanted.append(Wanted(name, i, (what,), what, partial(train_expert, self, i, what)))
        return Cohort(task, run, "expert", "experts", wanted, self.epochs, self.epochs, flop, 2 * (self.epochs + 1))

    def flop(self, task: Task) -> int:
        """Floating-point operations of training one."""
        passes = TRAINING * (1 if self.flat is None else 2)
        return passes * self.epochs * len(task.train.y) * task.network.flop(task.shape)


def train_expert(experts: Experts, i: int, what: str, task: Task, run: Run, tick: Tick) -> dict[str, Tensors]:
    """The i-th: its parameters before training, and after each epoch. Copies, which no later step changes."""
    rng, x, y = Rng(("expert", i)), task.normalise(task.train.x.to(task.device)), task.train.y
    augment = (DSA if task.flip else DSA.without_flip()) if task.columns is None else NONE
    options: dict[str, Any] = {"optimiser": SGD(experts.lr, 0.0, 0.0), "batch": experts.batch, "flat": experts.flat}
    run.announce(task.network.train_logits, experts.flop(task))
    w, state = task.network.init(rng.fold("network")), None
    ages = [flatten(w.params).half()]
    for epoch in range(experts.epochs):
        own = rng.fold("epoch", epoch)
        with own.fold("network's own").scope(task.device):  # dropout takes no generator
            w, state = train(task.network, w, x, y, epochs=1, rng=own, run=run, augment=augment, state=state, **options)
        ages.append(flatten(w.params).half())
        tick()
    return {what: {"params": torch.stack(ages)}}
