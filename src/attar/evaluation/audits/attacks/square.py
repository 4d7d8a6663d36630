"""Square: a random search by coloured squares, which needs no gradient (Andriushchenko et al., ECCV 2020)."""

import math
from dataclasses import dataclass

import torch

from attar.evaluation.audits.attacks.victim import Images, Labels, Losses, Victim, check_pixels
from attar.rng import Rng
from attar.training.attack import Ball

AREA = 0.8  # of the first square, as part of the image; as AutoAttack has it
HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries: after each the area halves


@dataclass(frozen=True)
class Square:
    """In L∞ alone. An image keeps a square where its margin shrinks; all images of a call share each one's place."""

    queries: int = 1000

    @property
    def passes(self) -> int:
        return self.queries

    @torch.no_grad()
    def __call__(self, victim: Victim, x: Images, y: Labels, ball: Ball, rng: Rng) -> Images:
        if ball.norm != "linf":
            raise ValueError(f"the square attack is written for L∞ alone, not for {ball}")
        check_pixels(x)
        generator, (n, c, h, w) = rng.generator(), x.shape
        best = (x + ball.eps * signs((n, c, 1, w), generator).to(x)).clamp(0, 1)  # stripes
        margins = margin(victim, best, y)
        for query in range(self.queries):
            side = min(h, w, max(1, round(math.sqrt(area(query, self.queries) * h * w))))
            top, left = (int(torch.randint(length - side + 1, (), generator=generator)) for length in (h, w))
            tried = best.clone()
            colour = 2 * ball.eps * signs((n, c, 1, 1), generator).to(x)
            tried[:, :, top : top + side, left : left + side] += colour
            tried = ball.project(tried, x)
            found = margin(victim, tried, y)
            better = (found < margins) & (margins > 0)  # what is wrong already stays
            best = torch.where(better[:, None, None, None], tried, best)
            margins = torch.where(better, found, margins)
        return best


def signs(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return 2.0 * torch.randint(2, shape, generator=generator) - 1


def area(query: int, queries: int) -> float:
    """Of the square of a query, as part of the image."""
    at = query * 10_000 // queries
    return AREA / 2 ** sum(at > halving for halving in HALVINGS)


def margin(victim: Victim, x: Images, y: Labels) -> Losses:
    """z_y − max z_other: below zero where the victim is wrong."""
    scores = victim.scores(x)
    own = scores.gather(1, y[:, None])
    return (own - scores.scatter(1, y[:, None], -math.inf).amax(1, keepdim=True))[:, 0]
