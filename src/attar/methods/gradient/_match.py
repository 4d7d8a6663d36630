"""The term of gradient matching: what a network would learn from the real and from the synthetic images of a class."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attar.distances.gradients import Gradient
from attar.engine.by_hand import with_gradient
from attar.methods._views import View, Views, labels
from attar.networks.network import Network
from attar.networks.weights import Weights
from attar.rng import Rng
from attar.wording import in_a_line


@dataclass(frozen=True, eq=False)
class Match:
    """Compares the gradients of a network in all its weights, class by class.

    `learn(w, x, y)` is the gradient of the mean cross-entropy. `compare(w, s, y, target)` is the distance of such a
    gradient to another one, and its gradient in the images `s`.
    """

    views: Views
    learn: Callable[..., Gradient]
    compare: Callable[..., tuple[Tensor, Tensor]]

    @classmethod
    def of(cls, views: Views, distance: Callable[[Gradient, Gradient], Tensor], real: int, synthetic: int) -> "Match":
        """`real` and `synthetic` are the operations of all updates' looks at such images.

        Raises `ValueError` for a network that has no second derivative.
        """
        network = dataclasses.replace(views.task.network, twice_differentiable=True)

        def compare(w: Weights, s: Tensor, y: Tensor, target: Gradient) -> tuple[Tensor, Tensor]:
            return torch.func.grad_and_value(lambda s: distance(network.gradient(w, s, y), target))(s)

        refuse_once_differentiable(network, views.task.shape, compare)
        run = views.run
        return cls(views, run.engine(network.gradient, real), run.engine(compare, synthetic))

    def terms(self, w: Weights, view: View) -> Iterator[Tensor]:
        """One for each class: its graph is that of the augmentation alone."""
        for c in self.views.syn.classes:
            real = view.real_images([c]).flatten(0, 1)
            target = self.learn(w, real, labels((c,), len(real), real.device))
            s = view.synthetic([c])
            gradient, value = self.compare(w, s.detach(), labels((c,), len(s), s.device), target)
            yield with_gradient(value, s, gradient)


def refuse_once_differentiable(network: Network, shape: tuple[int, ...], compare: Callable[..., Any]) -> None:
    """Tries one image. Raises `ValueError` where that has no second derivative."""
    w, x = network.init(Rng.of(0)), torch.zeros(1, *shape, device=network.device)
    try:
        compare(w, x, torch.zeros(1, dtype=torch.long, device=network.device), w.params)
    except RuntimeError as error:
        told = f"{network.name} cannot be differentiated twice, which matching its gradients needs"
        raise ValueError(f"{told}: {in_a_line(error)}") from None
