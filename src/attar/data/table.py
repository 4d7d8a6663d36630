"""What the channels of a table's rows are. A row is held as an image of one pixel, with a channel for each number."""

import itertools
import math
from collections.abc import Container
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

LABELS = ("label", "target", "class", "y")  # what a column of labels is called, in whatever case
DIGITS = 7  # that float32 keeps of the range of a column


@dataclass(frozen=True)
class Column:
    """What a channel of a row is: a column of numbers, or one category of a column of categories.

    `low` and `high` are the least and the greatest value of the training part, which become 0 and 1. A column of one
    value alone becomes 0.
    """

    name: str
    low: float = 0.0
    high: float = 1.0
    category: str | None = None


Columns = tuple[Column, ...]


def measure_columns(columns: Columns, rows: Float64[Tensor, "n d 1 1"]) -> Columns:
    """The columns with the least and the greatest value that these rows have."""
    ends = zip(rows.amin((0, 2, 3)).tolist(), rows.amax((0, 2, 3)).tolist(), strict=True)
    return tuple(replace(column, low=low, high=high) for column, (low, high) in zip(columns, ends, strict=True))


def scale(columns: Columns, rows: Float64[Tensor, "n d 1 1"]) -> Float[Tensor, "n d 1 1"]:
    """Rows with each column's ends at 0 and 1, as float32; rows of a test part may lie beyond."""
    low, span = find_ends(columns)
    return torch.where(span > 0, (rows - low) / torch.where(span > 0, span, 1), 0).float()


def restore(columns: Columns, rows: Float[Tensor, "n d 1 1"]) -> dict[str, np.ndarray]:
    """The columns of scaled rows: numbers in their own units, and of categories the one with the largest value."""
    low, span = find_ends(columns)
    values = (low + rows.double() * span)[:, :, 0, 0].numpy()
    found: dict[str, np.ndarray] = {}
    for name in dict.fromkeys(column.name for column in columns):
        own = [i for i, column in enumerate(columns) if column.name == name]
        if columns[own[0]].category is None:
            found[name] = round_to_range(values[:, own[0]], float(span[own[0]]))
        else:
            found[name] = np.array([columns[own[i]].category for i in values[:, own].argmax(1)])
    return found


def round_to_range(values: np.ndarray, span: float) -> np.ndarray:
    """Without the digits that float32 has made up: 13.2, not 13.200000286."""
    return np.round(values, DIGITS - math.ceil(math.log10(span))) if span else values


def find_ends(columns: Columns) -> tuple[Float64[Tensor, "d 1 1"], Float64[Tensor, "d 1 1"]]:
    """The least value of each column, and the difference to the greatest."""
    low, high = (torch.tensor([getattr(c, end) for c in columns], dtype=torch.float64) for end in ("low", "high"))
    return low[:, None, None], (high - low)[:, None, None]


def name_labels(names: Container[str]) -> str:
    """What the column of labels is called beside columns of these names."""
    return next(name for name in itertools.chain(LABELS, map("label{}".format, itertools.count())) if name not in names)
