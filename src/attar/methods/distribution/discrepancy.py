"""Discrepancy: feature distributions matched by any of ten distances, in a network's features or in the pixels.

Needs nothing trained, and costs about as much as m3d.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.distances.by_name import DISCREPANCIES, Distance
from attar.engine.run import Run
from attar.methods.distribution._settings import Settings
from attar.networks.weights import Weights
from attar.synthesis.pixels import Init, Space


@dataclass(frozen=True, kw_only=True)
class DiscrepancyMatching(Settings):
    """`discrepancy` says how far two batches are apart, `features` where: in a network's last layer, or in the pixels.

    Networks are unlearned, a fresh one for `ipm` updates. What each distance sees and misses is in
    docs/discrepancies.md. With `gaussian` this is M3D; with `mean` it is DM, but for its step. For sgd `lr` is
    multiplied by ipc.
    """

    updates: int = 10_000
    lr: float = 1.0
    discrepancy: Distance = "gaussian"
    features: Literal["network", "pixels"] = "network"
    ipm: int = 5
    batch_real: int = 128
    factor: int = 2
    init: Init = "mix"
    space: Space = "unit"
    augment: str = "color_crop_cutout"
    style: Literal["dsa", "idc"] = "idc"
    separable: ClassVar[bool] = True

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        syn, views = self.begin(task, ipc, run)
        found, in_pixels = DISCREPANCIES[self.discrepancy], self.features == "pixels"
        found(
            torch.ones(1, syn.each, 1), torch.ones(1, views.batch, 1), run.rng
        )  # what it cannot compare is refused here
        features = pixels if in_pixels else run.engine(task.network.features, views.flop)
        distance = run.fuse(found.given, views.flop) if found.fuses else found.given
        # Noise is drawn before an update, when there are no features yet that it could be as long as.
        like = syn.images.new_empty(0, math.prod(task.shape) if in_pixels else task.network.width(task.shape))

        def terms(w, noise, view):
            for s, r in view.pairs(features, w):
                yield distance(s, r, noise).sum()

        def episode(syn, rng):
            w = views.freeze(task.network.init(rng.fold("network", 0)), rng)
            kept = views.draw(rng.fold(0)).keep(features, w) if self.keep_real else None
            for t in range(self.ipm):
                syn.clamp_()  # the step before may have left [0, 1]
                noise = found.noise(rng.fold(t, "discrepancy", 0), like)
                yield views.update(terms, w, noise, kept or views.draw(rng.fold(t)))

        return self.learn(episode, syn, run, *self.step_per_class(len(task.classes), scale=ipc))


def pixels(w: Weights, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
    """The images as their own features."""
    return x.flatten(1)
