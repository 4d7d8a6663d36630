"""A ConvNet's first block as one GPU kernel forward, one backward to the images and one to the weights.

Its convolution has few inputs and many outputs. It writes forty times as many numbers as it reads, and normalisation
and pooling read them again, twice. Here nothing but the pooled maps is written, and backward the gradients in the
patches.

Let p be the 3×3 patches of an image and a = w·p a map. Its mean and variance, w·E p and w·Cov(p)·w, need no map. With
r = (var + ε)^-½ and s = gain · r it is normalised to s (a − mean) + shift. Let g be the gradient in that where it is
positive, and 0 elsewhere. Then the gradient in a map is

    s g − s E g − s r² E[g (a − mean)] (a − mean).

The gradient in a patch is the sum of w times it over all maps, that in w the sum of p times it over all patches.
"""

import hashlib
from pathlib import Path
from typing import Any, no_type_check

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
@no_type_check
def moments(
    image, real, tall: tl.constexpr, wide: tl.constexpr, inputs: tl.constexpr, K: tl.constexpr, MANY: tl.constexpr
):
    """Mean and covariance of the patches."""
    line: tl.constexpr = (wide + 2) * inputs
    products, sums, i = tl.zeros((K, K), tl.float32), tl.zeros((MANY, K), tl.float32), tl.arange(0, MANY)
    for start in range(0, tall * wide, MANY):
        at = start + i
        p = tl.load(
            image + (at // wide * line + at % wide * inputs)[:, None],
            mask=real[None, :] & (at < tall * wide)[:, None],
            other=0.0,
        )
        products = tl.dot(tl.trans(p), p, products)
        sums += p.to(tl.float32)
    mean = tl.sum(sums, 0) / (tall * wide)
    return mean, products / (tall * wide) - mean[:, None] * mean[None, :]


@triton.jit
@no_type_check
def statistics(centre, covariance, w):
    """Mean and variance of each map, and the covariance of the patches with it."""
    coarse = covariance.to(w.dtype)  # in two parts: a variance is worth more than one of them
    turned = tl.dot(coarse, w) + tl.dot((covariance - coarse.to(tl.float32)).to(w.dtype), w)
    exact = w.to(tl.float32)
    return tl.sum(centre[:, None] * exact, 0), tl.maximum(tl.sum(turned * exact, 0), 0.0), turned


@triton.jit
@no_type_check
def opened(
    images,
    weight,
    gain,
    shift,
    eps,
    tall: tl.constexpr,
    wide: tl.constexpr,
    inputs: tl.constexpr,
    outputs: tl.constexpr,
    K: tl.constexpr,
    MANY: tl.constexpr,
):
    """This program's image, where its first patch lies; the weights; E p and Cov(p)·w.

    Then of each map mean, r, s and shift − s mean.
    """
    line: tl.constexpr = (wide + 2) * inputs
    k, d, n = tl.arange(0, K), tl.arange(0, outputs), tl.program_id(0).to(tl.int64)
    real = k < 9 * inputs
    image = images + n * (tall + 2) * line + (k // (3 * inputs) * line + k % (3 * inputs))[None, :]
    w = tl.load(weight + k[:, None] * outputs + d[None, :], mask=real[:, None], other=0.0)
    centre, covariance = moments(image, real, tall, wide, inputs, K, MANY)
    mean, variance, turned = statistics(centre, covariance, w)
    inverse = 1 / tl.sqrt(variance + eps)
    s = tl.load(gain + d) * inverse
    return image, w, centre, turned, mean, inverse, s, tl.load(shift + d) - mean * s


@triton.jit
@no_type_check
def forward(
    images,
    weight,
    gain,
    shift,
    out,
    eps,
    tall: tl.constexpr,
    wide: tl.constexpr,
    inputs: tl.constexpr,
    outputs: tl.constexpr,
    K: tl.constexpr,
    MANY: tl.constexpr,
    SOME: tl.constexpr,
):
    """One image, with a border and channels last.

    Its patches are padded to `K` numbers. Products are in the precision of the image.
    """
    line: tl.constexpr = (wide + 2) * inputs
    k, d, j, n = tl.arange(0, K), tl.arange(0, outputs), tl.arange(0, SOME), tl.program_id(0).to(tl.int64)
    real = k < 9 * inputs
    image, w, _, _, _, _, s, t = opened(images, weight, gain, shift, eps, tall, wide, inputs, outputs, K, MANY)
    high: tl.constexpr = tall // 2
    broad: tl.constexpr = wide // 2
    out += n * high * broad * outputs
    for start in range(0, high * broad, SOME):
        at = start + j
        here = at < high * broad
        corner = image + (at // broad * 2 * line + at % broad * 2 * inputs)[:, None]
        pooled = tl.zeros((SOME, outputs), tl.float32)
        for c in tl.static_range(4):
            p = tl.load(corner + (c // 2 * line + c % 2 * inputs), mask=real[None, :] & here[:, None], other=0.0)
            pooled += tl.maximum(tl.dot(p, w) * s[None, :] + t[None, :], 0.0)
        tl.store(out + at[:, None] * outputs + d[None, :], (pooled / 4).to(out.dtype.element_ty), mask=here[:, None])


@triton.jit
@no_type_check
def backward(
    images,
    weight,
    gain,
    shift,
    up,
    out,
    eps,
    tall: tl.constexpr,
    wide: tl.constexpr,
    inputs: tl.constexpr,
    outputs: tl.constexpr,
    K: tl.constexpr,
    MANY: tl.constexpr,
    SOME: tl.constexpr,
):
    """The gradient in each patch of one image, given that in its pooled maps."""
    line: tl.constexpr = (wide + 2) * inputs
    k, d, j, n = tl.arange(0, K), tl.arange(0, outputs), tl.arange(0, SOME), tl.program_id(0).to(tl.int64)
    real = k < 9 * inputs
    image, w, _, _, mean, inverse, s, t = opened(images, weight, gain, shift, eps, tall, wide, inputs, outputs, K, MANY)
    high: tl.constexpr = tall // 2
    broad: tl.constexpr = wide // 2
    up += n * high * broad * outputs
    out += n * tall * wide * K

    sums, along = tl.zeros((outputs,), tl.float32), tl.zeros((outputs,), tl.float32)
    for start in range(0, high * broad, SOME):
        at = start + j
        here = at < high * broad
        corner = image + (at // broad * 2 * line + at % broad * 2 * inputs)[:, None]
        gradient = tl.load(up + at[:, None] * outputs + d[None, :], mask=here[:, None], other=0.0).to(tl.float32) / 4
        one, other = tl.zeros((SOME, outputs), tl.float32), tl.zeros((SOME, outputs), tl.float32)
        for c in tl.static_range(4):
            p = tl.load(corner + (c // 2 * line + c % 2 * inputs), mask=real[None, :] & here[:, None], other=0.0)
            a = tl.dot(p, w)
            g = tl.where(a * s[None, :] + t[None, :] > 0, gradient, 0.0)
            one += g
            other += g * a
        sums += tl.sum(one, 0)
        along += tl.sum(other, 0)
    sums = s * sums / (tall * wide)
    curve = inverse * inverse * (s * along / (tall * wide) - mean * sums)
    exact = w.to(tl.float32)
    turned = tl.trans(w)
    pulled = tl.dot((exact * curve[None, :]).to(w.dtype), turned).to(w.dtype)
    constant = tl.sum(exact * (curve * mean - sums)[None, :], 1)
    for start in range(0, high * broad, SOME):
        at = start + j
        here = at < high * broad
        row, column = at // broad * 2, at % broad * 2
        corner = image + (row * line + column * inputs)[:, None]
        gradient = tl.load(up + at[:, None] * outputs + d[None, :], mask=here[:, None], other=0.0).to(tl.float32) / 4
        for c in tl.static_range(4):
            p = tl.load(corner + (c // 2 * line + c % 2 * inputs), mask=real[None, :] & here[:, None], other=0.0)
            g = tl.where(tl.dot(p, w) * s[None, :] + t[None, :] > 0, gradient * s[None, :], 0.0)
            found = tl.dot(g.to(w.dtype), turned) - tl.dot(p, pulled) + constant[None, :]
            pixel = (row + c // 2) * wide + column + c % 2
            tl.store(out + pixel[:, None] * K + k[None, :], found.to(out.dtype.element_ty), mask=here[:, None])


@triton.jit
@no_type_check
def learning(
    images,
    weight,
    gain,
    shift,
    up,
    weights,
    sides,
    eps,
    tall: tl.constexpr,
    wide: tl.constexpr,
    inputs: tl.constexpr,
    outputs: tl.constexpr,
    K: tl.constexpr,
    MANY: tl.constexpr,
    SOME: tl.constexpr,
):
    """What one image adds to the gradients in weights, and in gain and shift, given that in its pooled maps."""
    line: tl.constexpr = (wide + 2) * inputs
    k, d, j, n = tl.arange(0, K), tl.arange(0, outputs), tl.arange(0, SOME), tl.program_id(0).to(tl.int64)
    real = k < 9 * inputs
    image, w, centre, turned, mean, inverse, s, t = opened(
        images, weight, gain, shift, eps, tall, wide, inputs, outputs, K, MANY
    )
    high: tl.constexpr = tall // 2
    broad: tl.constexpr = wide // 2
    up += n * high * broad * outputs
    sums, found = tl.zeros((outputs,), tl.float32), tl.zeros((K, outputs), tl.float32)
    for start in range(0, high * broad, SOME):
        at = start + j
        here = at < high * broad
        corner = image + (at // broad * 2 * line + at % broad * 2 * inputs)[:, None]
        gradient = tl.load(up + at[:, None] * outputs + d[None, :], mask=here[:, None], other=0.0).to(tl.float32) / 4
        for c in tl.static_range(4):
            p = tl.load(corner + (c // 2 * line + c % 2 * inputs), mask=real[None, :] & here[:, None], other=0.0)
            g = tl.where(tl.dot(p, w) * s[None, :] + t[None, :] > 0, gradient, 0.0)
            found = tl.dot(tl.trans(p), g.to(w.dtype), found)
            sums += tl.sum(g, 0)
    # Σ p g, of which Σ g a is the part along w. The gradients through mean and variance are in E p and Cov(p).
    along = inverse * (tl.sum(found * w.to(tl.float32), 0) - mean * sums)
    patch_gradients = s[None, :] * (found - centre[:, None] * sums[None, :] - turned * (inverse * along)[None, :])
    tl.store(weights + (n * K + k[:, None]) * outputs + d[None, :], patch_gradients)
    tl.store(sides + n * 2 * outputs + d, along)
    tl.store(sides + (n * 2 + 1) * outputs + d, sums)


def padded(inputs: int) -> int:
    """Numbers of a patch, as matrix products take them."""
    return max(16, triton.next_power_of_2(9 * inputs))


def sizes(images: Tensor, weight: Tensor) -> dict[str, int]:
    _, tall, wide, inputs = images.shape
    return {"tall": tall - 2, "wide": wide - 2, "inputs": inputs, "outputs": weight.shape[3], "K": padded(inputs)}


# Pixels at a time, and threads: what fits the registers.
FORWARD = {"MANY": 128, "SOME": 32, "num_warps": 4, "maxnreg": 128}
BACKWARD = {"MANY": 128, "SOME": 16, "num_warps": 4}
LEARNING = {"MANY": 128, "SOME": 32, "num_warps": 8}


# What torch keeps of a compiled network on disk has this file's shapes and sums in it, under the names of these
# functions.
VERSION = hashlib.blake2b(Path(__file__).read_bytes(), digest_size=8).hexdigest()


@torch.library.custom_op(f"attar::first_block_{VERSION}", mutates_args=())
def pooled(images: Tensor, weight: Tensor, gain: Tensor, shift: Tensor, eps: float) -> Tensor:
    """The pooled maps (n, h / 2, w / 2, d) of images with a border and channels last, by weights (3, 3, c, d).

    The images are (n, h + 2, w + 2, c).
    """
    out = shape_pooled(images, weight)
    forward[(len(images),)](images, weight, gain, shift, out, eps, **sizes(images, weight), **FORWARD)
    return out


@pooled.register_fake
def shape_pooled(images: Tensor, weight: Tensor, *others: Any) -> Tensor:
    n, tall, wide, _ = images.shape
    return images.new_empty(n, (tall - 2) // 2, (wide - 2) // 2, weight.shape[3])


@torch.library.custom_op(f"attar::first_block_gradients_{VERSION}", mutates_args=())
def patch_gradients(images: Tensor, weight: Tensor, gain: Tensor, shift: Tensor, up: Tensor, eps: float) -> Tensor:
    """Given those in its pooled maps, the gradients in each patch of an image, padded: (n, h, w, K)."""
    out = shape_patches(images)
    backward[(len(images),)](images, weight, gain, shift, up, out, eps, **sizes(images, weight), **BACKWARD)
    return out


@patch_gradients.register_fake
def shape_patches(images: Tensor, *others: Any) -> Tensor:
    n, tall, wide, inputs = images.shape
    return images.new_empty(n, tall - 2, wide - 2, padded(inputs))


@torch.library.custom_op(f"attar::first_block_learning_{VERSION}", mutates_args=())
def learned(
    images: Tensor, weight: Tensor, gain: Tensor, shift: Tensor, up: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Likewise what each image adds to the gradients in weights, padded (n, K, d), and in gain and shift (n, 2, d)."""
    weights, sides = shape_learned(images, weight)
    given = images, weight, gain, shift, up, weights, sides, eps
    learning[(len(images),)](*given, **sizes(images, weight), **LEARNING)
    return weights, sides


@learned.register_fake
def shape_learned(images: Tensor, weight: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
    n, d = len(images), weight.shape[3]
    return images.new_empty(n, padded(images.shape[3]), d, dtype=torch.float32), images.new_empty(
        n, 2, d, dtype=torch.float32
    )


def keep_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:4])
    ctx.eps = inputs[4]


def pass_back(ctx: Any, up: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients in what learns: images, or weights, gain and shift."""
    images, weight, gain, shift = ctx.saved_tensors
    up, c = up.to(images.dtype).contiguous(), images.shape[3]
    found: list[Tensor | None] = [None] * 4
    if ctx.needs_input_grad[0]:  # each pixel takes what it was in nine patches
        in_patches = patch_gradients(images, weight, gain, shift, up, ctx.eps).float()
        parts = [
            F.pad(in_patches[..., c * i : c * i + c], [0, 0, i % 3, 2 - i % 3, i // 3, 2 - i // 3]) for i in range(9)
        ]
        found[0] = torch.stack(parts).sum(0).to(images.dtype)
    if any(ctx.needs_input_grad[1:4]):
        weights, sides = (part.sum(0) for part in learned(images, weight, gain, shift, up, ctx.eps))
        found[1:] = weights[: 9 * c].view_as(weight).to(weight.dtype), *sides
    return *found, None


pooled.register_autograd(pass_back, setup_context=keep_for_backward)


def first_block(x: Tensor, weight: Tensor, gain: Tensor, shift: Tensor, eps: float, border: int) -> Tensor:
    """Convolution (3×3, padding 1 + `border`), instance normalisation, ReLU and 2×2 mean of `x`.

    What comes out is in bfloat16, with channels last. The sides must be even. A bias of the convolution would be taken
    out again by the normalisation.
    """
    images = F.pad(x, [1 + border] * 4).permute(0, 2, 3, 1).bfloat16().contiguous()
    return pooled(images, weight.permute(2, 3, 1, 0).bfloat16().contiguous(), gain, shift, eps).permute(0, 3, 1, 2)
