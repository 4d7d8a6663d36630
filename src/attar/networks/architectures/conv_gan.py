"""A small conditional generator, and the critic that it is trained against."""

import math
from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

WIDTH, LEAST = 96, 8  # channels next to the code; each stage halves them, down to these
CODES = 64  # numbers in a code


class ConvGenerator(nn.Module):
    """Images on [−1, 1] of codes and classes: a linear layer, then stages that double the side.

    The shape of DiM's (Wang et al., 2023), but smaller. There the label takes the place of the code's first numbers;
    here it stands beside the code, so that there may be any number of classes. Group normalisation takes the place of
    batch normalisation, so that an image depends on no other. Rows of a table come from linear layers alone.
    """

    codes: ClassVar[int] = CODES

    def __init__(self, shape: tuple[int, ...], classes: int):
        super().__init__()
        channels, *sides = shape
        self.shape, self.classes, stages = shape, classes, count_stages(min(sides))
        widths = [max(LEAST, WIDTH >> i) for i in range(stages)]
        start = [-(-side // 2**stages) for side in sides]
        self.start = nn.Linear(CODES + classes, widths[0] * math.prod(start) if stages else WIDTH)
        if stages:
            pairs = zip(widths, [*widths[1:], channels], strict=True)
            self.body = nn.Sequential(nn.Unflatten(1, (widths[0], *start)), *(enlarge(*pair) for pair in pairs))
        else:
            last = nn.Linear(WIDTH, math.prod(shape))
            self.body = nn.Sequential(nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), last, nn.Unflatten(1, shape))

    def forward(self, z: Float[Tensor, "n codes"], y: Int[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
        one_hot = (y[:, None] == torch.arange(self.classes, device=y.device)).to(z.dtype)
        h, w = self.shape[1:]
        return self.body(self.start(torch.cat([z, one_hot], 1)))[:, :, :h, :w].tanh()  # cut where 2 does not divide


class ConvCritic(nn.Module):
    """Of images on [−1, 1] how real each one is, and its class scores: the generator's stages the other way.

    Without normalisation, which the gradient penalty would have to be differentiated through.
    """

    def __init__(self, shape: tuple[int, ...], classes: int):
        super().__init__()
        channels, *sides = shape
        stages = count_stages(min(sides))
        widths = [channels, *(max(LEAST, WIDTH >> i) for i in reversed(range(stages)))]
        if stages:
            layers = [layer for pair in pairwise(widths) for layer in reduce(*pair)]
            size = WIDTH * math.prod(side >> stages for side in sides)
        else:
            layers = [nn.Flatten(), nn.Linear(math.prod(shape), WIDTH), nn.LeakyReLU(0.2), nn.Linear(WIDTH, WIDTH)]
            layers, size = [*layers, nn.LeakyReLU(0.2)], WIDTH
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.critic, self.classifier = nn.Linear(size, 1), nn.Linear(size, classes)

    def forward(self, x: Float[Tensor, "n c h w"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n k"]]:
        features = self.body(x)
        return self.critic(features)[:, 0], self.classifier(features)


def count_stages(side: int) -> int:
    """Doublings from the first map to so many pixels: 8 → 2, 28 and 32 → 3, 64 → 4; none for the pixel of a row."""
    return min(max(2, math.ceil(math.log2(side / 4))), int(math.log2(side)))


def enlarge(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.GroupNorm(1, inputs), nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, 4, 2, 1))


def reduce(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(0.2)]
