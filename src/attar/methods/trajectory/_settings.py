"""Hyper-parameters that the methods which match trajectories share."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attar.data.task import Task
from attar.engine.run import Run
from attar.methods.trajectory._student import Rate, Student, see
from attar.synthesis.pixels import Pixels
from attar.training.stages import Stage
from attar.training.trajectories import Experts
from attar.training.unrolled import Through


@dataclass(frozen=True, kw_only=True)
class Settings(ABC):
    """A student makes `steps` steps on the images, and arrives where one of the `experts` was `ahead` epochs later.

    It starts before the epoch `latest` of that expert. `batch_syn` images make a step, or all where it is 0. The
    student's step size is learned too, from `step_size` on. `lr_step` is its own step, as the authors have it. They
    learn the step size itself, which can become negative; here its logarithm moves, at first as fast.
    `through="tesla"` takes TESLA's approximation of the gradient. With `zca` networks see whitened images.
    """

    updates: int
    experts: int = 100
    latest: int
    ahead: int = 2
    steps: int
    batch_syn: int = 0
    lr: float = 100.0
    lr_step: float = 1e-7
    step_size: float = 0.01
    momentum: float = 0.5
    through: Through = "exact"
    zca: bool = True
    augment: str = "color_crop_cutout_flip_scale_rotate"
    separable: ClassVar[bool] = False  # a student learns from the images of all classes

    @abstractmethod
    def plan_experts(self) -> Experts:
        """The experts, for as long as students may look ahead."""

    def stages(self, task: Task, run: Run) -> list[Stage]:
        """What is trained first, for a plan."""
        return [self.plan_experts().stage(see(task, self.zca), run)]

    def make_student(self, task: Task, syn: Pixels, run: Run) -> Student:
        """One that learns from these images in every update of the run."""
        work = {"updates": self.updates, "steps": self.steps, "batch": self.batch_syn}
        return Student.of(task, syn, run, augment=self.augment, through=self.through, **work)

    def make_optimiser(self, syn: Pixels, rate: Rate, *more: tuple[Tensor, float]) -> torch.optim.Optimizer:
        """SGD for the images, for the step size, and for whatever else is learned, by a step size of its own."""
        # d log α = dα / α: at first as fast as the authors' step on α itself.
        groups = [(syn.images, self.lr), (rate.log, self.lr_step / self.step_size**2), *more]
        return torch.optim.SGD([{"params": [p], "lr": lr} for p, lr in groups], lr=0.0, momentum=self.momentum)
