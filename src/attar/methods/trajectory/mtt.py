"""MTT: matching training trajectories (Cazenavette et al., CVPR 2022).

Needs experts first: networks trained on the whole set, an hour for eight of four epochs on two cores. They are kept.
"""

import dataclasses
from dataclasses import dataclass

from torch import nn

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.engine.run import Run
from attar.methods.trajectory._settings import Settings
from attar.methods.trajectory._student import Rate, Stretch, see
from attar.synthesis.average import Average
from attar.synthesis.loop import optimise
from attar.synthesis.optimisers import SCHEDULES, Schedule
from attar.synthesis.pixels import Init, Pixels
from attar.training.flatness import Flatness
from attar.training.trajectories import Experts


@dataclass(frozen=True, kw_only=True)
class MTT(Settings):
    """A student that learns from the images walks as an expert did, from one of its first `latest` epochs on.

    `average` is the decay of a running average of the pixels, which is then the result; 0 takes the last pixels.
    """

    updates: int = 5000
    latest: int = 2
    steps: int = 50
    schedule: Schedule = "constant"
    average: float = 0.0
    init: Init = "real"

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        task = see(task, self.zca)
        syn, rate = Pixels.start(task, ipc, run, init=self.init, space="normalised"), Rate(self.step_size)
        rate.to(task.device)
        paths = self.plan_experts().load(task, run)
        student = self.make_student(task, syn, run)

        def episode(syn, rng):
            stretch = Stretch.draw(paths, range(self.latest), self.ahead, rng.fold("expert"))
            x, y = syn()
            yield [student.miss(stretch, x, y, rate.value(), rng)]

        average = Average(syn.clamped, self.average)
        opt = self.make_optimiser(syn, rate)
        schedule, state = SCHEDULES[self.schedule](self.updates), nn.ModuleDict({"rate": rate, "average": average})
        optimise(average.along(episode), syn, opt, updates=self.updates, run=run, schedule=schedule, state=state)
        made = (syn.put_(average.value()) if self.average else syn).export()
        return dataclasses.replace(made, step_size=rate.value().item())

    def plan_experts(self) -> Experts:
        return Experts(self.experts, self.latest - 1 + self.ahead, self.flatness())

    def flatness(self) -> Flatness | None:
        """How flat the experts' walk is kept."""
        return None
