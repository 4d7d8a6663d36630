"""What methods share that match trajectories: whitened data, a learned step size, and a student on its walk."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attar.augment.dsa import Augment
from attar.data.task import Task
from attar.data.whitening import LARGEST
from attar.engine.run import Run
from attar.networks.weights import Labels, Weights, flatten, unflatten
from attar.rng import Rng
from attar.synthesis.pixels import Pixels
from attar.training.train import SGD
from attar.training.trajectories import Trajectory
from attar.training.unrolled import Through, Unrolled, draw_steps

EACH = 16  # real images a class, by whose statistics batch normalisation is frozen


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
    """A network that learns from the synthetic images by plain steps, in batches of `batch`, or of all of them."""

    task: Task
    unrolled: Unrolled
    fresh: Weights
    steps: int
    batch: int | None
    augment: Augment

    @classmethod
    def of(
        cls, task: Task, syn: Pixels, run: Run, *, updates: int, steps: int, batch: int, augment: str, through: Through
    ) -> "Student":
        """For a run of so many updates, of `steps` steps each. A `batch` of 0 is all images.

        Raises `ValueError` for a network that has no second derivative.
        """
        n = len(syn.classes) * syn.each
        size = min(batch or n, n)
        plain = SGD(momentum=0.0, weight_decay=0.0)
        unrolled = Unrolled.of(task.network, task.shape, plain, updates * steps * size, run, through)
        augmented = Augment(augment) if task.flip else Augment(augment).without_flip()
        return cls(task, unrolled, task.network.init(Rng.of(0)), steps, None if size == n else size, augmented)

    def miss(
        self, stretch: Stretch, x: Float[Tensor, "n c h w"], y: Labels, lr: Float[Tensor, ""], rng: Rng
    ) -> Float[Tensor, ""]:
        """How far from the stretch's target it ends, with derivatives in images, soft labels and step size."""
        stretch, shapes = Stretch(*(p.to(x.dtype) for p in stretch)), {n: p.shape for n, p in self.fresh.params.items()}
        w = Weights(unflatten(stretch.start, shapes), self.fresh.buffers)
        if self.task.network.keeps_statistics:
            real = self.task.sample(range(len(self.task.classes)), EACH, rng.fold("statistics"))
            w = Weights(w.params, self.task.network.statistics(w, real.flatten(0, 1)))
        walked = draw_steps(x, self.steps, rng.fold("steps"), self.batch, self.augment)
        return self.unrolled(lambda end: stretch.distance(flatten(end.params)), w, x, y, lr, walked)


def see(task: Task, zca: bool) -> Task:
    """The data as networks see it: whitened where asked. Raises `ValueError` where it cannot be."""
    if not zca:
        return task
    if task.columns is not None or math.prod(task.shape) > LARGEST:
        what = "rows of a table" if task.columns is not None else f"images of more than {LARGEST:,} numbers"
        raise ValueError(f"zca=true whitens images, but not {what}: zca=false leaves them as they are")
    return task.whitened()
