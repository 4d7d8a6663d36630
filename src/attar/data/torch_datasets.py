"""Map-style datasets of torch, torchvision and the Hugging Face library, decoded item by item."""

import logging
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from PIL import Image, ImageFile
from torch import Tensor
from torch.utils.data import ConcatDataset, IterableDataset, Subset

from attar.data.arrays import to_array
from attar.data.check import Found, Given, watch
from attar.data.columns import IMAGES, LABELS
from attar.data.decoding import as_colour, flatten, take_grey
from attar.data.on_disk import gather_rows

# These have a length and square brackets too, but hold no pairs, or not by number.
OTHERS = (Tensor, np.ndarray, str, bytes, Mapping, IterableDataset)
TWICE = 8  # items that are read twice: a random mirroring shows in half of them
LOG = logging.getLogger("attar")


def read_datasets(train: Any, test: Any | None, quiet: bool) -> Found:
    given = decode_items(train, "the training", quiet)
    tested = None if test is None else decode_items(test, "the test", quiet)
    with named_errors("the classes of the training part"):
        return Found(given, tested, find_names(train))


def find_names(source: Any) -> list[str] | None:
    """The names of its classes: its own, those of its features, or those of the datasets that it is made of."""
    for name in ("classes", "class_to_idx"):
        if names := list_names(getattr(source, name, None)):
            return names
    if isinstance(source, Subset):
        return find_names(source.dataset)
    if isinstance(source, ConcatDataset):
        return agree_on_names([find_names(part) for part in source.datasets])
    features = getattr(source, "features", None)
    if isinstance(features, Mapping):
        labels = next((features[name] for name in LABELS if name in features), None)
        return getattr(labels, "names", None)
    return None


def list_names(given: Any) -> list[str] | None:
    """Names in the order of their numbers: from a list of names, or a table of names or of numbers."""
    if isinstance(given, np.ndarray) and given.ndim == 1:
        given = given.tolist()
    if isinstance(given, Mapping):
        by_number = {v: k for k, v in given.items()} if all(isinstance(k, str) for k in given) else given
        given = [by_number.get(number) for number in range(len(by_number))]
        given = None if None in given else given  # not the numbers from 0
    return list(given) if isinstance(given, (list, tuple)) else None


def agree_on_names(found: list[list[str] | None]) -> list[str] | None:
    """The names that all parts have which have any. Raises `ValueError` where a number means two classes."""
    named = [names for names in found if names]
    for names in named:
        for first, other in zip(named[0], names, strict=False):
            if first != other:
                raise ValueError(f"of the datasets put together, one calls {first!r} what another calls {other!r}")
    return max(named, key=len, default=None)


def decode_items(source: Any, what: str, quiet: bool) -> Given:
    """All pairs of a map-style dataset, one after the other.

    Dictionaries as the Hugging Face library gives them will do. That the first items are not the same when they are
    read again is logged. Raises `ValueError` naming an item that cannot be read.
    """
    total = count_items(source)
    labels: list[Any] = []
    greys: list[bool] = []

    def pictures() -> Iterator[tuple[str, np.ndarray]]:
        """Each image with its name for errors; on the way its label is kept, and whether it is grey."""
        stays = True
        for i in watch(range(total), total, f"decoding {what} part", quiet):
            picture, grey, label = read_item(source, i, what)
            if stays and i < TWICE and not np.array_equal(picture, read_item(source, i, what)[0]):
                stays = False
                say_random(i, what)
            labels.append(label.tolist() if hasattr(label, "tolist") else label)
            greys.append(grey)
            yield f"{what} image {i}", picture

    x = stack_images(pictures(), total)
    return Given(what, take_grey(x) if total and all(greys) else x, labels)


def stack_images(pictures: Iterable[tuple[str, np.ndarray]], total: int) -> np.ndarray:
    """`total` images of one shape and type, each with a name for errors, as one array."""

    # A generator: of a large set only an image at a time is in memory.
    def rows() -> Iterator[np.ndarray]:
        first = None
        for what, picture in pictures:
            first = picture if first is None else first
            if (picture.shape, picture.dtype) != (first.shape, first.dtype):
                kinds = (f"{'x'.join(map(str, p.shape))} {p.dtype}" for p in (picture, first))
                raise ValueError("{} is {}, but the first is {}; all must have one size and mode".format(what, *kinds))
            yield picture[None]

    return gather_rows(rows(), total) if total else np.empty((0, 0, 0))


def count_items(source: Any) -> int:
    """How many items a map-style dataset has. Raises `ValueError` for anything else."""
    table = hasattr(source, "columns") and hasattr(source, "shape")  # of pandas, Polars or Arrow
    if hasattr(source, "__getitem__") and not isinstance(source, OTHERS) and not table:
        with named_errors(f"the length of {type(source).__name__}"), suppress(NotImplementedError, TypeError):
            return len(source)  # a class, or an object that has none, raises one of these
    expected = "a known name, npz:PATH, npy:FOLDER, arrays (x, y), or a dataset of pairs with a length and [i]"
    raise ValueError(f"{type(source).__name__} is no data; expected {expected}")


def read_item(source: Any, i: int, what: str) -> tuple[np.ndarray, bool, Any]:
    """The image of one item, whether it is a grey picture, and its label. What is raised becomes one `ValueError`."""
    with named_errors(f"{what} item {i}"):
        item = source[i]
    picture, label = pair(item, f"{what} item {i}")
    if isinstance(picture, Image.Image):
        with named_errors(f"{what} item {i}"):
            picture.load()  # Pillow reads pixels when they are asked for, and finds damage only then
    return *decode_image(picture, f"{what} image {i}"), label


def decode_image(value: Any, what: str) -> tuple[np.ndarray, bool]:
    """One image from a PIL image, as three layers of bytes and whether they are all grey; or a tensor or an array.

    PIL images of more than 8 bits keep their values, as arrays do: only the user knows what white is among these.
    """
    if isinstance(value, Image.Image) and value.mode not in ("I", "F") and not value.mode.startswith("I;16"):
        flat = np.asarray(flatten(value, what))
        return as_colour(flat), flat.ndim == 2
    array = to_array(value, what)
    if not array.ndim:
        raise ValueError(f"{what} is of type {type(value).__name__}; expected a PIL image, a tensor or an array")
    return array, False


@contextmanager
def named_errors(what: str) -> Iterator[None]:
    try:
        yield
    except MemoryError:  # no fault of the item
        raise
    except Exception as error:  # of a user's code: it may be any
        told = f"{what}{find_file(error)} cannot be read: {type(error).__name__}: {error}"
        raise ValueError(told) from error


def find_file(error: Exception) -> str:
    """The file of the image that Pillow was reading, where it was one; its errors do not name it."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        image = frame.f_locals.get("self")
        if isinstance(image, ImageFile.ImageFile):
            name = image.filename or getattr(image.fp, "name", None)
            return f" ({name})" if isinstance(name, str) else ""
    return ""


def say_random(i: int, what: str) -> None:
    told = "its images are kept as first read, and an interrupted run on them cannot be resumed"
    advice = "leave out random transforms, as Attar augments by itself"
    LOG.warning(f"{what} item {i} is another image each time it is read: {told}; {advice}")


def pair(item: Any, what: str) -> tuple[Any, Any]:
    if isinstance(item, dict):
        item = [item.get(choose_key(item, keys, what)) for keys in (IMAGES, LABELS)]
    if not isinstance(item, (tuple, list)) or len(item) != 2 or item[0] is None or item[1] is None:
        raise ValueError(f"{what} is no pair of an image and a label")
    return item[0], item[1]


def choose_key(item: Mapping[str, Any], keys: Sequence[str], what: str) -> str | None:
    """The one of `keys` that the item has. Raises `ValueError` where it has several."""
    found = [key for key in keys if key in item]
    if len(found) > 1:
        raise ValueError(f"{what} has {found[0]!r} and {found[1]!r}, either of which may be meant: leave one out")
    return found[0] if found else None


def is_array(value: Any) -> bool:
    return isinstance(value, (Tensor, list, tuple)) or hasattr(value, "__array__")


def name_of(dataset: Any) -> str:
    return type(dataset).__name__.lower()
