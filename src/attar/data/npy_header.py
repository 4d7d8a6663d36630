"""What stands before the values of an npy array: read first, as the values may be fewer than it says, or too many."""

import math
from io import BufferedIOBase
from typing import IO

import numpy as np

from attar.wording import size

READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def check_header(opened: IO[bytes] | BufferedIOBase, held: int) -> np.dtype:
    """The type of the array that begins where the file stands, which `held` bytes are of.

    Raises `ValueError` where these are fewer than its shape needs, and whatever NumPy raises for what is no header.
    """
    version = np.lib.format.read_magic(opened)
    if version not in READERS:  # a third one is for names of columns
        raise ValueError(f"no array of numbers or text, but of format {version[0]}")
    shape, _, dtype = READERS[version](opened)
    needed = opened.tell() + math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or (needed > held and not dtype.hasobject):
        described = "x".join(map(str, shape))
        raise ValueError(f"it says that it is {described} of {dtype}, and it is {size(held)} long")
    return dtype
