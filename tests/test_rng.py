"""Randomness as a path: the same path gives the same draws, and nothing global is touched."""

import enum

import numpy as np
import pytest
import torch

from attar.rng import Rng, plain


class Stage(enum.IntEnum):
    FIRST = 1


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


def test_the_bits_of_paths_that_were_drawn_before():
    assert Rng.of(0).fold("episode", 7, "network", 0).seed == 7640809077359000538
    assert Rng.of(0).fold("episode", 7).path == (0, "episode", 7)


@pytest.mark.parametrize("one", [True, np.int64(1), np.uint8(1), np.array(1), torch.tensor(1), Stage.FIRST])
def test_a_whole_number_of_any_type_is_the_same_part(one):
    assert Rng.of(0).fold("a", one).seed == Rng.of(one - 1).fold("a", 1).seed == Rng.of(0).fold("a").fold(1).seed
    assert Rng.of(0).fold(np.str_("a")).seed == Rng.of(0).fold("a").seed != Rng.of(0).fold("1").seed


@pytest.mark.parametrize("part", [1.0, None, b"a", (1,), np.float64(1), np.array([1, 2]), torch.tensor(1.0)])
def test_all_else_is_no_part_of_a_path(part):
    with pytest.raises(ValueError, match="a part of a random path must be a name or a whole number, not "):
        plain(part)
