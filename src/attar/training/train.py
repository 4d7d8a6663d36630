"""A network trained a little further: the inner training of methods."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from attar.augment.cutmix import Mix
from attar.augment.dsa import Augment, Draw, apply
from attar.engine.cuda_graphs import Replay
from attar.engine.device import send
from attar.engine.run import Run
from attar.engine.structures import map_tensors
from attar.networks.network import Network
from attar.networks.weights import TRAINING, Labels, Weights
from attar.rng import Rng

Params = dict[str, Tensor]


@dataclass(frozen=True)
class SGD:
    """v ← momentum v + ∇ + weight_decay θ, then θ ← θ − lr v, as in torch without dampening."""

    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4

    def start(self, params: Params) -> Params:
        """The velocities before the first step."""
        return {name: torch.zeros_like(p) for name, p in params.items()}

    def step(self, params: Params, gradient: Params, velocity: Params) -> tuple[Params, Params]:
        """The parameters and the velocities after a step."""
        velocity = {
            name: self.momentum * v + gradient[name] + self.weight_decay * params[name] for name, v in velocity.items()
        }
        return {name: p - self.lr * velocity[name] for name, p in params.items()}, velocity


class TrainState(NamedTuple):
    """What training goes on from, besides the weights."""

    velocity: Params
    tally: Int[Tensor, " 2"]
    """How many examples the network got right when it saw them, and how many it has seen."""

    @property
    def accuracy(self) -> Float[Tensor, ""]:
        """Per cent of the examples it has seen, as it was when it saw them; 0 before it saw any."""
        right, seen = self.tally
        return 100 * right / seen.clamp_min(1)


def train(
    network: Network,
    w: Weights,
    x: Float[Tensor, "n ..."],
    y: Labels,
    *,
    steps: int | None = None,
    epochs: int | None = None,
    optimiser: SGD = SGD(),
    batch: int | None = None,
    rng: Rng,
    run: Run,
    augment: Augment | None = None,
    cutmix: float = 0.0,
    state: TrainState | None = None,
) -> tuple[Weights, TrainState]:
    """`w` after `steps` mini-batches of `x`, or after whole `epochs` of it, and the state to go on from.

    `x` is network-ready, `y` hard labels or probabilities. Each epoch visits the examples in a fresh order, `batch` at
    a time; without `batch` each step sees all of them as they lie. Each image is augmented by itself; `cutmix` is the
    probability that a mini-batch is mixed. The loss is the mean cross-entropy. Nothing is differentiated through:
    the weights that come back carry no graph.

    It runs on the engine of `run`: a method that calls this often first announces all the work that comes
    (`Run.announce`), else the first call decides whether to compile. A longer training begins as a shorter one.
    """
    x, y = x.detach(), y.detach()  # no gradient is wasted on images and labels that are learned
    per_epoch = 1 if batch is None else -(-len(x) // batch)
    if epochs is not None and steps is None:
        steps = epochs * per_epoch
    elif steps is None or epochs is not None:
        raise ValueError("give a number of steps or of epochs: one of the two")
    seen = steps * min(len(x), batch or len(x))
    step = run.once(("step", network.train_logits, optimiser), lambda: make_step(network, optimiser, run, seen, x))
    w = Weights({name: p.detach() for name, p in w.params.items()}, w.buffers)  # they may come with a graph
    if state is None:
        state = TrainState(optimiser.start(w.params), torch.zeros(2, dtype=torch.long, device=x.device))
    for rows, own in batches(len(x), batch, steps, rng):
        images, labels = (x, y) if rows is None else (x[rows := send(rows, x.device)], y[rows])
        shape = images.shape[1:]
        draw = augment.draw_each(len(images), shape, own).to(x.device) if augment and augment.names else None
        mix = Mix.some(len(images), shape, cutmix, [own], x.device) if cutmix else None
        w, state = step(w, state, images, labels, draw, mix)
    return map_tensors((w, state), Tensor.clone) if x.is_cuda else (w, state)  # a replay writes there again


def batches(n: int, batch: int | None, total: int, rng: Rng) -> Iterator[tuple[Tensor | None, Rng]]:
    """The rows of `total` mini-batches, `None` for all of them, and what is random in each."""
    epoch = done = 0
    while done < total:
        # The first epoch walks `rng` itself, so that one epoch at a time and many at once begin alike.
        own = rng.fold("epoch", epoch) if epoch else rng
        order = None if batch is None else torch.randperm(n, generator=own.generator()).split(batch)
        for i, rows in enumerate(order or [None]):
            if done < total:
                yield rows, own.fold(i)
                done += 1
        epoch += 1


def make_step(network: Network, optimiser: SGD, run: Run, seen: int, x: Tensor) -> Callable[..., Any]:
    """One step as a function of tensors, which a GPU records once and replays; `seen` images like `x` are to come."""
    logits = run.announced(network.train_logits, TRAINING * seen * network.flop(tuple(x.shape[1:])))

    def step(
        w: Weights, state: TrainState, x: Tensor, y: Tensor, draw: Draw | None, mix: Mix | None
    ) -> tuple[Weights, TrainState]:
        params = {name: p.detach().requires_grad_() for name, p in w.params.items()}
        x = x if draw is None else apply(x[:, None], draw)[:, 0]
        scores, buffers = logits(Weights(params, w.buffers), x if mix is None else mix(x[None])[0])
        loss = F.cross_entropy(scores, y) if mix is None else mix.cross_entropy(0, scores, y)
        gradient = dict(zip(params, torch.autograd.grad(loss, list(params.values())), strict=True))
        trained, velocity = optimiser.step(w.params, gradient, state.velocity)
        # Counted on the way, from scores that are there anyway: IDM weighs its judge by them.
        hard = y if y.ndim == 1 else y.argmax(1)
        seen = torch.stack([(scores.argmax(1) == hard).sum(), torch.full_like(state.tally[1], len(y))])
        return Weights(trained, buffers), TrainState(velocity, state.tally + seen)

    return Replay(step) if network.replayable else step
