"""What is learned: images, possibly several to a stored one."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from attar.artefact import CondensedSet, decode
from attar.rng import Rng
from attar.run import Run, at_rows
from attar.task import Task, per_channel, unit

Space = Literal["normalised", "unit"]
Init = Literal["real", "mix", "noise"]


class Pixels(nn.Module):
    """`ipc` stored images a class, each holding `factor`² tiles that are enlarged to full images (IDC's multi-formation).

    `space` is where the stored pixels live: `"unit"` is [0, 1], normalised when read; `"normalised"` is what networks see.
    """

    def __init__(self, images: Float[Tensor, "k ipc c h w"], classes: Sequence[int], task: Task, *, factor: int, space: Space):
        super().__init__()
        self.images = nn.Parameter(images)
        self.classes, self.task, self.factor, self.space = tuple(classes), task, factor, space

    @classmethod
    def start(cls, task: Task, ipc: int, run: Run, *, init: Init = "real", factor: int = 1, space: Space = "normalised") -> "Pixels":
        """`real`: random real images; `mix`: each tile another real image, by nearest-neighbour reduction.

        `noise`: N(0, 1) as networks see it, or N(½, ¼²) on [0, 1] in the space `unit`.
        Tiles are always mixed when real images fill a factor above 1. Raises `ValueError` where a class has too few images.
        """
        classes, rng = run.shard(task), run.rng.fold("init")
        for side in task.shape[1:]:
            if (factor - 1) * math.ceil(side / factor) >= side:
                raise ValueError(f"factor {factor} does not suit a side of {side} pixels: tiles would lie outside")
        if init == "noise":
            images = noise(classes, (len(task.classes), ipc, *task.shape), rng, task.device)
            images = images if space == "normalised" else (images / 4 + 0.5).clamp(0, 1)
        else:
            tiles = factor * factor
            need(task, classes, ipc * tiles)
            images = unit(task.raw(task.indices(classes, ipc * tiles, rng)))
            images = mosaic(images.unflatten(1, (tiles, ipc)), factor)
            images = task.normalise(images) if space == "normalised" else images
        return cls(images, classes, task, factor=factor, space=space)

    def of(self, classes: Sequence[int]) -> Float[Tensor, "k n c h w"]:
        """Network-ready images of some classes, differentiable; n = ipc · factor²."""
        images = self.images[at_rows([self.classes.index(c) for c in classes])]
        k, ipc = images.shape[:2]
        if self.space == "unit":
            images = (images - per_channel(self.task.mean, images)) / per_channel(self.task.std, images)
        return decode(images.flatten(0, 1), self.factor, self.padding).unflatten(0, (self.factor**2, k, ipc)).transpose(0, 1).flatten(1, 2)

    @property
    def each(self) -> int:
        """Network-ready images of a class."""
        return self.images.shape[1] * self.factor**2

    @property
    def padding(self) -> list[float]:
        """What fills a side that the factor does not divide: mid grey, in network units."""
        return [(0.5 - m) / s for m, s in zip(self.task.mean, self.task.std, strict=True)]

    def forward(self) -> tuple[Float[Tensor, "n c h w"], Int[Tensor, " n"]]:
        """All network-ready images with their labels."""
        x = self.of(self.classes)
        y = torch.tensor(self.classes, device=x.device).repeat_interleave(x.shape[1])
        return x.flatten(0, 1), y

    def clamped(self) -> Float[Tensor, "k ipc c h w"]:
        """The stored images as networks see them: on [0, 1], where they live there."""
        return self.images.clamp(0, 1) if self.space == "unit" else self.images

    @torch.no_grad()
    def clamp_(self) -> None:
        self.images.copy_(self.clamped())

    @torch.no_grad()
    def put_(self, images: Float[Tensor, "k ipc c h w"]) -> "Pixels":
        """Take other pixels."""
        self.images.copy_(images)
        return self

    def export(self) -> CondensedSet:
        """The artefact of the images as they stand, class by class."""
        self.clamp_()
        ipc = self.images.shape[1]
        labels = torch.tensor(self.classes).repeat_interleave(ipc)
        return CondensedSet.of(self.task, self.images.detach().cpu().flatten(0, 1), labels, factor=self.factor, space=self.space)


def need(task: Task, classes: Sequence[int], n: int) -> None:
    """Raises `ValueError` naming the first class that has fewer than `n` training images."""
    for c in classes:
        if task.counts[c] < n:
            raise ValueError(f"class {task.classes[c]!r} has {int(task.counts[c])} images, fewer than the {n} that this budget needs")


def noise(classes: Sequence[int], size: Sequence[int], rng: Rng, device: torch.device) -> Float[Tensor, "k ipc c h w"]:
    """Drawn for all classes and then taken, like real images."""
    return torch.randn(size, generator=rng.generator(device), device=device)[at_rows(classes)]


def mosaic(images: Float[Tensor, "k t ipc c h w"], factor: int) -> Float[Tensor, "k ipc c h w"]:
    """Image t·ipc + i, reduced by nearest neighbour, becomes tile t of stored image i; tiles in row-major order."""
    if factor == 1:
        return images[:, 0]
    k, _, ipc, c, h, w = images.shape
    small = F.interpolate(images.flatten(0, 2), size=(math.ceil(h / factor), math.ceil(w / factor)), mode="nearest")
    tiles = small.view(k, factor, factor, ipc, c, *small.shape[-2:])
    whole = tiles.permute(0, 3, 4, 1, 5, 2, 6).reshape(k, ipc, c, factor * small.shape[-2], factor * small.shape[-1])
    return whole[..., :h, :w]
