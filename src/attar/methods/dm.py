"""DM: dataset condensation with distribution matching (Zhao & Bilen, WACV 2023)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from attar.artefact import CondensedSet
from attar.augment import Augment
from attar.kernels import mean_distance
from attar.matching import Matching
from attar.optimise import SCHEDULES, Schedule, optimise
from attar.run import Run
from attar.synthetic import Init, Pixels, Space
from attar.task import Task


@dataclass(frozen=True)
class DM:
    """Mean features of real and synthetic images agree under a fresh, unlearned network at every update."""

    updates: int = 20_000
    lr: float = 1.0
    momentum: float = 0.5
    schedule: Schedule = "constant"
    batch_real: int = 256
    factor: int = 1
    init: Init = "real"
    space: Space = "normalised"
    augment: str = "color_crop_cutout_flip_scale_rotate"
    style: Literal["dsa", "idc"] = "dsa"
    separable: ClassVar[bool] = True

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        syn = Pixels.start(task, ipc, run, init=self.init, factor=self.factor, space=self.space)
        opt = torch.optim.SGD(syn.parameters(), lr=self.lr, momentum=self.momentum)
        images = self.updates * len(syn.classes) * (self.batch_real + 2 * ipc * self.factor**2)
        match = Matching.of(task, run, Augment(self.augment, self.style), mean_distance, images=images)

        def episode(syn, rng):
            w = task.network.init(rng.fold("network"))
            syn.clamp_()
            yield (match.term(w, syn, chunk, self.batch_real, rng) for chunk in run.chunks(syn.classes))

        return optimise(episode, syn, opt, updates=self.updates, run=run, lr=SCHEDULES[self.schedule](self.lr, self.updates)).export()
