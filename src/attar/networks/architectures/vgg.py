"""The network of Simonyan & Zisserman (2015), as condensation papers have it for small images."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from attar.networks.architectures.parts import border, check_sides, list_layers, make_norm

STAGES = (64,), (128,), (256, 256), (512, 512), (512, 512)  # filters of the convolutions between two poolings


class VGG11(nn.Module):
    """Eight 3×3 convolutions, each with normalisation and ReLU, and five 2×2 maximum poolings, then a linear head.

    `norm` is as in `make_norm`. The last map of images of 32 pixels is one pixel of 512 channels. Images of 28 pixels
    enter with a border of 2. Raises `ValueError` for other sides below 32.
    """

    replayable: ClassVar[bool] = True  # see `Network.replayable`

    def __init__(self, shape: tuple[int, ...], classes: int, *, norm: str = "instance"):
        super().__init__()
        channels, *sides = shape
        check_sides("VGG-11", sides, 32)
        height, width = (side + 2 * border(sides) >> len(STAGES) for side in sides)
        layers, before, padding = list[nn.Module](), channels, 1 + border(sides)
        for stage in STAGES:
            for filters in stage:
                layers += [nn.Conv2d(before, filters, 3, padding=padding), make_norm(norm, filters), nn.ReLU()]
                before, padding = filters, 1
            layers += [nn.MaxPool2d(2)]
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.head = nn.Linear(before * height * width, classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        return self.head(self.body(x))

    def layers(self, x: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """What leaves each ReLU, and the features."""
        return list_layers(self.body, x)
