"""Synthetic images above the real ones nearest to them, and their pixels that no picture holds."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from attar.condensed.condensed_set import CondensedSet
from attar.data.normalisation import unit
from attar.data.task import Task
from attar.evaluation.audits.nearest import AT_ONCE, nearest
from attar.report.names import method, title
from attar.report.sheets import COLUMNS, Block, draw_block

DEEP = 0.5  # of the range from black to white: from there on a colour is as deep as it gets
RED, BLUE = (0.85, 0.1, 0.1), (0.1, 0.25, 0.9)
Colours = Float[Tensor, "n 3 h w"]


def show_neighbours(sets: Sequence[CondensedSet], task: Task) -> list[tuple[str, Block]]:
    """For each set a picture of three lines, with its title.

    The first image of each class, the training image nearest to it in pixels, and where it leaves black and white.
    """
    return [(title(made), draw_neighbours(made, task)) for made in sets]


def draw_neighbours(made: CondensedSet, task: Task) -> Block:
    few = made.first(1, COLUMNS)
    x = few.normalisation.to_pixels(few.decoded())[: len(few.labels)]  # of an image of several tiles the first
    lines = colour(x.clamp(0, 1)), colour(find_real(x, task)), mark_beyond(x)
    names = ", ".join(made.classes[c] for c in few.labels.tolist())
    return draw_block(method(made), names, (255 * torch.cat(lines)).round().to(torch.uint8), len(lines))


def find_real(x: Float[Tensor, "n c h w"], task: Task) -> Float[Tensor, "n c h w"]:
    """The training images nearest to these in pixels."""
    real = task.train.x
    parts = (unit(part).flatten(1).cpu() for part in real.split(AT_ONCE))
    rows = nearest(x.flatten(1).cpu(), parts).row
    return unit(real[rows.to(real.device)]).cpu()


def colour(x: Float[Tensor, "n c h w"]) -> Colours:
    """In three channels, as pictures show them."""
    return x[:, :3] if x.shape[1] >= 3 else x[:, :1].expand(-1, 3, -1, -1)


def mark_beyond(x: Float[Tensor, "n c h w"]) -> Colours:
    """The images faintly in grey; red where a channel is brighter than white, blue where one is darker than black."""
    above, below = ((part.amax(1, keepdim=True) / DEEP).clamp(0, 1) for part in (x - 1, -x))
    grey = colour(0.6 + 0.4 * x.mean(1, keepdim=True).clamp(0, 1))
    red, blue = (torch.tensor(one)[:, None, None].expand_as(grey) for one in (RED, BLUE))
    return grey.lerp(red, above.expand_as(grey)).lerp(blue, below.expand_as(grey))
