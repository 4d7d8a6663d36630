"""What methods share that match features or gradients: how they begin and end."""

from typing import ClassVar, Literal

from torch import nn

from attar.augment.dsa import Augment
from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.engine.run import Run
from attar.methods._views import Views
from attar.synthesis.average import Average
from attar.synthesis.loop import Episode, optimise
from attar.synthesis.optimisers import OPTIMISERS, SCHEDULES, Optimiser, Schedule, once_per_class
from attar.synthesis.pixels import Init, Pixels, Space


class Matching:
    """How a method begins whose fields are these, and how it ends.

    Each family says in a dataclass of its own which of them it has, and what they are by default.
    """

    updates: int
    lr: float
    momentum: float
    optimiser: Optimiser
    schedule: Schedule
    average: float
    """The decay of a running average of the pixels, which is then the result; 0 takes the last pixels."""
    batch_real: int
    """Real images a class, no more than there are."""
    real: Literal["fresh", "first"] = "fresh"
    """Whether they are drawn for each update, or are always a class's first ones."""
    factor: int
    init: Init
    space: Space
    augment: str
    style: Literal["dsa", "idc"]
    costs: ClassVar[tuple[int, int]]
    """Of a real and of a synthetic image in an update, in forward passes."""

    def begin(self, task: Task, ipc: int, run: Run) -> tuple[Pixels, Views]:
        """Pixels to start with, and the views that updates have of them.

        Raises `ValueError` where a class has too few images for the budget.
        """
        syn = Pixels.start(task, ipc, run, init=self.init, factor=self.factor, space=self.space)
        augment, flop = Augment(self.augment, self.style), self.flop_real(task, syn) + self.flop_synthetic(task, syn)
        first = self.real == "first"
        return syn, Views.of(task, syn, run, augment, batch=self.batch(task), first=first, flop=flop)

    def batch(self, task: Task) -> int:
        return min(self.batch_real, int(task.counts.max()))

    def flop_real(self, task: Task, syn: Pixels) -> int:
        """Operations of all updates' looks at real images."""
        return self.updates * self.costs[0] * len(syn.classes) * self.batch(task) * task.network.flop(task.shape)

    def flop_synthetic(self, task: Task, syn: Pixels) -> int:
        """Operations of all updates' looks at synthetic images."""
        return self.updates * self.costs[1] * len(syn.classes) * syn.each * task.network.flop(task.shape)

    def step_per_class(self, classes: int, scale: int = 1) -> tuple[float, float]:
        """Step size and momentum of one update, for a paper that steps once a class on a tensor of all classes.

        `scale` multiplies the step of sgd. Those of the other optimisers do not depend on how large a gradient is.
        In a paper theirs is zero for all classes but one, so that an image moves at one step in `classes`. Here it
        moves at every step.
        """
        if self.optimiser != "sgd":
            return self.lr, self.momentum
        return once_per_class(self.lr * scale, self.momentum, classes)

    def learn(
        self,
        episode: Episode,
        syn: Pixels,
        run: Run,
        lr: float,
        momentum: float,
        state: nn.Module | None = None,
    ) -> CondensedSet:
        """The images after all updates. `lr` and `momentum` are those of one step that moves all classes."""
        opt = OPTIMISERS[self.optimiser](syn.parameters(), lr, momentum)
        schedule = SCHEDULES[self.schedule](self.updates)
        if not self.average:
            return optimise(episode, syn, opt, updates=self.updates, run=run, schedule=schedule, state=state).export()
        average = Average(syn.clamped, self.average)
        kept = nn.ModuleDict({"average": average, "method": state or nn.Module()})
        optimise(average.along(episode), syn, opt, updates=self.updates, run=run, schedule=schedule, state=kept)
        return syn.put_(average.value()).export()
