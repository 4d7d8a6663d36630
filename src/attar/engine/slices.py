"""Rows of tensors, in slices of one shape: caches hold a slice, and a compiled function meets one shape only."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def even_size(n: int, most: int) -> int:
    """The size of as few equal slices of `n` rows as hold at most `most` each."""
    return -(-n // -(-n // most))


def at_rows(rows: Sequence[int]) -> slice | list[int]:
    """What takes `rows` of a tensor: a slice where they follow one another.

    A slice copies nothing, and on a GPU nothing waits for it.
    """
    together = range(rows[0], rows[-1] + 1)
    return slice(together.start, together.stop) if list(rows) == list(together) else list(rows)


def map_slices(function: Callable[[Tensor], Tensor], x: Tensor, size: int) -> Tensor:
    """`function` over slices of `size` rows. The last one is filled up, so that a compiled function meets one shape."""
    parts = []
    for part in x.split(size):
        short = min(size, len(x)) - len(part)
        padded = torch.cat([part, part[:1].expand(short, *part.shape[1:])]) if short else part
        parts.append(function(padded)[: len(part)])
    return torch.cat(parts)
