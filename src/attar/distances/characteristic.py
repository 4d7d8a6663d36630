"""The distance of characteristic functions, and a network that learns where two samples differ (NCFM)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from attar.distances.mmd import Other, Sample
from attar.engine.exact import products
from attar.rng import Rng

Frequencies = Float[Tensor, "t d"]
FREQUENCIES = 1024


def characteristic_distance(
    s: Sample, r: Other, t: Frequencies, amplitude: float = 0.5, phase: float = 0.5
) -> Float[Tensor, " k"]:
    """Mean over frequencies of √(α (|Φ_r| − |Φ_s|)² + β 2 (|Φ_r||Φ_s| − Re Φ_r Re Φ_s − Im Φ_r Im Φ_s)).

    Φ(t) is the mean of exp(i⟨t, f⟩) over features of unit norm. With α = β = 1 a summand is |Φ_r − Φ_s| (Wang et al.,
    CVPR 2025).
    """
    (a, b), (c, e) = real_and_imaginary(s, t), real_and_imaginary(r, t)
    size_s, size_r = torch.hypot(a, b), torch.hypot(c, e)
    turned = 2 * (size_r * size_s - c * a - e * b)
    return (amplitude * (size_r - size_s).square() + phase * turned).clamp_min(1e-12).sqrt().mean(1)


def real_and_imaginary(x: Sample, t: Frequencies) -> tuple[Float[Tensor, "k t"], Float[Tensor, "k t"]]:
    """Real and imaginary part of the empirical characteristic function; one product serves both."""
    angle = products(F.normalize(x, dim=2), t)
    return angle.cos().mean(1), angle.sin().mean(1)


def gaussian_frequencies(count: int, d: int, rng: Rng, device: torch.device, dtype: torch.dtype) -> Frequencies:
    return torch.randn(count, d, generator=rng.generator(device), device=device, dtype=dtype)


class Sampler(nn.Module):
    """Frequencies from as many rows of noise, three layers deep; it climbs the loss that the images descend.

    How large the noise is hardly matters: the first layer is normalised by its batch.
    """

    def __init__(self, d: int, rng: Rng, *, lr: float, momentum: float = 0.5):
        super().__init__()
        self.lr, self.momentum = lr, momentum
        with rng.scope():
            layers = [
                part
                for end in (nn.LeakyReLU(0.2), nn.LeakyReLU(0.2), nn.Tanh())
                for part in (nn.Linear(d, d), batch_norm(d), end)
            ]
        self.layers = nn.Sequential(*layers)
        for i, parameter in enumerate(self.parameters()):
            self.register_buffer(f"velocity{i}", torch.zeros_like(parameter))

    def forward(self, noise: Float[Tensor, "t d"]) -> Frequencies:
        return self.layers(noise)

    @torch.no_grad()
    def ascend(self) -> None:
        """A step of SGD with momentum up the gradient that the images' terms have left here."""
        for i, parameter in enumerate(self.parameters()):
            velocity = getattr(self, f"velocity{i}").mul_(self.momentum).add_(parameter.grad)
            parameter.add_(velocity, alpha=self.lr)
            parameter.grad = None


def batch_norm(d: int) -> nn.Module:
    """Batch statistics only: the sampler is never used without its batch."""
    return nn.BatchNorm1d(d, track_running_stats=False)
