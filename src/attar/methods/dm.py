"""DM: dataset condensation with distribution matching (Zhao & Bilen, WACV 2023)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from attar.artefact import CondensedSet
from attar.matching import Matching
from attar.run import Run
from attar.settings import Settings
from attar.synthetic import Init, Space
from attar.task import Task


@dataclass(frozen=True, kw_only=True)
class DM(Settings):
    """Mean features of real and synthetic images agree under unlearned networks, a fresh one at every update."""

    updates: int = 20_000
    lr: float = 1.0
    batch_real: int = 256
    factor: int = 1
    init: Init = "real"
    space: Space = "normalised"
    augment: str = "color_crop_cutout_flip_scale_rotate"
    style: Literal["dsa", "idc"] = "dsa"
    separable: ClassVar[bool] = True

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        return Matching.of(self, task, ipc, run).learn(self.lr, self.momentum)
