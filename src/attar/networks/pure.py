"""A module of any inputs as a pure function of its weights, beside `Network`, which is for classifiers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from attar.networks.weights import Weights
from attar.rng import CPU, Rng


@dataclass(frozen=True)
class Pure:
    """A family of modules: `build()` makes one, which holds no weights here, and is called in eval mode."""

    build: Callable[[], nn.Module]
    device: torch.device = CPU
    template: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        with torch.device("meta"):  # it holds no numbers: a call brings its own
            object.__setattr__(self, "template", self.build().eval())

    def __reduce__(self) -> tuple[Callable[..., "Pure"], tuple[Any, ...]]:
        return Pure, (self.build, self.device)

    @property
    def key(self) -> str | None:
        """What tells this family from others across processes; `None` where its `build` does not say."""
        return getattr(self.build, "key", None)

    @property
    def parameters(self) -> int:
        """How many numbers its training changes."""
        return sum(p.numel() for p in self.template.parameters())

    def init(self, rng: Rng) -> Weights:
        """Fresh weights as the module itself draws them."""
        with rng.scope(self.device), torch.device(self.device):
            module = self.build()
        return Weights({name: p.detach() for name, p in module.named_parameters()}, dict(module.named_buffers()))

    def call(self, w: Weights, *inputs: Tensor) -> Any:
        """What the module with these weights makes of the inputs."""
        return functional_call(self.template, (w.params, w.buffers), inputs)

    def flop(self, *inputs: Tensor) -> int:
        """Floating-point operations of one call; the inputs are on the device meta."""
        from torch.utils.flop_counter import FlopCounterMode

        counter = FlopCounterMode(display=False)
        with counter:
            self.template(*inputs)
        return counter.get_total_flops()
