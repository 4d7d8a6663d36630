"""How an update moves what is learned: optimisers, momentum, and factors of the step size over the updates."""

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from attar.engine.device import in_one_kernel


def once_per_class(lr: float, momentum: float, classes: int) -> tuple[float, float]:
    """The step size and momentum of ONE update that equals a paper's loop of one SGD step a class, exactly.

    Each class's gradient comes once. In the other steps its momentum alone moves it, so `classes` of them make
    lr (1 − μ^C)/(1 − μ) and μ^C (no dampening, no weight decay).
    """
    return lr * (1 - check_momentum(momentum) ** classes) / (1 - momentum), momentum**classes


def check_momentum(momentum: float) -> float:
    if not momentum < 1:
        raise ValueError(f"momentum must be below 1, not {momentum}")
    return momentum


def sgd(parameters: Iterable[Tensor], lr: float, momentum: float) -> torch.optim.Optimizer:
    parameters = list(parameters)
    return torch.optim.SGD(parameters, lr=lr, momentum=check_momentum(momentum), fused=in_one_kernel(parameters))


def adam(parameters: Iterable[Tensor], lr: float, momentum: float) -> torch.optim.Optimizer:
    parameters = list(parameters)
    return torch.optim.Adam(parameters, lr=lr, betas=(check_momentum(momentum), 0.99), fused=in_one_kernel(parameters))


def adamw(parameters: Iterable[Tensor], lr: float, momentum: float) -> torch.optim.Optimizer:
    parameters = list(parameters)
    return torch.optim.AdamW(
        parameters, lr=lr, betas=(check_momentum(momentum), 0.999), weight_decay=5e-4, fused=in_one_kernel(parameters)
    )


class Lamb(torch.optim.Adam):
    """Adam whose step of each tensor is `lr` times as long as that tensor (You et al., ICLR 2020).

    It is as long as Adam's where the tensor is zero.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step, by the gradients that are there."""
        rated = [(p, group["lr"]) for group in self.param_groups for p in group["params"] if p.grad is not None]
        before = [p.clone() for p, _ in rated]
        for p, _ in rated:
            p.zero_()  # Adam's own step is then what it leaves here
        found = super().step(closure)
        for (p, lr), old in zip(rated, before, strict=True):
            length, moved = old.norm(), p.norm()
            p.mul_(torch.where((length > 0) & (moved > 0), lr * length / moved, 1.0)).add_(old)
        return found


def lamb(parameters: Iterable[Tensor], lr: float, momentum: float) -> torch.optim.Optimizer:
    parameters = list(parameters)
    return Lamb(parameters, lr=lr, betas=(check_momentum(momentum), 0.999), eps=1e-6, fused=in_one_kernel(parameters))


Optimiser = Literal["sgd", "adam", "adamw", "lamb"]
OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"sgd": sgd, "adam": adam, "adamw": adamw, "lamb": lamb}


Schedule = Literal["constant", "cosine", "tenth", "settle", "halve"]


def constant(updates: int) -> Callable[[int], float]:
    return lambda done: 1.0


def cosine(updates: int) -> Callable[[int], float]:
    """From 1 to 0 along half a cosine. Fresh networks keep the gradient noisy, so a constant step never settles."""
    return lambda done: (1 + math.cos(math.pi * done / updates)) / 2


def tenth(updates: int) -> Callable[[int], float]:
    """From 1 to 0.1 along half a cosine (FRePo)."""
    falling = cosine(updates)
    return lambda done: 0.1 + 0.9 * falling(done)


def settle(updates: int) -> Callable[[int], float]:
    """1, and over the last fifth of the updates linearly down to 0.

    That goes as far as a constant step, without its last excursion.
    """
    return lambda done: min(1.0, 5 * (1 - done / updates))


def halve(updates: int) -> Callable[[int], float]:
    """Half as much from 0.6, 0.8 and 0.9 of the updates on (CAFE)."""
    return lambda done: 0.5 ** sum(10 * done >= tenths * updates for tenths in (6, 8, 9))


SCHEDULES: dict[str, Callable[[int], Callable[[int], float]]] = {
    "constant": constant,
    "cosine": cosine,
    "tenth": tenth,
    "settle": settle,
    "halve": halve,
}
