"""A value whose gradient is known, where autograd need not, or cannot, find it."""

from typing import Any

import torch
from torch import Tensor


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
