"""A conditional generator trained on the whole set against a critic, computed once and kept on disk."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from attar.data.normalisation import unit
from attar.data.task import Task
from attar.engine.device import send
from attar.engine.piece import Tick
from attar.engine.run import Run
from attar.networks.generator import Generator, make_critic
from attar.networks.pure import Pure
from attar.networks.weights import TRAINING, Weights, flatten, unflatten
from attar.rng import Rng
from attar.training.flatness import Params
from attar.training.stages import Cohort, Stage, Tensors, Wanted, describe_engine

VERSION = 1  # of how generators are trained: with another, those in the cache are not taken
CRITIC = 2 * TRAINING + 9  # passes of the critic in its own step: real and fake images, and the penalty's two orders
BETAS = 0.0, 0.9  # of Adam (Gulrajani et al., 2017)
RNG = Rng(("gan",))  # not the run's: runs, methods and budgets share a generator

Images = Float[Tensor, "n c h w"]
Codes = Float[Tensor, "n codes"]
Classes = Int[Tensor, " n"]


class Pair(NamedTuple):
    """The weights of a generator, and of the critic that it was trained against."""

    generator: Weights
    critic: Weights


@dataclass(frozen=True)
class Gan:
    """WGAN-GP with an auxiliary classifier (Gulrajani et al., 2017; Odena et al., 2017; stage 1 of DiM).

    The critic's loss is E D(G(z)) − E D(x) + `penalty` E (‖∇D(x̂)‖ − 1)², and the generator's −E D(G(z)). Both also
    learn the cross-entropy of the classes of what they see. The critic makes `critic` steps for one of the generator.
    DiM takes the generator that was best on the test part; here it is the last.
    """

    epochs: int
    lr: float = 1e-4
    batch: int = 128
    critic: int = 1
    penalty: float = 10.0

    def load(self, task: Task, run: Run) -> Pair:
        """Attar's own generator for these images, from the cache where it lies there whole; else it is trained."""
        cohort = self.gather(task, run)
        cohort.announce()
        ((tensors,),) = cohort.load()
        return unpack(tensors)

    def stage(self, task: Task, run: Run) -> Stage:
        """Whether it is missing, and what it costs."""
        return self.gather(task, run).stage()

    def gather(self, task: Task, run: Run) -> Cohort:
        """The one generator with its critic, which are one file."""
        what, flop, families = self.identify(task, run), self.flop(task), make_families(task)
        name = f"{Generator.own(task.shape, len(task.classes)).name} on {task.name}, epochs: {self.epochs}"
        wanted = [Wanted(name, 0, (what,), what, partial(train_gan, self, what))]
        steps, disk = self.epochs * self.per_epoch(task), 4 * sum(family.parameters for family in families)
        return Cohort(task, run, "generator", "generators", wanted, self.epochs, steps, flop, disk, known=True)

    def flop(self, task: Task) -> int:
        """Floating-point operations of its training."""
        return sum(self.flop_parts(task))

    def flop_parts(self, task: Task) -> tuple[int, int]:
        """Of the critic's steps, and of the generator's."""
        generator = Generator.own(task.shape, len(task.classes)).flop
        critic = make_families(task)[1].flop(torch.empty(1, *task.shape, device="meta"))
        seen = self.epochs * self.per_epoch(task) * min(self.batch, len(task.train.y))
        return seen * (generator + CRITIC * critic), seen // self.critic * TRAINING * (generator + critic)

    def per_epoch(self, task: Task) -> int:
        """Whole batches of the training set, at least one."""
        return max(1, len(task.train.y) // self.batch)

    def identify(self, task: Task, run: Run) -> str:
        """All that its bits depend on."""
        engine, keys = describe_engine(run, self.flop(task), 1), [family.key for family in make_families(task)]
        return repr((VERSION, "gan", task.fingerprint, engine, torch.__version__, keys, self))

    def train(self, task: Task, run: Run, tick: Tick) -> Pair:
        """From a fresh start, in whole batches of each epoch's order."""
        generator, critic = make_families(task)
        losses, flop = Losses(generator, critic, self.penalty), self.flop_parts(task)
        judge, create = run.engine(losses.learn_critic, flop[0]), run.engine(losses.learn_generator, flop[1])
        w = Pair(generator.init(RNG.fold("generator")), critic.init(RNG.fold("critic")))
        opts = [torch.optim.Adam(each.params.values(), lr=self.lr, betas=BETAS) for each in w]
        codes = int(generator.template.codes)
        for t, (rows, rng) in enumerate(self.batches(task)):
            x, y = 2 * unit(task.raw(rows)) - 1, task.train.y[rows]
            z, share = draw(x, codes, rng)
            step(opts[1], w.critic.params, judge(w, x, y, z, share))
            if (t + 1) % self.critic == 0:
                z, _ = draw(x, codes, rng.fold("generator"))
                step(opts[0], w.generator.params, create(w, y, z))
            tick()
        if not all(p.isfinite().all() for each in w for p in each.params.values()):
            raise ValueError("the generator's training became non-finite: a smaller lr_gan helps, or look at the data")
        return w

    def batches(self, task: Task) -> Iterator[tuple[Tensor, Rng]]:
        """Training indices of each step, and what is random in it."""
        n = len(task.train.y)
        for epoch in range(self.epochs):
            order = torch.randperm(n, generator=RNG.fold("order", epoch).generator())
            for i, rows in enumerate(order.split(self.batch)[: self.per_epoch(task)]):
                yield send(rows, task.device), RNG.fold("step", epoch, i)


@dataclass(frozen=True, eq=False)
class Losses:
    """The gradients by which the two learn from each other; images are on [−1, 1]."""

    generator: Pure
    critic: Pure
    penalty: float

    def learn_critic(self, w: Pair, x: Images, y: Classes, z: Codes, share: Float[Tensor, "n 1 1 1"]) -> Params:
        """Of the critic's loss in its parameters. `share` is where x̂ lies on the way from real to fake."""
        fake = self.generator.call(w.generator, z, y).detach().to(x.dtype)  # its last product may be in bfloat16
        return torch.func.grad(self.critic_loss)(w.critic.params, w.critic.buffers, x, fake, y, share)

    def learn_generator(self, w: Pair, y: Classes, z: Codes) -> Params:
        """Of the generator's loss in its parameters."""
        return torch.func.grad(self.generator_loss)(w.generator.params, w, y, z)

    def critic_loss(
        self, params: Params, buffers: Params, x: Images, fake: Images, y: Classes, share: Tensor
    ) -> Float[Tensor, ""]:
        w = Weights(params, buffers)
        (real, scores), (made, made_scores) = self.critic.call(w, x), self.critic.call(w, fake)
        known = F.cross_entropy(scores, y) + F.cross_entropy(made_scores, y)
        return made.mean() - real.mean() + known + self.penalty * self.steepness(w, x.lerp(fake, share))

    def steepness(self, w: Weights, x: Images) -> Float[Tensor, ""]:
        """E (‖∇D(x)‖ − 1)²."""
        slope = torch.func.grad(lambda x: self.critic.call(w, x)[0].sum())(x)
        return (slope.flatten(1).norm(dim=1) - 1).square().mean()

    def generator_loss(self, params: Params, w: Pair, y: Classes, z: Codes) -> Float[Tensor, ""]:
        x = self.generator.call(Weights(params, w.generator.buffers), z, y)
        return fool(self.critic.call, w.critic, x, y)


class Opponent(nn.Module):
    """A critic that learns on with a method: its weights, and what Adam keeps of their gradients (`BETAS`)."""

    weights: Tensor
    square: Tensor
    steps: Tensor

    def __init__(self, critic: Pure, w: Weights):
        super().__init__()
        # In the order of the module: weights that come from a file have their own, and a run may resume with them.
        self.shapes = {name: p.shape for name, p in critic.template.named_parameters()}
        self.register_buffer("weights", self.pack(w.params))
        self.register_buffer("square", torch.zeros_like(self.weights))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def w(self) -> Weights:
        return Weights(unflatten(self.weights, self.shapes), {})

    def step(self, gradient: Params, lr: float) -> None:
        """A step of Adam, whose first moment is the gradient itself."""
        g = self.pack(gradient)
        self.steps += 1
        self.square.lerp_(g.square(), 1 - BETAS[1])
        self.weights -= lr * g / ((self.square / (1 - BETAS[1] ** int(self.steps))).sqrt() + 1e-8)

    def pack(self, params: Params) -> Tensor:
        return flatten({name: params[name] for name in self.shapes})


def fool(judge: Callable[[Weights, Tensor], Any], w: Weights, x: Images, y: Classes) -> Float[Tensor, ""]:
    """−E D(x), and the cross-entropy of the classes: what a generator of `x` makes small. `judge` is the critic."""
    judged, scores = judge(w, x)
    return F.cross_entropy(scores, y) - judged.mean()


def draw(x: Images, codes: int, rng: Rng) -> tuple[Codes, Float[Tensor, "n 1 1 1"]]:
    """For each image a code, N(0, 1), and a share on [0, 1]."""
    options: dict[str, Any] = {"device": x.device, "dtype": x.dtype}
    z = torch.randn(len(x), codes, generator=rng.fold("codes").generator(x.device), **options)
    return z, torch.rand(len(x), 1, 1, 1, generator=rng.fold("share").generator(x.device), **options)


def step(opt: torch.optim.Optimizer, params: Params, gradient: Params) -> None:
    for name, p in params.items():
        p.grad = gradient[name]
    opt.step()


def make_families(task: Task) -> tuple[Pure, Pure]:
    """Attar's own generator and its critic."""
    about = task.shape, len(task.classes), task.device
    return Generator.own(*about).pure, make_critic(*about)


def train_gan(gan: Gan, what: str, task: Task, run: Run, tick: Tick) -> dict[str, Tensors]:
    """The generator's tensors and the critic's, for their file."""
    pair = gan.train(task, run, tick)
    return {what: {f"{part}.{name}": p for part, w in pair._asdict().items() for name, p in w.params.items()}}


def unpack(tensors: Tensors) -> Pair:
    parts: dict[str, Params] = {"generator": {}, "critic": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    return Pair(*(Weights(params, {}) for params in parts.values()))
