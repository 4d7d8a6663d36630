"""The neural tangent kernel of an infinitely wide, fully connected network (Jacot et al., NeurIPS 2018)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

WEIGHT, BIAS = 2.0, 0.01  # variances at the start, as in the authors' code of KIP
NEAR = 1e-14  # to 1: cosines of one direction, but for rounding


def tangent_kernel(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], depth: int = 1) -> Float[Tensor, "n m"]:
    """Θ(x_i, y_j) of `depth` hidden layers of ReLU and a linear one, in the parametrisation of that paper.

    With u, v ~ N(0, K) a layer makes K ← 2 E[relu u relu v] + b and Θ ← 2 E[relu' u relu' v] Θ + K. Both expectations
    depend on the angle between u and v alone (Cho & Saul, NeurIPS 2009). To be called in float64.
    """
    d = x.shape[1]
    xy, xx, yy = (WEIGHT * part / d + BIAS for part in (x @ y.mT, x.square().sum(1), y.square().sum(1)))
    kernel = xy
    for _ in range(depth):
        length = (xx[:, None] * yy).sqrt()
        cosine = xy / length
        angle = arccos(cosine)
        both = (math.pi - angle) / (2 * math.pi)  # the probability that u and v are positive
        xy = WEIGHT * length * (angle.sin() / (2 * math.pi) + both * cosine) + BIAS
        xx, yy = WEIGHT * xx / 2 + BIAS, WEIGHT * yy / 2 + BIAS
        kernel = WEIGHT * both * kernel + xy
    return kernel


def arccos(cosine: Tensor) -> Tensor:
    """The angle, and 0 with derivative 0 where two directions coincide: the true derivative is infinite there."""
    same = cosine > 1 - NEAR
    return torch.where(same, 0.0, torch.where(same, 0.0, cosine).arccos())
