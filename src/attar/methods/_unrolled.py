"""What methods share that differentiate through a student's training: how it learns."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from attar.augment.dsa import Augment
from attar.data.task import Task
from attar.engine.run import Run
from attar.methods._seen import freeze
from attar.networks.weights import Labels, Weights
from attar.rng import Rng
from attar.synthesis.pixels import Pixels
from attar.training.train import SGD, Adam
from attar.training.unrolled import Through, Unrolled, draw_steps


@dataclass(frozen=True)
class Learner:
    """How a student learns from the synthetic images: augmented, in batches of `batch`, or from all of them."""

    task: Task
    unrolled: Unrolled
    batch: int | None
    augment: Augment

    @classmethod
    def of(
        cls,
        task: Task,
        syn: Pixels,
        run: Run,
        optimiser: SGD | Adam,
        *,
        steps: int,
        given: int = 0,
        batch: int,
        augment: str,
        through: Through = "exact",
    ) -> "Learner":
        """`steps` are those of the whole run, of which `given` are not differentiated. A `batch` of 0 is all images.

        Raises `ValueError` for a network that has no second derivative.
        """
        n = len(syn.classes) * syn.each
        size = min(batch or n, n)
        unrolled = Unrolled.of(task.network, task.shape, optimiser, steps * size, run, through, given=given * size)
        augmented = Augment(augment) if task.flip else Augment(augment).without_flip()
        return cls(task, unrolled, None if size == n else size, augmented)

    def learn(
        self,
        outer: Callable[[Weights], Float[Tensor, ""]],
        w: Weights,
        x: Float[Tensor, "n c h w"],
        y: Labels,
        lr: Float[Tensor, ""],
        steps: int,
        rng: Rng,
        *,
        skip: int = 0,
    ) -> Float[Tensor, ""]:
        """`outer` of what `w` becomes in so many steps, with derivatives as `Unrolled` has them."""
        walked = draw_steps(x, steps, rng.fold("steps"), self.batch, self.augment)
        return self.unrolled(outer, freeze(self.task, w, rng), x, y, lr, walked, skip=skip)
