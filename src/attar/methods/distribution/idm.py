"""IDM: improved distribution matching for dataset condensation (Zhao et al., CVPR 2023).

Needs nothing trained; its networks learn along the way. CIFAR-10 on two cores (AMX): 12 min at one image a class,
25 min at ten.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Int
from torch import Tensor

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.distances.mmd import mean_distance
from attar.engine.device import send
from attar.engine.run import Run
from attar.methods._views import by_class
from attar.methods.distribution._settings import Settings
from attar.networks.weights import TRAINING, Weights
from attar.rng import Rng
from attar.synthesis.pixels import Init, Space
from attar.training.pool import Pool
from attar.training.train import TrainState, train

START = 3  # networks before the first episode, as the authors' code begins


@dataclass(frozen=True, kw_only=True)
class IDM(Settings):
    """Mean features agree under networks of mixed age, which also know each image.

    A fresh network joins a pool of at most `capacity` before every `interval`-th episode. After each episode `learners`
    of them take `steps` steps on `batch_train` real images. `calibration` times the drawn network's running training
    accuracy in per cent weighs its cross-entropy of the synthetic images. The authors' code forgets these accuracies
    every hundred iterations; here they count from a network's birth on. Tiles start as real images reduced by nearest
    neighbour, where the authors' are bilinear.
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
        syn, views = self.begin(task, ipc, run)
        network, calibrated = task.network, self.calibration > 0
        real, shown = self.flop_real(task, syn), self.flop_synthetic(task, syn)
        features = run.engine(network.features, real if calibrated else real + shown)
        passes = 1 if network.ends_in_head(task.shape) else 2
        look = run.engine(network.features_and_scores_of(task.shape), passes * shown) if calibrated else None
        learned = self.learners * self.steps * self.batch_train // self.ipm
        # `train` is called for a few steps at a time, and cannot know how much is to come.
        run.announce(network.train_logits, self.updates * TRAINING * learned * network.flop(task.shape))
        distance = run.fuse(mean_distance, views.flop)
        pool = Pool(network, self.capacity)
        for i in range(START):
            pool.push(network.init(run.rng.fold("start", i)))

        def terms(w, weight, view):
            for chunk in views.chunks:
                real = view.real(features, w, chunk)  # before there is a graph
                if look is None:
                    yield distance(by_class(features(w, view.synthetic(chunk)), chunk), real).sum()
                else:  # one pass gives both
                    f, scores = look(w, view.synthetic(chunk))
                    yield distance(by_class(f, chunk), real).sum() + weight * view.cross_entropy(scores, chunk)

        def episode(syn, rng):
            if pool.due(self.interval):
                pool.push(network.init(rng.fold("push")))
            i = int(choose(1, len(pool), rng.fold("network", 0)))
            (w, _), weight = pool.at(i), self.calibration * pool.accuracy(i)
            w = views.freeze(w, rng)
            kept = views.draw(rng.fold(0)).keep(features, w) if self.keep_real else None
            for t in range(self.ipm):
                syn.clamp_()  # the step before may have left [0, 1]
                yield views.update(terms, w, weight, kept or views.draw(rng.fold(t)))
            for learner in choose(self.learners, len(pool), rng.fold("learners")).tolist():
                pool.put(learner, *self.teach(pool.at(learner), task, rng.fold("train", learner), run))

        return self.learn(episode, syn, run, *self.step_per_class(len(task.classes)), state=pool)

    def teach(self, pupil: tuple[Weights, TrainState], task: Task, rng: Rng, run: Run) -> tuple[Weights, TrainState]:
        """A network and the state of its training, after a few steps on real images."""
        w, state = pupil
        for t in range(self.steps):
            batch = send(choose(self.batch_train, len(task.train.y), rng.fold(t)), task.device)
            x, y = task.images(batch), task.train.y[batch]
            w, state = train(task.network, w, x, y, steps=1, rng=rng.fold(t), run=run, state=state)
        return w, state


def choose(k: int, n: int, rng: Rng) -> Int[Tensor, " k"]:
    """`k` of `n`, without replacement."""
    return torch.randperm(n, generator=rng.generator())[:k]
