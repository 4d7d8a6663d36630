"""DANCE: dual-view distribution alignment for dataset condensation (Zhang et al., IJCAI 2024).

Needs networks trained on the whole set, which runs share. CIFAR-10 on two cores (AMX): 24 min for those, then 3 min at
one image a class, 15 min at ten.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.distances.mmd import mean_distance
from attar.engine.run import Run
from attar.methods.distribution._settings import Settings
from attar.synthesis.pixels import Init, Space
from attar.training.pretrained import draw_between, pretrain, pretraining_left
from attar.training.stages import Stage


@dataclass(frozen=True, kw_only=True)
class DANCE(Settings):
    """Mean features agree under networks between their start and the end of their training.

    The trained network also has to know each image: `calibration` weighs its cross-entropy. `models` networks are
    trained once for `epochs` epochs, in batches of 256 (the authors': 64), and shared by all runs. The weights are
    (1 − l) start + l end, l uniform. The authors take two steps a class, one for each loss. Here one step follows both,
    under one augmentation, and all synthetic images take part. For sgd `lr` is multiplied by ipc.
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

    def stages(self, task: Task, run: Run) -> list[Stage]:
        """What is trained first, for a plan."""
        return [pretraining_left(task, run, self.models, self.epochs)]

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        syn, views = self.begin(task, ipc, run)
        features = run.engine(task.network.features, views.flop)
        judge = run.engine(task.network.scores, self.flop_synthetic(task, syn)) if self.calibration else None
        distance = run.fuse(mean_distance, views.flop)
        networks = pretrain(task, run, self.models, self.epochs)

        def terms(w, trained, view):
            for s, r in view.pairs(features, w):
                yield distance(s, r).sum()
            if judge is None:
                return
            for chunk in views.chunks:
                scores = judge(trained, view.synthetic(chunk))
                yield self.calibration * view.cross_entropy(scores, chunk)

        def episode(syn, rng):
            w, trained = draw_between(networks, rng.fold("network", 0))
            w = views.freeze(w, rng)  # those of a trained network are not its own between start and end
            kept = views.draw(rng.fold(0)).keep(features, w) if self.keep_real else None
            for t in range(self.ipm):
                syn.clamp_()  # the step before may have left [0, 1]
                yield views.update(terms, w, trained, kept or views.draw(rng.fold(t)))

        return self.learn(episode, syn, run, *self.step_per_class(len(task.classes), scale=ipc))
