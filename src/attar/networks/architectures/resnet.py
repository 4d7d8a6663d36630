"""The network of He et al. (2016), as condensation papers have it for small images."""

from functools import partial
from itertools import pairwise, starmap
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from attar.networks.architectures.parts import WIDTHS, Staged, check_sides, make_norm


class ResNet18(Staged):
    """A 3×3 convolution, four stages of two residual blocks, the mean over each map, then a linear head.

    There is no pooling before the stages; all but the first halve the sides. `norm` is as in `make_norm`. Raises
    `ValueError` below 9 pixels a side, of which the last stage would leave a single one.
    """

    replayable: ClassVar[bool] = True  # see `Network.replayable`

    def __init__(self, shape: tuple[int, ...], classes: int, *, norm: str = "instance"):
        channels, *sides = shape
        check_sides("ResNet-18", sides, 9)
        stem = nn.Sequential(convolve(channels, WIDTHS[0], 3), make_norm(norm, WIDTHS[0]), nn.ReLU())
        super().__init__(stem, starmap(partial(make_stage, norm), pairwise((WIDTHS[0], *WIDTHS))), classes)


def make_stage(norm: str, before: int, width: int) -> nn.Sequential:
    """Two blocks, of which the first halves the sides where there are more channels."""
    return nn.Sequential(Block(before, width, norm, 1 if before == width else 2), Block(width, width, norm, 1))


class Block(nn.Module):
    """Two 3×3 convolutions, to whose result the input is added; `stride` is that of the first of them."""

    def __init__(self, before: int, width: int, norm: str, stride: int):
        super().__init__()
        self.first = nn.Sequential(convolve(before, width, 3, stride), make_norm(norm, width))
        self.second = nn.Sequential(convolve(width, width, 3), make_norm(norm, width))
        same = stride == 1 and before == width
        self.shortcut = (
            nn.Identity() if same else nn.Sequential(convolve(before, width, 1, stride), make_norm(norm, width))
        )

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


def convolve(before: int, after: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Without a bias, since normalisation follows."""
    return nn.Conv2d(before, after, size, stride, padding=size // 2, bias=False)
