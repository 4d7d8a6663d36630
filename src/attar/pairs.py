"""Networks somewhere between the start and the end of their training (DANCE, NCFM)."""

from dataclasses import dataclass

import torch

from attar.matching import Guide
from attar.network import Weights
from attar.rng import Rng


@dataclass(frozen=True)
class Pairs:
    """Draws a pair and a point between its two ends; the trained end judges the images, with a weight of `calibration`."""

    pairs: list[tuple[Weights, Weights]]
    calibration: float

    def __call__(self, rng: Rng) -> Guide:
        generator = rng.generator()
        start, end = self.pairs[int(torch.randint(len(self.pairs), (), generator=generator))]
        w = between(start, end, torch.rand((), generator=generator).item())
        return Guide(w, self.calibration, end)


def between(start: Weights, end: Weights, share: float) -> Weights:
    """(1 − share) start + share end."""
    return Weights({name: p.lerp(end.params[name], share) for name, p in start.params.items()}, end.buffers)
