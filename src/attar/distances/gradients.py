"""How far apart two gradients of a network are: sums over the weights of its layers."""

from collections.abc import Callable, Iterator

from jaxtyping import Float
from torch import Tensor

Gradient = dict[str, Tensor]  # one entry for each parameter, in its shape
SMALL = 1e-6


def cosine(s: Gradient, r: Gradient) -> Float[Tensor, ""]:
    """Σ 1 − cos ∠(s_i, r_i) over the output nodes i of all layers (DC).

    s_i holds the gradients of the weights that enter a node. Biases and scales enter none, and do not count. A node
    whose gradient is zero counts 1, and has no gradient itself.
    """
    return sum_up(
        1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + SMALL)
        for a, b in ((a.flatten(1), b.flatten(1)) for a, b in weights(s, r, 2))
    )


def squared(s: Gradient, r: Gradient) -> Float[Tensor, ""]:
    """Σ (s − r)² over the weights of all convolutions, or of linear layers where there are none (IDC)."""
    return sum_up((a - b) ** 2 for a, b in weights(s, r, kernels(s)))


def absolute(s: Gradient, r: Gradient) -> Float[Tensor, ""]:
    """Σ |s − r| over the weights of all convolutions, or of linear layers where there are none (IDC)."""
    return sum_up((a - b).abs() for a, b in weights(s, r, kernels(s)))


GRADIENT_DISTANCES: dict[str, Callable[[Gradient, Gradient], Tensor]] = {
    "cosine": cosine,
    "squared": squared,
    "absolute": absolute,
}


def weights(s: Gradient, r: Gradient, least: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Both gradients in each parameter of at least so many dimensions: 2 for layers of weights, 3 for convolutions."""
    for name, value in s.items():
        if value.ndim >= least:
            yield value, r[name]


def kernels(s: Gradient) -> int:
    """The least number of dimensions of what IDC compares."""
    return min(3, max(value.ndim for value in s.values()))


def sum_up(parts: Iterator[Tensor]) -> Float[Tensor, ""]:
    total, *rest = (part.sum() for part in parts)
    return sum(rest, total)
