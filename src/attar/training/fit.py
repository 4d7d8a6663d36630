"""Training a network on a few images, or on many."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attar.augment.cutmix import Mix
from attar.augment.dsa import Augment, Draw, apply
from attar.engine.cuda_graphs import Replay, stream
from attar.engine.device import in_one_kernel, send
from attar.engine.run import Run
from attar.engine.slices import map_slices
from attar.networks.network import Network
from attar.networks.weights import TRAINING, Labels, Weights
from attar.rng import Rng
from attar.training.hardening import Harden
from attar.training.losses import LOSSES
from attar.training.protocol import Protocol

Images = Float[Tensor, "n c h w"]
Measure = Callable[[Tensor, Tensor], Tensor]
STREAMS = 5  # networks that train on a GPU at the same time


def fit(network: Network, x: Images, y: Labels, protocol: Protocol, rng: Rng, run: Run, **options: Any) -> Weights:
    """Train fresh weights on network-ready images, from first to last epoch. `options` as `fit_together` takes them."""
    (w,) = fit_together(network, x, y, protocol, [rng], run, **options)
    return w


class Batch(NamedTuple):
    """A mini-batch of each network, and how it is augmented."""

    x: Float[Tensor, "networks n c h w"]
    y: Tensor
    draw: Draw
    mix: Mix | None
    noise: Float[Tensor, "networks n c h w"] | None
    """On [0, 1], for who begins an attack at random."""

    @classmethod
    def of(
        cls, x: Tensor, y: Tensor, protocol: Protocol, augment: Augment, rngs: Sequence[Rng], noisy: bool = False
    ) -> "Batch":
        """Each image has its own parameters (in DC's style its own operation too), and `noisy` its own noise."""
        n, *shape = x.shape[1:]
        draws = [augment.draw_each(n, shape, rng.fold("augment")) for rng in rngs]
        mix = Mix.some(n, shape, protocol.cutmix, rngs, x.device) if protocol.cutmix else None
        noises = [torch.rand(n, *shape, generator=rng.fold("noise").generator()) for rng in rngs] if noisy else []
        return cls(x, y, Draw.cat(draws).to(x.device), mix, send(torch.stack(noises), x.device) if noisy else None)

    def show(self, apply: Callable[..., Tensor]) -> Float[Tensor, "networks n c h w"]:
        x = apply(self.x.flatten(0, 1)[:, None], self.draw).view_as(self.x)
        return x if self.mix is None else self.mix(x)

    def attack(
        self, i: int, x: Images, measure: Measure, scores: Callable[[Images], Tensor], harden: Harden | None
    ) -> Images:
        """The i-th network's images, changed to its harm where it is to be hardened."""
        if harden is None or self.noise is None:
            return x
        return harden(lambda images: self.loss(i, measure, scores(images)), x, self.noise[i])

    def loss(self, i: int, measure: Measure, scores: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
        """Of the i-th network, shared out between an image and its partner."""
        y = self.y[i]
        return measure(scores, y) if self.mix is None else self.mix.loss(i, measure, scores, y)


def fit_together(
    network: Network,
    x: Images,
    y: Labels,
    protocol: Protocol,
    rngs: Sequence[Rng],
    run: Run,
    *,
    flip: bool = True,
    sizes: Float[Tensor, " updates"] | None = None,
    tick: Callable[[list[Weights]], None] = lambda networks: None,
    renew: Callable[[Rng], tuple[Images, Labels]] | None = None,
    harden: Harden | None = None,
) -> list[Weights]:
    """`fit` for each of `rngs`, side by side: each has its own start, order and augmentation.

    A GPU replays a step of all of them. `flip` is whether mirrored images keep their class. `tick` is called with the
    weights after each step of all. With `sizes`, one for each step, images are shown as they lie. `renew` gives a
    network other images and labels for each epoch, as many as `x`. `harden` attacks each mini-batch before it is
    learned from.
    """
    epochs, augment = protocol.length(len(x)), protocol.augment if flip else protocol.augment.without_flip()
    networks = [network.init(rng.fold("network")) for rng in rngs]
    params = [[p.requires_grad_() for p in w.params.values()] for w in networks]
    flop = len(rngs) * TRAINING * epochs * len(x) * network.flop(tuple(x.shape[1:]))
    logits, show, measure = run.engine(network.train_logits, flop), run.fuse(apply, flop), LOSSES[protocol.loss]

    def gradients(batch: Batch, buffers: tuple[dict[str, Tensor], ...]) -> tuple[Any, ...]:
        """Of each network's loss in its parameters; and its buffers as this call leaves them."""

        def one(i: int) -> tuple[Any, ...]:
            w = Weights(networks[i].params, buffers[i])
            shown = batch.attack(i, x[i], measure, lambda images: logits(w, images)[0], harden)
            scores, after = logits(w, shown)
            gradients = torch.autograd.grad(batch.loss(i, measure, scores), params[i])
            # The optimiser's one kernel wants them contiguous.
            return tuple(gradient.contiguous() for gradient in gradients), after

        x = batch.show(show)
        return run_side_by_side(one, len(networks))

    replay = Replay(gradients) if network.replayable else gradients
    lr, drops, given = protocol.lr, protocol.drops(epochs), (x, y)
    done, updates = 0, protocol.updates(len(x))
    opt = start_optimiser([p for own in params for p in own], protocol, lr)
    with rngs[0].fold("network's own").scope(x.device):  # dropout takes no generator
        for epoch in range(epochs):
            if epoch in drops:
                lr *= drops[epoch]
                opt = drop_rate(opt, protocol, lr)
            if renew is not None:
                given = stack([renew(rng.fold("fresh", epoch)) for rng in rngs])
            orders = torch.stack([order_images(len(x), rng.fold("order", epoch), sizes is None) for rng in rngs])
            for i, rows in enumerate(send(orders, x.device).split(protocol.batch, dim=1)):
                own_rngs = [rng.fold("batch", epoch, i) for rng in rngs]
                batch = Batch.of(*take(*given, rows), protocol, augment, own_rngs, noisy=harden is not None)
                found = replay(batch, tuple(w.buffers for w in networks))
                for own, (grads, _) in zip(params, found, strict=True):
                    for p, grad in zip(own, grads, strict=True):
                        p.grad = grad
                own_lr = lr * protocol.factor(done, updates)
                opt.param_groups[0]["lr"] = own_lr if sizes is None else sizes[done].item()
                opt.step()
                done += 1
                networks = [Weights(w.params, after) for w, (_, after) in zip(networks, found, strict=True)]
                tick(networks)
    return [Weights({name: p.detach() for name, p in w.params.items()}, w.buffers) for w in networks]


def stack(own: Sequence[tuple[Images, Labels]]) -> tuple[Tensor, Tensor]:
    """Images and labels of each network, with a leading axis for networks."""
    return torch.stack([x for x, _ in own]), torch.stack([y for _, y in own])


def take(x: Tensor, y: Tensor, rows: Int[Tensor, "networks b"]) -> tuple[Tensor, Tensor]:
    """The mini-batch of each network, from images that all share, or from those of its own."""
    if x.ndim == 4:
        return x[rows], y[rows]
    each = torch.arange(len(rows), device=rows.device)[:, None]
    return x[each, rows], y[each, rows]


def order_images(n: int, rng: Rng, shuffle: bool) -> Int[Tensor, " n"]:
    """In which they are shown during an epoch."""
    return torch.randperm(n, generator=rng.generator()) if shuffle else torch.arange(n)


def run_side_by_side(function: Callable[[int], Any], count: int) -> tuple[Any, ...]:
    """`function` of every number below `count`.

    Where a GPU records it, each runs in one of a few streams, as one network alone does not fill the GPU.
    """
    if not torch.cuda.is_available() or not torch.cuda.is_current_stream_capturing():
        return tuple(map(function, range(count)))
    here, found = torch.cuda.current_stream(), []
    streams = [stream(torch.cuda.current_device(), i + 1) for i in range(min(STREAMS, count))]
    for own in streams:
        own.wait_stream(here)
    for i in range(count):
        with torch.cuda.stream(streams[i % len(streams)]):
            found.append(function(i))
    for own in streams:
        here.wait_stream(own)
    return tuple(found)


def start_optimiser(params: list[Tensor], protocol: Protocol, lr: float) -> torch.optim.Optimizer:
    momentum, decay, fused = protocol.momentum, protocol.weight_decay, in_one_kernel(params)
    if protocol.optimiser == "adam":
        return torch.optim.Adam(params, lr=lr, betas=(momentum, 0.999), weight_decay=decay, fused=fused)
    return torch.optim.SGD(params, lr=lr, momentum=momentum, weight_decay=decay, fused=fused)


def drop_rate(opt: torch.optim.Optimizer, protocol: Protocol, lr: float) -> torch.optim.Optimizer:
    """The optimiser after a drop of the step size.

    It is a new one where the protocol says so, else the same with its momentum.
    """
    if protocol.decay == "half":
        return start_optimiser(opt.param_groups[0]["params"], protocol, lr)
    opt.param_groups[0]["lr"] = lr
    return opt


@torch.no_grad()
def predict(
    network: Network, weights: Sequence[Weights], x: Callable[[slice], Images], n: int, run: Run, size: int = 1000
) -> Int[Tensor, "networks n"]:
    """Labels that each of the networks predicts for `n` images, read `size` at a time; in eval mode."""
    scores = run.engine(network.scores, 0)
    parts = []
    for i in range(0, n, size):
        images = x(slice(i, min(i + size, n)))
        parts.append(
            torch.stack([map_slices(partial(scores, w), images, run.slice_size(size)).argmax(1) for w in weights])
        )
    return torch.cat(parts, 1)
