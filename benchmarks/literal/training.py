"""Training one network on a small set, and testing it."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from attar.augment.cutmix import Mix
from attar.data.task import Task
from attar.rng import Rng
from attar.training.protocol import Protocol
from literal.augmentation import augmented


def train(
    task: Task, x: Tensor, y: Tensor, protocol: Protocol, rng: Rng, tick: Callable[[], None] = lambda: None
) -> torch.nn.Module:
    """A network after its last epoch, on network-ready images."""
    with rng.fold("network").scope():
        network = task.network.build().to(x.device)
    augment = protocol.augment if task.flip else protocol.augment.without_flip()
    epochs, lr = protocol.length(len(x)), protocol.lr
    drops = protocol.drops(epochs)
    opt = optimiser(network, protocol, lr)
    for epoch in range(epochs):
        if epoch in drops:
            lr *= drops[epoch]
            if protocol.decay == "half":
                opt = optimiser(network, protocol, lr)
            opt.param_groups[0]["lr"] = lr
        order = torch.randperm(len(x), generator=rng.fold("order", epoch).generator())
        for i, rows in enumerate(order.split(protocol.batch)):
            stream, image, label = rng.fold("batch", epoch, i), x[rows], y[rows]
            if augment.names:
                draw = augment.draw(len(image), task.shape, stream.fold("augment"), same_op=augment.style != "dc")
                image = augmented(image, draw)
            if torch.rand((), generator=stream.fold("mix").generator()) < protocol.cutmix:
                mix = Mix(*(part.to(image.device) for part in Mix.draw(len(image), image.shape, stream.fold("cutmix"))))
                (partners,), (share,) = mix.partners, mix.share
                scores = network(mix(image[None])[0])
                loss = share * F.cross_entropy(scores, label) + (1 - share) * F.cross_entropy(scores, label[partners])
            else:
                loss = F.cross_entropy(network(image), label)
            opt.zero_grad()
            loss.backward()
            opt.step()
            tick()
    return network


def optimiser(network: torch.nn.Module, protocol: Protocol, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), lr=lr, momentum=protocol.momentum, weight_decay=protocol.weight_decay)
