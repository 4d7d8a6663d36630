"""Discrepancies by optimal transport between two batches of features, for many classes at once."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attar.kernels import Other, Sample, squared_distances
from attar.rng import Rng

DIRECTIONS = 256
BLUR = 0.05  # ε, in mean costs
ROUNDS = 50


def sliced_wasserstein(s: Sample, r: Other, rng: Rng, directions: int = DIRECTIONS) -> Float[Tensor, " k"]:
    """d · E over unit directions of W₂² of the projections; the factor d makes a shift cost as much as `mean_distance` says.

    Batches of different sizes are compared on the merged grid of their quantiles.
    """
    d = s.shape[2]
    u = torch.randn(d, directions, generator=rng.generator(s.device), device=s.device, dtype=s.dtype)
    u = u / u.norm(dim=0)
    mass, i, j = (t.to(s.device) for t in merged(s.shape[1], r.shape[1]))
    gaps = (s @ u).sort(1).values[:, i] - (r @ u).sort(1).values[:, j]
    return d * (gaps.square() * mass[:, None].to(s.dtype)).sum(1).mean(1)


def merged(n: int, m: int) -> tuple[Float[Tensor, " g"], Int[Tensor, " g"], Int[Tensor, " g"]]:
    """The intervals between the levels {i/n} and {j/m}: their lengths, and in each the ranks of the two quantile functions."""
    levels = torch.cat([torch.arange(n + 1) * m, torch.arange(m + 1) * n]).unique()  # in units of 1/(n m), exactly
    return levels.diff().double() / (n * m), levels[:-1] // m, levels[:-1] // n


def sinkhorn_divergence(s: Sample, r: Other, epsilon: float | None = None, rounds: int = ROUNDS) -> Float[Tensor, " k"]:
    """OT(s, r) − ½ OT(s, s) − ½ OT(r, r) with entropy ε and cost ½‖x − y‖² (Feydy et al., AISTATS 2019).

    ε is by default a twentieth of the mean cost between the batches. Large, it gives ½‖Δ mean‖², small, ½ W₂².
    """
    cross = squared_distances(s, r) / 2
    scale = cross.detach().mean((1, 2)) * BLUR if epsilon is None else torch.full_like(cross[:, 0, 0], epsilon)
    own = [entropic(squared_distances(x, x) / 2, scale, rounds) for x in (s, r)]
    return entropic(cross, scale, rounds) - (own[0] + own[1]) / 2


def entropic(cost: Float[Tensor, "k n m"], scale: Float[Tensor, " k"], rounds: int) -> Float[Tensor, " k"]:
    """Entropic transport between uniform weights, by Sinkhorn's rounds in the log domain from a large ε down to `scale`.

    The gradient is that of the cost under the optimal plan (the envelope theorem): nothing is differentiated through the rounds.
    """
    n, m = cost.shape[1:]
    with torch.no_grad():
        f, g = cost.new_zeros(len(cost), n, 1), cost.new_zeros(len(cost), 1, m)
        largest = cost.amax((1, 2)).maximum(scale)
        for t in range(rounds):
            # the first half of the rounds lowers ε geometrically; means of old and new potentials converge for equal batches too
            share = min(1.0, 2 * (t + 1) / rounds)
            eps = (largest ** (1 - share) * scale**share)[:, None, None]
            better_f = -eps * (((g - cost) / eps).logsumexp(2, keepdim=True) - torch.log(cost.new_tensor(m)))
            better_g = -eps * (((f - cost) / eps).logsumexp(1, keepdim=True) - torch.log(cost.new_tensor(n)))
            f, g = (f + better_f) / 2, (g + better_g) / 2
        eps = scale[:, None, None]
        f = -eps * (((g - cost) / eps).logsumexp(2, keepdim=True) - torch.log(cost.new_tensor(m)))
        plan = ((f + g - cost) / eps).exp() / (n * m)
        dual = f.mean((1, 2)) + g.mean((1, 2)) - scale * (plan.sum((1, 2)) - 1)
    paid = (plan * cost).sum((1, 2))
    return dual + paid - paid.detach()
