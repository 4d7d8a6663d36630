"""A network trained a little further: the inner training of methods."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
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
from attar.training.flatness import Flatness, Params
from attar.training.losses import LOSSES, Loss


@dataclass(frozen=True)
class SGD:
    """v ← momentum v + ∇ + weight_decay θ, then θ ← θ − lr v, as in torch without dampening."""

    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4

    def start(self, params: Params) -> Params:
        """The velocities before the first step."""
        return {name: torch.zeros_like(p) for name, p in params.items()}

    @property
    def remembers(self) -> bool:
        """Whether a step depends on the steps before it by more than the parameters."""
        return self.momentum > 0

    def step(
        self, params: Params, gradient: Params, velocity: Params, lr: Float[Tensor, ""] | None = None
    ) -> tuple[Params, Params]:
        """The parameters and the velocities after a step; by `lr` instead of its own where that is learned."""
        rate = self.lr if lr is None else lr
        velocity = {
            name: self.momentum * v + gradient[name] + self.weight_decay * params[name] for name, v in velocity.items()
        }
        return {name: p - rate * velocity[name] for name, p in params.items()}, velocity


class Moments(NamedTuple):
    """What Adam goes on from: running means of the gradient and of its square, after so many steps."""

    first: Params
    second: Params
    steps: Float[Tensor, ""]


@dataclass(frozen=True)
class Adam:
    """θ ← θ − lr m̂ / (√v̂ + eps), as in torch (Kingma & Ba, ICLR 2015); `weight_decay` θ is added to the gradient.

    A step can be differentiated, also where a gradient is zero.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    remembers: ClassVar[bool] = True

    def start(self, params: Params) -> Moments:
        """The moments before the first step."""
        zeros = [{name: torch.zeros_like(p) for name, p in params.items()} for _ in self.betas]
        device = next(iter(params.values())).device
        return Moments(zeros[0], zeros[1], torch.zeros((), dtype=torch.float64, device=device))

    def step(
        self, params: Params, gradient: Params, moments: Moments, lr: Float[Tensor, ""] | None = None
    ) -> tuple[Params, Moments]:
        """The parameters and the moments after a step; by `lr` instead of its own where that is learned."""
        rate, steps = self.lr if lr is None else lr, moments.steps + 1
        # 1 − βᵗ, which is what a mean that began at zero lacks.
        short, short_of_square = (-torch.expm1(steps * math.log(beta)) for beta in self.betas)
        gradient = {name: gradient[name] + self.weight_decay * p for name, p in params.items()}
        a, b = self.betas
        first = {name: a * m + (1 - a) * gradient[name] for name, m in moments.first.items()}
        second = {name: b * v + (1 - b) * gradient[name].square() for name, v in moments.second.items()}
        taken = {name: m / short / (root(second[name] / short_of_square) + self.eps) for name, m in first.items()}
        return {name: p - rate * taken[name] for name, p in params.items()}, Moments(first, second, steps)


def root(x: Tensor) -> Tensor:
    """√x, whose derivative is 0 where x is: that of a step is finite there, while the root's own is not."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1.0).sqrt(), 0.0)


class TrainState(NamedTuple):
    """What training goes on from, besides the weights."""

    velocity: Any
    """What the optimiser goes on from: the velocities of SGD, the moments of Adam."""
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
    optimiser: SGD | Adam = SGD(),
    batch: int | None = None,
    rng: Rng,
    run: Run,
    augment: Augment | None = None,
    cutmix: float = 0.0,
    loss: Loss = "cross-entropy",
    flat: Flatness | None = None,
    state: TrainState | None = None,
) -> tuple[Weights, TrainState]:
    """`w` after `steps` mini-batches of `x`, or after whole `epochs` of it, and the state to go on from.

    `x` is network-ready, `y` hard labels or probabilities. Each epoch visits the examples in a fresh order, `batch` at
    a time; without `batch` each step sees all of them as they lie. Each image is augmented by itself; `cutmix` is the
    probability that a mini-batch is mixed. `flat` steps towards flat places, for twice the work. The `loss` is a mean
    over the mini-batch; for `"squares"` `y` is what scores should be. Nothing is differentiated through: the weights
    that come back carry no graph.

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
    key = "step", network.train_logits, optimiser, loss, flat
    step = run.once(key, lambda: make_step(network, optimiser, loss, flat, run, seen, x))
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


def make_step(
    network: Network, optimiser: SGD | Adam, loss: Loss, flat: Flatness | None, run: Run, seen: int, x: Tensor
) -> Callable[..., Any]:
    """One step as a function of tensors, which a GPU records once and replays; `seen` images like `x` are to come."""
    passes = TRAINING * (1 if flat is None else 2)
    logits = run.announced(network.train_logits, passes * seen * network.flop(tuple(x.shape[1:])))
    measure = LOSSES[loss]

    def step(
        w: Weights, state: TrainState, x: Tensor, y: Tensor, draw: Draw | None, mix: Mix | None
    ) -> tuple[Weights, TrainState]:
        x = x if draw is None else apply(x[:, None], draw)[:, 0]
        x = x if mix is None else mix(x[None])[0]

        def differentiate(at: Params) -> tuple[Params, Tensor, dict[str, Tensor]]:
            params = {name: p.detach().requires_grad_() for name, p in at.items()}
            scores, buffers = logits(Weights(params, w.buffers), x)
            value = measure(scores, y) if mix is None else mix.loss(0, measure, scores, y)
            found = torch.autograd.grad(value, list(params.values()))
            return dict(zip(params, found, strict=True)), scores, buffers

        gradient, scores, buffers = differentiate(w.params)
        if flat is not None:
            gradient = flat.combine(gradient, differentiate(flat.climb(w.params, gradient))[0])
        trained, velocity = optimiser.step(w.params, gradient, state.velocity)
        # Counted on the way, from scores that are there anyway: IDM weighs its judge by them.
        hard = y if y.ndim == 1 else y.argmax(1)
        seen = torch.stack([(scores.argmax(1) == hard).sum(), torch.full_like(state.tally[1], len(y))])
        return Weights(trained, buffers), TrainState(velocity, state.tally + seen)

    return Replay(step) if network.replayable else step
