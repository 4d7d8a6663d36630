"""DD by its paper: ordered steps, each on images of its own, by learned sizes."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from conftest import narrow, toy, watch_updates

from attar.engine.run import Run
from attar.methods.performance._exam import Exam
from attar.methods.performance.dd import DD, Sizes
from attar.networks.weights import Weights
from attar.rng import Rng

QUICK = {"updates": 1, "rounds": 2, "step_size": 0.1, "batch_real": 6, "init": "real"}
RUN = Run(Rng.of(0))


@pytest.fixture
def precise(exact):
    """In float64."""
    return narrow(exact, depth=1)


def walk(task, images, labels, sizes, order):
    """The loss, and what it depends on: plain steps one after another, as one graph."""
    rng = Rng.of(0).fold("episode", 0)
    x, y = Exam.of(task, RUN, batch=6, passes=0).draw(rng.fold("real"))
    start = task.network.init(rng.fold("network"))
    params = {name: p.requires_grad_() for name, p in start.params.items()}
    for i, step in enumerate(order):
        rows = torch.arange(len(labels))[step :: len(images) // 3]  # the image of that number, of each class
        loss = F.cross_entropy(task.network.scores(Weights(params, {}), images[rows]), labels[rows])
        grads = torch.autograd.grad(loss, list(params.values()), create_graph=True)
        params = {name: p - sizes[i] * grad for (name, p), grad in zip(params.items(), grads, strict=True)}
    return F.cross_entropy(task.network.scores(Weights(params, {}), x), y)


def test_it_is_back_propagation_through_those_steps_in_that_order(precise):
    task = dataclasses.replace(precise, network=dataclasses.replace(precise.network, twice_differentiable=True))
    method = DD(**QUICK)
    [(loss, (in_images, in_raw))] = watch_updates(method, task, 3, RUN)
    start = dataclasses.replace(method, lr=0.0)(task, 3, RUN)
    images, labels, sizes = start.images.requires_grad_(), start.labels, start.steps.sizes.flatten().requires_grad_()
    value = walk(task, images, labels, sizes, [0, 1, 2, 0, 1, 2])
    assert loss.item() == pytest.approx(value.item(), rel=1e-10)
    expected, in_sizes = torch.autograd.grad(value, (images, sizes))
    torch.testing.assert_close(in_images.flatten(0, 1), expected, rtol=1e-8, atol=1e-12)
    slope = 1 - math.exp(-0.1)  # of the softplus, where it is 0.1
    torch.testing.assert_close(in_raw.flatten(), slope * in_sizes, rtol=1e-8, atol=1e-12)
    other = walk(task, images, labels, sizes, [1, 0, 2, 1, 0, 2])
    assert (other - value).abs() > 1e-6  # in another order it is another training


def test_one_step_is_the_papers_own_formula(precise):
    """The derivative of L(θ − η ∇l(x)) by finite differences."""
    task = dataclasses.replace(precise, network=dataclasses.replace(precise.network, twice_differentiable=True))
    method = DD(**QUICK | {"rounds": 1})
    [(_, (in_images, _))] = watch_updates(method, task, 1, RUN)
    start = dataclasses.replace(method, lr=0.0)(task, 1, RUN)
    sizes, along = start.steps.sizes.flatten(), torch.randn(start.images.shape, generator=Rng.of(9).generator())
    up, down = (walk(task, start.images + side * 1e-5 * along, start.labels, sizes, [0]).item() for side in (1, -1))
    assert (up - down) / 2e-5 == pytest.approx((in_images.flatten(0, 1) * along).sum().item(), rel=1e-4)


def test_each_step_owns_one_image_of_each_class():
    made = DD(**QUICK)(narrow(toy()), 3, RUN)
    assert made.steps.sizes.shape == (2, 3) and made.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert made.steps.rows.tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert all(made.labels[rows].tolist() == [0, 1, 2] for rows in made.steps.rows)


def test_sizes_are_learned_each_for_itself_and_stay_positive():
    made = DD(**QUICK | {"updates": 20}, lr=0.3)(narrow(toy()), 2, RUN)
    sizes = made.steps.sizes
    assert (sizes > 0).all() and len(sizes.flatten().unique()) == 4 and not (sizes == 0.1).any()
    torch.testing.assert_close(Sizes(0.02, 2, 3)(), torch.full((2, 3), 0.02))
    with pytest.raises(ValueError, match="step_size must be above 0"):
        DD(**QUICK | {"step_size": 0.0})(narrow(toy()), 1, RUN)


def test_its_own_step_is_halved_after_each_tenth():
    method = DD(updates=400)
    assert [method.halve(done) for done in (0, 39, 40, 79, 80, 399)] == [1, 1, 0.5, 0.5, 0.25, 0.5**9]
