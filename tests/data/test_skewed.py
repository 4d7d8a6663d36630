"""Known sets with groups: shares of the groups, what is painted, and that they can be loaded."""

import numpy as np
import pytest
import torch
from PIL import Image
from sample_files import stay_alone, write_idx

from attar.data import skewed
from attar.data.known_sets import DATASETS
from attar.data.load import load_data
from attar.data.task import Examples
from attar.rng import Rng
from attar.runs.default_method import nearest

alone = pytest.fixture(autouse=True)(stay_alone)


def images(channels: int, side: int, n: int = 1000) -> Examples:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (n, channels, side, side), generator=generator, dtype=torch.uint8)
    return Examples(x, torch.arange(n) % 10)


def shares(part: Examples, groups: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(part.y * groups + part.group, 10 * groups).sum(0).view(10, groups)


def test_colours_go_with_classes_in_training_and_not_in_tests():
    made = skewed.colour_digits(images(1, 28, 1800), images(1, 28))
    counts = shares(made.train, 10)
    assert counts.diagonal().tolist() == [162] * 10
    assert (counts - torch.diag(counts.diagonal())).sum(1).tolist() == [18] * 10 and counts.min() == 2
    assert (shares(made.test, 10) == 10).all()
    assert made.groups[:2] == ("red", "orange") and len(made.groups) == 10


def test_digits_are_coloured_or_what_surrounds_them():
    train = images(1, 28)
    for make, ink in ((skewed.colour_digits, True), (skewed.colour_backgrounds, False)):
        made, _, names = make(train, train)
        assert made.x.shape == (1000, 3, 32, 32) and made.x.dtype == torch.uint8 and torch.equal(made.y, train.y)
        for i in (0, 7):
            colour = torch.tensor(skewed.COLOURS[names[made.group[i]]], dtype=torch.uint8)
            for row, column in ((0, 0), (2, 2), (16, 15), (29, 29), (31, 31)):
                inside = 2 <= row < 30 and 2 <= column < 30
                digit = inside and train.x[i, 0, row - 2, column - 2] >= 128
                expected = colour if digit == ink else torch.zeros_like(colour)
                assert torch.equal(made.x[i, :, row, column], expected)


def test_colours_are_the_same_at_every_call_and_drawn_for_each_part():
    y = torch.zeros(50, dtype=torch.long)
    first, second = (skewed.assign_colours(y, 0.9, Rng.of(0)) for _ in range(2))
    assert torch.equal(first, second) and not torch.equal(first, skewed.assign_colours(y, 0.9, Rng.of(1)))
    made = skewed.colour_digits(images(1, 28), images(1, 28))
    assert not torch.equal(made.train.group, made.test.group)


def test_half_of_the_classes_are_mostly_grey_and_test_images_are_both():
    train, test = images(3, 32), images(3, 32, 100)
    made = skewed.grey_some(train, test)
    assert shares(made.train, 2).tolist() == [[90, 10]] * 5 + [[10, 90]] * 5
    assert made.groups == ("grey", "colour")
    grey = made.train.x[made.train.group == 0]
    assert (grey == grey[:, :1]).all()
    assert torch.equal(made.train.x[made.train.group == 1], train.x[made.train.group == 1])
    assert torch.equal(made.test.x[100:], test.x) and torch.equal(made.test.y, test.y.repeat(2))
    assert made.test.group.tolist() == [0] * 100 + [1] * 100


def test_grey_is_that_of_pillow():
    x = images(3, 32, 4).x
    for own, found in zip(x, skewed.to_grey(x), strict=True):
        pillow = Image.fromarray(own.permute(1, 2, 0).numpy()).convert("L")
        assert (found[0].int() - torch.from_numpy(np.array(pillow)).int()).abs().max() <= 1


@pytest.mark.parametrize("name", ["colored-mnist-fg", "colored-mnist-bg"])
def test_a_known_set_is_made_of_the_files_at_hand(tmp_path, name):
    write_idx(tmp_path / "MNIST/raw")
    task = load_data(name, root=tmp_path)
    assert (task.name, task.shape, len(task.groups)) == (name, (3, 32, 32), 10)
    assert task.train.group is not None and task.test.group is not None
    assert task.normalisation.mean == (0.5, 0.5, 0.5) and task.split == "test set" and not task.flip
    assert (
        task.fingerprint == load_data(name, root=tmp_path).fingerprint != load_data("mnist", root=tmp_path).fingerprint
    )
    assert nearest(task) == "mnist"
    held = load_data(name, root=tmp_path, split="held-out")
    assert held.test.group is not None and len(held.test.group) == len(held.test.y)


def test_what_it_is_made_of_is_named_where_it_is_missing():
    with pytest.raises(ValueError, match="no CIFAR-10 in"):
        load_data("cifar10-s")


def test_every_one_says_in_a_line_what_it_is():
    made = {name: known for name, known in DATASETS.items() if known.made_of}
    assert list(made) == [
        "colored-mnist-fg",
        "colored-mnist-bg",
        "colored-fashion-mnist-fg",
        "colored-fashion-mnist-bg",
        "cifar10-s",
    ]
    told = "in ten colours, which go with classes in nine of ten training images, 32x32 colour"
    assert made["colored-mnist-fg"].about == f"Colored-MNIST(FG): 70,000 digits {told}"
    assert made["cifar10-s"].about.startswith("CIFAR10-S: 70,000 photographs, grey or coloured")
    assert made["colored-fashion-mnist-bg"].flip and all(known.normalisation for known in made.values())
