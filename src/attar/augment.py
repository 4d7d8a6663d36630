"""Differentiable siamese augmentation (DSA), in the two styles of the literature.

Drawing and applying are two steps: `draw` makes the parameters of `groups` groups, `apply` uses them on a tensor of that
many groups. Real and synthetic batches of a class share a group, so they see the same transformation (Zhao & Bilen,
ICML 2021). All images are in normalised units; zero is the mean colour. Angles are in degrees, shifts in pixels.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attar.rng import Rng
from attar.run import at_rows

BRIGHTNESS, SATURATION, CONTRAST = 1.0, 2.0, 0.5
CROP, CUTOUT, SCALE = 0.125, 0.5, 1.2

Groups = Float[Tensor, "g n c h w"]


@dataclass(frozen=True)
class Step:
    """One operation, its parameters for every group, and the groups it applies to, which the host knows."""

    op: str
    value: Float[Tensor, "g p"]
    on: Bool[Tensor, " g"]

    def rows(self, groups: Sequence[int]) -> "Step":
        return Step(self.op, self.value[at_rows(groups)], self.on[at_rows(groups)])


@dataclass(frozen=True)
class Draw:
    steps: tuple[Step, ...]

    def rows(self, groups: Sequence[int]) -> "Draw":
        """The parameters of some groups: a chunk of classes sees what the whole set of classes would."""
        return Draw(tuple(step for step in (step.rows(groups) for step in self.steps) if step.on.any()))


@dataclass(frozen=True)
class Augment:
    """A strategy: operation names joined by `_` (color, crop, cutout, flip, scale, rotate, turn), empty for none.

    `style="dsa"` applies ONE operation, drawn uniformly from the names (DSA, DM); `"dc"` the same, where a batch is trained on
    with an operation for each image instead of one for all (DC). `style="idc"` applies flip if named, color if named, exactly
    one of {crop, scale, rotate} among those named, cutout if named, in that order (IDC, M3D).
    """

    strategy: str
    style: Literal["dsa", "dc", "idc"] = "dsa"

    def __post_init__(self) -> None:
        unknown = set(self.names) - {"color", *OPERATIONS}
        if unknown:
            raise ValueError(f"unknown augmentation {sorted(unknown)[0]!r} in {self.strategy!r}; known: color, {', '.join(OPERATIONS)}")

    @property
    def names(self) -> list[str]:
        return self.strategy.split("_") if self.strategy else []

    def without_flip(self) -> "Augment":
        """For data whose mirror image is another thing, such as digits."""
        return Augment("_".join(name for name in self.names if name != "flip"), self.style)

    def draw(self, groups: int, shape: Sequence[int], rng: Rng, device: torch.device, *, same_op: bool = False) -> Draw:
        """Parameters for `groups` groups of images of `shape` (c, h, w); `same_op` lets all groups share the operation.

        Which operation applies is decided on the host, its parameters on `device`.
        """
        choice = Choice(groups, same_op, rng.generator())
        steps = [
            Step(op, value(groups, shape, rng.fold(op).generator(device)).to(device), on)
            for name, on in self._plan(choice)
            if on.any()
            for op, value in (COLOR if name == "color" else {name: OPERATIONS[name][0]}).items()
        ]
        return Draw(tuple(steps))

    def _plan(self, choice: "Choice") -> list[tuple[str, Tensor]]:
        if self.style != "idc":
            return choice.one_of(self.names)
        geometric = [name for name in self.names if name in ("crop", "scale", "rotate")]
        first = [(name, choice.all()) for name in ("flip", "color") if name in self.names]
        last = [("cutout", choice.all())] if "cutout" in self.names else []
        return first + choice.one_of(geometric) + last


@dataclass(frozen=True)
class Choice:
    """Which groups an operation applies to."""

    groups: int
    same: bool
    generator: torch.Generator

    def all(self) -> Bool[Tensor, " g"]:
        return torch.ones(self.groups, dtype=torch.bool)

    def one_of(self, names: list[str]) -> list[tuple[str, Tensor]]:
        if not names:
            return []
        chosen = torch.randint(len(names), (1 if self.same else self.groups,), generator=self.generator).expand(self.groups)
        return [(name, chosen == i) for i, name in enumerate(names)]


def apply(x: Groups, draw: Draw) -> Groups:
    """`x` as the drawn parameters transform it; differentiable in `x`. One group in the draw serves all groups of `x`."""
    own = False  # whether x is a copy, which may be written to
    for step in draw.steps:
        if step.on.all():
            x, own = FUNCTIONS[step.op](x, step.value), False
        else:
            rows = step.on.nonzero()[:, 0].to(x.device)
            x, own = x if own else x.clone(), True
            x.index_copy_(0, rows, FUNCTIONS[step.op](x[rows], step.value[rows]))
    return x


def uniform(count: int) -> Callable[..., Tensor]:
    return lambda groups, shape, generator: torch.rand(groups, count, generator=generator, device=generator.device)


def draw_shift(groups: int, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    shifts = [integers(-s, s, groups, generator) for s in (math.floor(CROP * side + 0.5) for side in shape[1:])]
    return torch.stack(shifts, 1)


def draw_hole(groups: int, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Centre and side of the hole, row and column; the centre may lie on the far border where the side is even."""
    sides = [math.floor(CUTOUT * side + 0.5) for side in shape[1:]]
    centres = [integers(0, side - k % 2, groups, generator) for side, k in zip(shape[1:], sides, strict=True)]
    return torch.stack([*centres, *(torch.full_like(centres[0], k) for k in sides)], 1)


def integers(low: int, high: int, count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(low, high + 1, (count,), generator=generator, device=generator.device).float()


def column(value: Float[Tensor, " g"]) -> Float[Tensor, "g 1 1 1 1"]:
    return value[:, None, None, None, None]


def brightness(x: Groups, value: Tensor) -> Groups:
    return x + (column(value[:, 0]) - 0.5) * BRIGHTNESS


def saturation(x: Groups, value: Tensor) -> Groups:
    grey = x.mean(2, keepdim=True)
    return grey + column(value[:, 0]) * SATURATION * (x - grey)


def contrast(x: Groups, value: Tensor) -> Groups:
    mean = x.mean((2, 3, 4), keepdim=True)
    return mean + (column(value[:, 0]) + CONTRAST) * (x - mean)


def crop(x: Groups, value: Tensor) -> Groups:
    """output[i, j] = x[i + dy, j + dx], zero outside."""
    h, w = x.shape[-2:]
    rows, inside_h = shifted(h, value[:, 0])
    columns, inside_w = shifted(w, value[:, 1])
    if len(value) == 1:
        picked = x[..., rows[0][:, None], columns[0]]
    else:
        group = torch.arange(len(x), device=x.device)[:, None, None]
        picked = x[group, :, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 4, 1, 2)
    return picked * (inside_h[:, :, None] & inside_w[:, None, :])[:, None, None]


def shifted(side: int, shift: Float[Tensor, " g"]) -> tuple[Int[Tensor, "g s"], Bool[Tensor, "g s"]]:
    index = torch.arange(side, device=shift.device) + shift[:, None].long()
    return index.clamp(0, side - 1), (index >= 0) & (index < side)


def cutout(x: Groups, value: Tensor) -> Groups:
    """A hole of zeros whose row and column indices are clamped to the image, as in the authors' code."""
    hole = covered(x.shape[-2], value[:, 0], value[:, 2])[:, :, None] & covered(x.shape[-1], value[:, 1], value[:, 3])[:, None, :]
    return x * ~hole[:, None, None]


def covered(side: int, centre: Float[Tensor, " g"], width: Float[Tensor, " g"]) -> Bool[Tensor, "g s"]:
    low = centre - width.div(2, rounding_mode="floor")
    index = torch.arange(side, device=centre.device)
    return (index >= low.clamp(0, side - 1)[:, None]) & (index <= (low + width - 1).clamp(0, side - 1)[:, None])


def flip(x: Groups, value: Tensor) -> Groups:
    return torch.where(column(value[:, 0]) < 0.5, x.flip(-1), x)


def scale(x: Groups, value: Tensor) -> Groups:
    """Independent factors in [1/1.2, 1.2] along the two axes; above one shrinks the picture."""
    factor = 1 / SCALE + value * (SCALE - 1 / SCALE)
    return affine(x, torch.diag_embed(factor))


def rotate(x: Groups, value: Tensor, degrees: float = 15.0) -> Groups:
    angle = (value[:, 0] - 0.5) * 2 * math.radians(degrees)
    cos, sin = angle.cos(), angle.sin()
    return affine(x, torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1))


def affine(x: Groups, matrix: Float[Tensor, "#g 2 2"]) -> Groups:
    """Bilinear sampling about the centre, zero outside. The images of a group share one grid, as its channels would."""
    g, n, c, h, w = x.shape
    theta = F.pad(matrix.to(x.dtype), (0, 1))
    if len(theta) == 1:
        theta = theta.expand(g, 2, 3)
    grid = F.affine_grid(theta, [g, n * c, h, w], align_corners=False)
    return F.grid_sample(x.reshape(g, n * c, h, w), grid, padding_mode="zeros", align_corners=False).view_as(x)


# name -> (how its parameters are drawn, what it does)
OPERATIONS: dict[str, tuple[Callable[..., Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "crop": (draw_shift, crop),
    "cutout": (draw_hole, cutout),
    "flip": (uniform(1), flip),
    "scale": (uniform(2), scale),
    "rotate": (uniform(1), rotate),
    "turn": (uniform(1), partial(rotate, degrees=45.0)),
}
COLOR = {"brightness": uniform(1), "saturation": uniform(1), "contrast": uniform(1)}
FUNCTIONS = {name: function for name, (_, function) in OPERATIONS.items()} | {
    "brightness": brightness,
    "saturation": saturation,
    "contrast": contrast,
}
