"""Adversarial training: each mini-batch is attacked before the network learns from it (Madry et al., ICLR 2018)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from attar.data.whitening import AnyNormalisation
from attar.training.attack import Ball, climb, gradient_of

Images = Float[Tensor, "n c h w"]
Harden = Callable[[Callable[[Images], Tensor], Images, Images], Images]


@dataclass(frozen=True)
class Hardening:
    """PGD in L∞ from a random start, of `steps` steps of length 2.5 eps / steps; none is plain training.

    The step is Madry's rule of thumb: they may reach any place of the ball and cross it.
    """

    eps: float = 0.0
    steps: int = 0

    stride: ClassVar[float] = 2.5

    @property
    def remark(self) -> str:
        """What a reader is told of networks trained so; nothing of plain training."""
        return f", trained against PGD-{self.steps} at {Ball('linf', self.eps)}" if self.steps else ""

    def bind(self, normalisation: AnyNormalisation) -> Harden | None:
        """What a training does with each mini-batch, whose images are normalised so; `None` for nothing.

        It takes a loss of network-ready images, such images, and noise on [0, 1]. Augmented images beyond black and
        white are clamped, as the ball has none there.
        """
        if not self.steps:
            return None
        ball, size = Ball("linf", self.eps), self.stride * self.eps / self.steps

        def harden(loss: Callable[[Images], Tensor], x: Images, noise: Images) -> Images:
            clean = normalisation.to_pixels(x).clamp(0, 1)
            gradient = gradient_of(lambda pixels: loss(normalisation.to_network(pixels)))
            return normalisation.to_network(climb(gradient, clean, ball.start(clean, noise), ball, self.steps, size))

        return harden


PLAIN = Hardening()
