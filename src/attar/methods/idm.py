"""IDM: improved distribution matching for dataset condensation (Zhao et al., CVPR 2023)."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from attar.artefact import CondensedSet
from attar.matching import Guide, Matching
from attar.queue import Queue
from attar.rng import Rng
from attar.run import Run, sent
from attar.settings import Settings
from attar.synthetic import Init, Pixels, Space
from attar.task import Task

START = 3  # networks


@dataclass(frozen=True, kw_only=True)
class IDM(Settings):
    """Mean features agree under networks of mixed age, which also know each image.

    A fresh network joins a queue of at most `capacity` before every `interval`-th episode; after each, `learners` of them take `steps`
    steps on `batch_train` real images. `calibration` times the drawn network's running training accuracy in per cent weighs its
    cross-entropy of the synthetic images. The authors' code forgets these accuracies every hundred iterations; here they count
    from a network's birth on. Tiles start as real images reduced by nearest neighbour, where the authors' are bilinear.
    """

    updates: int = 20_000
    lr: float = 0.2
    capacity: int = 100
    interval: int = 30
    learners: int = 2
    steps: int = 10
    batch_train: int = 256
    calibration: float = 0.5
    batch_real: int = 256
    factor: int = 2
    init: Init = "mix"
    space: Space = "normalised"
    augment: str = "color_crop_cutout_flip_scale_rotate"
    style: Literal["dsa", "idc"] = "dsa"
    separable: ClassVar[bool] = True

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        queue = Queue(task.network, self.capacity)
        for i in range(START):
            queue.push(run.rng.fold("start", i))

        def drawn(rng: Rng) -> Guide:
            i = int(some(1, len(queue), rng))
            return Guide(queue.network_of(i), self.calibration * queue.accuracy(i))

        trained = self.learners * self.steps * self.batch_train // self.ipm
        matching = Matching.of(self, task, ipc, run, judge="itself" if self.calibration else "none", trained=trained)
        matching = dataclasses.replace(matching, source=drawn)

        def episode(syn: Pixels, rng: Rng) -> Iterator[Iterable[Tensor]]:
            queue.renew(self.interval, rng.fold("push"))
            yield from matching.episode(syn, rng)
            for i in some(self.learners, len(queue), rng.fold("learners")).tolist():
                for t in range(self.steps):
                    batch = sent(some(self.batch_train, len(task.train.y), rng.fold("train", i, t)), task.device)
                    queue.teach(i, matching.scores, task.images(batch), task.train.y[batch])

        return matching.learn(*self.step_per_class(len(task.classes)), episode, queue)


def some(k: int, n: int, rng: Rng) -> Int[Tensor, " k"]:
    """`k` of `n`, without replacement."""
    return torch.randperm(n, generator=rng.generator())[:k]
