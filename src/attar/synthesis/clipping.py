"""A gradient that is kept from being much longer than those before it (RaT-BPTT)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attar.engine.by_hand import with_gradient

DECAY, LONGEST = 0.9, 2.0


class Clip(nn.Module):
    """Knows an exponential average of the gradient's norm, and allows twice that.

    The average takes in the norm of each update before that is clipped, beginning with the first.
    """

    average: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("average", torch.zeros(()))

    def forward(self, loss: Float[Tensor, ""], x: Float[Tensor, "..."]) -> Float[Tensor, ""]:
        """The same loss, whose gradient in `x` is clipped; in all else it is as it was."""
        (gradient,) = torch.autograd.grad(loss, x, retain_graph=True)
        norm = gradient.norm()
        self.average.copy_(torch.where(self.average == 0, norm, self.average.lerp(norm, 1 - DECAY)))
        longest = LONGEST * self.average
        share = torch.where(norm > longest, longest / norm, 1.0)
        return loss + with_gradient(torch.zeros_like(loss), x, (share - 1) * gradient)
