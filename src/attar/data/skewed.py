"""Known sets with groups, made of those at hand: a group is common in some classes and rare in others."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from attar.data.task import Examples
from attar.rng import Rng

SKEW = 0.9  # the share of a class that belongs to its own group
INK = 128  # the least value of a pixel that is digit, not background
SIDE = 32
# Ten colours of Biased-MNIST (Bahng et al., ICML 2020), which FairDD takes (Zhou et al., NeurIPS 2025): class 0 is red.
COLOURS = {
    "red": (255, 0, 0),
    "orange": (255, 128, 0),
    "yellow": (255, 255, 0),
    "pale yellow": (255, 255, 128),
    "green": (0, 255, 0),
    "cyan": (0, 255, 255),
    "blue": (0, 0, 255),
    "violet": (128, 0, 255),
    "magenta": (255, 0, 255),
    "white": (255, 255, 255),
}
SHADES = "grey", "colour"


class Skewed(NamedTuple):
    """Training and test part with a group of each image, and the names of the groups."""

    train: Examples
    test: Examples
    groups: tuple[str, ...]


def colour_digits(train: Examples, test: Examples) -> Skewed:
    """Colored-MNIST(FG): digits in ten colours on black, 32×32 (the protocol of FairDD).

    Nine tenths of the training images of a class have its own colour, and the others share the nine other colours. Test
    images have each colour alike. A digit is what has at least half of full brightness.
    """
    return colour(train, test, ink=True)


def colour_backgrounds(train: Examples, test: Examples) -> Skewed:
    """Colored-MNIST(BG): black digits on ten colours, and the rest as in `colour_digits`."""
    return colour(train, test, ink=False)


def colour(train: Examples, test: Examples, *, ink: bool) -> Skewed:
    def make(part: Examples, skew: float, name: str) -> Examples:
        group = assign_colours(part.y, skew, Rng(("colours", name)))
        return Examples(paint(part.x, group, ink), part.y, group)

    return Skewed(make(train, SKEW, "training"), make(test, 1 / len(COLOURS), "test"), tuple(COLOURS))


def assign_colours(y: Int[Tensor, " n"], skew: float, rng: Rng) -> Int[Tensor, " n"]:
    """A colour of each image: the share `skew` of class c has the c-th, and the others are shared out evenly."""
    group, count = y.clone(), len(COLOURS)
    for c in y.unique().tolist():
        rows = (y == c).nonzero()[:, 0]
        rows = rows[torch.randperm(len(rows), generator=rng.fold(c).generator())]
        rest = rows[int(skew * len(rows)) :]
        others = torch.tensor([a for a in range(count) if a != c])
        group[rest] = others[torch.arange(len(rest)) % len(others)]
    return group


def paint(
    x: Shaped[Tensor, "n 1 h w"], group: Int[Tensor, " n"], ink: bool, side: int = SIDE
) -> Shaped[Tensor, "n 3 s s"]:
    """The digit or its background in the group's colour, in the middle of black or of that background."""
    border = side - x.shape[2]
    inked = torch.nn.functional.pad(x >= INK, [border // 2, border - border // 2] * 2)
    colours = torch.tensor(list(COLOURS.values()), dtype=torch.uint8)[group]
    return (inked if ink else ~inked) * colours[:, :, None, None]


def grey_some(train: Examples, test: Examples) -> Skewed:
    """CIFAR10-S: of five classes nine tenths of the training images are grey, and of the others nine tenths coloured.

    Each test image is there twice, grey and in colour. So it is in Wang et al. (CVPR 2020), with another share, and in
    FairDD.
    """
    classes = int(train.y.max()) + 1
    group = torch.empty_like(train.y)
    for c in range(classes):
        rows = (train.y == c).nonzero()[:, 0]
        rows = rows[torch.randperm(len(rows), generator=Rng(("shades", c)).generator())]
        common = int(2 * c >= classes)  # the group of most: grey below the middle
        group[rows] = 1 - common
        group[rows[: round(SKEW * len(rows))]] = common
    grey = torch.where((group == 0)[:, None, None, None], to_grey(train.x), train.x)
    both = Examples(
        torch.cat([to_grey(test.x), test.x]), test.y.repeat(2), torch.arange(2).repeat_interleave(len(test.y))
    )
    return Skewed(Examples(grey, train.y, group), both, SHADES)


def to_grey(x: Shaped[Tensor, "n 3 h w"]) -> Shaped[Tensor, "n 3 h w"]:
    """Three equal channels: the brightness of ITU-R 601, as Pillow has it."""
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    grey = torch.tensordot(x.float(), torch.from_numpy(weights), ([1], [0]))
    return grey.round().to(x.dtype)[:, None].expand_as(x).contiguous()
