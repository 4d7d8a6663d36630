"""Adaptive GSAM (Zhuang et al., ICLR 2022): steps towards parameters around which the loss is flat."""

from dataclasses import dataclass

import torch
from torch import Tensor

Params = dict[str, Tensor]


@dataclass(frozen=True)
class Flatness:
    """Climbs by `rho`, relative to the size of each parameter, and steps by the gradient that it finds there.

    From that it takes off `alpha` times the part of the gradient at the start that is orthogonal to it.
    """

    rho: float = 0.01
    alpha: float = 0.3

    def climb(self, params: Params, gradient: Params) -> Params:
        """θ + ρ θ² ∇ / ‖|θ| ∇‖: where the loss is about the greatest nearby."""
        scale = self.rho / (norm({name: p * gradient[name] for name, p in params.items()}) + 1e-12)
        return {name: p + scale * p.square() * gradient[name] for name, p in params.items()}

    def combine(self, here: Params, above: Params) -> Params:
        """∇ above − α (the part of ∇ here that is orthogonal to it)."""
        share = inner(here, above) / (inner(above, above) + 1e-12)
        return {name: g - self.alpha * (here[name] - share * g) for name, g in above.items()}


def inner(a: Params, b: Params) -> Tensor:
    return torch.stack([(p * b[name]).sum() for name, p in a.items()]).sum()


def norm(a: Params) -> Tensor:
    return inner(a, a).sqrt()
