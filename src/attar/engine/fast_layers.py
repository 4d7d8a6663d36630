"""Layers of an architecture replaced by others that compute the same faster, around slow paths of torch's libraries.

Parameters keep their names and their order. A reader who deletes this file still has networks that work.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from attar.engine.compiling import constant_when_compiled, find_fault
from attar.engine.device import say_once
from attar.engine.kernels import first_block_cpu

try:
    from attar.engine.kernels import first_block_gpu

    HAS_TRITON = True
except Exception:  # there is no triton where torch cannot use a GPU; and one that is broken may end with anything
    HAS_TRITON = False


# The settings of layers that have a faster one.
POOLING = {"kernel_size": 2, "stride": 2, "padding": 0, "ceil_mode": False, "divisor_override": None}
ENTERING = {"kernel_size": (3, 3), "stride": (1, 1), "dilation": (1, 1), "groups": 1, "padding_mode": "zeros"}


def quicken(module: nn.Module, kernel: bool) -> nn.Module:
    """The module with its layers replaced in place. `kernel` allows those that have no second derivative."""
    for name, layer in list(module.named_children()):
        setattr(module, name, quicken(faster(layer), kernel))
    if kernel and type(module) is nn.Sequential and tuple(map(type, module)) == FirstBlock.layers:
        return FirstBlock(*module)
    return module


def faster(layer: nn.Module) -> nn.Module:
    """The layer that computes the same, where there is one."""
    if type(layer) is nn.AvgPool2d and all(getattr(layer, name) == value for name, value in POOLING.items()):
        return HalvingPool()
    if type(layer) is nn.Conv2d and all(getattr(layer, name) == value for name, value in ENTERING.items()):
        same_border = layer.padding in [(border, border) for border in range(1, 8)]
        return Entry.of(layer) if layer.in_channels <= 3 and same_border else layer
    return layer


class Entry(nn.Conv2d):
    """The first convolution, 3×3, of images with few channels.

    Around two of oneDNN's slow paths, with the same numbers. With a padding above 1 a bias's gradient takes thirty
    times as long: so the border is added to the images. Grey images take twice as long forward: so they are compiled
    with three more channels of zeros.
    """

    @classmethod
    def of(cls, layer: nn.Conv2d) -> "Entry":
        entry = cls(layer.in_channels, layer.out_channels, 3, padding=1, bias=layer.bias is not None)
        entry.weight, entry.bias, entry.border = layer.weight, layer.bias, int(layer.padding[0]) - 1
        return entry

    border: int

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        weight, zeros = self.weight, 3 if x.shape[1] == 1 and torch.compiler.is_compiling() else 0
        if zeros:
            weight = F.pad(weight, [0, 0, 0, 0, 0, zeros])
        if zeros or self.border:
            x = F.pad(x, [*[self.border] * 4, 0, zeros])
        return F.conv2d(x, weight, self.bias, padding=1)


class HalvingPool(nn.AvgPool2d):
    """2×2 average pooling; the last of an odd number of rows or columns is left out.

    Compiled it is a mean, which is fused with what surrounds it, forward and backward: a network is a sixth faster.
    """

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
        if not torch.compiler.is_compiling():
            return super().forward(x)
        h, w = (2 * (side // 2) for side in x.shape[-2:])
        return x[..., :h, :w].unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5))


class OneType(nn.GroupNorm):
    """Group normalisation whose scale and bias are of its input's type.

    In bfloat16 torch keeps them in float32. Compiled, the second derivative in a network's weights then mixes types.
    """

    def forward(self, x: Float[Tensor, "n d *sides"]) -> Float[Tensor, "n d *sides"]:
        return F.group_norm(x, self.num_groups, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


def unify(module: nn.Module) -> nn.Module:
    """The module with such normalisation throughout, replaced in place."""
    for name, layer in list(module.named_children()):
        if type(layer) is nn.GroupNorm and layer.affine:
            one = OneType(layer.num_groups, layer.num_channels, layer.eps)
            one.weight, one.bias = layer.weight, layer.bias
            setattr(module, name, one)
        else:
            unify(layer)
    return module


class FirstBlock(nn.Sequential):
    """A ConvNet's first block: where there is a kernel for it, one forward and one backward.

    Kernels serve compiled functions on a CPU, and bfloat16 on a GPU. They have no second derivative.
    """

    layers = (Entry, nn.GroupNorm, nn.ReLU, HalvingPool)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        """The pooled maps."""
        entry: Any = self[0]
        norm: Any = self[1]
        if kernel := kernel_for(x, entry, norm):
            shift = norm.bias + 0 * entry.bias  # a bias that the normalisation takes out again
            return kernel(x, entry.weight, norm.weight, shift, norm.eps, entry.border)
        for layer in self:
            x = layer(x)
        return x


def kernel_for(x: Tensor, entry: Entry, norm: nn.GroupNorm) -> Callable[..., Tensor] | None:
    """What convolves, normalises each map by itself and pools; `None` where there is no kernel for such images."""
    if norm.num_groups != norm.num_channels or not norm.affine or entry.bias is None:
        return None
    if x.is_cuda and torch.is_autocast_enabled("cuda"):
        fits = entry.out_channels in (16, 32, 64, 128) and x.shape[2] % 2 == x.shape[3] % 2 == 0
        return first_block_gpu.first_block if fits and has_gpu_kernels() else None
    fits = torch.compiler.is_compiling() and first_block_cpu.fits(x, entry.weight)
    return first_block_cpu.first_block if fits else None


@constant_when_compiled
def has_gpu_kernels() -> bool:
    """Whether triton works; where it does not, that is said once."""
    if fault := find_fault("cuda"):
        say_once(f"{fault}: the first block of networks is slower")
    return HAS_TRITON and fault is None
