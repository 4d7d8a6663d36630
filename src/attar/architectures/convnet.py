"""The ConvNet of the condensation literature, of any depth and width."""

import importlib.util
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from attar.architectures import first_block_cpu

HAS_TRITON = importlib.util.find_spec("triton") is not None  # where torch can use a GPU
if HAS_TRITON:
    from attar.architectures import first_block_gpu


def default_depth(side: int) -> int:
    """Blocks for images of `side` pixels: 8 → 2, 28 and 32 → 3, 64 → 4, 128 → 5; the last map keeps 2 to 4 pixels a side."""
    most = int(math.log2(side))
    return min(most, max(2, round(math.log2(side)) - 2))


class ConvNet(nn.Module):
    """`depth` blocks of 3×3 convolution, normalisation, ReLU and 2×2 average pooling, then a linear head.

    `norm="instance"` is group normalisation with one group a channel (affine, ε 1e-5): no running statistics, and
    each image's output is independent of its batch. `"batch"` and `"none"` are the usual ones. Images of 28 pixels
    enter as with padding 3, so that they leave the first convolution as 32 × 32 (Zhao et al., ICLR 2021). Weights start
    as torch starts them.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, *, width: int = 128, depth: int = 0, norm: str = "instance"):
        super().__init__()
        channels, *sides = shape
        depth = depth or default_depth(min(sides))
        border = 2 if sides == [28, 28] else 0
        height, breadth = (side + 2 * border for side in sides)
        first = Entry(channels, width, border)
        convolutions = [nn.Conv2d(width, width, 3, padding=1) for _ in range(depth - 1)]
        blocks = [First(first, *after(width, norm)), *(nn.Sequential(other, *after(width, norm)) for other in convolutions)]
        self.body = nn.Sequential(*blocks, nn.Flatten())
        self.head = nn.Linear(width * (height >> depth) * (breadth >> depth), classes)

    def layers(self, x: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """What leaves the ReLU of each block, and the features."""
        found = []
        for block in list(self.body)[:-1]:
            *first, pool = block.children()
            for layer in first:
                x = layer(x)
            found.append(x)
            x = pool(x)
        return [*found, x.flatten(1)]

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        return self.head(self.body(x))


def after(width: int, norm: str) -> tuple[nn.Module, ...]:
    """What follows a convolution."""
    return normalisation(norm, width), nn.ReLU(), Pool()


class First(nn.Sequential):
    """The first block; compiled for a CPU, and on a GPU in bfloat16, one kernel there and one back."""

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """The pooled maps."""
        entry: Any = self[0]
        norm: Any = self[1]
        if kernel := kernel_for(x, entry, norm):
            shift = norm.bias + 0 * entry.bias  # a bias that the normalisation takes out again
            return kernel(x, entry.weight, norm.weight, shift, norm.eps, entry.border)
        for part in self:
            x = part(x)
        return x


def kernel_for(x: Tensor, entry: "Entry", norm: nn.Module) -> Callable[..., Tensor] | None:
    """What convolves, normalises each map by itself and pools where there is a kernel for it."""
    if not isinstance(norm, nn.GroupNorm):
        return None
    if x.is_cuda and HAS_TRITON and torch.is_autocast_enabled("cuda"):
        fits = entry.out_channels in (16, 32, 64, 128) and x.shape[2] % 2 == x.shape[3] % 2 == 0
        return first_block_gpu.first_block if fits else None
    return first_block_cpu.first_block if torch.compiler.is_compiling() and first_block_cpu.fits(x, entry.weight) else None


class Entry(nn.Conv2d):
    """The first convolution, with a padding of 1 + `border`.

    Around two of oneDNN's slow paths, with the same numbers: a padding of 3, where a bias's gradient takes thirty times as long, is
    given to the images; and grey ones are compiled with three more channels of zeros, without which the forward pass takes twice as long.
    """

    def __init__(self, channels: int, width: int, border: int):
        super().__init__(channels, width, 3, padding=1)
        self.border = border

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        weight, zeros = self.weight, 3 if x.shape[1] == 1 and torch.compiler.is_compiling() else 0
        if zeros:
            weight = F.pad(weight, [0, 0, 0, 0, 0, zeros])
        if zeros or self.border:
            x = F.pad(x, [*[self.border] * 4, 0, zeros])
        return F.conv2d(x, weight, self.bias, padding=1)


class Pool(nn.AvgPool2d):
    """2×2 average pooling; the last of an odd number of rows or columns is left out.

    Compiled it is a mean, which is fused with what surrounds it, there and back: a network is a sixth faster.
    """

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
        if not torch.compiler.is_compiling():
            return super().forward(x)
        h, w = (2 * (side // 2) for side in x.shape[-2:])
        return x[..., :h, :w].unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5))


def normalisation(norm: str, width: int) -> nn.Module:
    if norm == "instance":
        return nn.GroupNorm(width, width)
    if norm == "batch":
        return nn.BatchNorm2d(width)
    if norm == "none":
        return nn.Identity()
    raise ValueError(f"unknown norm {norm!r}: instance, batch or none")
