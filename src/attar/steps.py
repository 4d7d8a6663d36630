"""How an update moves what is learned: optimisers, step sizes, momentum."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor


def once_per_class(lr: float, momentum: float, classes: int) -> tuple[float, float]:
    """The step size and momentum of ONE update that equals a paper's loop of one SGD step a class, exactly.

    Each class's gradient comes once; in the other steps its momentum alone moves it, so `classes` of them make
    lr (1 − μ^C)/(1 − μ) and μ^C (no dampening, no weight decay).
    """
    return lr * (1 - below_one(momentum) ** classes) / (1 - momentum), momentum**classes


def below_one(momentum: float) -> float:
    if not momentum < 1:
        raise ValueError(f"momentum must be below 1, not {momentum}")
    return momentum


def sgd(parameters: Iterable[Tensor], lr: float, momentum: float) -> torch.optim.Optimizer:
    parameters = list(parameters)
    return torch.optim.SGD(parameters, lr=lr, momentum=below_one(momentum), fused=in_one_kernel(parameters))


def adam(parameters: Iterable[Tensor], lr: float, momentum: float) -> torch.optim.Optimizer:
    parameters = list(parameters)
    return torch.optim.Adam(parameters, lr=lr, betas=(below_one(momentum), 0.99), fused=in_one_kernel(parameters))


def adamw(parameters: Iterable[Tensor], lr: float, momentum: float) -> torch.optim.Optimizer:
    parameters = list(parameters)
    return torch.optim.AdamW(parameters, lr=lr, betas=(below_one(momentum), 0.999), weight_decay=5e-4, fused=in_one_kernel(parameters))


def in_one_kernel(parameters: Sequence[Tensor]) -> bool | None:
    """Whether torch is to update them so: on a GPU; elsewhere it decides."""
    return True if parameters[0].is_cuda else None


Optimiser = Literal["sgd", "adam", "adamw"]
OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"sgd": sgd, "adam": adam, "adamw": adamw}


def constant(lr: float, updates: int) -> Callable[[int], float]:
    return lambda done: lr


def cosine(lr: float, updates: int) -> Callable[[int], float]:
    """From `lr` to 0 along half a cosine; fresh networks keep the gradient noisy, so a constant step never settles."""
    return lambda done: lr * (1 + math.cos(math.pi * done / updates)) / 2


def settle(lr: float, updates: int) -> Callable[[int], float]:
    """`lr`, and over the last fifth of the updates linearly down to 0: as far as with a constant step, without its last excursion."""
    return lambda done: lr * min(1.0, 5 * (1 - done / updates))


def halve(lr: float, updates: int) -> Callable[[int], float]:
    """Half as much from 0.6, 0.8 and 0.9 of the updates on (CAFE)."""
    return lambda done: lr * 0.5 ** sum(10 * done >= tenths * updates for tenths in (6, 8, 9))


Schedule = Literal["constant", "cosine", "settle", "halve"]
SCHEDULES: dict[str, Callable[[float, int], Callable[[int], float]]] = {
    "constant": constant,
    "cosine": cosine,
    "settle": settle,
    "halve": halve,
}
