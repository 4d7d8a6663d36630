"""One thread a process, a cache of its own, and small real objects instead of fakes."""

import dataclasses
import math
import os

os.environ |= {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_COMPILE_THREADS": "1"}

import jaxtyping
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from attar.data.normalisation import Normalisation, unit
from attar.data.task import Examples, Task
from attar.engine.run import Run
from attar.networks.architectures import ConvNet
from attar.networks.by_name import make_network
from attar.networks.network import Network

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def every_boundary(monkeypatch):
    """Runs that last milliseconds resume from the middle too."""
    monkeypatch.setattr("attar.synthesis.loop.BOUNDARY_EVERY", 0.0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("ATTAR_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def toy(
    channels: int = 1,
    side: int | tuple[int, int] = 8,
    counts: tuple[int, ...] = (24, 24, 24),
    *,
    name: str = "toy",
    seed: int = 0,
    contrast: float = 0.25,
    architecture: str = "convnet",
) -> Task:
    """Noisy bars: class c is brighter, by `contrast`, in its own band of rows.

    That is easy to learn, and hard to select well from noise.
    """
    h, w = (side, side) if isinstance(side, int) else side
    generator = torch.Generator().manual_seed(seed)

    def part(counts) -> Examples:
        labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        images = 0.3 + 0.25 * torch.randn(len(labels), channels, h, w, generator=generator)
        for i, label in enumerate(labels.tolist()):
            top = label * h // len(counts)
            images[i, :, top : top + max(1, h // len(counts))] += contrast
        order = torch.randperm(len(labels), generator=generator)
        return Examples((images.clamp(0, 1) * 255).to(torch.uint8)[order], labels[order])

    train, test = part(counts), part([20] * len(counts))
    pixels = train.x.double() / 255
    mean, std = (tuple(f(pixels, (0, 2, 3)).tolist()) for f in (torch.mean, torch.std))
    names = tuple("abcdefghijklmnopqrstuvwxyz"[: len(counts)])
    family = make_network(architecture, (channels, h, w), len(counts))
    return Task(name, train, test, names, Normalisation(mean, std), family, flip=False)


@dataclasses.dataclass(frozen=True)
class Narrow:
    """Builds a ConvNet of few channels. It has a key, so that what is trained is trained once for all tests."""

    shape: tuple[int, int, int]
    classes: int
    depth: int

    def __call__(self) -> ConvNet:
        return ConvNet(self.shape, self.classes, width=8, depth=self.depth)

    @property
    def key(self) -> str:
        return str(self)


def narrow(task: Task, depth: int = 2) -> Task:
    """The same data with a network whose passes cost next to nothing."""
    return dataclasses.replace(task, network=Network(Narrow(task.shape, len(task.classes), depth)))


def watch_updates(method, task: Task, ipc: int, run: Run) -> list[tuple[torch.Tensor, list[torch.Tensor]]]:
    """The loss of each update and its gradients in what is learned, in most methods the images alone."""
    found: list[tuple[torch.Tensor, list[torch.Tensor]]] = []
    gradients: list[torch.Tensor] = []

    def keep(opt: torch.optim.Optimizer, *_) -> None:  # networks that are trained take steps too
        learned = (p for group in opt.param_groups for p in group["params"])
        gradients[:] = [p.grad.clone() for p in learned if p.grad is not None]

    def progress(done: int, total: int, loss: float) -> None:
        if not math.isnan(loss):  # not while networks are trained first
            found.append((torch.tensor(loss), [*gradients]))

    hook = register_optimizer_step_pre_hook(keep)
    try:
        method(task, ipc, dataclasses.replace(run, progress=progress))
    finally:
        hook.remove()
    return found


@pytest.fixture
def task() -> Task:
    return toy()


@pytest.fixture
def exact():
    """A task in float64."""
    task = toy(3, 8)
    torch.set_default_dtype(torch.float64)
    yield dataclasses.replace(task, train=Examples(unit(task.train.x).double(), task.train.y)).with_network("convnet")
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def unchecked():
    """For tests that compile: shape checks off, which the compiler cannot look through, and nothing left of others.

    What earlier tests compiled counts against the limit of one function's variants.
    """
    torch.compiler.reset()
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
