"""DC, DSA and IDC class by class: a second derivative by `create_graph`."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attar.augment.cutmix import Mix
from attar.augment.dsa import Augment
from attar.condensed.tiles import pack_tiles, unpack_tiles
from attar.data.normalisation import unit
from attar.data.task import Task
from attar.engine.run import Progress, silent
from attar.methods.gradient.dc import DC
from attar.methods.gradient.idc import IDC
from attar.rng import Rng
from literal.augmentation import augmented


def dc(method: DC, task: Task, ipc: int, rng: Rng, progress: Progress = silent) -> Tensor:
    """One step of SGD an update, on the sum of all classes' losses. Images in normalised units."""
    classes = range(len(task.classes))
    images = start_dc(method, task, ipc, rng).requires_grad_()
    opt = torch.optim.SGD([images], lr=method.lr, momentum=method.momentum)
    labels = torch.arange(len(classes), device=images.device).repeat_interleave(ipc)
    augment = augment_of(method, task)
    for update in range(method.updates):
        stream = rng.fold("episode", update)
        if update % method.cycle(ipc) == 0:
            network = build(task, stream)
        else:
            learner = torch.optim.SGD(network.parameters(), lr=method.lr_net)
            for epoch in range(method.inner):
                own = stream.fold("train").fold("epoch", epoch) if epoch else stream.fold("train")
                learn(network, learner, images.detach().flatten(0, 1), labels, method.batch_train, augment, own)
        draw, indices = view(method, task, augment, stream.fold("view"))
        loss = torch.zeros((), dtype=images.dtype, device=images.device)
        for c in classes:
            real, made = (augmented(x, draw.rows([c])) for x in (task.images(indices[c]), images[c]))
            for s, r in zip(gradient(network, made, c, graph=True), gradient(network, real, c), strict=True):
                if s.ndim > 1:
                    loss = loss + sum(
                        1 - (a * b).sum() / (a.norm() * b.norm() + 1e-6) for a, b in zip(s, r, strict=True)
                    )
        opt.zero_grad()
        loss.backward(inputs=[images])
        opt.step()
        progress(update + 1, method.updates, loss.item())
    return images.detach()


def idc(method: IDC, task: Task, ipc: int, rng: Rng, progress: Progress = silent) -> Tensor:
    """A step of SGD a class, on a tensor that holds all classes. Images in [0, 1].

    Between its own steps a class is moved by momentum alone.
    """
    classes, tiles = range(len(task.classes)), method.factor**2
    start = unit(task.train.x[task.indices(classes, ipc * tiles, rng.fold("init"))])
    images = pack_tiles(start.unflatten(1, (tiles, ipc)), method.factor).requires_grad_()
    opt = torch.optim.SGD([images], lr=method.lr * ipc, momentum=method.momentum)
    augment = augment_of(method, task)
    plain = Augment("_".join(name for name in augment.names if name != "cutout"), augment.style)
    examples = min(method.examples, len(task.train.y))
    for update in range(method.updates):
        stream = rng.fold("episode", update)
        if update % method.ipm == 0:
            network = build(task, stream)
            learner = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        else:
            rows = torch.randperm(len(task.train.y), generator=stream.fold("train").fold("examples").generator())[
                :examples
            ]
            x, y = task.images(rows), task.train.y[rows]
            learn(network, learner, x, y, method.batch_train, plain, stream.fold("train"), method.cutmix)
        draw, indices = view(method, task, augment, stream.fold("view"))
        total = 0.0
        with torch.no_grad():
            images.clamp_(0, 1)
        for c in classes:
            tiled = unpack_tiles(task.normalisation.to_network(images[c]), method.factor, task.normalisation.grey)
            real, made = (augmented(x, draw.rows([c])) for x in (task.images(indices[c]), tiled))
            pairs = zip(gradient(network, made, c, graph=True), gradient(network, real, c), strict=True)
            apart = [(s - r) for s, r in pairs if s.ndim > 2]
            loss = sum((d.square() if method.distance == "squared" else d.abs()).sum() for d in apart)
            opt.zero_grad()
            loss.backward(inputs=[images])
            opt.step()
            total += loss.item()
        progress(update + 1, method.updates, total)
    return images.detach().clamp(0, 1)


def start_dc(method: DC, task: Task, ipc: int, rng: Rng) -> Tensor:
    classes, stream = range(len(task.classes)), rng.fold("init")
    if method.init == "real":
        return task.images(task.indices(classes, ipc, stream))
    shape = len(classes), ipc, *task.shape
    return torch.randn(shape, generator=stream.generator(task.device), device=task.device)


def augment_of(method: DC | IDC, task: Task) -> Augment:
    augment = Augment(method.augment, method.style)
    return augment if task.flip else augment.without_flip()


def view(method: DC | IDC, task: Task, augment: Augment, stream: Rng):
    """One augmentation and the real images of each class."""
    classes = range(len(task.classes))
    draw = augment.draw(len(classes), task.shape, stream.fold("augment"))
    return draw, task.indices(classes, method.batch_real, stream.fold("real"))


def gradient(network: nn.Module, x: Tensor, c: int, graph: bool = False) -> Sequence[Tensor]:
    loss = F.cross_entropy(network(x), torch.full((len(x),), c, device=x.device))
    return torch.autograd.grad(loss, list(network.parameters()), create_graph=graph)


def learn(
    network: nn.Module,
    opt: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    batch: int,
    augment: Augment,
    stream: Rng,
    cutmix: float = 0.0,
) -> None:
    """One pass over the images, in a fresh order."""
    for i, rows in enumerate(torch.randperm(len(x), generator=stream.generator()).split(batch)):
        own, image, label = stream.fold(i), x[rows], y[rows]
        if augment.names:
            image = augmented(image, augment.draw(len(image), x.shape[1:], own, same_op=augment.style != "dc"))
        mix = Mix.some(len(image), x.shape[1:], cutmix, [own], x.device) if cutmix else None
        scores = network(image if mix is None else mix(image[None])[0])
        loss = F.cross_entropy(scores, label) if mix is None else mix.loss(0, F.cross_entropy, scores, label)
        opt.zero_grad()
        loss.backward()
        opt.step()


def build(task: Task, stream: Rng) -> nn.Module:
    """A fresh network."""
    with stream.fold("network").scope():
        return task.network.build().to(task.device)
