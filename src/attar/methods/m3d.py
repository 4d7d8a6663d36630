"""M3D: minimise the maximum mean discrepancy of feature distributions (Zhang et al., AAAI 2024)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from attar.artefact import CondensedSet
from attar.augment import Augment
from attar.kernels import KERNELS
from attar.matching import Matching
from attar.optimise import SCHEDULES, Schedule, once_per_class, optimise
from attar.run import Run
from attar.synthetic import Init, Pixels, Space
from attar.task import Task


@dataclass(frozen=True)
class M3D:
    """Feature distributions under unlearned networks, matched in the RKHS of a gaussian kernel.

    `lr` is in the units of `space` and a stored image of a class: it is multiplied by ipc, since the gradient carries
    1/ipc. `ipm` updates share a network; `draw` says whether a class has its own augmentation or all share one. Unlike the
    authors' code, each real batch is drawn afresh, not in epochs, and all synthetic images take part in every update.
    """

    updates: int = 10_000
    lr: float = 1.0
    momentum: float = 0.5
    schedule: Schedule = "constant"
    ipm: int = 5
    batch_real: int = 128
    factor: int = 2
    init: Init = "mix"
    space: Space = "unit"
    kernel: Literal["gaussian", "linear"] = "gaussian"
    augment: str = "color_crop_cutout"
    style: Literal["dsa", "idc"] = "idc"
    draw: Literal["class", "shared"] = "class"
    separable: ClassVar[bool] = True

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        syn = Pixels.start(task, ipc, run, init=self.init, factor=self.factor, space=self.space)
        # The paper steps once a class on a tensor that holds all classes; one forward of all of them needs one step.
        lr, momentum = once_per_class(self.lr * ipc, self.momentum, len(task.classes))
        opt = torch.optim.SGD(syn.parameters(), lr=lr, momentum=momentum)
        match = Matching.of(
            task,
            run,
            Augment(self.augment, self.style),
            KERNELS[self.kernel],
            images=self.updates * len(syn.classes) * (self.batch_real + 2 * ipc * self.factor**2),
            shared=self.draw == "shared",
        )

        def episode(syn, rng):
            w = task.network.init(rng.fold("network"))
            for t in range(self.ipm):
                syn.clamp_()
                yield (match.term(w, syn, chunk, self.batch_real, rng.fold(t)) for chunk in run.chunks(syn.classes))

        return optimise(episode, syn, opt, updates=self.updates, run=run, lr=SCHEDULES[self.schedule](lr, self.updates)).export()
