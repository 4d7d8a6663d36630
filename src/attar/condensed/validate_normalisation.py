"""What a set's normalisation must be, and how a file gives it."""

import math
from typing import Any

import torch

from attar.condensed.validate import (
    FAR,
    LEAST,
    NUMBER,
    WHITENING,
    check_floats,
    check_moments,
    find_largest,
    is_a,
    quote,
)
from attar.data.normalisation import Normalisation
from attar.data.whitening import AnyNormalisation, Whitening


def read_normalisation(tensors: dict[str, Any], entries: dict[str, Any]) -> AnyNormalisation:
    """From the parts of a file. Raises `ValueError` where it has a part of a whitening, but not all."""
    # JSON has no tuples, and whole numbers without a point.
    plain = Normalisation(*(tuple(map(float, entries[name])) for name in ("mean", "std")))
    given = tensors | entries
    found = [name for name in WHITENING if name in given]
    if not found:
        return plain
    for name in WHITENING:
        if name not in given:
            raise ValueError(f"there is no {name!r}, but {' and '.join(found)}: a whitening has {', '.join(WHITENING)}")
    return Whitening(plain, *(given[name] for name in WHITENING))


def check_normalisation(normalisation: Any, shape: tuple[int, ...]) -> None:
    """A mean and a deviation for each channel; for whitened images also a mean image and a matrix."""
    if not isinstance(normalisation, AnyNormalisation) or not isinstance(normalisation.plain, Normalisation):
        raise ValueError(f"the normalisation is {quote(normalisation)}; expected attar.Normalisation(mean, std)")
    check_moments(normalisation.plain.mean, "mean", shape[0])
    check_moments(normalisation.plain.std, "std", shape[0])
    if isinstance(normalisation, Whitening):
        check_whitening(normalisation, shape)


def check_whitening(whitening: Whitening, shape: tuple[int, ...]) -> None:
    """A mean image of this shape, and a symmetric, positive definite matrix of as many rows as it has numbers."""
    d = math.prod(shape)
    parts = (
        (whitening.mean, "pixels of the mean image", shape, FAR),
        (whitening.matrix, "rows of the whitening matrix", (d, d), 1 / LEAST),
    )
    for values, what, size, most in parts:
        check_floats(values, what)
        if values.shape != size:
            raise ValueError(f"the {what} have the shape {tuple(values.shape)}; expected {size}")
        if (largest := find_largest(values, what)) > most:
            raise ValueError(f"the {what} hold values as large as {largest:g}; expected at most {most:g}")
    if not torch.equal(whitening.matrix, whitening.matrix.mT):
        raise ValueError("the whitening matrix is not symmetric")
    if find_largest(whitening.inverse, "rows of the inverse of the whitening matrix") > 1 / LEAST:
        raise ValueError("the whitening matrix is so near to a singular one that nothing undoes it")
    if not is_a(whitening.eps, NUMBER) or not 0 < whitening.eps < FAR:
        raise ValueError(f"the whitening's eps is {quote(whitening.eps)}; expected a number between 0 and {FAR:g}")
