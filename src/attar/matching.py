"""Distribution matching: real and synthetic features under the same networks and the same augmentation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from attar.artefact import CondensedSet
from attar.augment import Augment, Draw, apply
from attar.fit import TRAINING, training
from attar.kernels import Other, Sample
from attar.network import Weights
from attar.optimise import Average, optimise
from attar.rng import Rng
from attar.run import Run, sliced
from attar.steps import OPTIMISERS, SCHEDULES, Optimiser, Schedule
from attar.synthetic import Init, Pixels, Space
from attar.task import Task

Discrepancy = Callable[[Sample, Other], Float[Tensor, " k"]]
WARM_BATCH, WARM_LR = 256, 0.01


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Hyper-parameters of the methods that match feature distributions.

    `ipm` updates share `networks` networks. `batch_real` is a class's; `keep_real` keeps the real batch and its augmentation
    as long as the networks, so that their features are computed once. A network is first trained for `warm` steps on real
    images. `draw` says whether a class has its own augmentation or all share one. `average` is the decay of a running
    average of the pixels, which is then the result; 0 takes the last pixels.
    """

    updates: int
    lr: float
    momentum: float = 0.5
    optimiser: Optimiser = "sgd"
    schedule: Schedule = "constant"
    average: float = 0.0
    ipm: int = 1
    networks: int = 1
    warm: int = 0
    batch_real: int
    keep_real: bool = False
    factor: int
    init: Init
    space: Space
    augment: str
    style: Literal["dsa", "idc"]
    draw: Literal["class", "shared"] = "class"


@dataclass(frozen=True)
class Matching:
    """One run of such a method: the `discrepancy` of each class's two feature batches is summed over networks and classes."""

    settings: Settings
    task: Task
    run: Run
    syn: Pixels
    augment: Augment
    discrepancy: Discrepancy
    features: Callable[..., Tensor]
    scores: Callable[..., tuple[Tensor, dict[str, Tensor]]] | None

    @classmethod
    def of(cls, settings: Settings, task: Task, ipc: int, run: Run, discrepancy: Discrepancy) -> "Matching":
        """Raises `ValueError` for a network with batch statistics, which would couple the classes."""
        if task.network.keeps_statistics:
            raise ValueError(f"{task.network.name} normalises by batch statistics, which mix the classes: use another normalisation")
        s = settings
        syn = Pixels.start(task, ipc, run, init=s.init, factor=s.factor, space=s.space)
        augment = Augment(s.augment, s.style)
        real = s.batch_real / (s.ipm if s.keep_real else 1)
        image = s.updates * s.networks * task.network.flop(task.shape)
        features = run.engine(unlearned(task), int(image * len(syn.classes) * (real + 2 * syn.each)))
        warm = int(image * TRAINING * s.warm * WARM_BATCH / s.ipm)
        scores = run.engine(training(task.network), warm) if warm else None
        return cls(s, task, run, syn, augment if task.flip else augment.without_flip(), discrepancy, features, scores)

    def episode(self, syn: Pixels, rng: Rng) -> Iterator[Iterator[Float[Tensor, ""]]]:
        """`ipm` updates under the same networks."""
        networks = self.networks(rng)
        for t in range(self.settings.ipm):
            if t == 0 or not self.settings.keep_real:
                view = self.view(rng.fold(t))
            syn.clamp_()
            yield self.terms(networks, view)

    def networks(self, rng: Rng) -> list[Weights]:
        return [self._warm(self.task.network.init(rng.fold("network", i)), rng.fold("warm", i)) for i in range(self.settings.networks)]

    def view(self, rng: Rng) -> "View":
        """A fresh real batch and a fresh augmentation, drawn for all classes."""
        everyone = range(len(self.task.classes))
        groups = 1 if self.settings.draw == "shared" else len(everyone)
        draw = self.augment.draw(groups, self.task.shape, rng.fold("augment"), self.task.device)
        return View(draw, self.task.indices(everyone, self.settings.batch_real, rng.fold("real")))

    def terms(self, networks: Sequence[Weights], view: "View") -> Iterator[Float[Tensor, ""]]:
        for i, w in enumerate(networks):
            for chunk in self.run.chunks(self.syn.classes, self.syn.each):
                draw = view.draw if self.settings.draw == "shared" else view.draw.rows(chunk)
                synthetic = self.features(w, apply(self.syn.of(chunk), draw).flatten(0, 1))
                yield self.discrepancy(per_class(synthetic, chunk), self._real(i, w, view, chunk, draw)).sum() / len(networks)

    def learn(self, lr: float, momentum: float) -> CondensedSet:
        """The images after all updates. `lr` and `momentum` are those of one step that moves all classes."""
        s, syn = self.settings, self.syn
        opt, schedule = OPTIMISERS[s.optimiser](syn.parameters(), lr, momentum), SCHEDULES[s.schedule](lr, s.updates)
        if not s.average:
            return optimise(self.episode, syn, opt, updates=s.updates, run=self.run, lr=schedule).export()
        average = Average(syn.clamped, s.average)
        optimise(average.along(self.episode), syn, opt, updates=s.updates, run=self.run, lr=schedule, state=average)
        return syn.put_(average.value()).export()

    @torch.no_grad()
    def _real(self, i: int, w: Weights, view: "View", chunk: Sequence[int], draw: Draw) -> Other:
        key = (i, chunk[0])
        if key in view.features:
            return view.features[key]
        x = apply(self.task.images(view.indices[list(chunk)]), draw).flatten(0, 1)
        found = per_class(sliced(lambda part: self.features(w, part), x), chunk)
        if self.settings.keep_real:
            view.features[key] = found
        return found

    def _warm(self, w: Weights, rng: Rng) -> Weights:
        """`w` after its steps of SGD on batches with as many images of each class."""
        if self.scores is None:
            return w
        everyone = range(len(self.task.classes))
        each = -(-WARM_BATCH // len(everyone))
        labels = torch.tensor(everyone, device=self.task.device).repeat_interleave(each)
        params = {name: p.requires_grad_() for name, p in w.params.items()}
        for t in range(self.settings.warm):
            scores, _ = self.scores(Weights(params, w.buffers), self.task.sample(everyone, each, rng.fold(t)).flatten(0, 1))
            slopes = torch.autograd.grad(F.cross_entropy(scores, labels), list(params.values()))
            params = {name: (p - WARM_LR * g).detach().requires_grad_() for (name, p), g in zip(params.items(), slopes, strict=True)}
        return Weights({name: p.detach() for name, p in params.items()}, w.buffers)


@dataclass(frozen=True)
class View:
    """Real images of every class as one augmentation shows them, and of those that are kept the features."""

    draw: Draw
    indices: Int[Tensor, "classes m"]
    features: dict[tuple[int, int], Other] = field(default_factory=dict)


def per_class(features: Float[Tensor, "kn d"], chunk: Sequence[int]) -> Sample:
    return features.unflatten(0, (len(chunk), -1))


def unlearned(task: Task) -> Callable[..., Tensor]:
    """Features of a network that was never trained, so that running statistics, if any, mean nothing."""
    return lambda w, x: task.network.features(w, x, train=True)
