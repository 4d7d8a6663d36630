"""What a network is made of, and what it learns from."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

Labels = Int[Tensor, " n"] | Float[Tensor, "n k"]  # soft ones are probabilities of the classes
TRAINING = 3  # what a forward and a backward pass cost, in forward passes


class Weights(NamedTuple):
    """What a network is made of: `params` are trained, `buffers` (running statistics) follow."""

    params: dict[str, Tensor]
    buffers: dict[str, Tensor]

    def between(self, end: "Weights", share: float) -> "Weights":
        """(1 − share) of these parameters and `share` of those at the `end`, with the buffers there."""
        return Weights({name: p.lerp(end.params[name], share) for name, p in self.params.items()}, end.buffers)

    def named(self) -> dict[str, Tensor]:
        """All tensors by a name each, as a file keeps them."""
        return {f"{part}.{name}": tensor for part, group in self._asdict().items() for name, tensor in group.items()}

    @classmethod
    def of(cls, tensors: dict[str, Tensor], device: torch.device) -> "Weights":
        """What `named` gave, on `device`."""
        parts: dict[str, dict[str, Tensor]] = {"params": {}, "buffers": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor.to(device)
        return cls(**parts)


def flatten(params: dict[str, Tensor]) -> Float[Tensor, " p"]:
    """All of them in one tensor."""
    return torch.cat([p.flatten() for p in params.values()])


def unflatten(row: Float[Tensor, " p"], shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    """The parameters as views of such a tensor."""
    parts = row.split([shape.numel() for shape in shapes.values()])
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
