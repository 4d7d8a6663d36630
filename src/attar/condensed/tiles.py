"""Several small images in each stored one, and how they are enlarged again (IDC's multi-formation)."""

import functools
import math
import reprlib
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from attar.data.normalisation import per_channel
from attar.data.whitening import AnyNormalisation, Whitening
from attar.engine.exact import products

MOST = 8  # tiles a side; decoding takes the square of it in memory


def check_factor(factor: Any, sides: Sequence[int]) -> None:
    """Raises `ValueError` where images of these sides cannot hold `factor`² tiles, before any is decoded."""
    if not isinstance(factor, int) or isinstance(factor, bool) or factor < 1:
        raise ValueError(f"factor is {reprlib.repr(factor)}; expected a whole number from 1 to {MOST}")
    for side in sides:
        if (factor - 1) * -(-side // factor) >= side:  # rounded up without floats, as a factor may be larger than any
            told = f"factor {reprlib.repr(factor)} does not suit a side of {side} pixels"
            raise ValueError(f"{told}: tiles would lie outside")
    if factor > MOST:
        raise ValueError(f"factor is {factor}; expected a whole number from 1 to {MOST}")


def check_whole(normalisation: AnyNormalisation, factor: int) -> None:
    """Raises `ValueError` for tiles of whitened images: a part of one is not what its pixels are when whitened."""
    if isinstance(normalisation, Whitening) and factor > 1:
        raise ValueError(f"whitened images are stored whole: factor must be 1, not {factor}")


def pack_tiles(images: Float[Tensor, "k t ipc c h w"], factor: int) -> Float[Tensor, "k ipc c h w"]:
    """Image t·ipc + i, reduced by nearest neighbour, becomes tile t of stored image i; tiles in row-major order."""
    if factor == 1:
        return images[:, 0]
    k, _, ipc, c, h, w = images.shape
    # Sides round up: where `factor` does not divide them, the last tiles reach over the rim and are cut there.
    small = F.interpolate(images.flatten(0, 2), size=(math.ceil(h / factor), math.ceil(w / factor)), mode="nearest")
    tiles = small.view(k, factor, factor, ipc, c, *small.shape[-2:])
    whole = tiles.permute(0, 3, 4, 1, 5, 2, 6).reshape(k, ipc, c, factor * small.shape[-2], factor * small.shape[-1])
    return whole[..., :h, :w]


def unpack_tiles(x: Float[Tensor, "n c h w"], factor: int, padding: Sequence[float]) -> Float[Tensor, "m c h w"]:
    """Each image's `factor`² tiles, enlarged bilinearly to its full size; all first tiles, then all second ones.

    Where `factor` does not divide a side, the right and bottom are filled with `padding`, one value a channel.
    Linear in `x`, but for the padding (IDC, Kim et al., ICML 2022).
    """
    if factor == 1:
        return x
    h, w = x.shape[-2:]
    rows, columns = math.ceil(h / factor), math.ceil(w / factor)
    if (factor * rows, factor * columns) != (h, w):
        canvas = per_channel(padding, x).expand(len(x), -1, factor * rows, factor * columns)
        x = torch.cat([torch.cat([x, canvas[..., :h, w:]], 3), canvas[..., h:, :]], 2)
    tiles = x.unflatten(3, (factor, columns)).unflatten(2, (factor, rows)).permute(2, 4, 0, 1, 3, 5)
    return enlarge(tiles.flatten(0, 2), h, w)


def enlarge(x: Float[Tensor, "n c r s"], h: int, w: int) -> Float[Tensor, "n c h w"]:
    """Bilinear interpolation as two products, whose transpose is two products as well.

    The gradient of torch's own adds up in any order on a GPU.
    """
    rows, columns = (interpolation(*sides, x.device, x.dtype) for sides in ((x.shape[2], h), (x.shape[3], w)))
    return products(rows, products(columns, x))


@functools.cache  # every update asks for the same one or two
def interpolation(few: int, many: int, device: torch.device, dtype: torch.dtype) -> Float[Tensor, "m f"]:
    """Row i holds the weights of `few` pixels in the i-th of `many`; linear, as their centres lie."""
    # Torch's own weights, found from what it makes of single pixels; in float64, so that they are rounded once.
    hats = F.interpolate(torch.eye(few, dtype=torch.float64)[None], size=many, mode="linear", align_corners=False)
    return hats[0].T.to(device, dtype)


def join_rows(parts: Sequence[Tensor | None], what: str, factor: int, order: Tensor) -> Tensor | None:
    """Those of all shards, in the order of decoded images: all first tiles, then all second ones."""
    there = [part.unflatten(0, (factor**2, -1)) for part in parts if part is not None]
    if len(there) not in (0, len(parts)):
        raise ValueError(f"some of the sets have {what}, others have none")
    return torch.cat(there, 1)[:, order].flatten(0, 1) if there else None
