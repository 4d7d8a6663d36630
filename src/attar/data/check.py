"""Images and labels as they come, turned into what a task holds; what cannot be meant is refused in one sentence."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from attar.data.on_disk import as_tensor, gather_rows, pieces
from attar.data.task import Examples

T = TypeVar("T")
CHANNELS = (1, 3)
SMALLEST = 4  # pixels a side; more than a channel axis has, so that no shape can be read in two ways


class Given(NamedTuple):
    """Images and labels as a user or a decoder gives them; `what` names them in errors, such as "the training"."""

    what: str
    x: Any
    y: Any


class Parts(NamedTuple):
    """Checked examples, and the names of their classes in the order of the codes.

    `files` are those that the examples came from, where they came from nothing else.
    """

    train: Examples
    test: Examples | None
    classes: tuple[str, ...]
    files: Sequence[Path] = ()


def check_parts(train: Given, test: Given | None, names: Sequence[str] | None = None) -> Parts:
    """Images as `(n, c, h, w)`, labels as codes from 0. `names` are the names of integer labels, where those have any.

    Classes keep the order of the training labels: numbers numerically, text as text. Raises `ValueError` where the
    examples are no labelled image set, or the test part does not fit the training part.
    """
    x, y = pair_up(train)
    values, codes = np.unique(y, return_inverse=True)
    if len(values) < 2:
        raise ValueError(f"{train.what} labels are all {str(values[0])!r}: at least two classes are needed")
    # Names that do not fit the labels belong to something else.
    named = names is not None and values.dtype.kind in "iu" and values[0] >= 0 and values[-1] < len(names)
    classes = tuple(str(names[v] if named and names else v) for v in values)
    checked = Examples(x, torch.from_numpy(codes.astype(np.int64)))
    return Parts(checked, None if test is None else check_test(test, checked, [str(v) for v in values]), classes)


def pair_up(given: Given) -> tuple[Shaped[Tensor, "n c h w"], np.ndarray]:
    x, y = check_images(given.x, f"{given.what} images"), check_labels(given.y, f"{given.what} labels")
    if len(x) != len(y):
        raise ValueError(f"{given.what} part has {len(x)} images, but {len(y)} labels")
    return x, y


def check_test(test: Given, train: Examples, known: list[str]) -> Examples:
    """The test part, in the codes of the training labels, whose values are `known`."""
    x, y = pair_up(test)
    if x.shape[1:] != train.x.shape[1:]:
        raise ValueError(
            f"{test.what} images are {describe_size(x)}, but those for training are {describe_size(train.x)}"
        )
    values, codes = np.unique(y, return_inverse=True)
    # Compared as text: the labels of the two parts may come in different types.
    strange = [str(v) for v in values if str(v) not in known]
    if strange:
        raise ValueError(f"{test.what} labels hold {list_some(strange)}, which no training example has")
    return Examples(x, torch.tensor([known.index(str(v)) for v in values])[torch.from_numpy(codes)])


def check_images(values: Any, what: str) -> Shaped[Tensor, "n c h w"]:
    """uint8, or float32 in [0, 1], copied to the CPU.

    The shape is `(n, h, w)`, `(n, h, w, c)` or `(n, c, h, w)` with 1 or 3 channels. Which axis is the channels' is seen
    from its length, as a side has at least 4 pixels. Integers may lie in 0..255, floats in [0, 1]; booleans are black
    and white. Arrays of uint8 or float32 that are mapped for reading are not copied.
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
    dtype = choose_dtype(values, what)
    if not keep or values.dtype != dtype:
        values = gather_rows((np.ascontiguousarray(values[some], dtype) for some in pieces(values)), len(values))
    return as_tensor(values)


def choose_dtype(values: np.ndarray, what: str) -> np.dtype:
    """uint8, or float32: what images become. Raises `ValueError` where a value cannot be meant for one."""
    kind = values.dtype.kind
    if kind not in "buif":
        raise ValueError(f"{what} are of type {values.dtype}; expected bytes, or floats in [0, 1]")
    if values.dtype == np.uint8:
        return values.dtype
    # Piece by piece, as the array may be larger than the memory.
    ends = np.array([(values[some].min(), values[some].max()) for some in pieces(values)])
    low, high = ends[:, 0].min(), ends[:, 1].max()
    if not np.isfinite((low, high)).all():
        bad = np.concatenate([some.start + np.argwhere(~np.isfinite(values[some]))[:, 0] for some in pieces(values)])
        raise ValueError(f"{what} hold {len(bad)} values that are NaN or infinite, the first in image {bad[0]}")
    if low < 0 or high > (255 if kind in "ui" else 1):
        advice = "divide them by 255" if kind == "f" and low >= 0 and high <= 255 else "undo any normalisation"
        raise ValueError(
            f"{what} have values from {low:g} to {high:g}; expected bytes in 0..255 or floats in [0, 1]: {advice}"
        )
    return np.dtype(np.uint8 if kind in "ui" else np.float32)  # not bytes for booleans: 1 of 255 is black


def check_labels(values: Any, what: str) -> np.ndarray:
    """One label an image, of integers, text or booleans; whole floats become integers, bytes become text."""
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


def to_array(values: Any, what: str) -> np.ndarray:
    """A NumPy array, on the CPU, of numbers or text; Python objects are looked into where they are that."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()  # which has no bfloat16
    try:
        values = np.asarray(values)
        # Objects that are numbers or text after all, as columns of pandas are.
        return np.asarray(values.tolist()) if values.dtype.kind == "O" else values
    except ValueError:
        raise ValueError(f"{what} differ in shape, and so make no array") from None


def decode_image(value: Any, what: str) -> np.ndarray:
    """One image, `(h, w)`, `(h, w, c)` or `(c, h, w)`, from a PIL image, a tensor or an array.

    A PIL image is grey, RGB, of a palette, or black and white.
    """
    mode = getattr(value, "mode", None)
    if not isinstance(mode, str):
        return to_array(value, what)
    if mode not in ("1", "L", "P", "RGB"):  # to drop a transparency, say, would change the image: the user decides
        raise ValueError(f"{what} has the mode {mode}; convert it to L or RGB")
    return np.asarray(value.convert({"1": "L", "P": "RGB"}.get(mode, mode)))


def stack_images(pictures: Iterable[tuple[str, np.ndarray]], total: int) -> np.ndarray:
    """`total` images of one size, mode and type, each with a name for errors, as one array."""

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


def watch(items: Iterable[T], total: int, what: str, quiet: bool) -> Iterable[T]:
    """The items, with a bar on a terminal unless `quiet`."""
    if quiet or not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, what, total, console=Console(stderr=True), transient=True)


def moments(x: Shaped[Tensor, "n c h w"]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, on [0, 1]; the deviation is at least 0.001, as one divides by it."""
    total = torch.zeros(2, x.shape[1], dtype=torch.float64)  # over 1e8 values float32 would lose digits
    for some in pieces(x):
        values = x[some].contiguous().double() / (255 if x.dtype == torch.uint8 else 1)
        total += torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))])
    mean, square = total / (x.numel() / x.shape[1])
    return tuple(mean.tolist()), tuple((square - mean**2).clamp(min=1e-6).sqrt().tolist())


def describe_size(x: Shaped[Tensor, "n c h w"]) -> str:
    c, h, w = x.shape[1:]
    return f"{h}x{w} {'grey' if c == 1 else 'colour'}"


def list_some(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(map(repr, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
