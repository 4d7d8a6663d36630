"""A ConvNet's first block as one GPU kernel, for images whose gradient nobody asks for.

Its convolution has few inputs and many outputs: what it writes is a hundred times what it reads, and is read twice again, by the
normalisation and the pooling. Here nothing but the pooled maps is written. The mean and variance of each map come before the map
does, from the products of the image's own patches: for outputs w·p over patches p they are w·E p and w·(E p pᵀ)·w − (w·E p)².
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def patches(
    image,
    pixels,
    rows,
    columns,
    k,
    inputs: tl.constexpr,
    border: tl.constexpr,
    height: tl.constexpr,
    width: tl.constexpr,
    LOW: tl.constexpr,
):
    """Column j: the 3×3 patches of all inputs about pixel j of the convolution's output; then a one; zero outside and beyond."""
    channel, y, x = k // 9, k % 9 // 3, k % 3
    row = rows[None, :] + y[:, None] - 1 - border
    column = columns[None, :] + x[:, None] - 1 - border
    inside = pixels[None, :] & (k < 9 * inputs)[:, None] & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    values = tl.load(image + (channel[:, None] * height + row) * width + column, mask=inside, other=0.0)
    return tl.where(pixels[None, :] & (k == 9 * inputs)[:, None], 1.0, values).to(LOW)


@triton.jit
def kernel(
    images,
    weight,
    gain,
    shift,
    out,
    eps,
    inputs: tl.constexpr,
    border: tl.constexpr,
    height: tl.constexpr,
    width: tl.constexpr,
    outputs: tl.constexpr,
    K: tl.constexpr,
    BLOCK: tl.constexpr,
    LOW: tl.constexpr,
):
    """One image. Its patches, `9 · inputs` numbers and a one, are padded to `K`; `BLOCK` of them at a time, multiplied in `LOW`."""
    tall: tl.constexpr = height + 2 * border
    wide: tl.constexpr = width + 2 * border
    image = images + tl.program_id(0).to(tl.int64) * inputs * height * width
    k, j, d = tl.arange(0, K), tl.arange(0, BLOCK), tl.arange(0, outputs)
    w = tl.load(weight + d[:, None] * (9 * inputs) + k[None, :], mask=(k < 9 * inputs)[None, :], other=0.0).to(LOW)
    products = tl.zeros((K, K), tl.float32)
    for start in range(0, tall * wide, BLOCK):
        at = start + j
        p = patches(image, at < tall * wide, at // wide, at % wide, k, inputs, border, height, width, LOW)
        products = tl.dot(p, tl.trans(p), products)
    products /= tall * wide
    exact = w.to(tl.float32)
    sums = tl.sum(tl.where((k == 9 * inputs)[None, :], products, 0.0), 1)
    mean = tl.sum(exact * sums[None, :], 1)
    second = tl.sum(tl.dot(exact, products, input_precision="ieee") * exact, 1)
    scale = tl.load(gain + d) / tl.sqrt(second - mean * mean + eps)
    offset = tl.load(shift + d) - mean * scale
    high: tl.constexpr = tall // 2
    broad: tl.constexpr = wide // 2
    place = out + tl.program_id(0).to(tl.int64) * high * broad * outputs
    for start in range(0, high * broad, BLOCK):
        at = start + j
        pooled = tl.zeros((BLOCK, outputs), tl.float32)
        for corner in tl.static_range(4):
            rows, columns = 2 * (at // broad) + corner // 2, 2 * (at % broad) + corner % 2
            p = patches(image, at < high * broad, rows, columns, k, inputs, border, height, width, LOW)
            pooled += tl.maximum(tl.dot(tl.trans(p), tl.trans(w)) * scale[None, :] + offset[None, :], 0.0)
        tl.store(place + at[:, None] * outputs + d[None, :], (pooled / 4).to(out.dtype.element_ty), mask=(at < high * broad)[:, None])


def blocks(inputs: int, low: tl.dtype = tl.bfloat16) -> dict[str, Any]:
    return {"K": max(16, triton.next_power_of_2(9 * inputs + 1)), "BLOCK": 64, "LOW": low}


@torch.library.custom_op("attar::first_block", mutates_args=())
def first_block(x: Tensor, weight: Tensor, gain: Tensor, shift: Tensor, eps: float, border: int) -> Tensor:
    """Convolution (3×3, padding 1 + `border`), instance normalisation, ReLU and 2×2 mean of `x`, in bfloat16 with channels last.

    A bias of the convolution would be taken out again by the normalisation.
    """
    out = place(x, weight, border)
    n, inputs, height, width = x.shape
    kernel[(n,)](x.contiguous(), weight.contiguous(), gain, shift, out, eps, inputs, border, height, width, len(weight), **blocks(inputs))
    return out


@first_block.register_fake
def place(x: Tensor, weight: Tensor, *options) -> Tensor:
    border = options[-1]
    high, broad = ((side + 2 * border) // 2 for side in x.shape[2:])
    return x.new_empty((len(x), high, broad, len(weight)), dtype=torch.bfloat16).permute(0, 3, 1, 2)
