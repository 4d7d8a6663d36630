"""What is attacked: a network together with its normalisation, so that an attack sees pixels alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attar.engine.run import Run
from attar.evaluation.audits.trained import Trained, read_network
from attar.rng import Rng
from attar.training.attack import Ball, Gradient, Images, gradient_of

Labels = Int[Tensor, " n"]
Scores = Float[Tensor, "n k"]
Losses = Float[Tensor, " n"]
Loss = Callable[[Scores, Labels], Losses]
FORWARD_AND_BACK = 2  # to the images, in forward passes


@dataclass(frozen=True)
class Victim:
    """Class scores of pixels on [0, 1]."""

    scores_of: Callable[[Images], Scores]

    def scores(self, x: Images) -> Scores:
        """Raises `ValueError` for images beyond black and white."""
        check_pixels(x)
        return self.scores_of(x)

    @torch.no_grad()
    def right(self, x: Images, y: Labels) -> Bool[Tensor, " n"]:
        return self.scores(x).argmax(1) == y

    def gradient(self, loss: Loss, y: Labels) -> Gradient:
        """Of each image's own loss in it."""
        return gradient_of(lambda x: loss(self.scores(x), y).sum())


@runtime_checkable
class Attack(Protocol):
    """Images of the ball around each clean one, that the victim is to get wrong. Its `repr` is all it depends on."""

    @property
    def passes(self) -> int:
        """What it costs for an image, in forward passes."""

    def __call__(self, victim: Victim, x: Images, y: Labels, ball: Ball, rng: Rng) -> Images: ...


def check_pixels(x: Images) -> None:
    """Raises `ValueError` for images beyond black and white, such as normalised ones: in them a ball means nothing."""
    low, high = x.detach().aminmax()
    if not (low >= 0 and high <= 1):
        told = f"an attack takes pixels on [0, 1], and these reach from {low:.3g} to {high:.3g}"
        raise ValueError(f"{told}: give images before they are normalised")


def make_victim(trained: Trained, run: Run, flop: int = 0) -> Victim:
    """A trained network in eval mode. `flop` are the operations that the attacks will ask of it."""
    w, network = read_network(trained, run.device), trained.network.to(run.device)
    normalisation = trained.normalisation.to(run.device)
    scores: Any = partial(run.engine(network.scores, flop), w)
    return Victim(lambda x: scores(normalisation.to_network(x)))


def cross_entropy(scores: Scores, y: Labels) -> Losses:
    return F.cross_entropy(scores, y, reduction="none")


def survive(
    victim: Victim,
    attacks: Sequence[Attack],
    x: Images,
    y: Labels,
    ball: Ball,
    rng: Rng,
    size: int,
    tick: Callable[[], None] = lambda: None,
) -> Int[Tensor, " n"]:
    """How many stages each image survives: the first is no attack at all, and then come the attacks, one by one.

    An attack sees those alone that survived so far, in slices of `size`, whose last is filled up with its first image.
    """
    survived = torch.zeros_like(y)
    for stage, attack in enumerate((None, *attacks)):
        rows = (survived == stage).nonzero()[:, 0]
        for i, part in enumerate(rows.split(size) if len(rows) else ()):
            filled = torch.cat([part, part[:1].expand(min(size, len(x)) - len(part))])
            found = x[filled]
            if attack is not None:
                found = attack(victim, found, y[filled], ball, rng.fold(stage, i))
            survived[part] += victim.right(found, y[filled])[: len(part)]
        tick()
    return survived
