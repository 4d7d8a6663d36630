"""The kernel against integrals, against its closed form for one layer, and against a wide network that is finite."""

import math

import pytest
import torch

from attar.distances.ridge import predict, regress
from attar.distances.tangent_kernel import tangent_kernel

POINTS = 20_000  # of an integral


def inputs(n: int = 5, d: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def expectations(xx: float, yy: float, xy: float) -> tuple[float, float]:
    """E[relu u relu v] and E[relu' u relu' v], by integrals over the directions in which both are positive."""
    angle = math.acos(max(-1.0, min(1.0, xy / math.sqrt(xx * yy))))
    low, high = angle - math.pi / 2, math.pi / 2
    step = (high - low) / POINTS
    middles = low + step * (torch.arange(POINTS, dtype=torch.float64) + 0.5)
    along = (middles.cos() * (middles - angle).cos()).sum().item() * step
    return math.sqrt(xx * yy) * along / math.pi, (high - low) / (2 * math.pi)


def literal(x: torch.Tensor, y: torch.Tensor, depth: int) -> float:
    """Jacot's recursion for one pair, with σ_w² = 2 and σ_b² = 0.01."""
    xx, yy, xy = (2 * float(a @ b) / len(x) + 0.01 for a, b in ((x, x), (y, y), (x, y)))
    kernel = xy
    for _ in range(depth):
        product, slope = expectations(xx, yy, xy)
        xx, yy = (2 * expectations(own, own, own)[0] + 0.01 for own in (xx, yy))
        xy = 2 * product + 0.01
        kernel = xy + 2 * slope * kernel
    return kernel


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_it_is_the_recursion_by_integrals(depth):
    x, y = inputs(), inputs(3, seed=1)
    expected = torch.tensor([[literal(a, b, depth) for b in y] for a in x], dtype=torch.float64)
    torch.testing.assert_close(tangent_kernel(x, y, depth), expected, rtol=1e-6, atol=1e-8)
    own = torch.tensor([literal(a, a, depth) for a in x], dtype=torch.float64)
    torch.testing.assert_close(tangent_kernel(x, x, depth).diagonal(), own, rtol=1e-6, atol=1e-8)
    single = tangent_kernel(x.float(), y.float(), depth)
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-4)


def test_one_layer_of_orthogonal_inputs_in_closed_form():
    """cos θ is 0.01/2.01 by the biases alone: all else is arithmetic."""
    x = torch.eye(2, dtype=torch.float64) * math.sqrt(2)
    angle = math.acos(0.01 / 2.01)
    after = 2.01 * (math.sin(angle) + (math.pi - angle) * math.cos(angle)) / math.pi + 0.01
    expected = after + 0.01 * (math.pi - angle) / math.pi
    assert tangent_kernel(x, x)[0, 1].item() == pytest.approx(expected, rel=1e-12)
    assert tangent_kernel(x, x)[0, 0].item() == pytest.approx(2.01 + 0.01 + 2.01, rel=1e-12)


def tangent_features(x: torch.Tensor, width: int = 30_000) -> torch.Tensor:
    """Derivatives of a wide network's score in its weights, whose products are nearly the kernel."""
    generator = torch.Generator().manual_seed(1)
    weights = {
        name: torch.randn(shape, generator=generator, dtype=torch.float64)
        for name, shape in (("w", (width, 4)), ("a", (width,)), ("v", (width,)), ("b", ()))
    }

    def network(p, x):
        hidden = (2 / 4) ** 0.5 * p["w"] @ x + 0.1 * p["a"]
        return (2 / width) ** 0.5 * p["v"] @ hidden.relu() + 0.1 * p["b"]

    slopes = torch.func.vmap(torch.func.grad(network), (None, 0))(weights, x)
    return torch.cat([part.flatten(1) if part.ndim > 1 else part[:, None] for part in slopes.values()], 1)


def test_a_wide_network_has_nearly_this_kernel():
    x = inputs()
    flat = tangent_features(x)
    torch.testing.assert_close(flat @ flat.T, tangent_kernel(x, x), rtol=0.05, atol=0.02)


def test_a_head_on_a_wide_networks_tangent_features_predicts_as_the_kernel_does():
    """The regression of FRePo, by features, against that of KIP, which has no network and no features."""
    x, y = inputs(9), inputs(5, 3, seed=2)
    phi = tangent_features(x)
    own = regress(phi[5:], phi[:5], y, ridge=0.1)
    expected = predict(tangent_kernel(x[5:], x[:5]), tangent_kernel(x[:5], x[:5]), y, ridge=0.1)
    assert (own - expected).norm() < 0.05 * expected.norm()


def test_derivatives_also_where_two_inputs_coincide():
    x, y = inputs(3).requires_grad_(), inputs(2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: tangent_kernel(x, y, 2), (x, y))
    (gradient,) = torch.autograd.grad(tangent_kernel(x, x).sum(), x)
    assert gradient.isfinite().all()
    lone = x[:1].detach().requires_grad_()
    # Of one input alone the kernel is a square: its derivative is that of 2 (2 ‖x‖²/d + b) + b.
    (gradient,) = torch.autograd.grad(tangent_kernel(lone, lone).sum(), lone)
    torch.testing.assert_close(gradient, 2 * 2 * 2 * lone.detach() / 4, rtol=1e-10, atol=1e-12)
