"""Tables as they come: columns by name, checked and turned into numbers. What cannot be meant is one sentence."""

import logging
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from attar.data.arrays import to_array
from attar.data.table import Column, Columns

MOST = 1000  # categories of a column: what has more is a text or an id
FEW = 20  # which may all differ: of more than these every second row at least must repeat one
LARGEST = np.finfo(np.float64).max / 2  # so that the difference of two is finite too
LOG = logging.getLogger("attar")


class Frame(NamedTuple):
    """A table as it came: its columns by name, and in a text file the number of the line of its first row."""

    columns: Mapping[str, Any]
    line: int | None = None

    def place(self, row: int) -> str:
        """What a person calls a row, which counts from 0 here."""
        return f"row {row}" if self.line is None else f"line {self.line + row}"


def is_table(x: Any) -> bool:
    """Whether these are rows of a table and no images: a frame, an array of two axes, or lists that make one."""
    if isinstance(x, Frame) or is_data_frame(x):
        return True
    if isinstance(x, list | tuple):
        return bool(x) and isinstance(x[0], list | tuple | np.ndarray | Tensor) and np.ndim(x[0]) == 1
    return getattr(x, "ndim", None) == 2


def is_data_frame(x: Any) -> bool:
    """Whether it is one of pandas, or of a library that is like it."""
    return hasattr(x, "columns") and hasattr(x, "iloc")


def as_frame(x: Any, what: str) -> Frame:
    """Raises `ValueError` where two columns have one name."""
    if isinstance(x, Frame):
        return x
    if is_data_frame(x):
        names = [str(name) for name in x.columns]
        check_names(names, what)
        return Frame({name: x.iloc[:, i].tolist() for i, name in enumerate(names)})
    values = to_array(x, what)
    if values.ndim != 2:
        raise ValueError(f"{what} has the shape {'x'.join(map(str, values.shape))}; expected rows and columns")
    return Frame({f"x{i}": values[:, i] for i in range(values.shape[1])})


def check_names(names: list[str], what: str) -> None:
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ValueError(
                f"{what} has two columns {name!r}: a name must say which is meant (the first row names them)"
            )


def find_columns(x: Any, what: str, categories: Collection[str]) -> Columns:
    """What the channels of a training part are, whose ends are not measured yet.

    Columns of text or of truth values are taken for categories, and so are those in `categories`; which is logged.
    Raises `ValueError` naming the column, and the row, of a value that is missing or of another kind.
    """
    frame = as_frame(x, what)
    if not frame.columns or not len(next(iter(frame.columns.values()))):
        lacking = "rows" if frame.columns else "column besides that of the labels"
        raise ValueError(f"{what} has no {lacking}")
    columns = tuple(column for name in frame.columns for column in find_channels(frame, what, name, name in categories))
    for name in categories:
        if name not in frame.columns:
            raise ValueError(f"{what} has no column {name!r} of categories; its columns are {list_names(frame)}")
    say_categories(columns, what)
    return columns


def find_channels(frame: Frame, what: str, name: str, asked: bool) -> Iterator[Column]:
    """One channel for a column of numbers, or one for each category of a column that holds or is `asked` to hold them.

    Raises `ValueError` where so many values differ that they are no categories.
    """
    values = read_column(frame, what, name)
    if values.dtype.kind in "iuf" and not asked:
        yield Column(name)
        return
    texts = as_text(values)
    found = np.unique(texts).tolist()
    if not asked:
        check_words(frame, what, name, texts, found)
    if len(found) > min(MOST, max(FEW, len(texts) // 2)):
        told = f"{len(found):,} different values in {len(texts):,} rows, such as {found[0]!r}"
        raise ValueError(f"{what}: the column {name!r} holds {told}, and so no categories: leave it out")
    yield from (Column(name, category=category) for category in found)


def check_words(frame: Frame, what: str, name: str, texts: np.ndarray, found: list[str]) -> None:
    """Raises `ValueError` where texts are numbers but for a few: these say perhaps that a value is missing."""
    words = [text for text in found if not is_number(text)]
    if len(found) > FEW and words and len(words) < len(found) / 2:  # fewer numbers may well be categories
        row = int(np.isin(texts, words).argmax())
        told = f"holds numbers, but {str(texts[row])!r} in {frame.place(row)}"
        raise ValueError(f"{what}: the column {name!r} {told}; expected numbers alone, or categories=[{name!r}]")


def say_categories(columns: Columns, what: str) -> None:
    """One logged sentence about the columns that were taken for categories."""
    counts: dict[str, int] = {}
    for column in columns:
        if column.category is not None:
            counts[column.name] = counts.get(column.name, 0) + 1
    if counts:
        told = ", ".join(f"{name!r} ({count})" for name, count in counts.items())
        channels = f"{sum(counts.values())} of {len(columns)} channels"
        LOG.warning(f"{what}: columns taken for categories, a channel each: {told}; {channels}")


def encode(x: Any, what: str, columns: Columns) -> Float64[Tensor, "n d 1 1"]:
    """Rows as these columns have them, not scaled yet; a category is 1 in its own channel and 0 in the others.

    Raises `ValueError` where a column lacks or is one too many, and for a category that is not among these.
    """
    frame, names = as_frame(x, what), dict.fromkeys(column.name for column in columns)
    for one, other, told in ((names, frame.columns, "lacks the column"), (frame.columns, names, "has a column")):
        if strange := [name for name in one if name not in other]:
            raise ValueError(f"{what} {told} {strange[0]!r}; expected the columns {', '.join(map(repr, names))}")
    parts = []
    for name in names:
        known = [column.category for column in columns if column.name == name and column.category is not None]
        parts.append(encode_categories(frame, what, name, known) if known else encode_numbers(frame, what, name))
    if not len(parts[0]):
        raise ValueError(f"{what} has no rows")
    return torch.from_numpy(np.concatenate(parts, 1))[:, :, None, None]


def encode_numbers(frame: Frame, what: str, name: str) -> Float64[np.ndarray, "n 1"]:
    """Raises `ValueError` naming the row of a value that is no finite number."""
    values = read_column(frame, what, name)
    if values.dtype.kind == "U":
        row = next((i for i, text in enumerate(values.tolist()) if not is_number(text)), 0)
        told = f"{str(values[row])!r} in {frame.place(row)}"
        raise ValueError(f"{what}: the column {name!r} holds {told}; expected numbers, as in the training part")
    numbers = values.astype(np.float64)
    far = np.abs(numbers) > LARGEST
    if far.any():
        told = f"{numbers[far][0]:g} in {frame.place(int(far.argmax()))}"
        raise ValueError(f"{what}: the column {name!r} holds {told}; expected finite numbers")
    return numbers[:, None]


def encode_categories(frame: Frame, what: str, name: str, known: list[str]) -> Float64[np.ndarray, "n k"]:
    """Raises `ValueError` naming the row of a category that is not `known`."""
    texts, codes = as_text(read_column(frame, what, name)).tolist(), {text: i for i, text in enumerate(known)}
    row = next((i for i, text in enumerate(texts) if text not in codes), None)
    if row is not None:
        told = f"{texts[row]!r} in {frame.place(row)}, a category that no training row has"
        raise ValueError(f"{what}: the column {name!r} holds {told}")
    return np.eye(len(known))[[codes[text] for text in texts]]


def read_column(frame: Frame, what: str, name: str) -> np.ndarray:
    """Numbers, truth values or text. Raises `ValueError` where a value is missing, or is none of these."""
    values = frame.columns[name]
    row = find_missing(values)
    if row is not None:
        raise ValueError(
            f"{what} has no value in the column {name!r} in {frame.place(row)}: fill it in, or leave it out"
        )
    read = to_array(values, f"{what}: the values of the column {name!r}")
    if read.ndim != 1 or read.dtype.kind not in "iufbUS":
        kind = read.dtype if read.ndim == 1 else f"arrays of {read.ndim - 1} axes"
        raise ValueError(f"{what}: the column {name!r} holds {kind}; expected numbers, text, or true and false")
    return np.char.decode(read, "utf-8", "replace") if read.dtype.kind == "S" else read


def find_missing(values: Any) -> int | None:
    """The first place without a value: None, or NaN, as tables have it."""
    if getattr(values, "dtype", None) is not None and values.dtype.kind == "f":
        missing = np.isnan(values)
        return int(missing.argmax()) if missing.any() else None
    if isinstance(values, np.ndarray) and values.dtype.kind != "O":
        return None
    return next((i for i, value in enumerate(values) if value is None or value != value), None)  # NaN is not itself


def as_text(values: np.ndarray) -> np.ndarray:
    """Categories by name; whole numbers without a point."""
    whole = values.dtype.kind == "f" and bool((np.trunc(values) == values).all())
    return (values.astype(np.int64) if whole else values).astype(str)


def is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def list_names(frame: Frame) -> str:
    return ", ".join(map(repr, frame.columns))
