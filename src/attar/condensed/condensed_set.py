"""The condensed set: what a method makes, what is stored, and what anyone can load."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.utils.data import TensorDataset

from attar.condensed.tiles import unpack_tiles
from attar.data.normalisation import Normalisation, unit
from attar.data.task import Task


@dataclass(frozen=True, eq=False)  # the == of two tensors is a tensor, no answer
class CondensedSet:
    """Stored images and the transform that makes them network-ready.

    `images` are as learned: on [0, 1] where `space` is `"unit"`, as networks see them where it is `"normalised"`. Each
    holds `factor`² tiles, which decoding enlarges to images of the full side. `soft` is a row for each decoded image:
    probabilities of the classes, where a teacher gave them, or learned labels.
    """

    images: Float[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]
    classes: tuple[str, ...]
    normalisation: Normalisation
    factor: int = 1
    space: str = "unit"
    provenance: dict[str, Any] = field(default_factory=dict)
    soft: Float[Tensor, "m k"] | None = None

    @classmethod
    def of(
        cls,
        task: Task,
        images: Tensor,
        labels: Tensor,
        *,
        factor: int = 1,
        space: str = "unit",
        soft: Tensor | None = None,
    ) -> "CondensedSet":
        """A set of the task's classes, in its normalisation."""
        return cls(images, labels, task.classes, task.normalisation, factor, space, soft=soft)

    @classmethod
    def selected(cls, task: Task, indices: Int[Tensor, "k ipc"]) -> "CondensedSet":
        """Real images, named by their training indices, which the provenance keeps."""
        chosen = indices.flatten()
        made = cls.of(task, unit(task.raw(chosen)).cpu(), task.train.y[chosen].cpu())
        return dataclasses.replace(made, provenance={"indices": chosen.tolist()})

    @classmethod
    def whole(cls, task: Task) -> "CondensedSet":
        """All training images, to compare with."""
        made = cls.of(task, unit(task.train.x).cpu(), task.train.y.cpu())
        return dataclasses.replace(made, provenance={"method": "whole set"})

    @classmethod
    def concat(cls, sets: Sequence["CondensedSet"]) -> "CondensedSet":
        """Shards of one run (by classes) as one set, in the order of labels.

        Raises `ValueError` where they do not fit.
        """
        if not sets:
            raise ValueError("there are no sets to join")
        first = sets[0]
        for other in sets[1:]:
            for name in ("classes", "normalisation", "factor", "space"):
                if getattr(other, name) != getattr(first, name):
                    raise ValueError(f"the sets differ in {name}: {getattr(first, name)} and {getattr(other, name)}")
            if (other.soft is None) != (first.soft is None):
                raise ValueError("some of the sets have soft labels, others have none")
        images, labels = torch.cat([s.images for s in sets]), torch.cat([s.labels for s in sets])
        order, soft = labels.argsort(stable=True), None
        if first.soft is not None:  # in the order of decoded images: all first tiles, then all second ones
            tiles = torch.cat([s.soft.unflatten(0, (first.factor**2, -1)) for s in sets if s.soft is not None], 1)
            soft = tiles[:, order].flatten(0, 1)
        about = {"shards": [s.provenance for s in sets]}
        return dataclasses.replace(first, images=images[order], labels=labels[order], provenance=about, soft=soft)

    @property
    def ipc(self) -> int:
        """Stored images of the best-represented class."""
        return int(self.labels.bincount().max())  # no mean, as a shard has no images of some classes

    @property
    def bytes(self) -> dict[str, int]:
        """Bytes of the float images and labels as stored, of the decoded 8-bit images, and of soft labels.

        All are uncompressed.
        """
        decoded = self.images.numel() * self.factor**2
        soft = 0 if self.soft is None else self.soft.nbytes
        return {"stored": self.images.nbytes + self.labels.nbytes, "eight_bit": decoded, "soft": soft}

    def decoded(self) -> Float[Tensor, "m c h w"]:
        """Full-size images in normalised units."""
        images = self.images
        if self.space == "unit":
            images = self.normalisation.to_network(images)  # before unpacking, whose padding is normalised too
        return unpack_tiles(images, self.factor, self.normalisation.grey)

    def decoded_labels(self) -> Int[Tensor, " m"]:
        """Of the images as `decoded` gives them."""
        return self.labels.repeat(self.factor**2)  # all first tiles, then all second ones, as images are unpacked

    def pictures(self) -> UInt8[Tensor, "m c h w"]:
        """Decoded images at 8 bit, for eyes and for files."""
        return (self.normalisation.to_pixels(self.decoded()).clamp(0, 1) * 255).round().to(torch.uint8)

    def as_dataset(self, *, eight_bit: bool = False, soft: bool = False) -> TensorDataset:
        """Network-ready images and labels: train on them with no further transform.

        `eight_bit` gives what the 8-bit images give, after the same normalisation. `soft` gives probabilities as
        labels, which `torch.nn.functional.cross_entropy` takes as well. Raises `ValueError` where there are none.
        """
        labels = self.soft if soft else self.decoded_labels()
        if labels is None:
            raise ValueError("the set has no soft labels")
        images = self.decoded()
        if eight_bit:
            images = self.normalisation.to_network(self.pictures().float() / 255)
        return TensorDataset(images, labels)
