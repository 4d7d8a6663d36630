"""Discrepancies between two batches of features, for many classes at once; all in float32 or finer."""

import torch
from jaxtyping import Float
from torch import Tensor

Sample = Float[Tensor, "k n d"]
Other = Float[Tensor, "k m d"]


def squared_distances(x: Sample, y: Other) -> Float[Tensor, "k n m"]:
    """‖x_i − y_j‖², directly and clamped at 0: no square root, whose slope at 0 is infinite."""
    dtype = x.dtype
    if torch.get_float32_matmul_precision() != "highest":  # networks may round their products; these nearly cancel
        x, y = x.double(), y.double()
    return (x.square().sum(2)[:, :, None] + y.square().sum(2)[:, None, :] - 2 * x @ y.mT).clamp_min(0).to(dtype)


def mean_squared_distance(z: Sample) -> Float[Tensor, " k"]:
    """Mean of ‖z_i − z_j‖² over the N(N − 1) ordered pairs, in O(N d): 2N/(N − 1) (mean‖z‖² − ‖mean z‖²)."""
    n = z.shape[1]
    return 2 * n / (n - 1) * (z - z.mean(1, keepdim=True)).square().sum(2).mean(1)


def gaussians(d2: Float[Tensor, "k n m"], bandwidth: Float[Tensor, " k"]) -> Float[Tensor, "k n m"]:
    """Σ over i in −2..2 of exp(−d² / (b 2^i)): one exponential and four squarings (M3D's kernel; k(x, x) = 5)."""
    e = (-d2 / (4 * bandwidth[:, None, None])).exp()
    e2 = e * e
    e4 = e2 * e2
    e8 = e4 * e4
    return e + e2 + e4 + e8 + e8 * e8


def mean_distance(s: Sample, r: Other) -> Float[Tensor, " k"]:
    """‖mean s − mean r‖² for each class (DM; the squared MMD of the linear kernel)."""
    return (s.mean(1) - r.mean(1)).square().sum(1)


def gaussian_mmd(s: Sample, r: Other) -> Float[Tensor, " k"]:
    """Squared maximum mean discrepancy (V-statistic) of the five-gaussian kernel for each class.

    The bandwidth is the mean squared distance over the pooled batch, and is not differentiated (Zhang et al., AAAI 2024).
    """
    bandwidth = mean_squared_distance(torch.cat([s, r], 1).detach())

    def mean_kernel(x: Sample, y: Other) -> Float[Tensor, " k"]:
        return gaussians(squared_distances(x, y), bandwidth).mean((1, 2))

    return mean_kernel(s, s) - 2 * mean_kernel(s, r) + mean_kernel(r, r)


KERNELS = {"gaussian": gaussian_mmd, "linear": mean_distance}
