"""Auto-PGD: steps with momentum, whose length halves where they no longer help (Croce & Hein, ICML 2020)."""

import math
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool
from torch import Tensor

from attar.evaluation.audits.attacks.victim import (
    FORWARD_AND_BACK,
    Images,
    Labels,
    Loss,
    Losses,
    Scores,
    Victim,
    check_pixels,
    cross_entropy,
)
from attar.rng import Rng
from attar.training.attack import Ball

MOMENTUM, FIRST, SHRINK, SHORTEST, RISING = 0.75, 0.22, 0.03, 0.06, 0.75


@dataclass(frozen=True)
class APGD:
    """Its Algorithm 1, from a random start. With `target` it makes the target-th best wrong class win (T-DLR)."""

    iterations: int = 100
    target: int | None = None

    @property
    def passes(self) -> int:
        return FORWARD_AND_BACK * (self.iterations + 1)

    def __call__(self, victim: Victim, x: Images, y: Labels, ball: Ball, rng: Rng) -> Images:
        check_pixels(x)
        noise = torch.rand(x.shape, generator=rng.generator()).to(x)
        loss = cross_entropy if self.target is None else aim(victim, x, y, self.target)
        return self.climb(victim, loss, x, y, ball, ball.start(x, noise))

    def climb(self, victim: Victim, loss: Loss, clean: Images, y: Labels, ball: Ball, start: Images) -> Images:
        """The first image found that is wrong, or else that of the greatest loss."""
        look = partial(value_and_gradient, victim, loss, y)
        x, before, best = start, start, start
        value, gradient, right = look(x)
        wrong, greatest, climbed = ~right, value, torch.zeros_like(value)
        found, steepest = start, gradient  # what fooled it, and the gradient at the best
        size = torch.full_like(value, 2 * ball.eps)[:, None, None, None]
        checks, since = checkpoints(self.iterations), 0
        reached, halved = greatest, torch.ones_like(wrong)
        for k in range(1, self.iterations + 1):
            z = ball.project(ball.step(x, gradient, size), clean)
            share = MOMENTUM if k > 1 else 1.0
            x, before = ball.project(x + share * (z - x) + (1 - share) * (x - before), clean), x
            earlier = value
            value, gradient, right = look(x)
            climbed += value > earlier
            found, wrong = pick(~right & ~wrong, x, found), wrong | ~right
            better = value > greatest
            best, steepest, greatest = pick(better, x, best), pick(better, gradient, steepest), value.maximum(greatest)
            if k in checks:
                stuck = (climbed < RISING * (k - since)) | (~halved & (greatest <= reached))
                size = torch.where(stuck[:, None, None, None], size / 2, size)
                x, gradient = pick(stuck, best, x), pick(stuck, steepest, gradient)
                value = torch.where(stuck, greatest, value)
                climbed, since, reached, halved = torch.zeros_like(value), k, greatest, stuck
        return pick(wrong, found, best)


def checkpoints(iterations: int) -> set[int]:
    """After which iterations the length may halve: ⌈p N⌉ with p = 0, 0.22, and then gaps that shrink by 0.03."""
    found, last, p = set(), 0.0, FIRST
    while p <= 1:
        found.add(math.ceil(round(p * iterations, 9)))  # rounded: 0.22 · 100 is a little above 22
        last, p = p, p + max(p - last - SHRINK, SHORTEST)
    return found


def value_and_gradient(victim: Victim, loss: Loss, y: Labels, x: Images) -> tuple[Losses, Images, Bool[Tensor, " n"]]:
    """Each image's loss, its gradient, and whether the victim is right."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        scores = victim.scores(x)
        values = loss(scores, y)
        (gradient,) = torch.autograd.grad(values.sum(), x)
    return values.detach(), gradient, scores.detach().argmax(1) == y


def pick(which: Tensor, a: Images, b: Images) -> Images:
    return torch.where(which[:, None, None, None], a, b)


@torch.no_grad()
def aim(victim: Victim, x: Images, y: Labels, target: int) -> Loss:
    """The targeted difference of logits ratio (T-DLR), (z_t − z_y) / (z_(1) − ½ (z_(3) + z_(4))).

    t is the target-th best wrong class of the clean image; z_(i) are sorted downwards. Where there are fewer than four
    classes, the last takes a missing place.
    """
    others = victim.scores(x).scatter(1, y[:, None], -math.inf)
    t = others.argsort(1, descending=True)[:, target - 1]

    def loss(scores: Scores, y: Labels) -> Losses:
        order, rows = scores.sort(1, descending=True).values, torch.arange(len(y), device=y.device)
        third, fourth = (order[:, min(i, order.shape[1] - 1)] for i in (2, 3))
        return (scores[rows, t] - scores[rows, y]) / (order[:, 0] - (third + fourth) / 2 + 1e-12)

    return loss
