"""DiM: distilling dataset into generative model (Wang et al., 2023).

Needs a generator, which is trained on the whole set first. Runs share it. The result is a generator too: judge it by
the protocol dim, which draws fresh images of it in each epoch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Int
from torch import Tensor, nn

from attar.augment.dsa import Augment, apply
from attar.condensed.condensed_set import CondensedSet
from attar.data.normalisation import unit
from attar.data.task import Task
from attar.engine.device import send
from attar.engine.run import Run
from attar.methods._seen import freeze
from attar.methods.generative._gan import Pretrained
from attar.networks.by_name import make_network
from attar.networks.generator import Generator, make_critic
from attar.networks.network import Network
from attar.networks.pure import Pure
from attar.networks.weights import TRAINING, Weights
from attar.rng import Rng
from attar.synthesis.generated import Generated
from attar.synthesis.loop import optimise
from attar.training.flatness import Params
from attar.training.gan import BETAS, CRITIC, Losses, Opponent, Pair, draw, fool
from attar.training.pool import Pool
from attar.training.train import TrainState, train


@dataclass(frozen=True, kw_only=True)
class DiM(Pretrained):
    """A generator whose images get the scores of real ones from networks that learn on the way.

    A network, one of the `pool` (names with `_` between them; empty is the run's own), serves `ipm` updates, and makes
    `steps` steps on batches of `batch_train` real images before each. An update compares `batch_real` real images with
    generated ones of the same classes, under the same augmentation. `match` weighs the squared difference of log
    probabilities beside what the critic makes of the generated images. After each update the critic makes a step, too.
    The authors' pool also has networks that Attar has not, and its networks learn from augmented images.

    `ipc` is how many images a class the protocol counts; how many bytes the generator takes does not depend on it.
    """

    updates: int = 78_200
    lr: float = 5e-6
    ipm: int = 782
    pool: str = "convnet_resnet18_resnetap10"
    steps: int = 16
    batch_train: int = 64
    batch_real: int = 64
    match: float = 0.01
    augment: str = "color_crop_cutout"
    style: Literal["dsa", "idc"] = "idc"
    generative: ClassVar[bool] = True
    separable: ClassVar[bool] = False  # one generator makes the images of all classes

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        about, looks = (task.shape, len(task.classes), task.device), self.updates * self.batch_real
        networks = self.list_networks(task)  # first: what cannot be is refused before a generator is trained
        pair, critic = self.plan_gan().load(task, run), make_critic(*about)
        syn = Generated(task, ipc, run, Generator.own(*about), pair.generator, looks=looks)
        judge = run.engine(critic.call, 2 * looks * critic.flop(torch.empty(1, *task.shape, device="meta")))
        learn = self.prepare_critic(syn.family, critic, task, run)
        scores = [self.prepare(network, task, run, 1 / len(networks)) for network in networks]
        augment = Augment(self.augment, self.style) if task.flip else Augment(self.augment, self.style).without_flip()
        students, opponent = [Pool(network, 1) for network in networks], Opponent(critic, pair.critic)

        def show(x, drawn):
            x = task.normalisation.to_network(x)
            return apply(x[None], drawn)[0] if augment.names else x

        def compare(scores, w, x, y, rng):
            drawn = augment.draw(1, task.shape, rng.fold("augment")).to(task.device)
            with torch.no_grad():
                real = scores(w, show(x, drawn)).log_softmax(1)
            z, _ = draw(x, syn.family.codes, rng)
            made = syn.sample(z, y)
            apart = (scores(w, show(made, drawn)).log_softmax(1) - real).square().mean()
            return fool(judge, opponent.w(), 2 * made - 1, y) + self.match * apart

        def episode(syn, rng):
            born = students[0].due(self.ipm)
            life = (int(students[0].renewed) - 1) // self.ipm
            i = int(torch.randint(len(networks), (), generator=run.rng.fold("pool", life).generator()))
            network, student = networks[i], students[i]
            if born:
                student.push(network.init(rng.fold("network")))
            student.put(0, *self.teach(network, student.at(0), task, rng.fold("train"), run))
            w = freeze(task, student.at(0)[0], rng, network)
            rows = choose(self.batch_real, task, rng.fold("real"))
            x, y = unit(task.raw(rows)), task.train.y[rows]
            yield [compare(scores[i], w, x, y, rng)]
            z, share = draw(x, syn.family.codes, rng.fold("critic"))
            fixed = Weights({name: p.detach() for name, p in syn.w().params.items()}, {})  # the critic alone learns
            opponent.step(learn(Pair(fixed, opponent.w()), 2 * x - 1, y, z, share), self.lr)

        state = nn.ModuleList([*students, opponent])
        opt = torch.optim.Adam(syn.parameters(), lr=self.lr, betas=BETAS)
        return optimise(episode, syn, opt, updates=self.updates, run=run, state=state).export()

    def list_networks(self, task: Task) -> list[Network]:
        """Those of the pool. Raises `ValueError` where one is unknown, or does not take such images."""
        if not self.pool:
            return [task.network]
        found = [make_network(name, task.shape, len(task.classes)) for name in self.pool.split("_")]
        return [network.to(task.device) for network in found]

    def prepare(self, network: Network, task: Task, run: Run, share: float) -> Callable[[Weights, Tensor], Tensor]:
        """Its scores on the run's engine. Its training is announced; it has this share of all updates."""
        flop = self.updates * share * network.flop(task.shape)
        run.announce(network.train_logits, int(TRAINING * self.steps * self.batch_train * flop))
        return run.engine(network.scores, int(3 * self.batch_real * flop))

    def prepare_critic(self, family: Generator, critic: Pure, task: Task, run: Run) -> Callable[..., Params]:
        """The gradient by which the critic learns, on the run's engine."""
        flop = family.flop + CRITIC * critic.flop(torch.empty(1, *task.shape, device="meta"))
        losses = Losses(family.pure, critic, self.plan_gan().penalty)
        return run.engine(losses.learn_critic, self.updates * self.batch_real * flop)

    def teach(self, network: Network, pupil: tuple[Weights, TrainState], task: Task, rng: Rng, run: Run) -> Any:
        """The network and the state of its training, after a few steps on real images."""
        (w, state), rows = pupil, choose(self.steps * self.batch_train, task, rng.fold("rows"))
        learn = partial(train, steps=self.steps, batch=self.batch_train, rng=rng, run=run, state=state)
        return learn(network, w, task.images(rows), task.train.y[rows])


def choose(k: int, task: Task, rng: Rng) -> Int[Tensor, " k"]:
    """So many training images of all classes, or all there are, without replacement."""
    return send(torch.randperm(len(task.train.y), generator=rng.generator())[:k], task.device)
