"""Distances of two gradients: laws in float64, and what matching them does to images."""

import dataclasses

import pytest
import torch
from torch import nn

from attar.distances.gradients import GRADIENT_DISTANCES, SMALL, absolute, cosine, squared
from attar.engine.run import Run
from attar.methods.gradient.dc import DC
from attar.networks.network import Network
from attar.rng import Rng

SHAPES = {"0.weight": (4, 3, 3, 3), "0.bias": (4,), "1.weight": (4, 2, 2), "head.weight": (5, 8), "head.bias": (5,)}


def draw(seed, zero=()):
    generator = torch.Generator().manual_seed(seed)
    made = {name: torch.randn(shape, generator=generator, dtype=torch.float64) for name, shape in SHAPES.items()}
    for name, row in zero:
        made[name][row] = 0
    return made


def test_cosine_is_a_sum_over_the_nodes_of_all_layers():
    s, r, expected = draw(0), draw(1), 0.0
    for name in ("0.weight", "1.weight", "head.weight"):
        for a, b in zip(s[name], r[name], strict=True):
            expected += 1 - (a * b).sum() / (a.norm() * b.norm() + SMALL)
    torch.testing.assert_close(cosine(s, r), torch.as_tensor(expected), rtol=1e-12, atol=0)
    assert 0 <= cosine(s, r) <= 2 * (4 + 4 + 5)


def test_equal_gradients_are_apart_by_the_small_number_only():
    s = draw(0)
    rows = torch.cat([s[name].flatten(1).square().sum(1) for name in SHAPES if len(SHAPES[name]) > 1])
    torch.testing.assert_close(cosine(s, s), (SMALL / (rows + SMALL)).sum(), rtol=1e-9, atol=0)
    assert squared(s, s) == absolute(s, s) == 0


def test_the_scale_of_a_gradient_does_not_matter_to_its_cosine():
    s, r = draw(0), draw(1)
    scaled = {name: 1000 * value for name, value in s.items()}
    torch.testing.assert_close(cosine(scaled, r), cosine(s, r), rtol=1e-5, atol=1e-5)


def test_a_node_without_a_gradient_counts_one_and_pulls_nothing():
    s, r = draw(0), draw(1)
    still = cosine(s, r) - cosine_of_row(s, r, "head.weight", 2)
    dead = draw(0, zero=[("head.weight", 2)])
    dead["head.weight"].requires_grad_()
    value = cosine(dead, r)
    torch.testing.assert_close(value.detach(), still + 1)
    assert torch.autograd.grad(value, dead["head.weight"])[0].isfinite().all()
    gone = draw(1, zero=[("head.weight", 2)])
    own = draw(0)["head.weight"].requires_grad_()
    pulled = torch.autograd.grad(cosine(draw(0) | {"head.weight": own}, gone), own)[0]
    assert pulled[2].abs().max() == 0 and pulled[1].abs().max() > 0


def cosine_of_row(s, r, name, row):
    a, b = s[name][row], r[name][row]
    return 1 - (a * b).sum() / (a.norm() * b.norm() + SMALL)


def test_idc_compares_convolutions_and_in_a_perceptron_its_layers():
    s, r = draw(0), draw(1)
    apart = [s[name] - r[name] for name in ("0.weight", "1.weight")]
    torch.testing.assert_close(squared(s, r), sum(d.square().sum() for d in apart))
    torch.testing.assert_close(absolute(s, r), sum(d.abs().sum() for d in apart))
    flat = [{name: own[name] for name in ("head.weight", "head.bias")} for own in (s, r)]
    torch.testing.assert_close(squared(*flat), (s["head.weight"] - r["head.weight"]).square().sum())


class Smooth(nn.Module):
    """Two layers and an activation with derivatives everywhere."""

    def __init__(self, shape, classes):
        super().__init__()
        self.first, self.head = nn.Linear(shape[0] * shape[1] * shape[2], 6), nn.Linear(6, classes)

    def forward(self, x):
        return self.head(torch.tanh(self.first(x.flatten(1))))


@pytest.mark.parametrize("name", GRADIENT_DISTANCES)
def test_the_gradient_in_the_pixels_is_that_of_finite_differences(name):
    network, shape, apart = Network(lambda: Smooth((1, 3, 3), 3)), (4, 1, 3, 3), GRADIENT_DISTANCES[name]
    generator = torch.Generator().manual_seed(0)
    w = network.init(Rng.of(0))
    w = w._replace(params={key: value.double() for key, value in w.params.items()})
    s, real = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    y = torch.tensor([0, 0, 1, 2])
    target = network.gradient(w, real, y)
    assert torch.autograd.gradcheck(lambda s: apart(network.gradient(w, s, y), target), s.requires_grad_())


class Once(torch.autograd.Function):
    """A function whose derivative has none."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, up):
        return up


class Rough(Smooth):
    def forward(self, x):
        return Once.apply(super().forward(x))


def test_a_network_without_second_derivatives_is_refused_in_a_sentence(task):
    rough = dataclasses.replace(task, network=Network(lambda: Rough(task.shape, 3)))
    with pytest.raises(ValueError, match="Rough cannot be differentiated twice, which this method needs"):
        DC(updates=1, batch_real=4)(rough, 1, Run(Rng.of(0)))
