"""FGSM and PGD: one step of the gradient's sign, and many from a random start."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from attar.evaluation.audits.attacks.victim import (
    FORWARD_AND_BACK,
    Images,
    Labels,
    Losses,
    Victim,
    check_pixels,
    cross_entropy,
)
from attar.rng import Rng
from attar.training.attack import Ball, climb


@dataclass(frozen=True)
class FGSM:
    """One step to the border of the ball (Goodfellow et al., ICLR 2015)."""

    passes: ClassVar[int] = FORWARD_AND_BACK

    def __call__(self, victim: Victim, x: Images, y: Labels, ball: Ball, rng: Rng) -> Images:
        return ball.project(ball.step(x, victim.gradient(cross_entropy, y)(x), ball.eps), x)


@dataclass(frozen=True)
class PGD:
    """Steps of `stride` · eps from a random start (Madry et al., ICLR 2018)."""

    steps: int
    stride: float = 0.25

    @property
    def passes(self) -> int:
        return FORWARD_AND_BACK * self.steps

    def __call__(self, victim: Victim, x: Images, y: Labels, ball: Ball, rng: Rng) -> Images:
        check_pixels(x)
        noise = torch.rand(x.shape, generator=rng.generator()).to(x)
        gradient = victim.gradient(cross_entropy, y)
        return climb(gradient, x, ball.start(x, noise), ball, self.steps, self.stride * ball.eps)


@torch.no_grad()
def adversarial_loss(victim: Victim, attack: PGD, x: Images, y: Labels, ball: Ball, rng: Rng) -> Losses:
    """max over the ball of the cross-entropy of each image, as far as the attack finds it; never below the clean one.

    The inner maximum of L_adv(f) = E max_{‖d‖ ≤ eps} l(f(x + d), y).
    """
    found = attack(victim, x, y, ball, rng)
    return cross_entropy(victim.scores(found), y).maximum(cross_entropy(victim.scores(x), y))
