"""Datasets of torch, torchvision and the Hugging Face library, decoded item by item."""

import numpy as np
import pytest
import torch
from PIL import Image
from sample_files import Pictures, pictures, stay_alone, turns
from torch.utils.data import Dataset, TensorDataset

from attar.data.load import load_data

alone = pytest.fixture(autouse=True)(stay_alone)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("1", 1), ("P", 3)])
def test_datasets_of_pil_images(mode, channels):
    task = load_data(pictures(mode, classes=["no", "yes"]))
    assert task.shape == (channels, 8, 6) and task.classes == ("no", "yes") and task.name == "pictures"
    assert task.train.x.dtype == torch.uint8


def test_a_pair_of_datasets():
    task = load_data((pictures("RGB"), pictures("RGB", 4)))
    assert (len(task.train.y), len(task.test.y), task.split) == (6, 4, "test set")


def test_datasets_of_tensors_and_dictionaries():
    x, y = torch.rand(6, 3, 8, 8), torch.arange(6) % 2
    dictionaries = [{"img": a, "label": b} for a, b in zip(x.numpy(), y, strict=True)]
    for data in (TensorDataset(x, y), dictionaries, list(zip(x, "abaaab", strict=True))):
        given = (data, Pictures(list(zip(x, y, strict=True)))) if isinstance(data, Dataset) else data
        task = load_data(given)
        assert task.shape == (3, 8, 8) and len(task.classes) == 2


def test_datasets_of_hugging_face():
    hub = pytest.importorskip("datasets")
    features = hub.Features({"image": hub.Image(), "label": hub.ClassLabel(names=["no", "yes"])})
    rows = hub.Dataset.from_dict({"image": [p for p, _ in pictures()], "label": turns(6)}, features=features)
    task = load_data((rows, rows))
    assert task.shape == (1, 8, 6) and len(task.test.y) == 6


def test_names_that_do_not_fit_the_labels_are_left_alone():
    assert load_data(pictures(classes=["only"])).classes == ("0", "1")
    assert load_data(pictures(classes=["a", "b", "never seen"])).classes == ("a", "b")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "the training images are empty"),
        (
            [(np.zeros((8, 8)), 0), (np.zeros((8, 9)), 1)],
            "the training image 1 is 8x9 float64, but the first is 8x8 float64; all must have one size",
        ),
        (
            [(Image.new("L", (8, 8)), 0), (Image.new("RGB", (8, 8)), 1)],
            "the training image 1 is 8x8x3 uint8, but the first is 8x8 uint8",
        ),
        ([(Image.new("RGBA", (8, 8)), 0)], "the training image 0 has the mode RGBA; convert it to L or RGB"),
        ([np.zeros((8, 8))], "the training item 0 is no pair"),
        ([{"picture": 1, "label": 0}], "the training item 0 is no pair"),
        ([(torch.randn(3, 8, 8), i % 2) for i in range(4)], "undo any normalisation"),
        ([(torch.rand(3, 8, 8), torch.eye(3)[i]) for i in range(3)], "the training labels have the shape 3x3"),
    ],
)
def test_datasets_that_are_refused(items, message):
    with pytest.raises(ValueError, match=message):
        load_data(Pictures(items))
