"""Images under affine maps: bilinear sampling about the centre, whose transpose gathers where torch's scatters."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Groups = Float[Tensor, "g n c h w"]
Points = Tensor  # rows or columns in pixels, for each pixel a few: what broadcasts to g, h, w, t


def affine(x: Groups, matrix: Float[Tensor, "#g 2 2"]) -> Groups:
    """Bilinear sampling about the centre, zero outside. The images of a group share one grid, as its channels would."""
    matrix = matrix.to(x.dtype)
    if x.is_cuda:
        return Resample.apply(x, matrix)
    g, n, c, h, w = x.shape
    theta = F.pad(matrix, (0, 1))
    if len(theta) == 1:
        theta = theta.expand(g, 2, 3)
    grid = F.affine_grid(theta, [g, n * c, h, w], align_corners=False)
    return F.grid_sample(x.reshape(g, n * c, h, w), grid, padding_mode="zeros", align_corners=False).view_as(x)


class Resample(torch.autograd.Function):
    """`affine`, with a transpose that gathers.

    Torch's scatters. A GPU adds that up in any order, and so in other bits each time.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor) -> Tensor:
        ctx.save_for_backward(matrix)
        h, w = x.shape[-2:]
        at = lead_points(matrix, h, w, *grid(h, w, matrix))
        rows, columns = neighbours(*at, range(2))
        return gather_weighted(x, rows, columns, hat(rows - at[0]) * hat(columns - at[1]))

    @staticmethod
    def backward(ctx: Any, *up: Tensor) -> tuple[Tensor, None]:
        """A pixel goes to all that lead to it: they lie less than `reach` from where the inverse leads.

        A turn by 45 degrees sets `reach`.
        """
        (matrix,) = ctx.saved_tensors
        h, w = up[0].shape[-2:]
        reach, here = math.ceil(math.sqrt(2) * max(h, w) / min(h, w)), grid(h, w, matrix)
        rows, columns = neighbours(*lead_points(inverse(matrix), h, w, *here), range(1 - reach, 1 + reach))
        led = lead_points(matrix, h, w, rows, columns)
        return gather_weighted(up[0], rows, columns, hat(led[0] - here[0]) * hat(led[1] - here[1])), None


def grid(h: int, w: int, like: Tensor) -> tuple[Points, Points]:
    rows, columns = (torch.arange(side, device=like.device, dtype=like.dtype) for side in (h, w))
    return rows[:, None, None], columns[:, None]


def lead_points(
    matrix: Float[Tensor, "#g 2 2"], h: int, w: int, rows: Points, columns: Points
) -> tuple[Points, Points]:
    """Where the matrix, x first and in halves of a side about the centre, leads from pixels."""
    y, x = (rows + 0.5) * (2 / h) - 1, (columns + 0.5) * (2 / w) - 1
    (a, b), (c, d) = (row.unbind(1) for row in matrix[..., None, None, None].unbind(1))
    return ((c * x + d * y + 1) * h - 1) / 2, ((a * x + b * y + 1) * w - 1) / 2


def inverse(matrix: Float[Tensor, "#g 2 2"]) -> Float[Tensor, "#g 2 2"]:
    (a, b), (c, d) = (row.unbind(1) for row in matrix.unbind(1))
    return torch.stack([torch.stack([d, -b], 1), torch.stack([-c, a], 1)], 1) / (a * d - b * c)[:, None, None]


def neighbours(rows: Points, columns: Points, steps: range) -> tuple[Points, Points]:
    """The pixels about a point, so many steps from the one before it."""
    step = torch.arange(steps.start, steps.stop, device=rows.device)
    return rows.floor() + step.repeat_interleave(len(step)), columns.floor() + step.repeat(len(step))


def hat(distance: Tensor) -> Tensor:
    return (1 - distance.abs()).clamp_min(0)


def gather_weighted(x: Groups, rows: Points, columns: Points, weight: Points) -> Groups:
    """Weighted sums of the pixels at `rows` and `columns`, zero outside."""
    h, w = x.shape[-2:]
    inside = (rows >= 0) & (rows < h) & (columns >= 0) & (columns < w)
    index = (rows.clamp(0, h - 1) * w + columns.clamp(0, w - 1)).long()
    pixels = x.flatten(3).gather(3, index.flatten(1)[:, None, None].expand(*x.shape[:3], -1))
    return (pixels.unflatten(3, index.shape[1:]) * (weight * inside)[:, None, None]).sum(-1)
