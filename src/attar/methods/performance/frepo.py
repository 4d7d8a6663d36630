"""FRePo: neural feature regression with pooling (Zhou, Nezhadarya & Ba, NeurIPS 2022).

Needs nothing trained; its networks learn along the way, from what is learned. Labels are learned with the images.
"""

import dataclasses
import math
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.distances.ridge import RIDGE, centred, regress
from attar.engine.run import Run
from attar.engine.slices import map_slices
from attar.methods._seen import freeze, see
from attar.networks.network import Network
from attar.networks.weights import TRAINING
from attar.rng import Rng
from attar.synthesis.loop import optimise
from attar.synthesis.optimisers import OPTIMISERS, SCHEDULES, Optimiser, Schedule
from attar.synthesis.pixels import Init, Pixels
from attar.training.losses import squares
from attar.training.pool import Pool
from attar.training.train import Adam, train


@dataclass(frozen=True, kw_only=True)
class FRePo:
    """A linear head that is fitted to features of the images in closed form predicts the labels of real ones.

    The features are those of one of `capacity` networks. After each update it takes a step of Adam (`lr_net`) on at
    most `batch_syn` of the images, with squared errors. After `life` of them another takes its place; ages differ from
    the start. `batch_real` real images of each class are drawn, where the authors draw 1024 from all classes together.
    With `mirrors` mirrored images are added, where these keep their class. With `zca` networks see whitened images.

    The authors' convolutions have no biases, and they condense with batch normalisation and judge without. Here the
    task's own network does both; its batch normalisation, if any, is frozen at the statistics of real images.
    """

    updates: int = 500_000
    lr: float = 3e-4
    momentum: float = 0.9
    optimiser: Optimiser = "lamb"
    schedule: Schedule = "tenth"
    capacity: int = 10
    life: int = 100
    lr_net: float = 3e-4
    batch_syn: int = 1000
    ridge: float = RIDGE
    batch_real: int = 102
    learn_labels: bool = True
    mirrors: bool = False
    init: Init = "real"
    zca: bool = True
    separable: ClassVar[bool] = False  # a head is fitted to the images of all classes

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        task, network, k = see(task, self.zca), task.network, len(task.classes)
        syn, batch = Pixels.start(task, ipc, run, init=self.init), min(self.batch_real, int(task.counts.max()))
        targets = nn.Parameter(centred(syn()[1], k) / math.sqrt(k / 10), requires_grad=self.learn_labels)
        mirrored = self.mirrors and task.flip
        shown, flop = len(targets) * (2 if mirrored else 1), self.updates * network.flop(task.shape)
        features = run.engine(network.features, (k * batch + 2 * shown) * flop)
        run.announce(network.train_logits, TRAINING * min(shown, self.batch_syn) * flop)
        learners = Learners(network, self.capacity, self.life, Adam(self.lr_net), run)

        def show():
            x, y = syn()[0], targets
            return (torch.cat([x, x.flip(3)]), torch.cat([y, y])) if mirrored else (x, y)

        def look(w, x):
            return map_slices(partial(features, w), x, run.slice_size(len(x)))

        def episode(syn, rng):
            i = learners.choose(rng.fold("network"))
            w, real = freeze(task, learners.pool.at(i)[0], rng), task.sample(range(k), batch, rng.fold("real"))
            y_t = centred(torch.arange(k, device=task.device).repeat_interleave(batch), k)
            with torch.no_grad():
                phi_t = look(w, real.flatten(0, 1))
            x_s, y_s = show()
            loss = squares(regress(phi_t, look(w, x_s), y_s, self.ridge), y_t)
            yield [loss - margin(targets) if self.learn_labels else loss]
            x_s, y_s = show()  # as the update left them
            learners.teach(i, x_s, y_s, self.batch_syn, rng.fold("train"), run)

        opt = OPTIMISERS[self.optimiser]([syn.images, targets], self.lr, self.momentum)
        schedule = SCHEDULES[self.schedule](self.updates)
        state = nn.ModuleDict({"learners": learners, "targets": nn.ParameterList([targets])})
        made = optimise(episode, syn, opt, updates=self.updates, run=run, schedule=schedule, state=state).export()
        return dataclasses.replace(made, targets=targets.detach().cpu()) if self.learn_labels else made


class Learners(nn.Module):
    """A pool of networks of all ages, each of which makes way for a fresh one after `life` steps."""

    ages: Tensor

    def __init__(self, network: Network, capacity: int, life: int, optimiser: Adam, run: Run):
        super().__init__()
        self.network, self.life, self.optimiser = network, life, optimiser
        self.pool = Pool(network, capacity, optimiser)
        for i in range(capacity):
            self.pool.push(network.init(run.rng.fold("start", i)))
        # Ages are counted from and not trained for, as a PyTorch version of the authors' code has it.
        self.register_buffer("ages", torch.arange(capacity) * life // capacity)

    def choose(self, rng: Rng) -> int:
        """One of them, at random."""
        return int(torch.randint(len(self.pool), (), generator=rng.generator()))

    def teach(
        self, i: int, x: Float[Tensor, "n c h w"], y: Float[Tensor, "n k"], batch: int, rng: Rng, run: Run
    ) -> None:
        """A step of the i-th on at most `batch` of the images, or another in its place."""
        self.ages[i] = (self.ages[i] + 1) % self.life
        if not self.ages[i]:
            self.pool.renew(i, self.network.init(rng))
            return
        (w, state), size = self.pool.at(i), batch if batch < len(x) else None
        how: dict[str, Any] = {"optimiser": self.optimiser, "loss": "squares", "batch": size, "state": state}
        self.pool.put(i, *train(self.network, w, x, y, steps=1, rng=rng, run=run, **how))


def margin(y: Float[Tensor, "n k"]) -> Float[Tensor, ""]:
    """How far labels are from undecided: their greatest number less the second, at most 1/k, the mean over images."""
    first, second = y.topk(2, dim=1).values.unbind(1)
    return (first - second).clamp_max(1 / y.shape[1]).mean()
