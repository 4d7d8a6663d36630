"""What codes of a generator give: the images of codes that are learned, or of a generator that is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from attar.condensed.condensed_set import CondensedSet
from attar.condensed.decoder import Decoder
from attar.data.task import Task
from attar.engine.run import Run
from attar.engine.slices import at_rows
from attar.networks.generator import Generator
from attar.networks.weights import Weights
from attar.synthesis.pixels import draw_noise


class FromCodes(ABC, nn.Module):
    """`each` codes of every class, of which the generator `family` makes images. Either is learned."""

    codes: Tensor

    def __init__(self, classes: Sequence[int], task: Task, family: Generator, run: Run, flop: int):
        """`flop` counts the operations that the whole run asks of the generator."""
        super().__init__()
        self.classes, self.task, self.family = tuple(classes), task, family
        self.images = run.engine(family.images, flop)

    @abstractmethod
    def w(self) -> Weights:
        """The generator's weights."""

    @property
    def each(self) -> int:
        """Images of a class."""
        return self.codes.shape[1]

    def of(self, classes: Sequence[int]) -> Float[Tensor, "k each c h w"]:
        """Network-ready images of some classes, differentiable."""
        z = self.codes[at_rows([self.classes.index(c) for c in classes])]
        x = self.images(self.w(), z.flatten(0, 1), self.labels(classes))
        return self.task.normalisation.to_network(x).unflatten(0, (len(classes), -1))

    def labels(self, classes: Sequence[int]) -> Int[Tensor, " n"]:
        return torch.tensor(classes, device=self.codes.device).repeat_interleave(self.each)

    def forward(self) -> tuple[Float[Tensor, "n c h w"], Int[Tensor, " n"]]:
        """All network-ready images with their labels."""
        return self.of(self.classes).flatten(0, 1), self.labels(self.classes)

    @torch.no_grad()
    def export(self) -> CondensedSet:
        """The artefact: the generator, its images class by class, and their codes where these are learned."""
        z, y, w = self.codes.flatten(0, 1), self.labels(self.classes), self.w()
        learned = isinstance(self.codes, nn.Parameter)
        decoder = Decoder.of(self.family, w, z.cpu().clone() if learned else None)
        return CondensedSet.of(self.task, self.family.images(w, z, y).cpu(), y.cpu(), decoder=decoder)


def draw_codes(task: Task, each: int, run: Run, family: Generator) -> tuple[Float[Tensor, "k each d"], tuple[int, ...]]:
    """Codes from N(0, 1), as generators are trained on, of the classes of the run's shard; and those classes."""
    classes = run.shard(len(task.classes))
    size = len(task.classes), each, family.codes
    return draw_noise(classes, size, run.rng.fold("init"), task.device), classes
