"""The ConvNet of the condensation literature, of any depth and width."""

import math
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from attar.networks.architectures.parts import border, check_sides, make_norm


class ConvNet(nn.Module):
    """`depth` blocks of 3×3 convolution, normalisation, ReLU and 2×2 average pooling, then a linear head.

    `norm="instance"` is group normalisation with one group a channel (affine, ε 1e-5). It keeps no running statistics,
    and each image's output is independent of its batch. `"batch"` and `"none"` are the usual ones. Images of 28 pixels
    enter with padding 3, so that they leave the first convolution as 32 × 32 (Zhao et al., ICLR 2021). Weights start as
    torch starts them.
    """

    replayable: ClassVar[bool] = True  # see `Network.replayable`

    def __init__(
        self, shape: tuple[int, ...], classes: int, *, width: int = 128, depth: int = 0, norm: str = "instance"
    ):
        super().__init__()
        channels, *sides = shape
        check_sides("ConvNet", sides, 2)
        depth = depth or default_depth(min(sides))
        inputs, paddings = [channels, *[width] * (depth - 1)], [1 + border(sides), *[1] * (depth - 1)]
        blocks = [make_block(*each, width, norm) for each in zip(inputs, paddings, strict=True)]
        height, breadth = (side + 2 * border(sides) >> depth for side in sides)
        self.body = nn.Sequential(*blocks, nn.Flatten())
        self.head = nn.Linear(width * height * breadth, classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        return self.head(self.body(x))

    def layers(self, x: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """What leaves the ReLU of each block, and the features."""
        maps = []
        for block in list(self.body)[:-1]:
            *inner, pool = block.children()
            for layer in inner:
                x = layer(x)
            maps.append(x)
            x = pool(x)
        return [*maps, x.flatten(1)]


def make_block(inputs: int, padding: int, width: int, norm: str) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=padding), make_norm(norm, width), nn.ReLU(), nn.AvgPool2d(2)
    )


def default_depth(side: int) -> int:
    """Blocks for images of `side` pixels: 8 → 2, 28 and 32 → 3, 64 → 4, 128 → 5.

    The last map keeps 2 to 4 pixels a side.
    """
    return min(int(math.log2(side)), max(2, round(math.log2(side)) - 2))
