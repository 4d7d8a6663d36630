"""M3D: minimise the maximum mean discrepancy of feature distributions (Zhang et al., AAAI 2024)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from attar.artefact import CondensedSet
from attar.matching import Matching
from attar.run import Run
from attar.settings import Distance, Settings
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
    discrepancy: Distance = "gaussian"
    ipm: int = 5
    batch_real: int = 128
    factor: int = 2
    init: Init = "mix"
    space: Space = "unit"
    augment: str = "color_crop_cutout"
    style: Literal["dsa", "idc"] = "idc"
    separable: ClassVar[bool] = True

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        return Matching.of(self, task, ipc, run).learn(*self.step_per_class(len(task.classes), scale=ipc))
