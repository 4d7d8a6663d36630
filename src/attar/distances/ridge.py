"""Ridge regression in a kernel: what a few examples teach, in closed form.

All in float64: in float32 the rounding of a kernel's largest eigenvalue exceeds the ridge of the literature.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from attar.engine.exact import products

RIDGE = 1e-6  # of the mean of the kernel's diagonal, in KIP and FRePo


def centred(y: Int[Tensor, " n"], classes: int) -> Float[Tensor, "n classes"]:
    """One-hot labels less their mean over the classes, 1/`classes`: what scores should be."""
    return F.one_hot(y, classes) - 1 / classes


def predict(
    k_ts: Float[Tensor, "m n"], k_ss: Float[Tensor, "n n"], y_s: Float[Tensor, "n k"], ridge: float = RIDGE
) -> Float[Tensor, "m k"]:
    """K_ts (K_ss + ridge tr(K_ss)/n I)⁻¹ y_s (Nguyen et al., ICLR 2021; Zhou et al., NeurIPS 2022).

    It is NaN where that matrix is not positive definite.
    """
    return k_ts.double() @ solve(k_ss.double(), y_s.double(), ridge)


def solve(k_ss: Float[Tensor, "n n"], y_s: Float[Tensor, "n k"], ridge: float) -> Float[Tensor, "n k"]:
    """(K_ss + ridge tr(K_ss)/n I)⁻¹ y_s."""
    own = ridge * k_ss.diagonal().mean() * torch.eye(len(k_ss), dtype=k_ss.dtype, device=k_ss.device)
    factor, fault = torch.linalg.cholesky_ex(k_ss + own)
    # No error here: the loop says at which update a loss became NaN, and keeps what was good.
    return torch.cholesky_solve(y_s, torch.where(fault == 0, factor, math.nan))


def regress(
    phi_t: Float[Tensor, "m d"], phi_s: Float[Tensor, "n d"], y_s: Float[Tensor, "n k"], ridge: float = RIDGE
) -> Float[Tensor, "m k"]:
    """What a linear head gives that is fitted to features of a few examples: `predict` with their inner products."""
    phi_t, phi_s = phi_t.double(), phi_s.double()
    return predict(products(phi_t, phi_s), products(phi_s, phi_s), y_s, ridge)
