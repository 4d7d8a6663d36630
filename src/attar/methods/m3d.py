"""M3D: minimise the maximum mean discrepancy of feature distributions (Zhang et al., AAAI 2024)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from attar.artefact import CondensedSet
from attar.kernels import KERNELS
from attar.matching import Matching, Settings
from attar.run import Run
from attar.steps import once_per_class
from attar.synthetic import Init, Space
from attar.task import Task


@dataclass(frozen=True, kw_only=True)
class M3D(Settings):
    """Feature distributions under unlearned networks, matched in the RKHS of a gaussian kernel.

    `lr` is in the units of `space` and a stored image of a class: for sgd it is multiplied by ipc, since the gradient carries 1/ipc.
    Unlike the authors' code, each real batch is drawn afresh, not in epochs, and all synthetic images take part in every update.
    """

    updates: int = 10_000
    lr: float = 1.0
    ipm: int = 5
    batch_real: int = 128
    factor: int = 2
    init: Init = "mix"
    space: Space = "unit"
    augment: str = "color_crop_cutout"
    style: Literal["dsa", "idc"] = "idc"
    kernel: Literal["gaussian", "linear"] = "gaussian"
    separable: ClassVar[bool] = True

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        lr, momentum = self.lr, self.momentum
        if self.optimiser == "sgd":  # adam's steps do not depend on the gradient's scale
            # The paper steps once a class on a tensor that holds all classes; one update of all of them needs one step.
            lr, momentum = once_per_class(lr * ipc, momentum, len(task.classes))
        return Matching.of(self, task, ipc, run, KERNELS[self.kernel]).learn(lr, momentum)
