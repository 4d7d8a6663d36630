"""Examples and labels as they come, turned into what a task holds; what cannot be meant is refused in one sentence."""

import math
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from attar.data.arrays import to_array
from attar.data.frame import encode, find_columns, is_table
from attar.data.on_disk import as_tensor, gather_rows, pieces
from attar.data.table import Columns
from attar.data.task import Examples
from attar.data.value_range import Range, choose_scale, say_if_dark
from attar.wording import make_visible

T = TypeVar("T")
Judge = Literal["test", "validation"]
CHANNELS = (1, 3)
UNLABELLED = (-1, -100)  # "no label" of scikit-learn and the Hugging Face library, and of torch's losses
SMALLEST = 4  # pixels a side; more than a channel axis has, so that no shape can be read in two ways


class Given(NamedTuple):
    """Images, or rows of a table, and labels as a user or a decoder gives them.

    `what` names them in errors, such as "the training".
    """

    what: str
    x: Any
    y: Any
    group: Any = None
    """A second label of each, where it has one."""


class Found(NamedTuple):
    """What a reader found, as it is.

    `test` is the part that judges, and `judge` what it is called. `names` are those of integer labels, where those
    have any.
    """

    train: Given
    test: Given | None = None
    names: Sequence[str] | None = None
    judge: Judge = "test"


class Parts(NamedTuple):
    """Checked examples, and the names of their classes in the order of the codes."""

    train: Examples
    test: Examples | None
    classes: tuple[str, ...]
    columns: Columns | None = None
    """Of a table, whose rows are not scaled yet."""
    groups: tuple[str, ...] = ()
    """The names of the groups of the examples, where they have any."""


def check_parts(
    train: Given,
    test: Given | None = None,
    names: Sequence[str] | None = None,
    value_range: Range | None = None,
    categories: Collection[str] = (),
) -> Parts:
    """Images as `(n, c, h, w)`, rows of a table as `(n, d, 1, 1)`, labels as codes from 0.

    The first three are as in `Found`; `value_range` is what black and white are, and `categories` names columns of
    numbers that are categories. Classes keep the order of the training labels: numbers numerically, text as text.
    Raises `ValueError` where the examples are no labelled images or rows, or the test part does not fit the training
    part.
    """
    columns = find_columns(train.x, f"{train.what} table", categories) if is_table(train.x) else None
    refuse_other(columns is not None, value_range, categories)
    x, y = pair_up(train, value_range, columns)
    check_labelled(y, f"{train.what} labels")
    values, codes = np.unique(y, return_inverse=True)
    if len(values) < 2:
        raise ValueError(f"{train.what} labels are all {str(values[0])!r}: at least two classes are needed")
    # Names that do not fit the labels belong to something else.
    named = names is not None and values.dtype.kind in "iu" and values[0] >= 0 and values[-1] < len(names)
    classes = tuple(str(names[v] if named and names else v) for v in values)
    checked = Examples(x, torch.from_numpy(codes.astype(np.int64)))
    tested = None if test is None else check_test(test, checked, [str(v) for v in values], value_range, columns)
    if value_range is None and columns is None:
        say_if_dark({given.what: part.x for given, part in ((train, checked), (test, tested)) if given and part})
    return Parts(checked, tested, classes, columns)


def refuse_other(table: bool, value_range: Range | None, categories: Collection[str]) -> None:
    """Raises `ValueError` for an option that says something of images where there is a table, or the other way."""
    if table and value_range is not None:
        raise ValueError("value_range is for images, and this is a table: its numbers may have any range")
    if categories and not table:
        raise ValueError("categories is for columns of a table, and these are images")


def pair_up(
    given: Given, value_range: Range | None, columns: Columns | None = None
) -> tuple[Shaped[Tensor, "n c h w"], np.ndarray]:
    """Images, or rows of these columns that are not scaled yet, and their labels."""
    if columns is None:
        x, called = check_images(given.x, f"{given.what} images", value_range), "images"
    else:
        x, called = encode(given.x, f"{given.what} table", columns), "rows"
    y = check_labels(given.y, f"{given.what} labels")
    if len(x) != len(y):
        raise ValueError(f"{given.what} part has {len(x)} {called}, but {len(y)} labels")
    return x, y


def check_test(
    test: Given, train: Examples, known: list[str], value_range: Range | None, columns: Columns | None = None
) -> Examples:
    """The test part, in the codes of the training labels, whose values are `known`."""
    x, y = pair_up(test, value_range, columns)
    if x.shape[1:] != train.x.shape[1:]:
        raise ValueError(
            f"{test.what} images are {describe_size(x)}, but those for training are {describe_size(train.x)}"
        )
    values, codes = np.unique(y, return_inverse=True)
    # Compared as text: the labels of the two parts may come in different types.
    strange = [str(v) for v in values if str(v) not in known]
    if strange:
        check_labelled(y, f"{test.what} labels")
        raise ValueError(f"{test.what} labels hold {list_some(strange)}, which no training example has")
    return Examples(x, torch.tensor([known.index(str(v)) for v in values])[torch.from_numpy(codes)])


def check_images(values: Any, what: str, value_range: Range | None = None) -> Shaped[Tensor, "n c h w"]:
    """uint8, or float32 in [0, 1], copied to the CPU.

    The shape is `(n, h, w)`, `(n, h, w, c)` or `(n, c, h, w)` with 1 or 3 channels. Which axis is the channels' is seen
    from its length, as a side has at least 4 pixels. Integers may lie in 0..255, floats in [0, 1], both in
    `value_range` where one is given; booleans are black and white. Arrays mapped for reading are not copied, if they
    hold what is wanted already.
    """
    # A private mapping, open to writes, cannot exceed the memory. Asked before to_array, which forgets the mapping.
    keep = isinstance(values, np.memmap) and values.mode == "r"
    values = to_array(values, what)
    shape = "x".join(map(str, values.shape))
    if not values.size:
        raise ValueError(f"{what} are empty")
    if values.ndim not in (3, 4):
        raise ValueError(f"{what} have the shape {shape}; expected (n, h, w), (n, h, w, c) or (n, c, h, w)")
    if values.ndim == 3:
        values = values[:, None]
    elif values.shape[1] not in CHANNELS:
        values = values.transpose(0, 3, 1, 2)
    if values.shape[1] not in CHANNELS:
        raise ValueError(f"{what} have the shape {shape}, and so no axis of 1 or 3 channels")
    if min(values.shape[2:]) < SMALLEST:
        raise ValueError(f"{what} have the shape {shape}; a side needs at least {SMALLEST} pixels")
    scale = choose_scale(values, what, value_range)
    if not keep or scale.changes(values):
        values = gather_rows((scale.apply(values[some]) for some in pieces(values)), len(values))
    return as_tensor(values)


def check_labels(values: Any, what: str) -> np.ndarray:
    """One label an image, of integers, text or booleans; whole floats become integers, bytes become text."""
    check_present(values, what)
    values = to_array(values, what)
    if values.ndim == 2 and values.shape[1] == 1:  # as MATLAB and Keras have them
        values = values[:, 0]
    if values.ndim != 1:
        shape = "x".join(map(str, values.shape)) or "of one number"
        raise ValueError(f"{what} have the shape {shape}; expected one label for each image")
    if values.dtype.kind == "f":
        wrong = ~np.isfinite(values) | (np.trunc(values) != values)
        if wrong.any():
            raise ValueError(
                f"{what} hold {values[wrong][0]:g}, at index {wrong.argmax()}; a class is a whole number or a name"
            )
        return values.astype(np.int64)
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind not in "iuUb":
        raise ValueError(f"{what} are of type {values.dtype}; expected whole numbers or names")
    return values


def check_present(labels: Any, what: str) -> None:
    """Raises `ValueError` where a label is NaN, as tables have it for a missing one: among names it would be a name."""
    if isinstance(labels, list | tuple) or str(getattr(labels, "dtype", "")) == "object":
        for i, label in enumerate(labels):
            if isinstance(label, float) and math.isnan(label):
                raise ValueError(f"{what} hold nan, at index {i}; a class is a whole number or a name")


def check_labelled(labels: np.ndarray, what: str) -> None:
    """Raises `ValueError` where a number that stands for "no label" is among the labels.

    Where no other number is negative it is no class, unless the labels are -1 and 1, as two classes often are.
    """
    negative = np.unique(labels[labels < 0]).tolist() if labels.dtype.kind == "i" else []
    if not negative or not set(negative) <= set(UNLABELLED) or np.unique(labels).tolist() == [-1, 1]:
        return
    missing = labels < 0
    marks = " and ".join(map(str, negative))
    told = f"{missing.sum()} examples without a label ({marks}), the first at index {missing.argmax()}"
    raise ValueError(f"{what} hold {told}: leave these out")


def watch(items: Iterable[T], total: int, what: str, quiet: bool) -> Iterable[T]:
    """The items, with a bar on a terminal unless `quiet`."""
    if quiet or not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import track

    told = escape(make_visible(what))  # it may hold a file's name, which is text
    return track(items, told, total, console=Console(stderr=True), transient=True)


def describe_size(x: Shaped[Tensor, "n c h w"]) -> str:
    c, h, w = x.shape[1:]
    return f"{h}x{w} {'grey' if c == 1 else 'colour'}"


def list_some(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(map(repr, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
