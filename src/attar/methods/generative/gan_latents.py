"""Gan-latents: codes of a pre-trained generator (after Dataset Condensation via Generative Model, Zhang et al., 2023).

Needs a generator: one is trained on the whole set first, which runs share, or give yours with --generator file.py:Name.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from attar.augment.dsa import Augment
from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.distances.by_name import DISCREPANCIES, Distance
from attar.distances.mmd import mean_squared_distance, squared_distances
from attar.engine.by_hand import chunked
from attar.engine.run import Run
from attar.methods._views import Views, by_class
from attar.methods.generative._gan import Pretrained
from attar.networks.generator import Generator
from attar.networks.weights import Weights
from attar.synthesis.latents import Latents
from attar.synthesis.loop import optimise
from attar.synthesis.optimisers import SCHEDULES, Schedule, adam
from attar.training.stages import Stage

FAR = 1e-12  # added to a squared distance, whose root has no derivative at 0
LOOKS = 4  # passes of an image in an update: without a graph, and forward and backward to the codes (two)


@dataclass(frozen=True, kw_only=True)
class GanLatents(Pretrained):
    """A codebook for each class, whose images match the features of real ones under unlearned networks.

    The paper's formulas could not be read: these are Attar's own. `discrepancy` is any of those of the method of that
    name. `intra` weighs how near the images of a class are to one another, `inter` how much nearer the means of two
    classes are than `margin` times those of real images. Codes start from N(0, 1). Adam moves them; the generator
    stays.
    """

    updates: int = 2000
    lr: float = 0.02
    schedule: Schedule = "cosine"
    ipm: int = 5
    discrepancy: Distance = "gaussian"
    intra: float = 0.1
    inter: float = 0.1
    margin: float = 1.0
    batch_real: int = 128
    augment: str = "color_crop_cutout_flip_scale_rotate"
    style: Literal["dsa", "idc"] = "dsa"
    takes_generator: ClassVar[bool] = True
    separable: ClassVar[bool] = False  # means of classes are pushed apart

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        found, batch = DISCREPANCIES[self.discrepancy], min(self.batch_real, int(task.counts.max()))
        found(torch.ones(1, ipc, 1), torch.ones(1, batch, 1), run.rng)  # what it cannot compare is refused, first
        syn = Latents(task, ipc, run, *self.find_generator(task, run), looks=LOOKS * self.updates)
        views = self.look(task, syn, run, batch)
        features = run.engine(task.network.features, views.flop)

        def episode(syn, rng):
            w = views.freeze(task.network.init(rng.fold("network")), rng)
            for t in range(self.ipm):
                view = views.draw(rng.fold(t))
                r = torch.cat([view.real(features, w, chunk) for chunk in views.chunks])
                noise = found.noise(rng.fold(t, "discrepancy"), r)

                def loss(s, r=r, noise=noise):
                    match = found.given(s, r, noise).sum()
                    return match + self.intra * crowding(s, r).sum() + self.inter * confusion(s, r, self.margin)

                def look(chunk, w=w, view=view):
                    return by_class(features(w, view.synthetic(chunk)), chunk)

                yield chunked(loss, look, views.chunks)

        opt, schedule = adam(syn.parameters(), self.lr, 0.9), SCHEDULES[self.schedule](self.updates)
        return optimise(episode, syn, opt, updates=self.updates, run=run, schedule=schedule).export()

    def look(self, task: Task, syn: Latents, run: Run, batch: int) -> Views:
        """The views that updates have of real and synthetic images."""
        flop = self.updates * len(syn.classes) * (batch + 3 * syn.each) * task.network.flop(task.shape)
        return Views.of(task, syn, run, Augment(self.augment, self.style), batch=batch, flop=flop)

    def find_generator(self, task: Task, run: Run) -> tuple[Generator, Weights]:
        """The user's own where there is one, else Attar's, trained on the whole set."""
        if task.generator is not None:
            return task.generator.family, task.generator.weights
        w = self.plan_gan().load(task, run).generator
        return Generator.own(task.shape, len(task.classes), task.device), w

    def stages(self, task: Task, run: Run) -> list[Stage]:
        return [] if task.generator else super().stages(task, run)


def crowding(s: Float[Tensor, "k n d"], r: Float[Tensor, "k m d"]) -> Float[Tensor, " k"]:
    """The mean of exp(−‖s_i − s_j‖² / b) over pairs of a class; b is the mean of ‖r_i − r_j‖².

    0 where a class has one image.
    """
    n = s.shape[1]
    if n == 1:
        return s.new_zeros(len(s))
    near = (-squared_distances(s, s) / mean_squared_distance(r)[:, None, None].clamp_min(FAR)).exp()
    return (near.sum((1, 2)) - near.diagonal(dim1=1, dim2=2).sum(1)) / (n * (n - 1))


def confusion(s: Float[Tensor, "k n d"], r: Float[Tensor, "k m d"], margin: float) -> Float[Tensor, ""]:
    """Σ over pairs of classes of max(0, margin − ‖s̄_a − s̄_b‖ / ‖r̄_a − r̄_b‖)²."""
    a, b = torch.triu_indices(len(s), len(s), 1, device=s.device)
    apart, real = ((x[a] - x[b]).square().sum(1) + FAR for x in (s.mean(1), r.mean(1)))
    return (margin - (apart / real).sqrt()).clamp_min(0).square().sum()
