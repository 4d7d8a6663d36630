"""A test part held out of the examples: a fair share of each class, and the same at every call."""

import numpy as np
import pytest
import torch
from sample_files import noise, turns

from attar.data.load import load_data


def test_a_hold_out_is_stratified_and_repeatable():
    y = np.repeat([0, 1, 2], [100, 50, 50])
    task, again = load_data((noise(200, 8, 8), y)), load_data((noise(200, 8, 8), y))
    assert task.test.y.bincount().tolist() == [10, 5, 5] and task.counts.tolist() == [90, 45, 45]
    assert task.split == "hold-out: 10 % of the given examples, stratified"
    assert torch.equal(task.test.x, again.test.x)
    rows = {x.numpy().tobytes() for x in task.train.x}
    assert not any(x.numpy().tobytes() in rows for x in task.test.x)


@pytest.mark.parametrize("counts", [(2, 2), (2, 2, 2, 2, 2), (2, 50), (3, 2, 2), (200, 2)])
def test_a_small_hold_out_leaves_every_class_in_training(counts):
    y = np.repeat(np.arange(len(counts)), counts)
    task = load_data((noise(len(y), 8, 8), y))
    assert task.counts.min() >= 1 and len(task.test.y) >= len(counts)


def test_the_split_says_the_share_that_it_is():
    assert load_data((noise(4, 8, 8), turns(4))).split == "hold-out: 50 % of the given examples, stratified"


def test_a_class_with_one_example_cannot_be_split():
    with pytest.raises(ValueError, match="class 'b' has a single example"):
        load_data((noise(4, 8, 8), ["a", "b", "a", "a"]))
