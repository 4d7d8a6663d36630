"""What is learned: images, possibly several to a stored one, and where asked their labels."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from attar.condensed.condensed_set import CondensedSet
from attar.condensed.tiles import check_factor, check_whole, pack_tiles, unpack_tiles
from attar.data.normalisation import unit
from attar.data.task import Task
from attar.engine.run import Run
from attar.engine.slices import at_rows
from attar.rng import Rng

Space = Literal["normalised", "unit"]
Init = Literal["real", "mix", "noise"]


class Pixels(nn.Module):
    """`ipc` stored images a class, each holding `factor`² tiles that are enlarged to full images.

    `space` is where the stored pixels live: `"unit"` is [0, 1], normalised when read; `"normalised"` is what networks
    see. `labels`, where there are any, are learned too: a row for each network-ready image, one-hot at first.
    """

    labels: nn.Parameter | None

    def __init__(
        self,
        images: Float[Tensor, "k ipc c h w"],
        classes: Sequence[int],
        task: Task,
        *,
        factor: int,
        space: Space,
        learn_labels: bool = False,
    ):
        super().__init__()
        self.images = nn.Parameter(images)
        self.classes, self.task, self.factor, self.space = tuple(classes), task, factor, space
        self.labels = nn.Parameter(self._one_hot(images.dtype)) if learn_labels else None

    @classmethod
    def start(
        cls,
        task: Task,
        ipc: int,
        run: Run,
        *,
        init: Init = "real",
        factor: int = 1,
        space: Space = "normalised",
        learn_labels: bool = False,
    ) -> "Pixels":
        """`real`: random real images; `mix`: each tile another real image, by nearest-neighbour reduction.

        `noise`: N(0, 1) as networks see it, or N(½, ¼²) on [0, 1] in the space `unit`. Tiles are always mixed when real
        images fill a factor above 1. Raises `ValueError` where a class has too few images, or images
        cannot hold so many tiles; whitened ones hold none.
        """
        classes, rng = run.shard(len(task.classes)), run.rng.fold("init")
        check_factor(factor, task.shape[1:])
        check_whole(task.normalisation, factor)
        if init == "noise":
            images = draw_noise(classes, (len(task.classes), ipc, *task.shape), rng, task.device)
            images = images if space == "normalised" else (images / 4 + 0.5).clamp(0, 1)
        else:
            tiles = factor * factor
            task.need(classes, ipc, factor)
            images = unit(task.raw(task.indices(classes, ipc * tiles, rng)))
            images = pack_tiles(images.unflatten(1, (tiles, ipc)), factor)
            images = task.normalisation.to_network(images) if space == "normalised" else images
        return cls(images, classes, task, factor=factor, space=space, learn_labels=learn_labels)

    def of(self, classes: Sequence[int]) -> Float[Tensor, "k n c h w"]:
        """Network-ready images of some classes, differentiable; n = ipc · factor²."""
        images = self.images[at_rows([self.classes.index(c) for c in classes])]
        k, ipc = images.shape[:2]
        if self.space == "unit":
            images = self.task.normalisation.to_network(images)
        tiles = unpack_tiles(images.flatten(0, 1), self.factor, self.task.normalisation.grey)
        return tiles.unflatten(0, (self.factor**2, k, ipc)).transpose(0, 1).flatten(1, 2)

    @property
    def each(self) -> int:
        """Network-ready images of a class."""
        return self.images.shape[1] * self.factor**2

    def forward(self) -> tuple[Float[Tensor, "n c h w"], Int[Tensor, " n"] | Float[Tensor, "n classes"]]:
        """All network-ready images with their labels, which are soft where they are learned."""
        x = self.of(self.classes)
        if self.labels is not None:
            return x.flatten(0, 1), self.labels.flatten(0, 1)
        return x.flatten(0, 1), torch.tensor(self.classes, device=x.device).repeat_interleave(x.shape[1])

    def clamped(self) -> Float[Tensor, "k ipc c h w"]:
        """The stored images as networks see them: on [0, 1], where they live there."""
        return self.images.clamp(0, 1) if self.space == "unit" else self.images

    @torch.no_grad()
    def clamp_(self) -> None:
        """Put the stored images back on [0, 1], where they live there."""
        self.images.copy_(self.clamped())

    @torch.no_grad()
    def put_(self, images: Float[Tensor, "k ipc c h w"]) -> "Pixels":
        """Take other pixels."""
        self.images.copy_(images)
        return self

    def export(self) -> CondensedSet:
        """The artefact of the images as they stand, class by class."""
        self.clamp_()
        ipc, soft = self.images.shape[1], None
        hard = torch.tensor(self.classes).repeat_interleave(ipc)
        if self.labels is not None:  # in the order of the decoded images: all first tiles, then all second ones
            tiles = self.labels.detach().cpu().unflatten(1, (self.factor**2, ipc))
            soft = tiles.transpose(0, 1).flatten(0, 2)
        images = self.images.detach().cpu().flatten(0, 1)
        return CondensedSet.of(self.task, images, hard, factor=self.factor, space=self.space, soft=soft)

    def _one_hot(self, dtype: torch.dtype) -> Float[Tensor, "k n classes"]:
        # A row for each decoded image, since the tiles of a stored image need not be of one mind.
        rows = F.one_hot(torch.tensor(self.classes, device=self.images.device), len(self.task.classes))
        return rows.to(dtype)[:, None].repeat(1, self.each, 1)


def draw_noise(classes: Sequence[int], size: Sequence[int], rng: Rng, device: torch.device) -> Float[Tensor, "k *size"]:
    """N(0, 1), drawn for all classes and then taken, like real images."""
    return torch.randn(size, generator=rng.generator(device), device=device)[at_rows(classes)]
