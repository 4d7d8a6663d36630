"""Arrays as they come, as NumPy has them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def to_array(values: Any, what: str) -> np.ndarray:
    """A NumPy array, on the CPU, of numbers or text; Python objects are looked into where they are that."""
    if isinstance(values, Tensor):
        return to_numpy(values, what)
    if np.ma.is_masked(values):  # what lies under a mask is no value
        raise ValueError(f"{what} are a masked array; leave out the examples whose values are masked, or fill these in")
    try:
        values = np.asarray(values)
        # Objects that are numbers or text after all, as columns of pandas are.
        return np.asarray(values.tolist()) if values.dtype.kind == "O" else values
    except ValueError:
        raise ValueError(f"{what} differ in shape, and so make no array") from None


def to_numpy(values: Tensor, what: str) -> np.ndarray:
    """Raises `ValueError` for a tensor that holds no values, or none that NumPy knows."""
    if values.is_nested:
        raise ValueError(f"{what} are a nested tensor, and may differ in size; expected a dense one of one size")
    if values.layout != torch.strided:
        raise ValueError(f"{what} are a sparse tensor; expected a dense one, such as .to_dense() gives")
    if values.is_meta:
        raise ValueError(f"{what} are a tensor on the device meta, which holds no values")
    values = values.detach().cpu().resolve_conj().resolve_neg()  # of which NumPy has only the values
    if values.dtype == torch.bfloat16 or (values.is_floating_point() and values.itemsize == 1):
        values = values.float()  # NumPy has neither
    try:
        return values.numpy()
    except TypeError:  # such as quantised ones
        raise ValueError(f"{what} are of type {values.dtype}; expected whole numbers or floats") from None
