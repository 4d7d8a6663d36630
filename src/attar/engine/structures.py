"""Tensors and constants nested in tuples, lists and dicts."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor


def leaves(value: Any) -> Iterator[Any]:
    """The tensors and constants in it, in order."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        for part in value:
            yield from leaves(part)
    else:
        yield value


def map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """The same structure with other tensors; constants stay."""
    if isinstance(value, dict):
        return {name: map_tensors(part, function) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        parts = [map_tensors(part, function) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return function(value) if isinstance(value, Tensor) else value
