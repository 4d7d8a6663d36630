"""The operations of DSA: how their parameters are drawn, and what they do to groups of images."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from attar.augment.affine import Groups, affine

BRIGHTNESS, SATURATION, CONTRAST = 1.0, 2.0, 0.5
CROP, CUTOUT, SCALE = 0.125, 0.5, 1.2


def draw_uniform(count: int) -> Callable[..., Tensor]:
    return lambda groups, shape, generator: torch.rand(groups, count, generator=generator, device=generator.device)


def draw_shift(groups: int, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    shifts = [draw_integers(-s, s, groups, generator) for s in (math.floor(CROP * side + 0.5) for side in shape[1:])]
    return torch.stack(shifts, 1)


def draw_hole(groups: int, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Centre and side of the hole, row and column; the centre may lie on the far border where the side is even."""
    sides = [math.floor(CUTOUT * side + 0.5) for side in shape[1:]]
    centres = [draw_integers(0, side - k % 2, groups, generator) for side, k in zip(shape[1:], sides, strict=True)]
    return torch.stack([*centres, *(torch.full_like(centres[0], k) for k in sides)], 1)


def draw_integers(low: int, high: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(low, high + 1, (count,), generator=generator, device=generator.device).float()


def as_column(value: Shaped[Tensor, " g"]) -> Shaped[Tensor, "g 1 1 1 1"]:
    return value[:, None, None, None, None]


def brightness(x: Groups, value: Tensor) -> Groups:
    return x + (as_column(value[:, 0]) - 0.5) * BRIGHTNESS


def saturation(x: Groups, value: Tensor) -> Groups:
    grey = x.mean(2, keepdim=True)
    return grey + as_column(value[:, 0]) * SATURATION * (x - grey)


def contrast(x: Groups, value: Tensor) -> Groups:
    mean = x.mean((2, 3, 4), keepdim=True)
    return mean + (as_column(value[:, 0]) + CONTRAST) * (x - mean)


def crop(x: Groups, value: Tensor) -> Groups:
    """output[i, j] = x[i + dy, j + dx], zero outside."""
    return Crop.apply(x, value)


class Crop(torch.autograd.Function):
    """Its transpose is the opposite shift, gathered like the shift itself.

    Torch would scatter, on a GPU in any order.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(value)
        return shift(x, value)

    @staticmethod
    def backward(ctx: Any, *up: Tensor) -> tuple[Tensor, None]:
        return shift(up[0], -ctx.saved_tensors[0]).contiguous(), None


def shift(x: Groups, value: Tensor) -> Groups:
    """Whole pixels down and right by −`value`."""
    h, w = x.shape[-2:]
    rows, inside_h = shift_index(h, value[:, 0])
    columns, inside_w = shift_index(w, value[:, 1])
    if len(value) == 1:
        picked = x[..., rows[0][:, None], columns[0]]
    else:
        group = torch.arange(len(x), device=x.device)[:, None, None]
        picked = x[group, :, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 4, 1, 2)
    return picked * (inside_h[:, :, None] & inside_w[:, None, :])[:, None, None]


def shift_index(side: int, shift: Float[Tensor, " g"]) -> tuple[Int[Tensor, "g s"], Bool[Tensor, "g s"]]:
    index = torch.arange(side, device=shift.device) + shift[:, None].long()
    return index.clamp(0, side - 1), (index >= 0) & (index < side)


def cutout(x: Groups, value: Tensor) -> Groups:
    """A hole of zeros whose row and column indices are clamped to the image, as in the authors' code."""
    hole = (
        cover(x.shape[-2], value[:, 0], value[:, 2])[:, :, None]
        & cover(x.shape[-1], value[:, 1], value[:, 3])[:, None, :]
    )
    return x * ~hole[:, None, None]


def cover(side: int, centre: Float[Tensor, " g"], width: Float[Tensor, " g"]) -> Bool[Tensor, "g s"]:
    low = centre - width.div(2, rounding_mode="floor")
    index = torch.arange(side, device=centre.device)
    return (index >= low.clamp(0, side - 1)[:, None]) & (index <= (low + width - 1).clamp(0, side - 1)[:, None])


def flip(x: Groups, value: Tensor) -> Groups:
    return torch.where(as_column(value[:, 0]) < 0.5, x.flip(-1), x)


def scale(value: Float[Tensor, "g 2"]) -> Float[Tensor, "g 2 2"]:
    """Independent factors in [1/1.2, 1.2] along the two axes; above one shrinks the picture."""
    return torch.diag_embed(1 / SCALE + value * (SCALE - 1 / SCALE))


def rotate(degrees: float, value: Float[Tensor, "g 1"]) -> Float[Tensor, "g 2 2"]:
    """By up to so many degrees either way."""
    angle = (value[:, 0] - 0.5) * 2 * math.radians(degrees)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)


def apply_map(op: str, x: Groups, value: Tensor) -> Groups:
    return affine(x, MATRICES[op](value))


MATRICES: dict[str, Callable[[Tensor], Tensor]] = {
    "scale": scale,
    "rotate": partial(rotate, 15.0),
    "turn": partial(rotate, 45.0),
}
COLOR = "brightness", "saturation", "contrast"
# how many parameters, how they are drawn, what it does
OPERATIONS: dict[str, tuple[int, Callable[..., Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "brightness": (1, draw_uniform(1), brightness),
    "saturation": (1, draw_uniform(1), saturation),
    "contrast": (1, draw_uniform(1), contrast),
    "crop": (2, draw_shift, crop),
    "cutout": (4, draw_hole, cutout),
    "flip": (1, draw_uniform(1), flip),
    "scale": (2, draw_uniform(2), partial(apply_map, "scale")),
    "rotate": (1, draw_uniform(1), partial(apply_map, "rotate")),
    "turn": (1, draw_uniform(1), partial(apply_map, "turn")),
}
FUNCTIONS = {name: function for name, (_, _, function) in OPERATIONS.items()}
