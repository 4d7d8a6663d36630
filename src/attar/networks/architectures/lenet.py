"""The network of LeCun et al. (1998), as condensation papers have it."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from attar.networks.architectures.parts import border, check_sides, list_layers


class LeNet(nn.Module):
    """Two 5×5 convolutions of 6 and 16 filters, each with ReLU and 2×2 maximum pooling, then layers of 120 and 84.

    It has no normalisation. Images of 28 pixels enter with a border of 2. Raises `ValueError` below 16 pixels a side.
    """

    replayable: ClassVar[bool] = True  # see `Network.replayable`

    def __init__(self, shape: tuple[int, ...], classes: int):
        super().__init__()
        channels, *sides = shape
        check_sides("LeNet", sides, 16)
        height, width = (((side + 2 * border(sides) - 4) // 2 - 4) // 2 for side in sides)
        maps = [nn.Conv2d(channels, 6, 5, padding=border(sides)), nn.ReLU(), nn.MaxPool2d(2)]
        maps += [nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)]
        units = [nn.Linear(16 * height * width, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()]
        self.body = nn.Sequential(*maps, nn.Flatten(), *units)
        self.head = nn.Linear(84, classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        return self.head(self.body(x))

    def layers(self, x: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """What leaves each ReLU, and the features, which are the last of them."""
        return list_layers(self.body, x)
