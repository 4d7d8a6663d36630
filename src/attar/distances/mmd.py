"""Discrepancies between two batches of features by moments and kernels, for many classes at once.

All are computed in float32 or finer. Those of a kernel are squared maximum mean discrepancies as V-statistics:
E k(s, s') − 2 E k(s, r) + E k(r, r').
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from attar.engine.exact import products

Sample = Float[Tensor, "k n d"]
Other = Float[Tensor, "k m d"]
Distances = Float[Tensor, "k n m"]
Scale = Float[Tensor, "k 1 1"]

COVARIANCE = 50.0  # DSDM's weight of the covariances, over the dimension
EQUAL = 1e-4  # of the mean squared norm: what is nearer counts as one point, since rounding leaves no more of it


def mean_distance(s: Sample, r: Other) -> Float[Tensor, " k"]:
    """‖mean s − mean r‖² for each class (DM; the squared MMD of the linear kernel)."""
    return (s.mean(1) - r.mean(1)).square().sum(1)


def covariance_distance(s: Sample, r: Other) -> Float[Tensor, " k"]:
    """‖Ĉ_s − Ĉ_r‖² of the unbiased covariances.

    It takes n×n, n×m and m×m products of centred features; nothing has the size d×d. Raises `ValueError` where a class
    has a single feature vector, which has no covariance.
    """
    if min(s.shape[1], r.shape[1]) < 2:
        told = "covariances need at least two images of a class"
        raise ValueError(f"{told}: raise ipc, factor or batch_real, or choose another discrepancy")
    x, y = s - s.mean(1, keepdim=True), r - r.mean(1, keepdim=True)
    return overlap(x, x) - 2 * overlap(x, y) + overlap(y, y)


def overlap(x: Sample, y: Other) -> Float[Tensor, " k"]:
    """⟨Ĉ_x, Ĉ_y⟩ of centred features."""
    return products(x, y).square().sum((1, 2)) / ((x.shape[1] - 1) * (y.shape[1] - 1))


def moments_distance(s: Sample, r: Other) -> Float[Tensor, " k"]:
    """‖Δ mean‖² + (50/d) ‖Δ covariance‖² (the first two terms of DSDM; Li et al., ACM MM 2024)."""
    return mean_distance(s, r) + COVARIANCE / s.shape[2] * covariance_distance(s, r)


def polynomial_mmd(s: Sample, r: Other, scale: float | None = None, power: int = 2) -> Float[Tensor, " k"]:
    """Kernel (⟨x, y⟩ / scale + 1)^power.

    By default `scale` is the mean squared norm of the pooled batch; it is not differentiated.
    """
    unit = squared_norm(torch.cat([s, r], 1).detach())[:, None, None] if scale is None else scale
    return mmd(lambda x, y: (products(x, y) / unit + 1).pow(power), s, r)


def radial_mmd(kernel: Callable[[Distances, Scale], Distances], s: Sample, r: Other) -> Float[Tensor, " k"]:
    """A kernel of the squared distance and a bandwidth.

    The bandwidth is the mean squared distance over the pooled batch; it is not differentiated (M3D).
    """
    pooled = torch.cat([s, r], 1).detach()
    bandwidth = mean_squared_distance(pooled).maximum(EQUAL * squared_norm(pooled))[:, None, None]
    return mmd(lambda x, y: kernel(squared_distances(x, y), bandwidth), s, r)


def mmd(kernel: Callable[[Sample, Other], Distances], s: Sample, r: Other) -> Float[Tensor, " k"]:
    ss, sr, rr = kernel(s, s).mean((1, 2)), kernel(s, r).mean((1, 2)), kernel(r, r).mean((1, 2))
    return ss - 2 * sr + rr


def gaussians(d2: Distances, b: Scale) -> Distances:
    """Σ over i in −2..2 of exp(−d² / (b 2^i)): one exponential and four squarings (M3D's kernel; k(x, x) = 5)."""
    e = (-d2 / (4 * b)).exp()
    e2 = e * e
    e4 = e2 * e2
    e8 = e4 * e4
    return e + e2 + e4 + e8 + e8 * e8


def laplacian(d2: Distances, b: Scale) -> Distances:
    """exp(−d / √b)."""
    return (-root(d2) / b.sqrt()).exp()


def inverse_multiquadric(d2: Distances, b: Scale) -> Distances:
    """(1 + d²/b)^−½: heavy tails, so that far images are still drawn."""
    return (1 + d2 / b).rsqrt()


def negative_distance(d2: Distances, b: Scale) -> Distances:
    """−d, whatever the bandwidth: the MMD is then the energy distance 2 E‖s − r‖ − E‖s − s'‖ − E‖r − r'‖."""
    return -root(d2)


def squared_distances(x: Sample, y: Other) -> Distances:
    """‖x_i − y_j‖², directly and clamped at 0: no square root, whose derivative at 0 is infinite."""
    return (x.square().sum(2)[:, :, None] + y.square().sum(2)[:, None, :] - 2 * products(x, y)).clamp_min(0)


def root(d2: Tensor) -> Tensor:
    """√d², with derivative 0 where two points coincide."""
    return d2.clamp_min(torch.finfo(d2.dtype).tiny).sqrt()


def squared_norm(z: Sample) -> Float[Tensor, " k"]:
    """Mean of ‖z_i‖²; not quite 0, for what is divided by it."""
    return z.square().sum(2).mean(1).clamp_min(EQUAL**2)


def mean_squared_distance(z: Sample) -> Float[Tensor, " k"]:
    """Mean of ‖z_i − z_j‖² over the N(N − 1) ordered pairs, in O(N d): 2N/(N − 1) (mean‖z‖² − ‖mean z‖²)."""
    n = z.shape[1]
    return 2 * n / (n - 1) * (z - z.mean(1, keepdim=True)).square().sum(2).mean(1)
