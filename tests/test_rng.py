"""Randomness as a path: the same path gives the same draws, and nothing global is touched."""

import torch

from attar.rng import Rng


def test_rng_paths():
    a, b = Rng.of(0).fold("a", 1), Rng.of(0).fold("a").fold(1)
    assert a == b and a.seed == b.seed
    assert len({Rng.of(0).seed, Rng.of(1).seed, a.seed, Rng.of(0).fold("1").seed, Rng.of(0).fold(1).seed}) == 5
    state = torch.get_rng_state()
    with a.scope():
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), state)
    with a.scope():
        assert torch.equal(first, torch.rand(3))
