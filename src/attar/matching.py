"""One term of distribution matching: real and synthetic features under one network and one augmentation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from attar.augment import Augment, apply
from attar.kernels import Other, Sample
from attar.network import Weights
from attar.rng import Rng
from attar.run import Run, sliced
from attar.synthetic import Pixels
from attar.task import Task


@dataclass(frozen=True)
class Matching:
    """`discrepancy` of the two feature batches of each class, summed over a chunk of classes.

    `shared` lets all classes see one draw of the augmentation; otherwise each class has its own.
    """

    task: Task
    features: Callable[..., Tensor]
    augment: Augment
    discrepancy: Callable[[Sample, Other], Float[Tensor, " k"]]
    shared: bool = False

    @classmethod
    def of(cls, task: Task, run: Run, augment: Augment, discrepancy, *, images: int, shared: bool = False) -> "Matching":
        """`images`: how many forward passes of one image the whole run will make; decides whether to compile.

        Raises `ValueError` for a network with batch statistics, which would couple the classes.
        """
        if task.network.keeps_statistics:
            raise ValueError(f"{task.network.name} normalises by batch statistics, which mix the classes: use another normalisation")
        features = run.engine(unlearned(task), images * task.network.flop(task.shape))
        return cls(task, features, augment if task.flip else augment.without_flip(), discrepancy, shared)

    def term(self, w: Weights, syn: Pixels, chunk: Sequence[int], batch_real: int, rng: Rng) -> Float[Tensor, ""]:
        groups = 1 if self.shared else len(self.task.classes)
        draw = self.augment.draw(groups, self.task.shape, rng.fold("augment"), self.task.device)
        draw = draw if self.shared else draw.rows(chunk)
        with torch.no_grad():
            real = self._features(w, apply(self.task.sample(chunk, batch_real, rng.fold("real")), draw))
        return self.discrepancy(self._features(w, apply(syn.of(chunk), draw)), real).sum()

    def _features(self, w: Weights, x: Float[Tensor, "k n c h w"]) -> Sample:
        flat = x.flatten(0, 1)
        f = self.features(w, flat) if torch.is_grad_enabled() else sliced(lambda part: self.features(w, part), flat)
        return f.unflatten(0, x.shape[:2])


def unlearned(task: Task) -> Callable[..., Tensor]:
    """Features of a network that was never trained, so that running statistics, if any, mean nothing."""
    return lambda w, x: task.network.features(w, x, train=True)
