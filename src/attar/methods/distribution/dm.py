"""DM: dataset condensation with distribution matching (Zhao & Bilen, WACV 2023).

Needs nothing trained. CIFAR-10 on two cores: 6 min at one image a class, 17 min at ten.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.distances.mmd import mean_distance
from attar.engine.run import Run
from attar.methods.distribution._settings import Settings
from attar.synthesis.pixels import Init, Space


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
        syn, views = self.begin(task, ipc, run)
        features = run.engine(task.network.features, views.flop)
        distance = run.fuse(mean_distance, views.flop)

        def terms(w, view):
            for s, r in view.pairs(features, w):
                yield distance(s, r).sum()

        def episode(syn, rng):
            # The 0 keeps the bits of runs that had several networks.
            w = views.freeze(task.network.init(rng.fold("network", 0)), rng)
            # Under one network and one augmentation real features stay the same: a kept view computes them once.
            kept = views.draw(rng.fold(0)).keep(features, w) if self.keep_real else None
            for t in range(self.ipm):
                syn.clamp_()  # the step before may have left [0, 1]
                yield views.update(terms, w, kept or views.draw(rng.fold(t)))

        # The authors add the classes up before they step, as this loop does: nothing is to be converted.
        return self.learn(episode, syn, run, self.lr, self.momentum)
