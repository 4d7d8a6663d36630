"""The real data, as every method and every evaluation sees it."""

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from attar.data.encoder import Encoder, make_encoder
from attar.data.normalisation import unit
from attar.data.on_disk import fetch_rows, is_on_disk, pieces
from attar.data.table import Columns
from attar.data.whitening import AnyNormalisation, whiten
from attar.engine.slices import at_rows
from attar.networks.by_name import make_network
from attar.networks.generator import TrainedGenerator, read_generator
from attar.networks.network import Network
from attar.rng import Rng

OWN_GENERATOR = "own"


@dataclass(frozen=True, eq=False)  # the == of two tensors is a tensor, no answer
class Examples:
    """Images in the dtype that came (`uint8`, or floats in [0, 1]) and labels counting from 0.

    Images may be mapped from a file, and then come from the disk as they are looked at: never write to them.
    """

    x: Shaped[Tensor, "n c h w"]
    y: Int[Tensor, " n"]
    group: Int[Tensor, " n"] | None = None
    """A second label of each image, such as its place or its person, by which fairness is measured."""
    fingerprint: str | None = None
    """A hash that is known already, of the images and labels. Who replaces one of them also says `fingerprint=None`."""

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Those there are, by name."""
        named = {"x": self.x, "y": self.y, "group": self.group}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def to(self, device: torch.device, *, images: bool = True) -> "Examples":
        """The same on another device, or all but their images."""
        moved: dict[str, Any] = {name: part.to(device) for name, part in self.tensors.items() if images or name != "x"}
        return dataclasses.replace(self, **moved)


@dataclass(frozen=True, eq=False)
class Task:
    """A labelled image set, or a labelled table, with a training and a test part.

    `split` says where the test part comes from. `flip` is whether a mirrored image still belongs to its class.
    `columns` are those of a table, one for each channel: its rows are images of one pixel to all that follows.
    """

    name: str
    train: Examples
    test: Examples
    classes: tuple[str, ...]
    normalisation: AnyNormalisation
    network: Network
    split: str = "test set"
    flip: bool = True
    columns: Columns | None = None
    encoder: Encoder | None = None
    """Where a user has a network that was trained elsewhere: selections and plots may look at its features."""
    groups: tuple[str, ...] = ()
    """The names of the groups of the examples, where they have any."""
    generator: TrainedGenerator | None = None
    """Where a user has a generator of such images: methods that learn its codes take it instead of Attar's own."""

    @property
    def called(self) -> str:
        """What a reader calls an example."""
        return "image" if self.columns is None else "row"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        c, h, w = self.train.x.shape[1:]
        return c, h, w

    @property
    def device(self) -> torch.device:
        """Where the labels are, and the images where they fit."""
        return self.train.y.device

    @property
    def generator_identity(self) -> str:
        """Of the generator whose codes are learned: a user's, or Attar's own."""
        return self.generator.identity if self.generator else OWN_GENERATOR

    def to(self, device: torch.device) -> "Task":
        """The same data on another device.

        Training images from a file stay there if they are too many for the device, and are moved as they are looked at.
        """
        if device == self.device:
            return self
        stay = self.on_disk and self.train.x.nbytes > room(device)
        train, test = self.train.to(device, images=not stay), self.test.to(device)
        parts: dict[str, Any] = {"normalisation": self.normalisation.to(device), "network": self.network.to(device)}
        parts["encoder"] = self.encoder and self.encoder.to(device)
        parts["generator"] = self.generator and self.generator.to(device)
        return dataclasses.replace(self, train=train, test=test, **parts)

    def with_network(self, name: str) -> "Task":
        """The same data with another family of networks: a known name, or `file.py:Name`."""
        return dataclasses.replace(self, network=make_network(name, self.shape, len(self.classes)).to(self.device))

    def whitened(self) -> "Task":
        """The same data, whose images networks see whitened (ZCA) by what its training part has in common.

        It takes up to a minute for 50,000 images of 3 × 32 × 32, once: the cache keeps it. Raises `ValueError` for a
        table, for images of more than 4,096 numbers, and where there are fewer than two.
        """
        if self.columns is not None:
            raise ValueError("whitening is for images, and these are rows of a table")
        normalisation = whiten(self.train.x, self.fingerprint, self.normalisation.plain).to(self.device)
        encoder = self.encoder and dataclasses.replace(self.encoder, given=normalisation)
        return dataclasses.replace(self, normalisation=normalisation, encoder=encoder)

    def with_encoder(self, name: str, weights: Path | str | None = None, size: int | None = None) -> "Task":
        """The same data with a network that was trained elsewhere, whose features selections and reports then use.

        `name` is `efficientnet-lite0` (extra `encoder`), or a known network, `timm:NAME` or `file.py:Name` with the
        file of its `weights`: safetensors, or one that `torch.save` wrote. Images are brought to the size that the
        weights of timm's models were trained at, and others stay as they are; `size` is another, in pixels a side.
        Raises `ValueError` where the network or its weights are missing, or do not fit the images.
        """
        encoder = make_encoder(name, weights, size, self.shape, len(self.classes), self.normalisation)
        return dataclasses.replace(self, encoder=encoder.to(self.device))

    def with_generator(self, name: str, weights: Path | str | None = None) -> "Task":
        """The same data with a generator that was trained elsewhere, whose codes `gan-latents` then learns.

        `name` is `file.py:Name`, a module called as `Name(shape, classes)`. Its attributes `codes` and `classes` are
        the length of a code and the number of classes. Called with codes `(n, codes)` and classes `(n,)` it gives
        images on [−1, 1]. Raises `ValueError` where it or the file of its `weights` is missing, or does not fit.
        """
        path = None if weights is None else Path(weights)
        found = read_generator(name, path, self.shape, len(self.classes))
        return dataclasses.replace(self, generator=found.to(self.device))

    @cached_property
    def on_disk(self) -> bool:
        """Whether the training images come from a file as they are read."""
        return is_on_disk(self.train.x)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the training examples."""
        return self.train.fingerprint or hash_examples(self.train)

    @cached_property
    def counts(self) -> Int[Tensor, " classes"]:
        """Training images of each class."""
        return self.train.y.bincount(minlength=len(self.classes))

    @cached_property
    def fewest(self) -> int:
        """Images of the smallest class."""
        return int(self.counts.min())  # kept as a number: each look at one on a GPU waits for it

    @cached_property
    def table(self) -> Int[Tensor, "classes most"]:
        """Row c: the training indices of class c, in order; short rows are filled with their first index."""
        rows = self.train.y.argsort(stable=True).split(self.counts.tolist())
        most = int(self.counts.max())
        return torch.stack([torch.cat([row, row[:1].expand(most - len(row))]) for row in rows])

    def indices(self, classes: Sequence[int], n: int, rng: Rng) -> Int[Tensor, "k n"]:
        """`n` training indices of each class, without replacement; a class with fewer repeats its permutation.

        Drawn for all classes and then taken, so that a shard of the classes sees what the whole run sees.
        """
        keys = torch.rand(self.table.shape, generator=rng.generator(self.device), device=self.device)
        if self.fewest < self.table.shape[1]:
            # What fills short rows comes last, as all other keys are below 1.
            keys.masked_fill_(torch.arange(self.table.shape[1], device=self.device) >= self.counts[:, None], 2)
        # Where random keys are smallest: a draw without replacement, for all classes at once.
        order = keys.topk(min(n, self.table.shape[1]), largest=False).indices
        if self.fewest < n:
            order = order.gather(1, torch.arange(n, device=self.device) % self.counts[:, None])
        return self.table.gather(1, order)[at_rows(classes)]

    def first(self, n: int) -> Int[Tensor, "classes n"]:
        """The first `n` training indices of each class; a class with fewer starts over."""
        return self.table.gather(1, torch.arange(n, device=self.device) % self.counts[:, None])

    def need(self, classes: Sequence[int], ipc: int, factor: int = 1) -> None:
        """Raises `ValueError` naming the smallest of these classes where it is too small for `ipc` images.

        Each of them is made of `factor`² real ones.
        """
        c = min(classes, key=self.counts.tolist().__getitem__)
        count = int(self.counts[c])
        has = f"class {self.classes[c]!r} has {count} {self.called}{'s' * (count != 1)}"
        has += " besides those held out for testing" if self.split.startswith("hold-out") else ""
        if count < ipc:
            raise ValueError(f"{has}, fewer than the {ipc} per class that are asked for")
        if count < ipc * factor**2:
            told = f"{has}, too few for {ipc} per class at factor {factor}, as each takes {factor**2}"
            raise ValueError(f"{told}: factor={math.isqrt(count // ipc)} suits them")

    def most_tiles(self, ipc: int) -> int:
        """The largest factor at which the smallest class has images for `ipc`; 0 where it has fewer than that."""
        return math.isqrt(self.fewest // ipc)

    def sample(self, classes: Sequence[int], n: int, rng: Rng) -> Float[Tensor, "k n c h w"]:
        """`n` normalised training images of each class, drawn as `indices` says."""
        return self.images(self.indices(classes, n, rng))

    def images(self, indices: Int[Tensor, "*k"]) -> Float[Tensor, "*k c h w"]:
        """Normalised training images by index."""
        return self.normalise(self.raw(indices))

    def raw(self, indices: Int[Tensor, "*k"]) -> Shaped[Tensor, "*k c h w"]:
        """Training images by index, as they came."""
        if not self.on_disk:
            return self.train.x[indices]
        indices = indices.cpu()
        fetch_rows(self.train.x, indices)
        return self.train.x[indices].to(self.device)

    def normalise(self, raw: Shaped[Tensor, "*k c h w"]) -> Float[Tensor, "*k c h w"]:
        """Images as they came, as networks see them."""
        return self.normalisation.to_network(unit(raw))


def room(device: torch.device) -> int:
    """Bytes of a GPU that training images may take: a quarter, as networks and their graphs need the rest."""
    return torch.cuda.get_device_properties(device).total_memory // 4 if device.type == "cuda" else 0


def hash_examples(examples: Examples) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for tensor in examples.tensors.values():
        digest.update(str((tuple(tensor.shape), tensor.dtype)).encode())  # else other shapes have the same bytes
        for some in pieces(tensor):
            digest.update(tensor[some].cpu().contiguous().numpy().data)
    return digest.hexdigest()
