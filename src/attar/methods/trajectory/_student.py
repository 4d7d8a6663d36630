"""What methods share that match trajectories: a learned step size, and a student on its walk."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attar.data.task import Task
from attar.engine.run import Run
from attar.methods._unrolled import Learner
from attar.networks.weights import Labels, Weights, flatten, unflatten
from attar.rng import Rng
from attar.synthesis.pixels import Pixels
from attar.training.train import SGD
from attar.training.trajectories import Trajectory
from attar.training.unrolled import Through


class Rate(nn.Module):
    """A step size that is learned. Its logarithm is the parameter: no update makes it negative."""

    def __init__(self, start: float):
        super().__init__()
        if start == 0:
            raise ValueError("step_size must be above 0")
        self.log = nn.Parameter(torch.tensor(math.log(start)))

    def value(self) -> Float[Tensor, ""]:
        """Raises `ValueError` where it has become too small for a number."""
        value = self.log.exp()
        if value == 0:
            raise ValueError("the learned step size fell to 0: a smaller lr_step keeps it above")
        return value


class Stretch(NamedTuple):
    """Of an expert's walk: where a student starts, and where it should arrive."""

    start: Float[Tensor, " p"]
    target: Float[Tensor, " p"]

    @classmethod
    def draw(cls, paths: Sequence[Trajectory], starts: range, ahead: int, rng: Rng) -> "Stretch":
        """Of a random expert, from a random epoch among `starts` to `ahead` epochs later."""
        generator = rng.generator()
        path = paths[int(torch.randint(len(paths), (), generator=generator))]
        first = starts[int(torch.randint(len(starts), (), generator=generator))]
        return cls(path[first], path[first + ahead])

    def distance(self, end: Float[Tensor, " p"]) -> Float[Tensor, ""]:
        """‖θ_N − θ*‖² / ‖θ_0 − θ*‖²: 1 where the student has not moved, 0 where it has arrived."""
        return (end - self.target).square().sum() / (self.start - self.target).square().sum()


@dataclass(frozen=True)
class Student:
    """A network that learns from the synthetic images by plain steps, from where an expert was."""

    learner: Learner
    fresh: Weights
    steps: int

    @classmethod
    def of(
        cls, task: Task, syn: Pixels, run: Run, *, updates: int, steps: int, batch: int, augment: str, through: Through
    ) -> "Student":
        """For a run of so many updates, of `steps` steps each. A `batch` of 0 is all images.

        Raises `ValueError` for a network that has no second derivative.
        """
        plain, every = SGD(momentum=0.0, weight_decay=0.0), updates * steps
        learner = Learner.of(task, syn, run, plain, steps=every, batch=batch, augment=augment, through=through)
        return cls(learner, task.network.init(Rng.of(0)), steps)

    def miss(
        self, stretch: Stretch, x: Float[Tensor, "n c h w"], y: Labels, lr: Float[Tensor, ""], rng: Rng
    ) -> Float[Tensor, ""]:
        """How far from the stretch's target it ends, with derivatives in images, soft labels and step size."""
        stretch, shapes = Stretch(*(p.to(x.dtype) for p in stretch)), {n: p.shape for n, p in self.fresh.params.items()}
        w = Weights(unflatten(stretch.start, shapes), self.fresh.buffers)
        return self.learner.learn(lambda end: stretch.distance(flatten(end.params)), w, x, y, lr, self.steps, rng)
