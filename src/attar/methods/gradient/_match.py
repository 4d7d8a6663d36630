"""The term of gradient matching: what a network would learn from the real and from the synthetic images of a class."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from attar.distances.gradients import Gradient
from attar.engine.by_hand import with_gradient
from attar.methods._views import View, Views, labels
from attar.networks.second_order import twice_differentiable
from attar.networks.weights import Weights


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
        network = twice_differentiable(views.task.network, views.task.shape)

        def compare(w: Weights, s: Tensor, y: Tensor, target: Gradient) -> tuple[Tensor, Tensor]:
            return torch.func.grad_and_value(lambda s: distance(network.gradient(w, s, y), target))(s)

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
