"""Feature spaces in which real and synthetic images are compared: each is fitted on real images alone."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from attar.data.encoder import Encoder
from attar.data.whitening import AnyNormalisation
from attar.engine.run import Run
from attar.evaluation.audits.trained import Trained, read_network
from attar.networks.network import Network
from attar.networks.weights import Weights
from attar.rng import Rng

Pixels = Float[Tensor, "n c h w"]
Features = Float[Tensor, "n d"]
PIXELS = "pixels"  # the space without a network
NETWORKS = 4  # unlearned ones, whose features stand side by side
DIMENSIONS = 64  # principal components of real features, in which distances are measured: ours
STATISTICS = 256  # real images that give batch normalisation its statistics


@dataclass(frozen=True)
class Space:
    """What makes features of pixels on [0, 1]: nothing, unlearned networks, one that was trained, or an encoder."""

    name: str
    source: Network | Trained | Encoder | None = None
    normalisation: AnyNormalisation | None = None
    """Of what networks see; encoders take images as they see them too."""

    def embedding(self, real: Pixels, run: Run) -> Callable[[Pixels], Features]:
        """Features of images; `real` ones give unlearned networks the statistics that they lack."""
        if self.source is None or self.normalisation is None:
            return lambda x: x.flatten(1)
        normalise = self.normalisation.to_network
        functions = list_functions(self.source, normalise(real[:STATISTICS]), run)
        size = 64 if isinstance(self.source, Encoder) else run.slice_size(len(real))  # an encoder's images are larger

        @torch.no_grad()
        def embed(x: Pixels) -> Features:
            return torch.cat([torch.cat([f(normalise(part)) for part in x.split(size)]) for f in functions], 1)

        return embed


def list_functions(source: Network | Trained | Encoder, real: Tensor, run: Run) -> list[Callable[[Tensor], Tensor]]:
    """Those that give features of network-ready images."""
    if isinstance(source, Encoder):
        return [partial(source.features, source.weights)]
    if isinstance(source, Trained):
        return [partial(source.network.features, read_network(source, run.device))]
    starts = [source.init(Rng(("audit", "features", i))) for i in range(NETWORKS)]
    return [partial(source.features, Weights(w.params, source.statistics(w, real))) for w in starts]


class Plane(NamedTuple):
    """The principal components of real features, in units of their mean deviation."""

    middle: Float[Tensor, " d"]
    axes: Float[Tensor, "d k"]

    @classmethod
    def of(cls, real: Features) -> "Plane":
        """By the products of the vectors with each other, of which there are fewer than dimensions."""
        centred = real.double() - real.double().mean(0)
        values, vectors = torch.linalg.eigh(centred @ centred.T)
        kept = (values > 1e-9 * values[-1]).nonzero()[-DIMENSIONS:, 0].flip(0)
        axes = centred.T @ (vectors[:, kept] / values[kept].sqrt())
        unit = (values[kept].mean() / (len(real) - 1)).sqrt()
        return cls(real.double().mean(0), axes / unit)

    def place(self, x: Features) -> Float[Tensor, "n k"]:
        return (x.double() - self.middle) @ self.axes
