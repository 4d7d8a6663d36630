"""What black and white are, given or seen from the values: how images become bytes, or floats in [0, 1]."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from attar.data.on_disk import pieces

Range = tuple[float, float]
BYTES: Range = (0.0, 255.0)
SLACK = 0.5 / 255  # of the range, left to rounding: what is nearer to an end than half a step of bytes is that end
WHITES = (1.0, 16.0, 255.0, 1023.0, 4095.0, 65535.0)  # of floats, scikit-learn's digits, and 8, 10, 12 and 16 bits
LOG = logging.getLogger("attar")


def check_range(value_range: Any) -> Range:
    """Two finite numbers, black and a greater one, white. Raises `ValueError` for anything else."""
    try:
        black, white = map(float, value_range)
    except (TypeError, ValueError, OverflowError):
        black = white = math.nan
    if not (black < white and math.isfinite(white - black)):
        expected = "expected two numbers, that of black and a greater one of white, such as (0, 16)"
        raise ValueError(f"value_range is {value_range!r}; {expected}")
    return black, white


@dataclass(frozen=True)
class Scale:
    """How values become what a task holds: bytes as they are, or floats by where they lie between black and white."""

    dtype: np.dtype
    black: float
    white: float
    clips: bool = False

    @property
    def moves(self) -> bool:
        return self.dtype != np.uint8 and (self.black, self.white) != (0, 1)

    def changes(self, values: np.ndarray) -> bool:
        """Whether `apply` gives anything else than the values themselves."""
        return self.clips or self.moves or values.dtype != self.dtype

    def apply(self, values: np.ndarray) -> np.ndarray:
        if self.moves:
            values = (values - np.float64(self.black)) / (self.white - self.black)
        return np.ascontiguousarray(values.clip(0, 1) if self.clips else values, self.dtype)


def choose_scale(values: Shaped[np.ndarray, "n c h w"], what: str, value_range: Range | None) -> Scale:
    """The scale of images: `value_range` where given, else that of bytes for integers, and [0, 1] for others.

    Values beyond an end by no more than rounding are clipped, which is logged. Raises `ValueError` where others lie
    outside.
    """
    kind = values.dtype.kind
    if kind not in "buif":
        raise ValueError(f"{what} are of type {values.dtype}; expected bytes, or floats in [0, 1]")
    as_bytes = kind in "ui" and value_range in (None, BYTES)
    dtype = np.dtype(np.uint8 if as_bytes else np.float32)  # not bytes for booleans: 1 of 255 is black
    black, white = value_range or (BYTES if as_bytes else (0.0, 1.0))
    if values.dtype == np.uint8 and as_bytes:
        return Scale(dtype, black, white)
    low, high = find_ends(values, what)
    slack = 0 if as_bytes else SLACK * (white - black)
    if low < black - slack or high > white + slack:
        expected = "bytes in 0..255 or floats in [0, 1]: " + advise(low, high, kind in "ui")
        if value_range:
            expected = f"{black:g} to {white:g}, as value_range says"
        raise ValueError(f"{what} have values from {low:g} to {high:g}; expected {expected}")
    clips = low < black or high > white
    if clips:
        LOG.warning(f"{what} have values from {low:.9g} to {high:.9g}: clipped to {black:g} and {white:g}, as rounding")
    return Scale(dtype, black, white, clips)


def find_ends(values: Shaped[np.ndarray, "n c h w"], what: str) -> Range:
    """The least and the greatest value. Raises `ValueError` where one is NaN or infinite."""
    # Piece by piece, as the array may be larger than the memory.
    ends = np.array([(values[some].min(), values[some].max()) for some in pieces(values)], np.float64)
    if not np.isfinite(ends).all():
        bad = np.concatenate([some.start + np.argwhere(~np.isfinite(values[some]))[:, 0] for some in pieces(values)])
        raise ValueError(f"{what} hold {len(bad)} values that are NaN or infinite, the first in image {bad[0]}")
    return float(ends[:, 0].min()), float(ends[:, 1].max())


def advise(low: float, high: float, integers: bool) -> str:
    """What to do about values outside of bytes and of [0, 1]; the ends can only be guessed, so a user may say them."""
    black, white = low, high
    if low >= 0:
        black, white = 0.0, guess_white(high, integers)
    elif low >= -1 and high <= 1 and not integers:
        black, white = -1.0, 1.0
    first = f"divide them by {white:g}" if low >= 0 else "undo any normalisation"
    return f"{first}, or {say(black, white)}"


def guess_white(high: float, integers: bool) -> float:
    """The least white in use that is not below `high`; if that is over twice as much, `high` itself.

    Integers above 255 are of some number of bits, however dark the images are.
    """
    near = (white for white in WHITES if high <= white and (high > white / 2 or (integers and high > 255)))
    return next(near, high)


def say_if_dark(parts: Mapping[str, Shaped[Tensor, "n c h w"]]) -> None:
    """One logged sentence where no image of a part is half as bright as white: their scale may be another one."""
    for what, x in parts.items():
        white = 255.0 if x.dtype == torch.uint8 else 1.0
        # The first piece with a brighter value ends the search, so that hardly any file is read for this.
        if all(float(x[some].max()) < white / 2 for some in pieces(x)):
            high = max(float(x[some].max()) for some in pieces(x))
            guess = say(0.0, guess_white(high, False) or 1.0)
            told = f"{what} images never exceed {high:g}, and white is taken to be {white:g}"
            LOG.warning(f"{told}; if white is another value, {guess}; if the images are just dark, {say(0.0, white)}")
            return


def say(black: float, white: float) -> str:
    """What a user writes, from Python and on the command line."""
    return f"give load_data value_range=({black:g}, {white:g}), or --range {black:g} {white:g}"
