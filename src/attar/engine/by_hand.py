"""A value whose gradient is known, where autograd need not, or cannot, find it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

Chunk = TypeVar("Chunk")


class WithGradient(torch.autograd.Function):
    """What `with_gradient` records."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, x: Tensor, grad: Tensor) -> Tensor:
        ctx.save_for_backward(grad)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *up: Tensor) -> tuple[None, Tensor, None]:
        (grad,) = ctx.saved_tensors
        return None, up[0].reshape(up[0].shape + (1,) * (grad.ndim - up[0].ndim)) * grad, None


def with_gradient(value: Tensor, x: Tensor, grad: Tensor) -> Tensor:
    """`value`, whose derivative with respect to `x` is `grad`.

    The shape of `value` is that of the leading dimensions of `x`; `grad` has the shape of `x`.
    """
    return WithGradient.apply(value.detach(), x, grad.detach())


def chunked(
    loss: Callable[[Tensor], Tensor], function: Callable[[Chunk], Tensor], chunks: Sequence[Chunk]
) -> Iterator[Tensor]:
    """Terms whose values and gradients add up to those of `loss`, of what `function` makes of all chunks together.

    One chunk's graph is alive at a time, so memory does not grow with their number. `function` runs twice on each: for
    the loss and its gradient in what comes out, and then to carry that gradient on (as in GLaD, Cazenavette et al.,
    CVPR 2023).
    """
    with torch.no_grad():
        found = [function(chunk) for chunk in chunks]
    whole = torch.cat(found).requires_grad_()
    value = loss(whole)
    (gradient,) = torch.autograd.grad(value, whole)
    for i, (chunk, own) in enumerate(zip(chunks, gradient.split(list(map(len, found))), strict=True)):
        yield with_gradient(torch.zeros_like(value) if i else value, function(chunk), own)
