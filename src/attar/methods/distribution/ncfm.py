"""NCFM: neural characteristic function matching (Wang et al., CVPR 2025).

Needs networks trained on the whole set, which runs share. CIFAR-10 on two cores (AMX): 24 min for those, then 6 min at
one image a class, 14 min at ten.
"""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.distances.characteristic import Sampler, characteristic_distance, gaussian_frequencies
from attar.engine.run import Run
from attar.methods.distribution._settings import ELSEWHERE, Retired, Settings
from attar.synthesis.optimisers import Optimiser
from attar.synthesis.pixels import Init, Space
from attar.training.pretrained import draw_between, pretrain, pretraining_left, soft_labels
from attar.training.stages import Stage

SCALE = 300.0  # of the authors' loss


@dataclass(frozen=True, kw_only=True)
class NCFM(Settings):
    """Characteristic functions of features agree, at frequencies that a network chooses so that they do not.

    Networks and calibration are as in DANCE. `sampler` trains the network that proposes frequencies (the paper's
    min–max) at a step of `sampler_lr`; without it they are gaussian. The authors' code lets it repeat each proposal
    `repeat` times: a mean does not notice, so here so many fewer are made. The published step is so large that they can
    shrink to a handful of directions (results/search/README.md). `amplitude` and `phase` weigh the two parts of the
    distance.

    The released code keeps each class's first images for good: `real="first"`. Unlike there, the sampler's weights do
    not decay. All classes share the frequencies of an update, and the sampler climbs once, on the sum of their losses.
    AdamW steps once an update, not once a class with gradients of zero between. Its step is constant, as the patience
    with which the authors would halve it outlasts their runs. `soft` is the labels' part of the authors' curation: each
    image also gets the mean prediction of the trained networks.
    """

    updates: int = 20_000
    lr: float = 1e-3
    momentum: float = 0.9
    optimiser: Optimiser = "adamw"
    models: int = 20
    epochs: int = 60
    calibration: float = 1.0
    frequencies: int = 1024
    sampler: bool = True
    sampler_lr: float = 1e-3
    repeat: int = 16
    amplitude: float = 0.5
    phase: float = 0.5
    soft: bool = False
    batch_real: int = 1024
    factor: int = 2
    init: Init = "mix"
    space: Space = "unit"
    augment: str = "color_crop_cutout"
    style: Literal["dsa", "idc"] = "idc"
    separable: ClassVar[bool] = False
    retired = Settings.retired | {"discrepancy": Retired("characteristic", ELSEWHERE)}

    def stages(self, task: Task, run: Run) -> list[Stage]:
        """What is trained first, for a plan."""
        return [pretraining_left(task, run, self.models, self.epochs)]

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        syn, views = self.begin(task, ipc, run)
        features = run.engine(task.network.features, views.flop)
        judge = run.engine(task.network.scores, self.flop_synthetic(task, syn)) if self.calibration else None
        networks = pretrain(task, run, self.models, self.epochs)
        width, dtype = task.network.width(task.shape), syn.images.dtype
        sampler = Sampler(width, run.rng.fold("sampler"), lr=self.sampler_lr).to(task.device) if self.sampler else None
        # The sampler normalises by its batch, which needs two rows.
        rows = max(2, self.frequencies // self.repeat) if sampler else self.frequencies

        def characteristic(s, r, noise):
            t = sampler(noise) if sampler else noise
            return SCALE * characteristic_distance(s, r, t, self.amplitude, self.phase)

        distance = run.fuse(characteristic, views.flop)

        def terms(w, trained, noise, view):
            for s, r in view.pairs(features, w):
                yield distance(s, r, noise).sum()
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
                noise = gaussian_frequencies(rows, width, rng.fold(t, "discrepancy", 0), task.device, dtype)
                yield views.update(terms, w, trained, noise, kept or views.draw(rng.fold(t)))
                if sampler is not None:  # the loop has just left it the gradients of this update
                    sampler.ascend()

        made = self.learn(episode, syn, run, *self.step_per_class(len(task.classes)), state=sampler)
        if not self.soft:
            return made
        trained = [end for _, end in networks]
        return dataclasses.replace(made, soft=soft_labels(task, run, trained, made.decoded().to(task.device)).cpu())
