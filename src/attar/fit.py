"""Training a network on a few images, or on many."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from attar.augment import Augment, apply
from attar.cutmix import cutmix
from attar.network import Network, Weights, stack
from attar.protocol import Protocol
from attar.rng import Rng
from attar.run import Run, sliced

Images = Float[Tensor, "n c h w"]
Labels = Int[Tensor, " n"] | Float[Tensor, "n k"]  # soft ones are probabilities of the classes
TRAINING = 3  # forward and backward cost, in forwards


def fit(network: Network, x: Images, y: Labels, protocol: Protocol, rng: Rng, run: Run, **options: Any) -> Weights:
    """Train fresh weights on network-ready images, from first to last epoch. `options` as `fit_together` takes them."""
    (w,) = fit_together(network, x, y, protocol, [rng], run, **options)
    return w


def fit_together(
    network: Network,
    x: Images,
    y: Labels,
    protocol: Protocol,
    rngs: Sequence[Rng],
    run: Run,
    *,
    flip: bool = True,
    tick: Callable[[Weights], None] = lambda w: None,
) -> list[Weights]:
    """`fit` for each of `rngs`, side by side in one batched function, where each has its own start, order and augmentation.

    `flip` is whether mirrored images keep their class; `tick` is called with the weights (stacked, where there are
    several) after each step of all.
    """
    epochs, augment = protocol.length(len(x)), protocol.augment if flip else protocol.augment.without_flip()
    starts, alone = [network.init(rng.fold("network")) for rng in rngs], len(rngs) == 1
    w = starts[0] if alone else Weights(*(stack(list(part)) for part in zip(*starts, strict=True)))
    params = [p.requires_grad_() for p in w.params.values()]
    function = training(network) if alone else torch.vmap(training(network), randomness="different")
    logits = run.engine(function, len(rngs) * TRAINING * epochs * len(x) * network.flop(tuple(x.shape[1:])))
    lr, drops = protocol.lr, protocol.drops(epochs)
    opt = sgd(params, protocol, lr)
    with rngs[0].fold("network's own").scope(x.device):  # dropout takes no generator
        for epoch in range(epochs):
            if epoch in drops:
                lr *= drops[epoch]
                opt = forget(opt, protocol, lr)
            orders = [torch.randperm(len(x), generator=rng.fold("order", epoch).generator()) for rng in rngs]
            for i, rows in enumerate(torch.stack(orders).to(x.device).split(protocol.batch, dim=1)):
                streams = [rng.fold("batch", epoch, i) for rng in rngs]
                batches = [Batch.of(x[own], y[own], protocol, augment, rng) for own, rng in zip(rows, streams, strict=True)]
                opt.zero_grad()
                scores, buffers = logits(w, batches[0].x if alone else torch.stack([batch.x for batch in batches]))
                torch.stack(
                    [batch.loss(own) for batch, own in zip(batches, scores[None] if alone else scores, strict=True)]
                ).sum().backward()
                opt.step()
                w = Weights(w.params, buffers)
                tick(w)
    parts = [w] if alone else [Weights(*({name: t[i] for name, t in part.items()} for part in w)) for i in range(len(rngs))]
    return [Weights({name: p.detach() for name, p in part.params.items()}, part.buffers) for part in parts]


def training(network: Network) -> Callable[..., tuple[Tensor, dict[str, Tensor]]]:
    return lambda w, x: network.logits(w, x, train=True)


def sgd(params: list[Tensor], protocol: Protocol, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, lr=lr, momentum=protocol.momentum, weight_decay=protocol.weight_decay)


def forget(opt: torch.optim.Optimizer, protocol: Protocol, lr: float) -> torch.optim.Optimizer:
    """The optimiser after a drop of the step size: a new one where the protocol says so, else the same with its momentum."""
    if protocol.decay == "half":
        return sgd(opt.param_groups[0]["params"], protocol, lr)
    opt.param_groups[0]["lr"] = lr
    return opt


class Batch(NamedTuple):
    """An augmented mini-batch; where boxes were mixed in, `share` of each image is its own and the rest that of its partner."""

    x: Images
    y: Labels
    partners: Labels | None = None
    share: float = 1.0

    @classmethod
    def of(cls, x: Images, y: Labels, protocol: Protocol, augment: Augment, rng: Rng) -> "Batch":
        """Each image has its own parameters (in DC's style its own operation too)."""
        if augment.names:
            draw = augment.draw(len(x), x.shape[1:], rng.fold("augment"), x.device, same_op=augment.style != "dc")
            x = apply(x[:, None], draw)[:, 0]
        if torch.rand((), generator=rng.fold("mix").generator()) >= protocol.cutmix:
            return cls(x, y)
        mixed, partners, share = cutmix(x, rng.fold("cutmix"))
        return cls(mixed, y, y[partners], share)

    def loss(self, scores: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
        """Cross-entropy, shared out between an image and its partner."""
        own = F.cross_entropy(scores, self.y)
        return own if self.partners is None else self.share * own + (1 - self.share) * F.cross_entropy(scores, self.partners)


@torch.no_grad()
def predict(
    network: Network, weights: Sequence[Weights], x: Callable[[slice], Images], n: int, run: Run, size: int = 1000
) -> Int[Tensor, "networks n"]:
    """Labels that each of the networks predicts for `n` images, read `size` at a time; in eval mode."""
    scores = run.engine(network.scores, 0)
    parts = []
    for i in range(0, n, size):
        images = x(slice(i, min(i + size, n)))
        parts.append(torch.stack([sliced(partial(scores, w), images, run.slice_size(size)).argmax(1) for w in weights]))
    return torch.cat(parts, 1)
