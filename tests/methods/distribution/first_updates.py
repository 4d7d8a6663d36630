"""What a method asks of its updates: their losses, and the gradients of the images."""

import pytest
import torch

from attar.engine.run import Run
from attar.rng import Rng


def watch_updates(method, task, ipc, *, stay=True, **options):
    """The loss of each update and its gradient in the images, which `stay` where they start."""
    found = []

    def step(total, opt):
        found.append((total, opt.param_groups[0]["params"][0].grad.clone()))
        if not stay:
            opt.step()
        return total

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("attar.synthesis.loop.step", step)
        method(task, ipc, Run(Rng.of(0), **options))
    return found


def first_update(method, task, ipc, **options):
    return watch_updates(method, task, ipc, **options)[0]


def interrupt(update: int):
    """The progress of a run that is interrupted after so many updates."""

    def progress(done, total, loss):
        if done == update:
            raise KeyboardInterrupt

    return progress


def images(method, task, ipc, **options) -> torch.Tensor:
    return method(task, ipc, Run(Rng.of(0), **options)).images
