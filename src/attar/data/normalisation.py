"""From pixels on [0, 1] to what networks see, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from attar.engine.compiling import constant_when_compiled


@dataclass(frozen=True)
class Normalisation:
    """(x − mean) / std, a number a channel, both on [0, 1]. Tasks, learned pixels and artefacts carry one."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_network(self, x: Float[Tensor, "*n c h w"]) -> Float[Tensor, "*n c h w"]:
        """From [0, 1] to what networks see."""
        return (x - per_channel(self.mean, x)) / per_channel(self.std, x)

    def to_pixels(self, x: Float[Tensor, "*n c h w"]) -> Float[Tensor, "*n c h w"]:
        """From what networks see to [0, 1], and beyond where an image is."""
        return x * per_channel(self.std, x) + per_channel(self.mean, x)

    @property
    def grey(self) -> tuple[float, ...]:
        """Mid grey as networks see it, a number a channel."""
        return tuple((0.5 - m) / s for m, s in zip(self.mean, self.std, strict=True))

    @property
    def identity(self) -> tuple[Any, ...]:
        """What tells it from others; JSON can hold it."""
        return self.mean, self.std

    # What follows is what `data/whitening.py` has too, so that nobody who carries one asks which it is.

    @property
    def plain(self) -> "Normalisation":
        """The same without whitening."""
        return self

    def to(self, device: torch.device) -> "Normalisation":
        """The same on another device."""
        return self

    @property
    def remark(self) -> str:
        """What a row says of it: nothing, as this is the usual."""
        return ""

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Those that a file keeps of it."""
        return {}

    @property
    def entries(self) -> dict[str, Any]:
        """What a file keeps of it beside its tensors."""
        return {"mean": self.mean, "std": self.std}

    def describe(self) -> str:
        """For a reader."""
        mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        return f"normalised per channel with mean {mean} and standard deviation {std}"


def unit(x: Tensor) -> Float[Tensor, "*n c h w"]:
    """Images on [0, 1]: bytes as float32, floats as they are.

    They are laid out as their shape says, which an array on disk need not be.
    """
    x = x.contiguous()
    return x.float() / 255 if x.dtype == torch.uint8 else x


def per_channel(values: Sequence[float], like: Tensor) -> Float[Tensor, "c 1 1"]:
    return on_device(tuple(values), like.device, like.dtype)[:, None, None]  # a tuple can be a key of the cache


@constant_when_compiled
def on_device(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Float[Tensor, " n"]:
    return copy_to(values, device, dtype)


@cache
def copy_to(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Float[Tensor, " n"]:
    """Made once: each copy to a device may wait for it."""
    return torch.tensor(values, device=device, dtype=dtype)
