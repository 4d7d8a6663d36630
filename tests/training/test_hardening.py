"""Adversarial training: mini-batches are attacked in pixels, within their ball, and plain training is its limit."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from conftest import narrow, toy

from attar.engine.run import Run
from attar.rng import Rng
from attar.training.fit import fit, fit_together
from attar.training.hardening import PLAIN, Hardening
from attar.training.protocol import Protocol

RNG = Rng.of(0)
BRIEF = Protocol("brief", "for tests", 6, 16, "half")


@pytest.fixture
def small():
    return narrow(toy(2, 8, (12, 12, 12)))


def test_a_mini_batch_moves_in_pixels_within_its_ball_and_uphill(small):
    x = small.normalise(small.train.x)
    y, w = small.train.y, small.network.init(RNG)
    noise = torch.rand(x.shape, generator=RNG.generator())

    def loss(images):
        return F.cross_entropy(small.network.scores(w, images), y)

    harden = Hardening(8 / 255, 3).bind(small.normalisation)
    change = small.normalisation.to_pixels(harden(loss, x, noise)) - small.normalisation.to_pixels(x)
    assert change.abs().max() <= 8 / 255 + 1e-6
    assert loss(harden(loss, x, noise)) > loss(x)
    moved = small.normalisation.to_pixels(harden(loss, 3 * x, noise))  # beyond black and white, as augmented images are
    assert moved.min() >= -1e-6 and moved.max() <= 1 + 1e-6


def test_in_a_ball_without_extent_it_is_plain_training(small):
    x, y = small.normalise(small.train.x), small.train.y
    plain = fit(small.network, x, y, BRIEF, RNG, Run(RNG))
    hardened = fit(small.network, x, y, BRIEF, RNG, Run(RNG), harden=Hardening(0.0, 1).bind(small.normalisation))
    for name, p in plain.params.items():
        torch.testing.assert_close(hardened.params[name], p, atol=1e-4, rtol=0)


def test_networks_side_by_side_are_those_trained_alone(small):
    """Also with CutMix, whose loss is shared out between two labels."""
    x, y = small.normalise(small.train.x), small.train.y
    protocol = dataclasses.replace(BRIEF, cutmix=0.5)
    options = {"harden": Hardening(4 / 255, 2).bind(small.normalisation), "flip": False}
    rngs = [RNG.fold(i) for i in range(2)]
    together = fit_together(small.network, x, y, protocol, rngs, Run(RNG), **options)
    for rng, w in zip(rngs, together, strict=True):
        alone = fit(small.network, x, y, protocol, rng, Run(RNG), **options)
        for name, p in w.params.items():
            torch.testing.assert_close(alone.params[name], p, atol=1e-4, rtol=0)


def test_it_says_what_it_is(small):
    assert PLAIN.bind(small.normalisation) is None and PLAIN.remark == ""
    assert Hardening(2 / 255, 3).remark == ", trained against PGD-3 at L∞ 2/255"
