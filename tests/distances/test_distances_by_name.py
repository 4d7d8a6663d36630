"""The laws that every distance keeps."""

from functools import partial
from typing import get_args

import pytest
import torch
from test_mmd import assert_close, batches

from attar.distances.by_name import DISCREPANCIES
from attar.methods.distribution.discrepancy import Distance
from attar.rng import Rng

every = pytest.mark.parametrize("name", DISCREPANCIES)


def test_the_names_are_those_that_settings_offer():
    assert get_args(Distance) == tuple(DISCREPANCIES)


@every
def test_none_between_equal_batches_some_between_others_and_no_order_within(name):
    s, r = batches(n=5, m=5, d=8)
    distance = partial(DISCREPANCIES[name], rng=Rng.of(1))
    assert distance(s, s.clone()).abs().max() < 1e-5  # what characteristic floors
    assert (distance(s, r + 1) > 1e-3).all()
    assert_close(distance(s, r), distance(s.flip(1), r[:, [2, 0, 1, 4, 3]]), rtol=1e-9, atol=1e-9)


@every
def test_gradients_are_finite_where_images_coincide_and_lead_downhill(name):
    s, r = batches(n=4, m=6, d=8)
    r = r + 2
    s[:, 1] = s[:, 0]
    s[:, 2] = r[:, 0]
    distance = partial(DISCREPANCIES[name], r=r, rng=Rng.of(1))
    s.requires_grad_()
    value = distance(s)
    (gradient,) = torch.autograd.grad(value.sum(), s)
    assert gradient.isfinite().all()
    step = 1e-4 / gradient.flatten(1).norm(dim=1)[:, None, None]
    assert (distance(s - step * gradient) < value).all()


@every
def test_a_class_does_not_see_the_others(name):
    s, r = batches(n=4, m=6, d=8)
    distance = DISCREPANCIES[name]
    assert_close(distance(s, r, Rng.of(1))[1:2], distance(s[1:2], r[1:2], Rng.of(1)), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", [name for name in DISCREPANCIES if name != "moments"])
def test_a_single_image_will_do_but_for_covariances(name):
    """Those are refused: see `test_covariances_from_gram_matrices`."""
    s, r = batches(n=1, m=6, d=8)
    (gradient,) = torch.autograd.grad(DISCREPANCIES[name](s.requires_grad_(), r, Rng.of(1)).sum(), s)
    assert gradient.isfinite().all() and gradient.abs().max() > 0


@every
@pytest.mark.parametrize("size", [0.0, 1.0])
def test_equal_points_are_not_apart(name, size):
    """Whatever a bandwidth divides by, in float32: a class of one image, or networks that see nothing."""
    point = size * torch.randn(2048, generator=torch.Generator().manual_seed(0))
    for n, m in ((1, 1), (1, 8), (2, 3), (4, 64))[2 * (name == "moments") :]:
        s = point.expand(2, n, -1).clone().requires_grad_()
        distance = DISCREPANCIES[name](s, point.expand(2, m, -1), Rng.of(0))
        (gradient,) = torch.autograd.grad(distance.sum(), s)
        assert distance.abs().max() < 0.2 and gradient.norm(dim=2).max() < 2


@every
def test_what_is_drawn_before_is_what_is_drawn_within(name):
    """Once for all chunks of classes, outside of what a GPU replays."""
    found, (s, r) = DISCREPANCIES[name], batches(d=8)
    noise = found.noise(Rng.of(1), s[:0])
    assert (noise is None) == (found.draws == 0) and (noise is None or noise.shape == (found.draws, 8))
    assert torch.equal(found.given(s, r, noise), found(s, r, Rng.of(1)))
