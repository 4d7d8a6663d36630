"""What a task draws, how it normalises, and by what it is known again."""

import dataclasses
import hashlib

import pytest
import torch
from conftest import toy

from attar.data.load import load_data
from attar.data.task import Examples, hash_examples
from attar.rng import Rng

META = torch.device("meta")


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


def test_the_first_examples_are_those_of_each_class_in_order():
    task = toy(counts=(3, 30, 5))
    first = task.first(4)
    for c in range(3):
        own = (task.train.y == c).nonzero().flatten()
        assert first[c].tolist() == [int(own[i % len(own)]) for i in range(4)]


def test_a_class_with_too_few_examples_is_named():
    task = toy(counts=(3, 30, 5))
    task.need((1, 2), 5)
    with pytest.raises(ValueError, match="class 'c' has 5 images, fewer than the 6 per class that are asked for"):
        task.need((1, 2), 6)
    with pytest.raises(ValueError, match=r"'c' has 5 images, too few for 2 per class at factor 2, .* factor=1 suits"):
        task.need((1, 2), 2, factor=2)
    held = dataclasses.replace(task, split="hold-out: 10 % of the given examples, stratified")
    with pytest.raises(ValueError, match="'c' has 5 images besides those held out for testing, fewer than the 6"):
        held.need((1, 2), 6)


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
    for tensor in (task.train.x, task.train.y):
        digest.update(str((tuple(tensor.shape), tensor.dtype)).encode() + tensor.numpy().tobytes())
    assert task.fingerprint == digest.hexdigest()
    assert load_data("digits").fingerprint == "cbf04b9f44550a7a98c0d7c664f6fa38"


def test_a_known_fingerprint_is_taken_and_travels():
    """Examples whose fingerprint was measured before are not read again, on whatever device they are."""
    task = toy()
    marked = dataclasses.replace(task.train, fingerprint="measured before")
    assert dataclasses.replace(task, train=marked).fingerprint == "measured before"
    assert marked.to(META).fingerprint == marked.to(META, images=False).fingerprint == "measured before"
    assert dataclasses.replace(task, train=marked).to(META).fingerprint == "measured before"


def test_other_examples_have_a_fingerprint_of_their_own():
    task = load_data("digits")
    assert task.train.fingerprint == task.fingerprint == hash_examples(task.train)
    halved = dataclasses.replace(task, train=Examples(task.train.x[::2], task.train.y[::2]))
    assert halved.fingerprint == hash_examples(halved.train) != task.fingerprint
    assert dataclasses.replace(task, train=Examples(task.train.x.flip(3), task.train.y)).fingerprint != task.fingerprint


def test_a_second_label_travels_and_is_part_of_the_fingerprint():
    plain = toy().train
    grouped = dataclasses.replace(plain, group=torch.arange(len(plain.y)) % 2)
    assert list(plain.tensors) == ["x", "y"] and list(grouped.tensors) == ["x", "y", "group"]
    assert plain.to(META).group is None and grouped.to(META).group.is_meta
    stayed = grouped.to(META, images=False)
    assert stayed.group.is_meta and stayed.y.is_meta and stayed.x is grouped.x
    assert hash_examples(grouped) != hash_examples(plain)
