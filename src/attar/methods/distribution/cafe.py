"""CAFE: condense by aligning features, layer by layer (Wang et al., CVPR 2022).

Needs nothing trained; its networks learn along the way. CIFAR-10 on two cores (AMX): 6 min at one image a class.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from attar.augment.dsa import Augment
from attar.condensed.condensed_set import CondensedSet
from attar.data.task import Task
from attar.engine.by_hand import with_gradient
from attar.engine.precision import at_least_single
from attar.engine.run import Run
from attar.engine.slices import at_rows, map_slices
from attar.methods._views import View, Views, by_class
from attar.networks.network import Network
from attar.networks.weights import TRAINING, Weights
from attar.rng import Rng
from attar.synthesis.loop import optimise
from attar.synthesis.optimisers import OPTIMISERS, SCHEDULES, Optimiser, Schedule
from attar.synthesis.pixels import Init, Pixels, Space
from attar.synthesis.window import Window
from attar.training.pool import Pool
from attar.training.train import SGD, TrainState, train

# Weights of the layers. The last map and the flattened features hold the same numbers.
SHALLOW, LAST, FEATURES = 0.1, 1.0, 2.0


@dataclass(frozen=True, kw_only=True)
class CAFE:
    """Mean activations of every layer agree, and real features are told apart by the synthetic class means.

    The network is trained on the synthetic images as they change. Before each update that goes on epoch by epoch, for
    a `window` of them at least. It ends once the accuracy on `query` real images a class has moved by `inner` within
    the last `window`. Where it has not moved by `outer` over a window of updates, a fresh network takes its place
    instead. The authors' code bounds neither loop: here `most` epochs bound the first. It also counts networks, 2000
    of them, of which each sees a window of updates at least. With the `augment` of `dm` this is CAFE+DSA. A plan
    of its cost assumes that each time the second look shows that it has moved.
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
        syn = Pixels.start(task, ipc, run, init=self.init, factor=self.factor, space=self.space)
        check_layers(task)
        image = self.updates * task.network.flop(task.shape) * len(syn.classes)
        flop = image * (self.batch_real + 3 * syn.each)  # synthetic images pass once without a graph, once with one
        views = Views.of(task, syn, run, Augment(self.augment, self.style), batch=self.batch_real, flop=flop)
        means = run.engine(layer_means(task.network), flop)
        scores = run.engine(task.network.scores, image * 3 * self.query)
        # `train` is called for an epoch at a time, and cannot know how many are to come.
        run.announce(task.network.train_logits, image * self.window * TRAINING * syn.each)
        pupil, outer = Pool(task.network, 1), Window(self.window)

        def accuracy(w, rng):
            return measure_accuracy(task, run, scores, views.freeze(w, rng), self.query, rng)

        def episode(syn, rng):
            """A fresh network, or more training of the one there is; then one update of the images."""
            if not pupil or (outer.full and outer.spread < self.outer):
                pupil.push(task.network.init(rng.fold("network")))
                outer.clear()
            else:
                pupil.put(0, *self.teach(pupil.at(0), views, accuracy, rng.fold("train")))
            w, _ = pupil.at(0)
            syn.clamp_()  # the step before may have left [0, 1]
            yield self.terms(means, views.freeze(w, rng), views.draw(rng))
            outer.push(accuracy(w, rng.fold("query")))

        opt = OPTIMISERS[self.optimiser](syn.parameters(), self.lr, self.momentum)
        schedule, state = SCHEDULES[self.schedule](self.updates), nn.ModuleDict({"pupil": pupil, "outer": outer})
        return optimise(episode, syn, opt, updates=self.updates, run=run, schedule=schedule, state=state).export()

    def terms(self, means: Callable[..., list[Tensor]], w: Weights, view: View) -> Iterator[Float[Tensor, ""]]:
        """A term for each chunk of classes."""
        views, classes = view.source, view.source.syn.classes
        with torch.no_grad():  # the discrimination loss sees all classes at once: its gradient in each mean is known
            centres = torch.cat([means(w, by_class(view.synthetic(chunk), chunk))[-2] for chunk in views.chunks])
            real = [means(w, view.real_images([c])) for c in classes]
            features = torch.cat([found[-1] for found in real])
            labels = torch.arange(len(real), device=features.device).repeat_interleave(self.batch_real)
        value, gradient = discrimination(features, centres, labels)
        for chunk in views.chunks:
            rows = [classes.index(c) for c in chunk]
            *layers, _ = means(w, by_class(view.synthetic(chunk), chunk))
            targets = [torch.cat([real[row][i] for row in rows]) for i in range(len(layers))]
            told_apart = with_gradient(value * len(rows) / len(real), layers[-1], gradient[rows])
            yield alignment(layers, targets) + self.discrimination * told_apart

    def teach(
        self, pupil: tuple[Weights, TrainState], views: Views, accuracy: Callable[[Weights, Rng], float], rng: Rng
    ) -> tuple[Weights, TrainState]:
        """Epochs on the synthetic images as they stand, until the accuracy on real ones has moved."""
        (w, state), inner = pupil, Window(self.window)
        network, run, plain = views.task.network, views.run, SGD(momentum=0.0, weight_decay=0.0)
        with torch.no_grad():
            x, y = views.syn.forward()
        for epoch in range(self.most):
            own, aug, batch = rng.fold(epoch), views.augment, self.batch_train
            w, state = train(
                network, w, x, y, epochs=1, optimiser=plain, batch=batch, rng=own, run=run, augment=aug, state=state
            )
            # The first window sees all epochs: once the accuracy has moved, no more looks are needed.
            if inner.spread <= self.inner:
                inner.push(accuracy(w, own.fold("query")))
            if epoch + 1 >= self.window and inner.spread > self.inner:
                break
        return w, state


def check_layers(task: Task) -> None:
    """Raises `ValueError` for a network that does not show its layers."""
    shapes = task.network.layer_shapes(task.shape)
    if len(shapes) < 2 or len(shapes[-1]) != 1:
        told = f"{task.network.name} does not show its layers"
        raise ValueError(f"{told}: give it a method layers(x) -> [map, ..., features of shape (n, d)]")


@torch.no_grad()
def measure_accuracy(task: Task, run: Run, scores: Callable[..., Tensor], w: Weights, query: int, rng: Rng) -> float:
    """On [0, 1], of `query` real images a class, drawn afresh."""
    indices, right = task.indices(range(len(task.classes)), query, rng), 0
    for chunk in run.chunks(range(len(indices)), query, graphs=False):
        x = task.images(indices[at_rows(chunk)]).flatten(0, 1)
        found = map_slices(partial(scores, w), x, run.slice_size(len(x))).argmax(1)
        right += (found.unflatten(0, (len(chunk), -1)).cpu() == torch.tensor(chunk)[:, None]).sum().item()
    return right / indices.numel()


def layer_means(network: Network) -> Callable[..., list[Tensor]]:
    """Class means of every layer's activations, the features' among them, then the features of each image."""

    def means(w: Weights, x: Float[Tensor, "k n c h w"]) -> list[Tensor]:
        layers = [at_least_single(layer) for layer in network.layers(w, x.flatten(0, 1))]
        return [*(layer.unflatten(0, x.shape[:2]).mean(1).flatten(1) for layer in layers), layers[-1]]

    return means


def alignment(layers: Sequence[Float[Tensor, "k _"]], targets: Sequence[Float[Tensor, "k _"]]) -> Float[Tensor, ""]:
    weights = [SHALLOW] * (len(layers) - 2) + [LAST, FEATURES]
    return torch.stack([w * (s - r).square().sum() for w, s, r in zip(weights, layers, targets, strict=True)]).sum()


def discrimination(
    f: Float[Tensor, "m d"], centres: Float[Tensor, "k d"], labels: Tensor
) -> tuple[Tensor, Float[Tensor, "k d"]]:
    """Cross-entropy of real features by their products with the class means, summed; and its gradient in the means."""
    logits = f @ centres.T
    error = logits.softmax(1) - F.one_hot(labels, len(centres))
    return F.cross_entropy(logits, labels, reduction="sum"), error.T @ f
