"""CutMix (Yun et al., ICCV 2019): a box of each image is replaced by that of another."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attar.rng import Rng


def cutmix(x: Float[Tensor, "n c h w"], rng: Rng) -> tuple[Float[Tensor, "n c h w"], Int[Tensor, " n"], float]:
    """A box of each image replaced by that of another: the mixed images, the partners, and the share that is left.

    The box has √(1 − λ) of each side, λ uniform, its centre uniform, and is clipped. The loss is
    `share · CE(y) + (1 − share) · CE(y[partners])`.
    """
    generator = rng.generator()
    h, w = x.shape[-2:]
    lam, cy, cx = torch.rand(3, generator=generator).tolist()
    partners = torch.randperm(len(x), generator=generator).to(x.device)
    top, bottom = box(h, lam, cy)
    left, right = box(w, lam, cx)
    mixed = x.clone()
    mixed[:, :, top:bottom, left:right] = x[partners, :, top:bottom, left:right]
    return mixed, partners, 1 - (bottom - top) * (right - left) / (h * w)


def box(side: int, lam: float, centre: float) -> tuple[int, int]:
    half = int(side * math.sqrt(1 - lam)) // 2
    middle = int(centre * side)
    return max(middle - half, 0), min(middle + half, side)
