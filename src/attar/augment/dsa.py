"""Differentiable siamese augmentation (DSA), in the two styles of the literature.

Drawing and applying are two steps. `draw` makes the parameters of `groups` groups on the host; `apply` uses them on a
tensor of that many groups. Real and synthetic batches of a class share a group, so they see the same transformation
(Zhao & Bilen, ICML 2021). All images are in normalised units; zero is the mean colour. Angles are in degrees, shifts in
pixels.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from attar.augment.affine import Groups, affine
from attar.engine.device import send
from attar.engine.slices import at_rows
from attar.rng import Rng

BRIGHTNESS, SATURATION, CONTRAST = 1.0, 2.0, 0.5
CROP, CUTOUT, SCALE = 0.125, 0.5, 1.2
CACHED = 2**20  # numbers that a CPU's caches hold from one operation to the next


class Step(NamedTuple):
    """One operation, the groups it applies to, and its parameters for every group."""

    op: str
    on: Bool[Tensor, " g"]
    value: Float[Tensor, "g p"]


class Draw(NamedTuple):
    """Operations in their order, each with the number of its parameters.

    A row of the table holds the parameters of a group. Before those of each operation comes a 1 or 0 that says whether
    it applies. It is one tensor, so that a single copy brings it to a GPU.
    """

    ops: tuple[tuple[str, int], ...]
    table: Float[Tensor, "g p"]

    @classmethod
    def cat(cls, draws: "Sequence[Draw]") -> "Draw":
        """The groups of all of them, which have the same operations."""
        return cls(draws[0].ops, torch.cat([draw.table for draw in draws]))

    @property
    def steps(self) -> list[Step]:
        columns = self.table.split([width for _, count in self.ops for width in (1, count)], 1)
        return [
            Step(op, on[:, 0] > 0, value)
            for (op, _), on, value in zip(self.ops, columns[::2], columns[1::2], strict=True)
        ]

    def rows(self, groups: Sequence[int]) -> "Draw":
        """The parameters of some groups: a chunk of classes sees what the whole set of classes would."""
        return Draw(self.ops, self.table[at_rows(groups)])

    def to(self, device: torch.device) -> "Draw":
        return Draw(self.ops, send(self.table, device))


@dataclass(frozen=True)
class Augment:
    """A strategy: operation names joined by `_` (color, crop, cutout, flip, scale, rotate, turn), empty for none.

    `style="dsa"` applies ONE operation, drawn uniformly from the names (DSA, DM). `"dc"` does the same, but a batch to
    train on has an operation for each image instead of one for all (DC). `"idc"` applies several, in this order: flip
    if named, color if named, exactly one of {crop, scale, rotate} among those named, cutout if named (IDC, M3D).
    """

    strategy: str
    style: Literal["dsa", "dc", "idc"] = "dsa"

    def __post_init__(self) -> None:
        known = ["color", *(name for name in OPERATIONS if name not in COLOR)]
        unknown = set(self.names) - set(known)
        if unknown:
            raise ValueError(
                f"unknown augmentation {sorted(unknown)[0]!r} in {self.strategy!r}; known: {', '.join(known)}"
            )

    @property
    def names(self) -> list[str]:
        return self.strategy.split("_") if self.strategy else []

    def without_flip(self) -> "Augment":
        """For data whose mirror image is another thing, such as digits."""
        return Augment("_".join(name for name in self.names if name != "flip"), self.style)

    def draw(self, groups: int, shape: Sequence[int], rng: Rng, *, same_op: bool = False) -> Draw:
        """Parameters for `groups` groups of images of `shape` (c, h, w).

        `same_op` lets all groups share the operation.
        """
        plan = self._plan(Choice(groups, same_op, rng.generator()))
        steps = [(op, on) for name, on in plan for op in (COLOR if name == "color" else (name,))]
        ops = tuple((op, OPERATIONS[op][0]) for op, _ in steps)
        table, at = torch.zeros(groups, sum(1 + count for _, count in ops)), 0
        for op, on in steps:
            count, value, _ = OPERATIONS[op]
            if on.any():
                table[:, at] = on
                table[:, at + 1 : at + 1 + count] = value(groups, shape, rng.fold(op).generator())
            at += 1 + count
        return Draw(ops, table)

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
        chosen = torch.randint(len(names), (1 if self.same else self.groups,), generator=self.generator).expand(
            self.groups
        )
        return [(name, chosen == i) for i, name in enumerate(names)]


def apply(x: Groups, draw: Draw) -> Groups:
    """`x` as the drawn parameters transform it; differentiable in `x`.

    One group in the draw serves all groups of `x`.
    """
    if x.is_cuda:
        return apply_everywhere(x, draw)
    each = max(1, CACHED // max(1, x.shape[1:].numel()))
    if len(x) <= each or len(draw.table) == 1:
        return apply_where_due(x, draw)
    return torch.cat(
        [
            apply_where_due(part, Draw(draw.ops, own))
            for part, own in zip(x.split(each), draw.table.split(each), strict=True)
        ]
    )


def apply_where_due(x: Groups, draw: Draw) -> Groups:
    """Each operation on the groups it applies to, which the host knows."""
    own = False  # whether x is a copy, which may be written to
    for step in draw.steps:
        if step.on.all():
            x, own = FUNCTIONS[step.op](x, step.value), False
        elif step.on.any():
            rows = step.on.nonzero()[:, 0]
            x, own = x if own else x.clone(), True
            x.index_copy_(0, rows, FUNCTIONS[step.op](x[rows], step.value[rows]))
    return x


def apply_everywhere(x: Groups, draw: Draw) -> Groups:
    """The same by each operation on all groups, so that nothing waits for a GPU, which can fuse and replay it.

    No group is mapped twice: all affine maps are one.
    """
    steps = draw.steps
    maps = [step for step in steps if step.op in MATRICES]
    for step in steps:
        if step.op not in MATRICES:
            x = torch.where(as_column(step.on), FUNCTIONS[step.op](x, step.value), x)
        elif step is maps[0]:
            matrix = torch.stack([MATRICES[map.op](map.value) * map.on[:, None, None] for map in maps]).sum(0)
            on = torch.stack([map.on for map in maps]).any(0)
            x = torch.where(as_column(on), affine(x, matrix + torch.eye(2, device=x.device) * ~on[:, None, None]), x)
    return x


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
