"""A test part that is given by itself, for classes that are known."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from attar.data.check import Given, describe_size, list_some, pair_up
from attar.data.table import Columns, scale
from attar.data.task import Examples
from attar.data.torch_datasets import decode_items, find_names
from attar.data.value_range import say_if_dark


def read_test_part(
    given: Any, classes: Sequence[str], shape: tuple[int, int, int], columns: Columns | None = None
) -> Examples:
    """All of `(x, y)` or of a `Dataset`, as `attar.load_data` takes them, with codes of these classes for labels.

    Labels are names of classes. Where no class is named by a number, whole numbers count the classes from 0. Raises
    `ValueError` where the images are not of this shape `(c, h, w)`, the rows of a table not of these columns, or a
    label is of no class.
    """
    if isinstance(given, str) or (isinstance(given, tuple) and len(given) != 2):
        raise ValueError("test must be (x, y) or a Dataset: images to test on, and their labels")
    pair = isinstance(given, tuple)
    part = Given("the test", *given) if pair else decode_items(given, "the test", quiet=True)
    x, y = pair_up(part, None, columns)
    codes = encode(y, None if pair else find_names(given), classes)
    if columns is not None:
        return Examples(scale(columns, x), codes)
    if x.shape[1:] != shape:
        expected = describe_size(torch.empty(0, *shape))
        raise ValueError(f"the test images are {describe_size(x)}, but those of the set are {expected}")
    say_if_dark({"the test": x})
    return Examples(x, codes)


def encode(labels: np.ndarray, names: Sequence[str] | None, classes: Sequence[str]) -> torch.Tensor:
    """For each label the place of its class. Raises `ValueError` where one is of none."""
    values, codes = np.unique(labels, return_inverse=True)
    for read in readings(values, names, classes):
        if set(read) <= set(classes):
            return torch.tensor([classes.index(name) for name in read])[torch.from_numpy(codes)]
    strange = [str(value) for value in values if str(value) not in classes]
    raise ValueError(f"the test labels hold {list_some(strange)}, but the set's classes are {list_some(classes)}")


def readings(values: np.ndarray, names: Sequence[str] | None, classes: Sequence[str]) -> Iterator[list[str]]:
    """What labels may mean, the likeliest first."""
    whole = values.dtype.kind in "iu" and values[0] >= 0
    if names and whole and values[-1] < len(names):
        yield [str(names[value]) for value in values]
    yield [str(value) for value in values]
    if whole and values[-1] < len(classes) and not any(name.lstrip("-").isdecimal() for name in classes):
        yield [classes[value] for value in values]
