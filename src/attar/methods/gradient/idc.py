"""IDC: dataset condensation via efficient synthetic-data parameterization (Kim et al., ICML 2022).

Needs nothing trained; its networks learn along the way. With `models` it needs networks trained on the whole set.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch

from attar.augment.dsa import Augment
from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.distances.gradients import GRADIENT_DISTANCES
from attar.engine.device import send
from attar.engine.run import Run
from attar.methods.gradient._match import Match
from attar.methods.gradient._settings import Settings
from attar.networks.weights import TRAINING
from attar.synthesis.pixels import Init, Space
from attar.training.pool import Pool
from attar.training.pretrained import early_ages, pretrain_early, pretraining_left
from attar.training.stages import Stage
from attar.training.train import train


@dataclass(frozen=True, kw_only=True)
class IDC(Settings):
    """Gradients in the weights of convolutions agree under networks that learn from real images.

    A network serves `ipm` updates. Between two of them it sees `examples` real images once, in batches of
    `batch_train`. It begins untrained. With `models` it begins at an early checkpoint of one of so many networks, which
    are trained for `epochs` epochs once, and shared with all runs of `dance`, `ncfm` and this.

    `lr` is for one stored image of a class: it is multiplied by ipc, as in the authors' code. That steps once a class.
    """

    updates: int = 200_000
    lr: float = 5e-4
    ipm: int = 100
    distance: Literal["squared", "absolute"] = "squared"
    examples: int = 2000
    batch_train: int = 64
    cutmix: float = 0.5
    models: int = 0
    epochs: int = 20
    batch_real: int = 64
    factor: int = 2
    init: Init = "mix"
    space: Space = "unit"
    augment: str = "color_crop_cutout"
    style: Literal["dsa", "idc"] = "idc"
    separable: ClassVar[bool] = True

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        syn, views = self.begin(task, ipc, run)
        network, examples = task.network, min(self.examples, len(task.train.y))
        distance, work = GRADIENT_DISTANCES[self.distance], (self.flop_real(task, syn), self.flop_synthetic(task, syn))
        match = Match.of(views, distance, *work)
        learnt = (self.updates - self.updates // self.ipm) * examples
        run.announce(network.train_logits, TRAINING * learnt * network.flop(task.shape))
        early = pretrain_early(task, run, self.models, self.epochs)  # none where `models` is 0
        student = Pool(network, 1)  # a network lives for minutes: longer than an episode may

        def start(rng):
            if not early:
                return network.init(rng)
            return early[int(torch.randint(len(early), (), generator=rng.generator()))]

        def teach(w, state, rng):
            rows = torch.randperm(len(task.train.y), generator=rng.fold("examples").generator())[:examples]
            rows = send(rows, task.device)
            augment = without_cutout(views.augment)
            learn = partial(train, epochs=1, batch=self.batch_train, augment=augment, cutmix=self.cutmix)
            return learn(network, w, task.images(rows), task.train.y[rows], state=state, rng=rng, run=run)

        def episode(syn, rng):
            if student.due(self.ipm):
                student.push(start(rng.fold("network")))
            else:
                student.put(0, *teach(*student.at(0), rng.fold("train")))
            syn.clamp_()  # the step before may have left [0, 1]
            w = views.freeze(student.at(0)[0], rng)
            yield views.update(match.terms, w, views.draw(rng.fold("view")))

        return self.learn(episode, syn, run, *self.step_per_class(len(task.classes), scale=ipc), state=student)

    def stages(self, task: Task, run: Run) -> list[Stage]:
        ages = early_ages(self.epochs)
        return [pretraining_left(task, run, self.models, self.epochs, ages)] if self.models else []


def without_cutout(augment: Augment) -> Augment:
    return Augment("_".join(name for name in augment.names if name != "cutout"), augment.style)
