"""A conditional generator trained on the whole set against a critic, computed once and kept on disk."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from attar.data.normalisation import unit
from attar.data.task import Task
from attar.engine.device import send
from attar.engine.run import Run
from attar.files import cache_folder, check_cache, keep, read_tensors
from attar.networks.generator import Generator, make_critic
from attar.networks.pure import Pure
from attar.networks.weights import TRAINING, Weights
from attar.rng import Rng
from attar.training.flatness import Params
from attar.training.pretrained import Stage, cache_path
from attar.wording import size

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
        what = self.identify(task, run)
        path = cache_path(what)
        try:
            if path.exists():
                return read_pair(path, what, task, run)
        except (ValueError, OSError) as error:
            logging.getLogger("attar").warning(f"{error}: this generator is trained anew")
        self.announce(task, run)
        start = time.perf_counter()
        pair = self.train(task, run)
        if not run.rehearsal:
            tensors = {f"{part}.{name}": p for part, w in pair._asdict().items() for name, p in w.params.items()}
            keep(path, tensors, {"what": what, "seconds": time.perf_counter() - start})
        return pair

    def stage(self, task: Task, run: Run) -> Stage:
        """Whether it is missing, and what it costs."""
        return Stage(int(not cache_path(self.identify(task, run)).exists()), self.flop(task))

    def announce(self, task: Task, run: Run) -> None:
        if not run.rehearsal:
            check_cache()
            families = make_families(task)
            took = size(sum(4 * p.numel() for family in families for p in family.template.parameters()))
            cost = f"{self.epochs} epochs ({self.flop(task) / 1e12:.3g} TFLOP)"
            told = f"a generator is trained first: {cost}; later runs find it in {cache_folder()} ({took})"
            logging.getLogger("attar").warning(told)

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
        engine = run.device.type, run.precision, run.compiles(self.flop(task)), torch.get_num_threads()
        keys = [family.key for family in make_families(task)]
        return repr((VERSION, "gan", task.fingerprint, engine, torch.__version__, keys, self))

    def train(self, task: Task, run: Run) -> Pair:
        """From a fresh start, in whole batches of each epoch's order."""
        generator, critic = make_families(task)
        losses, flop = Losses(generator, critic, self.penalty), self.flop_parts(task)
        judge, create = run.engine(losses.learn_critic, flop[0]), run.engine(losses.learn_generator, flop[1])
        w = Pair(generator.init(RNG.fold("generator")), critic.init(RNG.fold("critic")))
        opts = [torch.optim.Adam(each.params.values(), lr=self.lr, betas=BETAS) for each in w]
        total, codes = self.epochs * self.per_epoch(task), int(generator.template.codes)
        for t, (rows, rng) in enumerate(self.batches(task)):
            x, y = 2 * unit(task.raw(rows)) - 1, task.train.y[rows]
            z, share = draw(x, codes, rng)
            step(opts[1], w.critic.params, judge(w, x, y, z, share))
            if (t + 1) % self.critic == 0:
                z, _ = draw(x, codes, rng.fold("generator"))
                step(opts[0], w.generator.params, create(w, y, z))
            run.progress(t + 1, total, math.nan)
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


def read_pair(path: Path, what: str, task: Task, run: Run) -> Pair:
    """Raises `ValueError` where the file is damaged, or of another generator."""
    tensors, meta = read_tensors(path)
    if meta.get("what") != what:
        raise ValueError(f"{path} holds another generator")
    parts: dict[str, Params] = {"generator": {}, "critic": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor.to(task.device)
    # As if it had been trained here: a method's seconds do not depend on who ran before.
    run.ledger.cached_seconds.append(meta["seconds"])
    return Pair(*(Weights(params, {}) for params in parts.values()))
