"""Networks of mixed age, trained a little at a time (IDM)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from attar.network import Network, Weights, flat, unflat
from attar.replay import Replay
from attar.rng import Rng


class Queue(nn.Module):
    """A ring of networks: the newest takes the oldest's place once `capacity` are there.

    Each is a row of `weights`, with the velocity of its own SGD and a count of the training images it has seen and got right.
    """

    weights: Tensor
    velocity: Tensor
    tally: Tensor
    pushed: Tensor
    renewed: Tensor

    def __init__(self, network: Network, capacity: int, *, lr: float = 0.01, momentum: float = 0.9, weight_decay: float = 5e-4):
        super().__init__()
        self.lr, self.momentum, self.weight_decay = lr, momentum, weight_decay
        self.network, self.shapes = network, {name: p.shape for name, p in network.init(Rng.of(0)).params.items()}
        size = sum(shape.numel() for shape in self.shapes.values())
        for name in ("weights", "velocity"):
            self.register_buffer(name, torch.zeros(capacity, size, device=network.device))
        self.replays: dict[Callable[..., Any], Callable[..., Any]] = {}
        self.register_buffer("tally", torch.zeros(capacity, 2, dtype=torch.long, device=network.device))
        for name in ("pushed", "renewed"):
            self.register_buffer(name, torch.zeros((), dtype=torch.long))

    def __len__(self) -> int:
        return min(int(self.pushed), len(self.weights))

    def push(self, rng: Rng) -> None:
        """A fresh network."""
        i = int(self.pushed) % len(self.weights)
        self.weights[i] = flat(self.network.init(rng).params)
        self.velocity[i] = self.tally[i] = 0
        self.pushed += 1

    def renew(self, interval: int, rng: Rng) -> None:
        """A fresh network at the first call and at every `interval`-th after it."""
        if int(self.renewed) % interval == 0:
            self.push(rng)
        self.renewed += 1

    def network_of(self, i: int) -> Weights:
        """The i-th, as views of its row."""
        return Weights(unflat(self.weights[i], self.shapes), {})

    def accuracy(self, i: int) -> Float[Tensor, ""]:
        """Per cent of the training images it has seen, as it was when it saw them; 0 before it saw any."""
        right, seen = self.tally[i]
        return 100 * right / seen.clamp_min(1)

    def teach(self, i: int, logits: Callable[..., Any], x: Float[Tensor, "n c h w"], y: Int[Tensor, " n"]) -> None:
        """One step of the i-th network."""
        if logits not in self.replays:
            step: Callable[..., Any] = partial(self._step, logits)
            self.replays[logits] = Replay(step) if self.network.ours else step
        step = self.replays[logits]
        self.weights[i], self.velocity[i], right = step(self.weights[i], self.velocity[i], x, y)
        self.tally[i, 0] += right
        self.tally[i, 1] += len(y)

    def _step(self, logits: Callable[..., Any], weights: Tensor, velocity: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        params = {name: p.detach().requires_grad_() for name, p in unflat(weights, self.shapes).items()}
        scores, _ = logits(Weights(params, {}), x)
        slope = flat(dict(zip(params, torch.autograd.grad(F.cross_entropy(scores, y), list(params.values())), strict=True)))
        velocity = self.momentum * velocity + slope + self.weight_decay * weights
        return weights - self.lr * velocity, velocity, (scores.argmax(1) == y).sum()
