"""The real data, as every method and every evaluation sees it."""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attar.mapped import fetch, on_disk, pieces
from attar.network import Network, network
from attar.rng import Rng
from attar.run import at_rows


class Examples(NamedTuple):
    """Images in the dtype that came (`uint8`, or floats in [0, 1]) and labels counting from 0.

    Images may be mapped from a file, and then come from the disk as they are looked at: never write to them.
    """

    x: Tensor
    y: Tensor


@dataclass(frozen=True, eq=False)
class Task:
    """A labelled image set with a training and a test part.

    `mean` and `std` are per channel, on [0, 1]. `split` says where the test part comes from. `flip` is whether a mirrored
    image still belongs to its class.
    """

    name: str
    train: Examples
    test: Examples
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    network: Network
    split: str = "test set"
    flip: bool = True

    @property
    def shape(self) -> tuple[int, int, int]:
        c, h, w = self.train.x.shape[1:]
        return c, h, w

    @property
    def device(self) -> torch.device:
        return self.train.y.device

    def to(self, device: torch.device) -> "Task":
        """The same data on another device; training images that come from a file and are too many for it stay there, and are moved as
        they are looked at."""
        if device == self.device:
            return self
        stay = self.on_disk and self.train.x.nbytes > room(device)
        train = Examples(self.train.x if stay else self.train.x.to(device), self.train.y.to(device))
        test = Examples(*(part.to(device) for part in self.test))
        return dataclasses.replace(self, train=train, test=test, network=self.network.to(device))

    def with_network(self, name: str) -> "Task":
        """The same data with another family of networks: a known name, or `file.py:Name`."""
        return dataclasses.replace(self, network=network(name, self.shape, len(self.classes)).to(self.device))

    @cached_property
    def on_disk(self) -> bool:
        """Whether the training images come from a file as they are read."""
        return on_disk(self.train.x)

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.train)

    @cached_property
    def counts(self) -> Int[Tensor, " classes"]:
        return self.train.y.bincount(minlength=len(self.classes))

    @cached_property
    def fewest(self) -> int:
        """Images of the smallest class."""
        return int(self.counts.min())

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
            keys.masked_fill_(torch.arange(self.table.shape[1], device=self.device) >= self.counts[:, None], 2)
        order = keys.topk(min(n, self.table.shape[1]), largest=False).indices
        if self.fewest < n:
            order = order.gather(1, torch.arange(n, device=self.device) % self.counts[:, None])
        return self.table.gather(1, order)[at_rows(classes)]

    def first(self, n: int) -> Int[Tensor, "classes n"]:
        """The first `n` training indices of each class; a class with fewer starts over."""
        return self.table.gather(1, torch.arange(n, device=self.device) % self.counts[:, None])

    def sample(self, classes: Sequence[int], n: int, rng: Rng) -> Float[Tensor, "k n c h w"]:
        """`n` normalised training images of each class."""
        return self.images(self.indices(classes, n, rng))

    def images(self, indices: Int[Tensor, "*k"]) -> Float[Tensor, "*k c h w"]:
        """Normalised training images by index."""
        return self.normalise(self.raw(indices))

    def raw(self, indices: Int[Tensor, "*k"]) -> Tensor:
        """Training images by index, as they came."""
        if not self.on_disk:
            return self.train.x[indices]
        indices = indices.cpu()
        fetch(self.train.x, indices)
        return self.train.x[indices].to(self.device)

    def normalise(self, x: Tensor) -> Float[Tensor, "*k c h w"]:
        x = unit(x)
        return (x - per_channel(self.mean, x)) / per_channel(self.std, x)


def room(device: torch.device) -> int:
    """Bytes of a GPU that training images may take: a quarter of them."""
    return torch.cuda.get_device_properties(device).total_memory // 4 if device.type == "cuda" else 0


def fingerprint(train: Examples) -> str:
    """A hash of the training images and labels."""
    digest = hashlib.blake2b(digest_size=16)
    for tensor in train:
        digest.update(str((tuple(tensor.shape), tensor.dtype)).encode())
        for some in pieces(tensor):
            digest.update(tensor[some].cpu().contiguous().numpy().data)
    return digest.hexdigest()


def unit(x: Tensor) -> Float[Tensor, "*k c h w"]:
    """Images on [0, 1]: bytes as float32, floats as they are; laid out as their shape says, which an array on disk need not be."""
    x = x.contiguous()
    return x.float() / 255 if x.dtype == torch.uint8 else x


def per_channel(values: Sequence[float], like: Tensor) -> Float[Tensor, "c 1 1"]:
    return constant(tuple(values), like.device, like.dtype)[:, None, None]


@cache
def constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Float[Tensor, " n"]:
    """Made once: each copy to a device may wait for it."""
    return torch.tensor(values, device=device, dtype=dtype)
