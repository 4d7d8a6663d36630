"""Fresh images of a set's generator, drawn anew for every epoch: what a process is told of it, and draws by."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from attar.condensed.condensed_set import CondensedSet
from attar.data.whitening import AnyNormalisation
from attar.files import hash_tensors, read_tensors, write_tensors
from attar.networks.generator import Generator
from attar.networks.weights import Weights
from attar.rng import Rng

Draw = Callable[[Rng], tuple[Tensor, Tensor]]
AT_ONCE = 1000  # images that pass the generator


@dataclass(frozen=True)
class Fresh:
    """A generator, the file in which its weights lie, and how networks see its images."""

    family: Generator
    path: Path
    hash: str
    normalisation: AnyNormalisation

    @classmethod
    def of(cls, made: CondensedSet, path: Path) -> "Fresh":
        """The set's generator, whose weights are written to a file that processes share.

        Raises `ValueError` for a user's own.
        """
        assert made.decoder is not None
        family, w = made.decoder.generator(tuple(made.images.shape[1:]), len(made.classes))
        write_tensors(path, w.params, {})
        return cls(family, path, hash_tensors(w.params, ""), made.normalisation)

    def load(self, n: int, device: torch.device) -> Draw:
        """What draws `n` network-ready images and their labels, about as many of each class."""
        weights, _ = read_tensors(self.path)
        w = Weights({name: tensor.to(device) for name, tensor in weights.items()}, {})

        @torch.no_grad()
        def draw(rng: Rng) -> tuple[Tensor, Tensor]:
            z = torch.randn(n, self.family.codes, generator=rng.generator(device), device=device)
            y = torch.arange(n, device=device) % self.family.build.classes
            parts = zip(z.split(AT_ONCE), y.split(AT_ONCE), strict=True)
            return self.normalisation.to_network(torch.cat([self.family.images(w, *part) for part in parts])), y

        return draw
