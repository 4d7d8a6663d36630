"""DM and M3D class by class."""

import torch
from torch import Tensor

from attar.augment.dsa import Augment
from attar.condensed.tiles import pack_tiles, unpack_tiles
from attar.data.normalisation import unit
from attar.data.task import Task
from attar.distances.mmd import gaussians, radial_mmd
from attar.engine.run import Progress, silent
from attar.methods.distribution.dm import DM
from attar.methods.distribution.m3d import M3D
from attar.rng import Rng
from literal.augmentation import augmented


def dm(method: DM, task: Task, ipc: int, rng: Rng, progress: Progress = silent) -> Tensor:
    """One step of SGD an update, on the sum of all classes' losses; the network is frozen.

    Images in normalised units.
    """
    classes = range(len(task.classes))
    images = task.images(task.indices(classes, ipc, rng.fold("init"))).requires_grad_()
    opt = torch.optim.SGD([images], lr=method.lr, momentum=method.momentum)
    augment = Augment(method.augment, method.style)
    augment = augment if task.flip else augment.without_flip()
    for update in range(method.updates):
        stream = rng.fold("episode", update)
        network = build(task, stream)
        for parameter in network.parameters():
            parameter.requires_grad = False
        draw = augment.draw(len(classes), task.shape, stream.fold(0).fold("augment"))
        indices = task.indices(classes, method.batch_real, stream.fold(0).fold("real"))
        loss = torch.zeros((), dtype=images.dtype)
        for c in classes:
            real, synthetic = (augmented(x, draw.rows([c])) for x in (task.images(indices[c]), images[c]))
            loss = loss + (network(synthetic).mean(0) - network(real).detach().mean(0)).square().sum()
        opt.zero_grad()
        loss.backward()
        opt.step()
        progress(update + 1, method.updates, loss.item())
    return images.detach()


def m3d(method: M3D, task: Task, ipc: int, rng: Rng, progress: Progress = silent) -> Tensor:
    """A step of SGD a class, on a tensor that holds all classes; the network is not frozen. Images in [0, 1].

    Between its own steps a class is moved by momentum alone.
    """
    classes, tiles = range(len(task.classes)), method.factor**2
    start = unit(task.train.x[task.indices(classes, ipc * tiles, rng.fold("init"))])
    images = pack_tiles(start.unflatten(1, (tiles, ipc)), method.factor).requires_grad_()
    opt = torch.optim.SGD([images], lr=method.lr * ipc, momentum=method.momentum)
    augment = Augment(method.augment, method.style)
    augment = augment if task.flip else augment.without_flip()
    for update in range(method.updates):
        stream = rng.fold("episode", update // method.ipm)
        if update % method.ipm == 0:
            network = build(task, stream)
        view = stream.fold(update % method.ipm)
        draw = augment.draw(len(classes), task.shape, view.fold("augment"))
        indices = task.indices(classes, method.batch_real, view.fold("real"))
        total = 0.0
        with torch.no_grad():
            images.clamp_(0, 1)
        for c in classes:
            with torch.no_grad():
                real = network(augmented(task.images(indices[c]), draw.rows([c])))
            tiled = unpack_tiles(task.normalisation.to_network(images[c]), method.factor, task.normalisation.grey)
            synthetic = network(augmented(tiled, draw.rows([c])))
            loss = radial_mmd(gaussians, synthetic[None], real[None]).sum()
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        progress(update + 1, method.updates, total)
    return images.detach().clamp(0, 1)


def build(task: Task, rng: Rng) -> torch.nn.Module:
    """A fresh ConvNet without its head: what enters the head are the features."""
    with rng.fold("network", 0).scope():
        module = task.network.build().to(task.device)
    module.head = torch.nn.Identity()
    return module
