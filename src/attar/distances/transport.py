"""Discrepancies by optimal transport between two batches of features, for many classes at once."""

import functools
import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from attar.distances.mmd import EQUAL, Other, Sample, squared_distances, squared_norm
from attar.engine.by_hand import with_gradient
from attar.engine.exact import products

DIRECTIONS = 256
BLUR = 0.05  # ε, in mean costs
ROUNDS = 50


def sliced_wasserstein(s: Sample, r: Other, directions: Float[Tensor, "t d"]) -> Float[Tensor, " k"]:
    """d · mean over unit directions of W₂² of the projections.

    The factor d makes a shift cost as much as `mean_distance` says. Batches of different sizes are compared on the
    merged grid of their quantiles.
    """
    a, b = (products(x, F.normalize(directions, dim=1)).sort(1).values for x in (s, r))
    met = quantile_plan(s.shape[1], r.shape[1], s.device, s.dtype) @ b
    return s.shape[2] * (a.square().mean(1) - 2 * (a * met).sum(1) + b.square().mean(1)).mean(1)


@functools.cache
def quantile_plan(n: int, m: int, device: torch.device, dtype: torch.dtype) -> Float[Tensor, "n m"]:
    """The optimal plan between sorted samples: the length that [i/n, (i + 1)/n] and [j/m, (j + 1)/m] share."""
    i, j = torch.arange(n, dtype=torch.float64)[:, None] / n, torch.arange(m, dtype=torch.float64) / m
    return (torch.minimum(i + 1 / n, j + 1 / m) - torch.maximum(i, j)).clamp_min(0).to(device, dtype)


def sinkhorn_divergence(s: Sample, r: Other, epsilon: float | None = None, rounds: int = ROUNDS) -> Float[Tensor, " k"]:
    """OT(s, r) − ½ OT(s, s) − ½ OT(r, r) with entropy ε and cost ½‖x − y‖² (Feydy et al., AISTATS 2019).

    ε is by default a twentieth of the mean cost between the batches. Large, it gives ½‖Δ mean‖², small, ½ W₂².
    """
    cross = squared_distances(s, r) / 2
    least = EQUAL * squared_norm(torch.cat([s, r], 1).detach())
    scale = (
        cross.detach().mean((1, 2)).maximum(least) * BLUR
        if epsilon is None
        else torch.full_like(cross[:, 0, 0], epsilon)
    )
    own = [entropic(squared_distances(x, x) / 2, scale, rounds) for x in (s, r)]
    return entropic(cross, scale, rounds) - (own[0] + own[1]) / 2


def entropic(cost: Float[Tensor, "k n m"], scale: Float[Tensor, " k"], rounds: int) -> Float[Tensor, " k"]:
    """Entropic transport between uniform weights, by Sinkhorn's rounds in the log domain, from a large ε to `scale`.

    The gradient is that of the cost under the optimal plan (the envelope theorem). Nothing is differentiated through
    the rounds.
    """
    n, m = cost.shape[1:]
    with torch.no_grad():
        f, g = cost.new_zeros(len(cost), n, 1), cost.new_zeros(len(cost), 1, m)
        largest = cost.amax((1, 2)).maximum(scale)
        for t in range(rounds):
            # The first half of the rounds lowers ε geometrically. Means of old and new potentials converge for equal
            # batches too.
            share = min(1.0, 2 * (t + 1) / rounds)
            eps = (largest ** (1 - share) * scale**share)[:, None, None]
            better_f = -eps * (((g - cost) / eps).logsumexp(2, keepdim=True) - math.log(m))
            better_g = -eps * (((f - cost) / eps).logsumexp(1, keepdim=True) - math.log(n))
            f, g = (f + better_f) / 2, (g + better_g) / 2
        eps = scale[:, None, None]
        f = -eps * (((g - cost) / eps).logsumexp(2, keepdim=True) - math.log(m))
        plan = ((f + g - cost) / eps).exp() / (n * m)
    return with_gradient(f.mean((1, 2)) + g.mean((1, 2)), cost, plan)
