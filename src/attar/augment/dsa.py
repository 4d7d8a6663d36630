"""Differentiable siamese augmentation (DSA), in the two styles of the literature.

Drawing and applying are two steps. `draw` makes the parameters of `groups` groups on the host; `apply` uses them on a
tensor of that many groups. Real and synthetic batches of a class share a group, so they see the same transformation
(Zhao & Bilen, ICML 2021). All images are in normalised units; zero is the mean colour. Angles are in degrees, shifts in
pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from attar.augment.affine import Groups, affine
from attar.augment.operations import COLOR, FUNCTIONS, MATRICES, OPERATIONS, as_column
from attar.engine.device import send
from attar.engine.slices import at_rows
from attar.rng import Rng

CACHED = 2**20  # numbers that a CPU's caches hold from one operation to the next


class Applied(NamedTuple):
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
    def steps(self) -> list[Applied]:
        columns = self.table.split([width for _, count in self.ops for width in (1, count)], 1)
        return [
            Applied(op, on[:, 0] > 0, value)
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

    def draw_each(self, n: int, shape: Sequence[int], rng: Rng) -> Draw:
        """Parameters for `n` images that are trained on, each by itself; in DC's style each with an operation."""
        return self.draw(n, shape, rng, same_op=self.style != "dc")

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
