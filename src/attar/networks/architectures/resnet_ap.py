"""The residual network of Kim et al. (ICML 2022), which halves maps by average pooling."""

import math
from functools import partial
from itertools import pairwise, starmap
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from attar.networks.architectures.parts import WIDTHS, Staged, check_sides, make_norm
from attar.networks.architectures.resnet import convolve


class ResNetAP10(Staged):
    """A convolution, four stages of one residual block, the mean over each map, then a linear head.

    All stages but the first halve the sides. The first convolution is 3×3 up to 128 pixels a side, with 2×2 average
    pooling above 64; for larger images it is 7×7 with 4×4 average pooling. Kernels start normally distributed, with
    variance 2 / (k² out). `norm` is as in `make_norm`. Raises `ValueError` below 16 pixels a side.
    """

    replayable: ClassVar[bool] = True  # see `Network.replayable`

    def __init__(self, shape: tuple[int, ...], classes: int, *, norm: str = "instance"):
        channels, *sides = shape
        check_sides("ResNetAP-10", sides, 16)
        size, pool = (3, 1) if max(sides) <= 64 else (3, 2) if max(sides) <= 128 else (7, 4)
        entry = convolve(channels, WIDTHS[0], size)
        stem = nn.Sequential(entry, make_norm(norm, WIDTHS[0]), nn.ReLU(), nn.AvgPool2d(pool))
        super().__init__(stem, starmap(partial(PooledBlock, norm), pairwise((WIDTHS[0], *WIDTHS))), classes)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0, math.sqrt(2 / (layer.kernel_size[0] ** 2 * layer.out_channels)))


class PooledBlock(nn.Module):
    """Two 3×3 convolutions, to whose result the input is added. More channels come with half the sides, by pooling."""

    def __init__(self, norm: str, before: int, width: int):
        super().__init__()
        pool = 1 if before == width else 2
        entry = convolve(before, width, 3), make_norm(norm, width), nn.ReLU(), nn.AvgPool2d(pool)
        self.body = nn.Sequential(*entry, convolve(width, width, 3), make_norm(norm, width))
        shortcut = convolve(before, width, 1), nn.AvgPool2d(pool), make_norm(norm, width)
        self.shortcut = nn.Identity() if before == width else nn.Sequential(*shortcut)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        return F.relu(self.body(x) + self.shortcut(x))
