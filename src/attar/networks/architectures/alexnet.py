"""The network of Krizhevsky et al. (2012), as condensation papers have it for small images."""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from attar.networks.architectures.parts import border, check_sides, list_layers


class AlexNet(nn.Module):
    """Five convolutions with ReLU, of 128, 192, 256, 192 and 192 filters, then a linear head.

    The first two are 5×5, the others 3×3. After the first, second and fifth comes 2×2 maximum pooling. It has no
    normalisation. Images of 28 pixels enter with a border of 2. Raises `ValueError` below 8 pixels a side.
    """

    replayable: ClassVar[bool] = True  # see `Network.replayable`

    def __init__(self, shape: tuple[int, ...], classes: int):
        super().__init__()
        channels, *sides = shape
        check_sides("AlexNet", sides, 8)
        height, width = (side + 2 * border(sides) >> 3 for side in sides)
        layers: list[nn.Module] = [nn.Conv2d(channels, 128, 5, padding=2 + border(sides)), nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Conv2d(128, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
        for before, after in ((192, 256), (256, 192), (192, 192)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten())
        self.head = nn.Linear(192 * height * width, classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        return self.head(self.body(x))

    def layers(self, x: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """What leaves each ReLU, and the features."""
        return list_layers(self.body, x)
