"""A running average along the updates."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from attar.rng import Rng
from attar.synthesis.loop import Episode


class Average(nn.Module):
    """A running average of what `read()` gives after each update.

    After n of them the weight of the one k ago is ∝ decay^k.
    """

    value_: Tensor
    weight: Tensor

    def __init__(self, read: Callable[[], Tensor], decay: float):
        super().__init__()
        if not decay < 1:
            raise ValueError(f"average must be below 1, not {decay}")
        self.read, self.decay = read, decay
        start = read().detach()
        self.register_buffer("value_", torch.zeros_like(start))
        self.register_buffer("weight", torch.zeros((), device=start.device))

    def along(self, episode: Episode) -> Episode:
        """The same episode, followed after each of its updates but a run's last, at which the loop stops asking."""

        def followed(syn: nn.Module, rng: Rng) -> Iterator[Iterable[Tensor]]:
            for terms in episode(syn, rng):
                yield terms
                self.value_.lerp_(self.read().detach(), 1 - self.decay)
                self.weight.lerp_(torch.ones_like(self.weight), 1 - self.decay)

        return followed

    def value(self) -> Tensor:
        return self.value_ / self.weight if self.weight > 0 else self.read().detach()
