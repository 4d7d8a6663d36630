"""NCFM: neural characteristic function matching (Wang et al., CVPR 2025)."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from attar.artefact import CondensedSet
from attar.characteristic import Sampler, characteristic_distance
from attar.discrepancies import Discrepancy
from attar.kernels import Other, Sample
from attar.matching import Matching
from attar.pairs import Pairs
from attar.rng import Rng
from attar.run import Run
from attar.settings import Distance, Settings
from attar.stages import opinion, pretrained
from attar.steps import Optimiser
from attar.synthetic import Init, Pixels, Space
from attar.task import Task

SCALE = 300.0


@dataclass(frozen=True, kw_only=True)
class NCFM(Settings):
    """Characteristic functions of features agree, at frequencies that a network chooses so that they do not.

    Networks and calibration as in DANCE. `sampler` trains the network that proposes frequencies (the paper's min–max) at a step of
    `sampler_lr`; without it they are gaussian. The authors' code lets it repeat each proposal `repeat` times: a mean does not notice, so
    here so many fewer are made. The published step is so large that they can shrink to a handful of directions (docs/speed.md). The
    released code keeps each class's first images for good: `real="first"`. Unlike there, the sampler's weights do not decay; all
    classes share the frequencies of an update and the sampler climbs once, on the sum of their losses; AdamW steps once an update, not
    once a class with gradients of zero between. Its step is constant, as the patience with which the authors would halve it outlasts
    their runs. Another `discrepancy` leaves all of this out.
    `soft` is the labels' part of the authors' curation: each image also gets the mean prediction of the trained networks.
    """

    updates: int = 20_000
    lr: float = 1e-3
    momentum: float = 0.9
    optimiser: Optimiser = "adamw"
    discrepancy: Distance = "characteristic"
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

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        matching = Matching.of(self, task, ipc, run, judge="another" if self.calibration else "none")
        pairs = pretrained(task, run, self.models, self.epochs)
        made = self._learned(dataclasses.replace(matching, source=Pairs(pairs, self.calibration)))
        if not self.soft:
            return made
        x = made.decoded().to(task.device)
        return dataclasses.replace(made, soft=opinion(task, run, [end for _, end in pairs], x).cpu())

    def _learned(self, matching: Matching) -> CondensedSet:
        task, run = matching.task, matching.run
        if self.discrepancy != "characteristic":
            return matching.learn(*self.step_per_class(len(task.classes)))
        rng = run.rng.fold("sampler")
        sampler = Sampler(matching.width, rng, lr=self.sampler_lr).to(task.device) if self.sampler else None

        def distance(s: Sample, r: Other, noise: Float[Tensor, "t d"]) -> Float[Tensor, " k"]:
            return SCALE * characteristic_distance(s, r, sampler(noise) if sampler else noise, self.amplitude, self.phase)

        rows = max(2, self.frequencies // self.repeat) if sampler else self.frequencies
        matching = dataclasses.replace(matching, discrepancy=Discrepancy(distance, rows))

        def episode(syn: Pixels, rng: Rng) -> Iterator[Iterable[Tensor]]:
            for terms in matching.episode(syn, rng):
                yield terms
                if sampler is not None:
                    sampler.ascend()

        return matching.learn(*self.step_per_class(len(task.classes)), episode, sampler)
