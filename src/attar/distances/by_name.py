"""How far two batches of features of each class are apart, by name.

Most are sup over f of |E f(s) − E f(r)| for a family of functions f; the others are their kin.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from attar.distances import mmd as kernels
from attar.distances.characteristic import FREQUENCIES, characteristic_distance, gaussian_frequencies
from attar.distances.mmd import Other, Sample
from attar.distances.transport import DIRECTIONS, sinkhorn_divergence, sliced_wasserstein
from attar.rng import Rng

# What users may ask for: the names of the table below.
Distance = Literal[
    "mean",
    "moments",
    "polynomial",
    "gaussian",
    "laplacian",
    "multiquadric",
    "energy",
    "sliced",
    "sinkhorn",
    "characteristic",
]


@dataclass(frozen=True)
class Discrepancy:
    """A distance of each class's two batches.

    Where it asks for `draws`, it is given so many gaussian vectors, each as long as a feature vector. `fuses` is
    whether it compiles, and soon: many rounds do not, nor does what is made on the host.
    """

    distance: Callable[..., Float[Tensor, " k"]]
    draws: int = 0
    fuses: bool = True

    def noise(self, rng: Rng, like: Float[Tensor, "... d"]) -> Float[Tensor, "t d"] | None:
        """Drawn before, once for all chunks of classes and outside of what a GPU replays."""
        return gaussian_frequencies(self.draws, like.shape[-1], rng, like.device, like.dtype) if self.draws else None

    def given(self, s: Sample, r: Other, noise: Tensor | None) -> Float[Tensor, " k"]:
        return self.distance(s, r) if noise is None else self.distance(s, r, noise)

    def __call__(self, s: Sample, r: Other, rng: Rng) -> Float[Tensor, " k"]:
        return self.given(s, r, self.noise(rng, s))


def radial(kernel: Callable[..., Tensor]) -> Discrepancy:
    return Discrepancy(partial(kernels.radial_mmd, kernel))


DISCREPANCIES: dict[Distance, Discrepancy] = {
    "mean": Discrepancy(kernels.mean_distance),
    "moments": Discrepancy(kernels.moments_distance),
    "polynomial": Discrepancy(kernels.polynomial_mmd),
    "gaussian": radial(kernels.gaussians),
    "laplacian": radial(kernels.laplacian),
    "multiquadric": radial(kernels.inverse_multiquadric),
    "energy": radial(kernels.negative_distance),
    "sliced": Discrepancy(sliced_wasserstein, DIRECTIONS, fuses=False),
    "sinkhorn": Discrepancy(sinkhorn_divergence, fuses=False),
    "characteristic": Discrepancy(characteristic_distance, FREQUENCIES),
}
