"""Arrays larger than memory: made and passed over piece by piece, and read where they lie on disk."""

import ctypes
import math
import mmap
import re
import warnings
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import torch
from torch import Tensor

from attar.files import cache_folder, check_writable

LIMIT = 2 << 30  # bytes that an array made here may take of the memory
PIECE = 4096 * 3 * 32 * 32  # values held at a time: 50 MB as float32


def pieces(x: Tensor | np.ndarray) -> Iterator[slice]:
    """The rows of `x` in order, at most 4,096 at a time, and fewer where they are larger than 3x32x32."""
    step = max(1, min(4096, PIECE // math.prod(x.shape[1:])))
    return (slice(start, start + step) for start in range(0, len(x), step))


def gather_rows(parts: Iterable[np.ndarray], rows: int) -> np.ndarray:
    """Arrays of `rows` rows at most together as one.

    It is in memory or, above `LIMIT`, in a file of the cache that goes with the array. Raises `ValueError` where the
    cache cannot be written.
    """
    parts = iter(parts)
    first = next(parts)
    if first[0].nbytes * rows <= LIMIT:
        return np.concatenate([first, *parts])
    folder = cache_folder() / "decoded"  # not the folder for temporary files, which may itself be memory
    check_writable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=folder) as file:
        for part in chain([first], parts):
            file.write(part.tobytes())
        file.flush()
        # The file has no name; the mapping keeps it when it is closed, and nothing is left of it after the process.
        return np.memmap(file, first.dtype, "r").reshape(-1, *first.shape[1:])


def free_memory() -> float:
    """Bytes that may still be taken, what the system would drop for it included; infinite where it does not tell."""
    told = Path("/proc/meminfo")
    found = re.search(r"MemAvailable: *(\d+) kB", told.read_text(encoding="utf-8")) if told.exists() else None
    return 1024.0 * int(found[1]) if found else math.inf


def as_tensor(x: np.ndarray) -> Tensor:
    """The array as a tensor, without a copy. Torch warns that it cannot keep one from writing to what is read-only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(x)


def is_on_disk(x: Tensor) -> bool:
    """Whether the values come from a file as they are read; false where the system does not tell."""
    # Asked of the system: a tensor does not know whether NumPy or safetensors mapped it.
    maps = Path("/proc/self/maps")
    if x.device.type != "cpu" or not maps.exists():
        return False
    for line in maps.read_text(encoding="utf-8", errors="replace").splitlines():
        ends, _, _, _, inode = line.split()[:5]
        start, end = (int(end, 16) for end in ends.split("-"))
        if start <= x.data_ptr() < end:
            return inode != "0"  # memory of no file has the inode 0
    return False


def fetch_rows(x: Tensor, rows: Tensor) -> None:
    """Ask the disk for rows of a mapped array all at once.

    Each would else be waited for in turn, 30 times as long (measured).
    """
    advise, size = ctypes.CDLL(None).madvise, x[0].nbytes  # Python's own needs an mmap, not an address
    advise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for address in (x.data_ptr() + rows.flatten() * x.stride(0) * x.itemsize).tolist():
        start = address - address % mmap.PAGESIZE  # madvise takes the beginnings of pages only
        advise(start, address + size - start, mmap.MADV_WILLNEED)
