"""CAFE: condense by aligning features, layer by layer (Wang et al., CVPR 2022)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from attar.artefact import CondensedSet
from attar.augment import Augment, Draw, apply
from attar.fit import TRAINING, training
from attar.network import Network, Weights
from attar.optimise import optimise, with_gradient
from attar.queue import Queue
from attar.rng import Rng
from attar.run import Run, at_rows, sliced
from attar.steps import OPTIMISERS, SCHEDULES, Optimiser, Schedule
from attar.synthetic import Init, Pixels, Space
from attar.task import Task
from attar.windows import Window

SHALLOW, LAST, FEATURES = 0.1, 1.0, 2.0  # weights of the layers; the last map and the flattened features hold the same numbers


@dataclass(frozen=True, kw_only=True)
class CAFE:
    """Mean activations of every layer agree, and real features are told apart by the synthetic class means.

    The network is trained on the synthetic images as they change. Before each update that goes on epoch by epoch, for a `window`
    of them at least, until its accuracy on `query` real images a class has moved by `inner` within the last `window`; where it has
    not moved by `outer` over a window of updates, a fresh network takes its place instead. The authors' code bounds neither loop:
    here `most` epochs bound the first. It also counts networks, 2000 of them, of which each sees a window of updates at least.
    With the `augment` of `dm` this is CAFE+DSA. A plan of its cost assumes that each time the second look shows that it has moved.
    """

    updates: int = 20_000
    lr: float = 0.1
    momentum: float = 0.5
    optimiser: Optimiser = "sgd"
    schedule: Schedule = "halve"
    discrimination: float = 0.01
    window: int = 10
    outer: float = 0.04
    inner: float = 0.03
    most: int = 100
    query: int = 128
    batch_real: int = 256
    batch_train: int = 256
    factor: int = 1
    init: Init = "noise"
    space: Space = "normalised"
    augment: str = ""
    style: Literal["dsa", "idc"] = "dsa"
    separable: ClassVar[bool] = False

    def __call__(self, task: Task, ipc: int, run: Run) -> CondensedSet:
        alignment = Alignment.of(self, task, ipc, run)
        syn, pupil = alignment.syn, Queue(task.network, 1, momentum=0.0, weight_decay=0.0)
        outer = Window(self.window)

        def episode(syn: Pixels, rng: Rng) -> Iterator[Iterable[Tensor]]:
            """A fresh network, or more training of the one there is; then one update of the images."""
            if not pupil or (outer.full and outer.spread < self.outer):
                pupil.push(rng.fold("network"))
                outer.clear()
            else:
                train(rng.fold("train"))
            syn.clamp_()
            yield alignment.terms(pupil.network_of(0), rng)
            outer.push(alignment.accuracy(pupil.network_of(0), rng.fold("query")))

        def train(rng: Rng) -> None:
            inner = Window(self.window)
            for epoch in range(self.most):
                alignment.train(pupil, rng.fold(epoch))
                if inner.spread <= self.inner:  # the first window sees all epochs: once it has moved, no more looks are needed
                    inner.push(alignment.accuracy(pupil.network_of(0), rng.fold(epoch, "query")))
                if epoch + 1 >= self.window and inner.spread > self.inner:
                    break

        opt = OPTIMISERS[self.optimiser](syn.parameters(), self.lr, self.momentum)
        schedule = SCHEDULES[self.schedule](self.lr, self.updates)
        state = nn.ModuleDict({"pupil": pupil, "outer": outer})
        return optimise(episode, syn, opt, updates=self.updates, run=run, lr=schedule, state=state).export()


@dataclass(frozen=True)
class Alignment:
    """The loss of one run, and what its schedule asks of the network."""

    settings: CAFE
    task: Task
    run: Run
    syn: Pixels
    augment: Augment
    means: Callable[..., Sequence[Tensor]]
    judged: Callable[..., Tensor]
    """Class scores in eval mode."""
    scores: Callable[..., tuple[Tensor, dict[str, Tensor]]]
    """Class scores in training."""

    @classmethod
    def of(cls, settings: CAFE, task: Task, ipc: int, run: Run) -> "Alignment":
        """Raises `ValueError` for a network with batch statistics, or one that does not show its layers."""
        shapes = task.network.layer_shapes(task.shape)
        if len(shapes) < 2 or len(shapes[-1]) != 1:
            raise ValueError(
                f"{task.network.name} does not show its layers: give it a method layers(x) -> [map, ..., features of shape (n, d)]"
            )
        if task.network.keeps_statistics:
            raise ValueError(f"{task.network.name} normalises by batch statistics, which mix the classes: use another normalisation")
        syn = Pixels.start(task, ipc, run, init=settings.init, factor=settings.factor, space=settings.space)
        augment = Augment(settings.augment, settings.style)
        image = settings.updates * task.network.flop(task.shape) * len(syn.classes)
        means = run.engine(means_of(task.network), image * (settings.batch_real + 3 * syn.each))
        judged = run.engine(task.network.scores, image * 3 * settings.query)
        scores = run.engine(training(task.network), image * settings.window * TRAINING * syn.each)
        return cls(settings, task, run, syn, augment if task.flip else augment.without_flip(), means, judged, scores)

    def terms(self, w: Weights, rng: Rng) -> Iterator[Float[Tensor, ""]]:
        """A term for each chunk of classes. The discrimination loss sees all classes at once; its slope in each class mean is known."""
        everyone = range(len(self.task.classes))
        draw = self.augment.draw(len(everyone), self.task.shape, rng.fold("augment")).to(self.task.device)
        indices = self.task.indices(everyone, self.settings.batch_real, rng.fold("real"))
        chunks = list(self.run.chunks(self.syn.classes, self.syn.each))
        with torch.no_grad():
            centres = torch.cat([self.means(w, self._shown(chunk, draw))[-2] for chunk in chunks])
            real = [self.means(w, apply(self.task.images(indices[c : c + 1]), draw.rows([c]))) for c in self.syn.classes]
            features = torch.cat([found[-1] for found in real])
            labels = torch.arange(len(real), device=features.device).repeat_interleave(self.settings.batch_real)
        value, slope = discrimination(features, centres, labels)
        for chunk in chunks:
            rows = [self.syn.classes.index(c) for c in chunk]
            *layers, _ = self.means(w, self._shown(chunk, draw))
            targets = [torch.cat([real[row][i] for row in rows]) for i in range(len(layers))]
            told_apart = with_gradient(value * len(rows) / len(real), layers[-1], slope[rows])
            yield aligned(layers, targets) + self.settings.discrimination * told_apart

    @torch.no_grad()
    def accuracy(self, w: Weights, rng: Rng) -> float:
        """On [0, 1], of real images drawn afresh."""
        indices, right = self.task.indices(range(len(self.task.classes)), self.settings.query, rng), 0
        for chunk in self.run.chunks(range(len(indices)), self.settings.query, graphs=False):
            x = self.task.images(indices[at_rows(chunk)]).flatten(0, 1)
            found = sliced(partial(self.judged, w), x, self.run.slice_size(len(x))).argmax(1)
            right += (found.unflatten(0, (len(chunk), -1)).cpu() == torch.tensor(chunk)[:, None]).sum().item()
        return right / indices.numel()

    def train(self, pupil: Queue, rng: Rng) -> None:
        """One epoch on the synthetic images as they stand."""
        with torch.no_grad():
            x, y = self.syn()
        order = torch.randperm(len(x), generator=rng.generator()).to(x.device)
        for i, batch in enumerate(order.split(self.settings.batch_train)):
            images = x[batch]
            if self.augment.names:
                draw = self.augment.draw(len(images), self.task.shape, rng.fold(i), same_op=True).to(x.device)
                images = apply(images[:, None], draw)[:, 0]
            pupil.teach(0, self.scores, images, y[batch])

    def _shown(self, chunk: Sequence[int], draw: Draw) -> Float[Tensor, "k n c h w"]:
        return apply(self.syn.of(chunk), draw.rows(chunk))


def means_of(network: Network) -> Callable[..., list[Tensor]]:
    """Class means of every layer's activations, the features' among them, then the features of each image."""

    def means(w: Weights, x: Float[Tensor, "k n c h w"]) -> list[Tensor]:
        layers = [single(layer) for layer in network.layers(w, x.flatten(0, 1))]
        return [*(layer.unflatten(0, x.shape[:2]).mean(1).flatten(1) for layer in layers), layers[-1]]

    return means


def single(x: Tensor) -> Tensor:
    """At least float32: means in low precision would lose what they average."""
    return x.float() if x.dtype.itemsize < 4 else x


def aligned(layers: Sequence[Float[Tensor, "k _"]], targets: Sequence[Float[Tensor, "k _"]]) -> Float[Tensor, ""]:
    weights = [SHALLOW] * (len(layers) - 2) + [LAST, FEATURES]
    return torch.stack([w * (s - r).square().sum() for w, s, r in zip(weights, layers, targets, strict=True)]).sum()


def discrimination(f: Float[Tensor, "m d"], centres: Float[Tensor, "k d"], labels: Tensor) -> tuple[Tensor, Float[Tensor, "k d"]]:
    """Cross-entropy of real features by their products with the class means, summed; and its slope in the means."""
    logits = f @ centres.T
    error = logits.softmax(1) - F.one_hot(labels, len(centres))
    return F.cross_entropy(logits, labels, reduction="sum"), error.T @ f
