"""DANCE: dual-view distribution alignment for dataset condensation (Zhang et al., IJCAI 2024)."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

from attar.artefact import CondensedSet
from attar.matching import Matching
from attar.pairs import Pairs
from attar.run import Run
from attar.settings import Settings
from attar.stages import pretrained
from attar.synthetic import Init, Space
from attar.task import Task


@dataclass(frozen=True, kw_only=True)
class DANCE(Settings):
    """Mean features agree under networks between their start and the end of their training, and the trained one knows each image.

    `models` networks are trained once for `epochs` epochs, in batches of 256 (the authors': 64), and shared by all runs. The weights are
    (1 − l) start + l end, l uniform; `calibration` weighs the trained network's cross-entropy. The authors take two steps a class, one for
    each loss; here one step follows both, under one augmentation, and all synthetic images take part. For sgd `lr` is multiplied by ipc.
    """

    updates: int = 10_000
    lr: float = 0.01
    models: int = 5
    epochs: int = 60
    calibration: float = 1.0
    batch_real: int = 128
    factor: int = 2
    init: Init = "mix"
    space: Space = "unit"
    augment: str = "color_crop_cutout"
    style: Literal["dsa", "idc"] = "idc"
    separable: ClassVar[bool] = True

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        matching = Matching.of(self, task, ipc, run, judge="another" if self.calibration else "none")
        pairs = Pairs(pretrained(task, run, self.models, self.epochs), self.calibration)
        return dataclasses.replace(matching, source=pairs).learn(*self.step_per_class(len(task.classes), scale=ipc))
