"""Training a network on a few images, or on many."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from attar.augment import apply
from attar.cutmix import cutmix
from attar.network import Network, Weights
from attar.protocol import Protocol
from attar.rng import Rng
from attar.run import Run, sliced

Images = Float[Tensor, "n c h w"]
Labels = Int[Tensor, " n"]
TRAINING = 3  # forward and backward cost, in forwards


def fit(
    network: Network,
    x: Images,
    y: Labels,
    protocol: Protocol,
    rng: Rng,
    run: Run,
    *,
    flip: bool = True,
    tick: Callable[[], None] = lambda: None,
) -> Weights:
    """Train fresh weights on network-ready images, from first to last epoch; `tick` is called after each step."""
    epochs, augment = protocol.length(len(x)), protocol.augment if flip else protocol.augment.without_flip()
    w = network.init(rng.fold("network"))
    params = [p.requires_grad_() for p in w.params.values()]
    logits = run.engine(training(network), TRAINING * epochs * len(x) * network.flop(tuple(x.shape[1:])))
    lr, drops = protocol.lr, protocol.drops(epochs)
    opt = sgd(params, protocol, lr)
    for epoch in range(epochs):
        if epoch in drops:
            lr *= drops[epoch]
            opt = forget(opt, protocol, lr)
        order = torch.randperm(len(x), generator=rng.fold("order", epoch).generator()).to(x.device)
        for i, batch in enumerate(order.split(protocol.batch)):
            loss, buffers = batch_loss(logits, w, x[batch], y[batch], protocol, augment, rng.fold("batch", epoch, i))
            opt.zero_grad()
            loss.backward()
            opt.step()
            w = Weights(w.params, buffers)
            tick()
    return Weights({name: p.detach() for name, p in w.params.items()}, w.buffers)


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


def batch_loss(logits, w: Weights, x: Images, y: Labels, protocol: Protocol, augment, rng: Rng) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of one augmented mini-batch; each image has its own parameters (in DC's style its own operation too)."""
    if augment.names:
        draw = augment.draw(len(x), x.shape[1:], rng.fold("augment"), x.device, same_op=augment.style != "dc")
        x = apply(x[:, None], draw)[:, 0]
    if torch.rand((), generator=rng.fold("mix").generator()) >= protocol.cutmix:
        scores, buffers = logits(w, x)
        return F.cross_entropy(scores, y), buffers
    mixed, partners, share = cutmix(x, rng.fold("cutmix"))
    scores, buffers = logits(w, mixed)
    return share * F.cross_entropy(scores, y) + (1 - share) * F.cross_entropy(scores, y[partners]), buffers


@torch.no_grad()
def predict(network: Network, w: Weights, x: Callable[[slice], Images], n: int, run: Run, size: int = 1000) -> Labels:
    """Predicted labels of `n` images, read `size` at a time; networks in eval mode."""
    logits = run.engine(lambda w, x: network.logits(w, x)[0], 0)
    parts = [sliced(lambda part: logits(w, part), x(slice(i, min(i + size, n)))) for i in range(0, n, size)]
    return torch.cat(parts).argmax(1)
