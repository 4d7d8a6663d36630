"""Images changed within a ball so that a loss grows: projected gradient ascent, in pixels on [0, 1]."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Norm = Literal["linf", "l2"]
Images = Float[Tensor, "n c h w"]
Gradient = Callable[[Images], Images]


@dataclass(frozen=True)
class Ball:
    """Images at most `eps` away in a norm, in units of pixels on [0, 1]; and on [0, 1] themselves."""

    norm: Norm
    eps: float

    # Run-time checks of types, where one has switched them on, would come before this sentence.
    __no_type_check__ = True

    def __post_init__(self) -> None:
        if not isinstance(self.eps, int | float) or not 0 <= self.eps < math.inf:
            raise ValueError(f"eps must be a number of at least 0, in pixels on [0, 1], not {self.eps!r}")

    def __str__(self) -> str:
        levels, short = self.eps * 255, float(f"{self.eps:.3g}") == self.eps
        amount = f"{self.eps:.4g}" if short or abs(levels - round(levels, 1)) > 1e-9 else f"{levels:.4g}/255"
        return f"{'L∞' if self.norm == 'linf' else 'L2'} {amount}"

    def project(self, x: Images, clean: Images) -> Images:
        """The image of the ball that is near: exactly the nearest for L∞; for L2 scaled first, then clamped."""
        if self.norm == "linf":
            return x.clamp(clean - self.eps, clean + self.eps).clamp(0, 1)
        change = x - clean
        return (clean + change * (self.eps / length(change).clamp_min(1e-12)).clamp_max(1)).clamp(0, 1)

    def start(self, clean: Images, noise: Images) -> Images:
        """A random image of the ball, from `noise` of uniform numbers on [0, 1]."""
        change = 2 * noise - 1
        if self.norm == "l2":  # somewhere on the way to the border, in a random direction
            share = noise.flatten(1)[:, :1, None, None]
            change = share * change / length(change).clamp_min(1e-12)
        return self.project(clean + self.eps * change, clean)

    def step(self, x: Images, gradient: Images, size: float | Tensor) -> Images:
        """A step of this length uphill: of its sign for L∞, of its direction for L2."""
        direction = gradient.sign() if self.norm == "linf" else gradient / length(gradient).clamp_min(1e-12)
        return x + size * direction


def length(x: Images) -> Float[Tensor, "n 1 1 1"]:
    return x.flatten(1).norm(dim=1)[:, None, None, None]


def climb(gradient: Gradient, clean: Images, start: Images, ball: Ball, steps: int, size: float) -> Images:
    """The last of so many projected steps from the `start` (PGD; Madry et al., ICLR 2018)."""
    x = start
    for _ in range(steps):
        x = ball.project(ball.step(x, gradient(x), size), clean)
    return x


def gradient_of(loss: Callable[[Images], Tensor]) -> Gradient:
    """That of a loss in its images, which is their sum or mean."""

    def gradient(x: Images) -> Images:
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(loss(x), x)[0]

    return gradient
