"""A multi-layer perceptron on flattened pixels."""

import itertools
import math
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn


class MLP(nn.Module):
    """`depth` hidden layers of `width` units with ReLU, then a linear head."""

    replayable: ClassVar[bool] = True  # see `Network.replayable`

    def __init__(self, shape: tuple[int, ...], classes: int, *, width: int = 128, depth: int = 2):
        super().__init__()
        sizes = [math.prod(shape)] + [width] * depth
        layers = [layer for a, b in itertools.pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.body = nn.Sequential(nn.Flatten(), *layers)
        self.head = nn.Linear(width, classes)

    def layers(self, x: Float[Tensor, "n c h w"]) -> list[Tensor]:
        """What leaves each ReLU, and the features, which are the last of them."""
        found, x = [], self.body[0](x)
        for i in range(1, len(self.body), 2):
            x = self.body[i : i + 2](x)
            found.append(x)
        return [*found, x]

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
        return self.head(self.body(x))
