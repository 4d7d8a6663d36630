"""MTT: matching training trajectories (Cazenavette et al., CVPR 2022).

Needs experts first: networks trained on the whole set, an hour for eight of four epochs on two cores. They are kept.
"""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.engine.run import Run
from attar.methods._seen import see
from attar.methods.trajectory._student import Rate, Stretch, Student, make_optimiser
from attar.synthesis.average import Average
from attar.synthesis.loop import optimise
from attar.synthesis.optimisers import SCHEDULES, Schedule
from attar.synthesis.pixels import Init, Pixels
from attar.training.flatness import Flatness
from attar.training.stages import Stage
from attar.training.trajectories import Experts
from attar.training.unrolled import Through


@dataclass(frozen=True, kw_only=True)
class MTT:
    """A student makes `steps` steps on the images, and arrives where an expert was `ahead` epochs later.

    It starts at one of the first `latest` epochs of one of the `experts`. `batch_syn` images make a step, or all where
    it is 0. The student's step size is learned too, from `step_size` on. `lr_step` is its own step, as the authors
    have it. They learn the step size itself, which can become negative; here its logarithm moves, at first as fast.
    `through="tesla"` takes TESLA's approximation of the gradient. `average` is the decay of a running average of the
    pixels, which is then the result; 0 takes the last pixels. With `zca` networks see whitened images.
    """

    updates: int = 5000
    experts: int = 100
    latest: int = 2
    ahead: int = 2
    steps: int = 50
    batch_syn: int = 0
    lr: float = 100.0
    lr_step: float = 1e-7
    step_size: float = 0.01
    momentum: float = 0.5
    schedule: Schedule = "constant"
    average: float = 0.0
    through: Through = "exact"
    init: Init = "real"
    zca: bool = True
    augment: str = "color_crop_cutout_flip_scale_rotate"
    separable: ClassVar[bool] = False  # a student learns from the images of all classes

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        task = see(task, self.zca)
        syn, rate = Pixels.start(task, ipc, run, init=self.init, space="normalised"), Rate(self.step_size)
        rate.to(task.device)
        paths = self.plan_experts().load(task, run)
        student = Student.of(
            task,
            syn,
            run,
            updates=self.updates,
            steps=self.steps,
            batch=self.batch_syn,
            augment=self.augment,
            through=self.through,
        )

        def episode(syn, rng):
            stretch = Stretch.draw(paths, range(self.latest), self.ahead, rng.fold("expert"))
            x, y = syn()
            yield [student.miss(stretch, x, y, rate.value(), rng)]

        average = Average(syn.clamped, self.average)
        # d log α = dα / α: at first as fast as the authors' step on α itself.
        opt = make_optimiser([(syn.images, self.lr), (rate.log, self.lr_step / self.step_size**2)], self.momentum)
        schedule, state = SCHEDULES[self.schedule](self.updates), nn.ModuleDict({"rate": rate, "average": average})
        optimise(average.along(episode), syn, opt, updates=self.updates, run=run, schedule=schedule, state=state)
        made = (syn.put_(average.value()) if self.average else syn).export()
        return dataclasses.replace(made, step_size=rate.value().item())

    def plan_experts(self) -> Experts:
        """The experts, for as long as students may look ahead."""
        return Experts(self.experts, self.latest - 1 + self.ahead, self.flatness())

    def flatness(self) -> Flatness | None:
        """How flat the experts' walk is kept."""
        return None

    def stages(self, task: Task, run: Run) -> list[Stage]:
        """What is trained first, for a plan."""
        return [self.plan_experts().stage(see(task, self.zca), run)]
