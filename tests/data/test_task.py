import hashlib

import torch
from conftest import toy

from attar.data.load import load_data
from attar.rng import Rng


def test_a_sample_is_of_its_classes_without_repetition():
    task = toy(counts=(10, 30, 20))
    for seed in range(5):
        indices = task.indices((2, 0), 8, Rng.of(seed))
        assert (task.train.y[indices] == torch.tensor([[2], [0]])).all()
        assert all(len(row.unique()) == 8 for row in indices)


def test_a_small_class_repeats_its_permutation():
    indices = toy(counts=(3, 30, 5)).indices((0, 1, 2), 7, Rng.of(0))
    assert torch.equal(indices[0, :3], indices[0, 3:6]) and len(indices[0, :3].unique()) == 3
    assert len(indices[1].unique()) == 7
    assert indices[2, 5:].tolist() == indices[2, :2].tolist()


def test_a_shard_sees_what_the_whole_sees():
    task = toy()
    whole = task.sample((0, 1, 2), 5, Rng.of(1))
    assert torch.equal(task.sample((2, 1), 5, Rng.of(1)), whole[[2, 1]])


def test_every_example_is_drawn_equally_often():
    task = toy(counts=(10, 10))
    drawn = torch.stack([task.indices((0,), 3, Rng.of(i))[0] for i in range(2000)])
    counts = drawn.flatten().bincount(minlength=20)[task.train.y == 0]
    assert (counts - 600).abs().max() < 5 * (2000 * 0.3 * 0.7) ** 0.5


def test_normalised_by_mean_and_deviation():
    task = toy(3)
    x = task.normalise(task.train.x)
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3)), torch.ones(3), atol=1e-3, rtol=0)


def test_the_fingerprint_tells_data_apart():
    assert toy().fingerprint == toy().fingerprint
    assert toy().fingerprint != toy(seed=1).fingerprint


def test_the_fingerprint_is_that_of_recorded_runs():
    """Of all bytes at once, whatever pieces they are read in."""
    task = toy(3, counts=(3000, 2000))
    digest = hashlib.blake2b(digest_size=16)
    for tensor in task.train:
        digest.update(str((tuple(tensor.shape), tensor.dtype)).encode() + tensor.numpy().tobytes())
    assert task.fingerprint == digest.hexdigest()
    assert load_data("digits").fingerprint == "cbf04b9f44550a7a98c0d7c664f6fa38"


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
