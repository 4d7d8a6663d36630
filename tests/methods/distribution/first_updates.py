"""What a method asks of its updates, and what it makes of the images."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from conftest import watch_updates
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from attar.data.task import Task
from attar.engine.run import Run
from attar.networks.architectures import ConvNet
from attar.networks.network import Layers, Network
from attar.rng import Rng


def first_update(method, task, ipc, **options):
    """The loss of the first update, and its gradient in the images."""
    loss, (gradient, *_) = watch_updates(method, task, ipc, Run(Rng.of(0), **options))[0]
    return loss, gradient


def interrupt(update: int):
    """The progress of a run that is interrupted after so many updates."""

    def progress(done, total, loss):
        if done == update:
            raise KeyboardInterrupt

    return progress


def images(method, task, ipc, **options) -> torch.Tensor:
    return method(task, ipc, Run(Rng.of(0), **options)).images


class Pass(NamedTuple):
    """Images that went through a network: whether it learns from them, whether they learn, and which it was."""

    trains: bool
    learned: bool
    network: float


@contextmanager
def watch_passes() -> Iterator[list[Pass]]:
    """Every pass through a ConvNet inside the block."""
    passes: list[Pass] = []

    def note(module: nn.Module, given: tuple) -> None:
        (x,) = given
        if type(module) in (ConvNet, Layers) and not x.is_meta:  # on meta tensors shapes and operations are counted
            first = next(module.parameters())
            passes.append(Pass(module.training, x.requires_grad, first.detach().flatten()[0].item()))

    hook = register_module_forward_pre_hook(note)
    try:
        yield passes
    finally:
        hook.remove()


class Same(ConvNet):
    """Starts with the same weights always."""

    def __init__(self, shape: tuple[int, ...], classes: int):
        super().__init__(shape, classes, width=8)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.arange(p.numel(), dtype=p.dtype).cos().view(p.shape) / 2)


def with_one_network(task: Task) -> Task:
    """Whatever is drawn of networks that are not trained, it is the same one."""
    return dataclasses.replace(task, network=Network(lambda: Same(task.shape, len(task.classes))))
