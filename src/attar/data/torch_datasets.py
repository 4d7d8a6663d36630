"""Map-style datasets of torch, torchvision and the Hugging Face library, decoded item by item."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from attar.data.check import Given, Parts, check_parts, decode_image, stack_images, watch
from attar.data.parquet import IMAGES, LABELS


def read_datasets(train: Any, test: Any | None, quiet: bool) -> Parts:
    names = getattr(train, "classes", None)
    names = list(names) if isinstance(names, (list, tuple)) else None
    given = decode_items(train, "the training", quiet)
    return check_parts(given, None if test is None else decode_items(test, "the test", quiet), names)


def decode_items(source: Any, what: str, quiet: bool) -> Given:
    """All pairs of a map-style dataset, one after the other.

    Dictionaries as the Hugging Face library gives them will do.
    """
    counted = hasattr(source, "__len__") and hasattr(source, "__getitem__")
    # Arrays have both, but hold no pairs: they were given without their labels.
    if not counted or isinstance(source, (Tensor, np.ndarray, dict)):
        expected = "a known name, npz:PATH, npy:FOLDER, arrays (x, y), or a dataset with a length"
        raise ValueError(f"{type(source).__name__} is no data; expected {expected}")
    labels: list[Any] = []

    def pictures() -> Iterator[tuple[str, np.ndarray]]:
        for i in watch(range(len(source)), len(source), f"decoding {what} part", quiet):
            picture, label = pair(source[i], f"{what} item {i}")
            labels.append(label.tolist() if hasattr(label, "tolist") else label)
            yield f"{what} image {i}", decode_image(picture, f"{what} image {i}")

    return Given(what, stack_images(pictures(), len(source)), labels)


def pair(item: Any, what: str) -> tuple[Any, Any]:
    if isinstance(item, dict):
        item = [next((item[key] for key in keys if key in item), None) for keys in (IMAGES, LABELS)]
    if not isinstance(item, (tuple, list)) or len(item) != 2 or item[0] is None or item[1] is None:
        raise ValueError(f"{what} is no pair of an image and a label")
    return item[0], item[1]


def is_array(value: Any) -> bool:
    return isinstance(value, (Tensor, list, tuple)) or hasattr(value, "__array__")


def name_of(dataset: Any) -> str:
    return type(dataset).__name__.lower()
