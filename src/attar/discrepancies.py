"""How far two batches of features of each class are apart, by name: sup over f of |E f(s) − E f(r)| for families of f, and its kin."""

from collections.abc import Callable
from functools import partial

from jaxtyping import Float
from torch import Tensor

from attar import kernels
from attar.characteristic import FREQUENCIES, characteristic_distance, gaussian_frequencies
from attar.kernels import Other, Sample
from attar.rng import Rng
from attar.transport import sinkhorn_divergence, sliced_wasserstein

Discrepancy = Callable[[Sample, Other, Rng], Float[Tensor, " k"]]


def fixed(distance: Callable[[Sample, Other], Tensor]) -> Discrepancy:
    """A distance that draws nothing."""
    return lambda s, r, rng: distance(s, r)


def radial(kernel: Callable[..., Tensor]) -> Discrepancy:
    return fixed(partial(kernels.radial_mmd, kernel))


def characteristic(s: Sample, r: Other, rng: Rng) -> Float[Tensor, " k"]:
    """At 1024 gaussian frequencies, drawn afresh."""
    return characteristic_distance(s, r, gaussian_frequencies(FREQUENCIES, s.shape[2], rng, s.device, s.dtype))


DISCREPANCIES: dict[str, Discrepancy] = {
    "mean": fixed(kernels.mean_distance),
    "moments": fixed(kernels.moments_distance),
    "polynomial": fixed(kernels.polynomial_mmd),
    "gaussian": radial(kernels.gaussians),
    "laplacian": radial(kernels.laplacian),
    "multiquadric": radial(kernels.inverse_multiquadric),
    "energy": radial(kernels.negative_distance),
    "sliced": sliced_wasserstein,
    "sinkhorn": fixed(sinkhorn_divergence),
    "characteristic": characteristic,
}
