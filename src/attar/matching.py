"""Distribution matching: real and synthetic features under the same networks and the same augmentation."""

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from attar.artefact import CondensedSet
from attar.augment import Augment, Draw, apply
from attar.discrepancies import DISCREPANCIES, Discrepancy
from attar.fit import TRAINING, training
from attar.kernels import Other, Sample
from attar.network import Weights
from attar.optimise import Average, Episode, Terms, optimise
from attar.replay import Replay
from attar.rng import Rng
from attar.run import Run, at_rows, sliced
from attar.settings import Settings
from attar.steps import OPTIMISERS, SCHEDULES
from attar.synthetic import Pixels
from attar.task import Task, per_channel, unit

WARM_BATCH, WARM_LR = 256, 0.01
Judge = Literal["none", "itself", "another"]  # whose cross-entropy counts: that of the network whose features they are, or of another


class Guide(NamedTuple):
    """A network under which features are matched. `weight` times a cross-entropy of the images comes on top: its own, or a `judge`'s."""

    weights: Weights
    weight: float | Tensor = 0.0
    judge: Weights | None = None


@dataclass(frozen=True)
class Matching:
    """One run of such a method: the discrepancy of each class's two feature batches is summed over networks and classes."""

    settings: Settings
    task: Task
    run: Run
    syn: Pixels
    augment: Augment
    discrepancy: Discrepancy
    source: Callable[[Rng], Guide]
    features: Callable[..., Tensor]
    judged: Callable[..., Any]
    """Class scores in eval mode; where a network judges what it sees itself, its features and these in one pass."""
    judge: Judge
    scores: Callable[..., tuple[Tensor, dict[str, Tensor]]]
    """Class scores in training."""
    look: Callable[..., Tensor]
    """Real images as they came, ready for a network and augmented."""
    apply: Callable[..., Tensor]
    batch: int
    """Real images a class: no more than there are."""

    @classmethod
    def of(cls, settings: Settings, task: Task, ipc: int, run: Run, *, judge: Judge = "none", trained: int = 0) -> "Matching":
        """Under unlearned networks. For another `source`: which `judge` comes along, and from how many images networks learn in an update.

        Raises `ValueError` for a network with batch statistics, which would couple the classes, and where a class has too few
        images for the budget or for the discrepancy.
        """
        if task.network.keeps_statistics:
            raise ValueError(f"{task.network.name} normalises by batch statistics, which mix the classes: use another normalisation")
        syn = Pixels.start(task, ipc, run, init=settings.init, factor=settings.factor, space=settings.space)
        augment = Augment(settings.augment, settings.style)
        batch, discrepancy = min(settings.batch_real, int(task.counts.max())), DISCREPANCIES[settings.discrepancy]
        discrepancy(torch.ones(1, syn.each, 1), torch.ones(1, batch, 1), run.rng)  # what it cannot compare is refused here
        real = batch / (settings.ipm if settings.keep_real else 1)
        image = settings.updates * settings.networks * task.network.flop(task.shape)
        shown, learned = 2 * len(syn.classes) * syn.each, trained // settings.networks + settings.warm * WARM_BATCH // settings.ipm
        if judge == "itself" and (settings.features == "pixels" or not task.network.ends_in_head(task.shape)):
            judge = "another"  # in a pass of its own
        if settings.features == "network":
            features = run.engine(task.network.features, int(image * (len(syn.classes) * real + shown * (judge != "itself"))))
        else:
            features = pixels
        judging: Callable[..., Any] = task.network.seen if judge == "itself" else task.network.scores
        judged = run.engine(judging, image * shown) if judge != "none" else judging
        scores = run.engine(training(task.network), image * TRAINING * learned) if learned else training(task.network)
        mean, std = (per_channel(values, syn.images) for values in (task.mean, task.std))
        return cls(
            settings,
            task,
            run,
            syn,
            augment if task.flip else augment.without_flip(),
            discrepancy,
            lambda rng: Guide(task.network.init(rng)),
            features,
            judged,
            judge,
            scores,
            run.fused(lambda raw, draw: apply((unit(raw) - mean) / std, draw)),
            run.fused(apply),
            batch,
        )

    @property
    def width(self) -> int:
        """The number of features of an image."""
        if self.settings.features == "pixels":
            return math.prod(self.task.shape)
        return self.task.network.width(self.task.shape)

    @functools.cached_property
    def at_once(self) -> int:
        """Real images that pass a network at once: one shape for all chunks."""
        return self.run.slice_size(
            self.batch * max(len(part) for chunk in self.chunks for part in self.run.chunks(chunk, self.batch, graphs=False))
        )

    def episode(self, syn: Pixels, rng: Rng) -> Iterator[Iterable[Float[Tensor, ""]]]:
        """`ipm` updates under the same networks."""
        guides, reals = self.guides(rng), None
        for t in range(self.settings.ipm):
            if t == 0 or not self.settings.keep_real:
                view = self.view(rng.fold(t))
            if t == 0 and self.settings.keep_real:
                reals = self.kept(guides, view)
            syn.clamp_()
            noise = tuple(self.discrepancy.noise(rng.fold(t, "discrepancy", i), self.like) for i in range(len(guides)))
            inputs = guides, view, noise, reals
            yield Terms(self.terms, inputs) if self.replays else self.terms(*inputs)

    def guides(self, rng: Rng) -> tuple[Guide, ...]:
        found = [self.source(rng.fold("network", i)) for i in range(self.settings.networks)]
        return tuple(guide._replace(weights=self._warm(guide.weights, rng.fold("warm", i))) for i, guide in enumerate(found))

    @functools.cached_property
    def chunks(self) -> list[Sequence[int]]:
        """Classes whose synthetic images share a graph."""
        return list(self.run.chunks(self.syn.classes, self.syn.each))

    @functools.cached_property
    def kept(self) -> Callable[..., Any]:
        """The real features under each network, of each chunk."""

        def reals(guides: Sequence[Guide], view: "View") -> tuple[tuple[Other, ...], ...]:
            return tuple(tuple(self._real(guide.weights, view, chunk) for chunk in self.chunks) for guide in guides)

        return Replay(reals) if self.replays else reals

    @functools.cached_property
    def replays(self) -> bool:
        """Whether a GPU can replay an update: nothing in it comes from the host."""
        return self.task.network.ours and not self.task.on_disk and isinstance(at_rows(self.syn.classes), slice)

    @functools.cached_property
    def distance(self) -> Callable[..., Float[Tensor, " k"]]:
        """The discrepancy, given what it draws."""
        return self.run.fused(self.discrepancy.given) if self.discrepancy.fuses else self.discrepancy.given

    @functools.cached_property
    def like(self) -> Float[Tensor, "0 d"]:
        """What features are like."""
        return self.syn.images.new_empty(0, self.width)

    def view(self, rng: Rng) -> "View":
        """A fresh real batch and a fresh augmentation, drawn for all classes."""
        everyone = range(len(self.task.classes))
        groups = 1 if self.settings.draw == "shared" else len(everyone)
        draw = self.augment.draw(groups, self.task.shape, rng.fold("augment")).to(self.task.device)
        if self.settings.real == "first":
            return View(draw, self.task.first(self.batch))
        return View(draw, self.task.indices(everyone, self.batch, rng.fold("real")))

    def terms(
        self,
        guides: Sequence[Guide],
        view: "View",
        noise: Sequence[Tensor | None],
        reals: Sequence[Sequence[Other]] | None,
    ) -> Iterator[Float[Tensor, ""]]:
        """For each network and chunk of classes the sum of their discrepancies, and of the judge's cross-entropies of the same images."""
        for i, guide in enumerate(guides):
            w, share = guide.weights, 1 / len(guides)
            for j, chunk in enumerate(self.chunks):
                real = reals[i][j] if reals else self._real(w, view, chunk)  # before there is a graph
                distance = functools.partial(self._distance, real=real, chunk=chunk, noise=noise[i])
                if self.judge == "itself":
                    features, scores = self.judged(w, self._shown(chunk, view))
                    yield share * (distance(features) + guide.weight * self._cross_entropy(scores, chunk))
                else:
                    yield share * distance(self.features(w, self._shown(chunk, view)))
                    if self.judge == "another":  # also while it counts nothing: a plan is made then
                        scores = self.judged(guide.judge or w, self._shown(chunk, view))
                        yield share * guide.weight * self._cross_entropy(scores, chunk)

    def learn(self, lr: float, momentum: float, episode: Episode | None = None, state: nn.Module | None = None) -> CondensedSet:
        """The images after all updates. `lr` and `momentum` are those of one step that moves all classes."""
        s, syn, episode = self.settings, self.syn, episode or self.episode
        opt, schedule = OPTIMISERS[s.optimiser](syn.parameters(), lr, momentum), SCHEDULES[s.schedule](lr, s.updates)
        if not s.average:
            return optimise(episode, syn, opt, updates=s.updates, run=self.run, lr=schedule, state=state).export()
        average = Average(syn.clamped, s.average)
        kept = nn.ModuleDict({"average": average, "method": state or nn.Module()})
        optimise(average.along(episode), syn, opt, updates=s.updates, run=self.run, lr=schedule, state=kept)
        return syn.put_(average.value()).export()

    def _draw(self, chunk: Sequence[int], view: "View") -> Draw:
        return view.draw if self.settings.draw == "shared" else view.draw.rows(chunk)

    def _shown(self, chunk: Sequence[int], view: "View") -> Float[Tensor, "kn c h w"]:
        """The synthetic images of some classes, augmented."""
        return self.apply(self.syn.of(chunk), self._draw(chunk, view)).flatten(0, 1)

    def _distance(self, features: Float[Tensor, "kn d"], real: Other, chunk: Sequence[int], noise: Tensor | None) -> Float[Tensor, ""]:
        return self.distance(per_class(features, chunk), real, noise).sum()

    def _cross_entropy(self, scores: Float[Tensor, "kn classes"], chunk: Sequence[int]) -> Float[Tensor, ""]:
        """The mean over each class, summed over classes."""
        return F.cross_entropy(scores, labels(tuple(chunk), self.syn.each, scores.device), reduction="sum") / self.syn.each

    @torch.no_grad()
    def _real(self, w: Weights, view: "View", chunk: Sequence[int]) -> Other:
        parts = list(self.run.chunks(chunk, self.batch, graphs=False))
        images = (self.look(self.task.raw(view.indices[at_rows(part)]), self._draw(part, view)) for part in parts)
        return per_class(torch.cat([sliced(lambda x: self.features(w, x), x.flatten(0, 1), self.at_once) for x in images]), chunk)

    def _warm(self, w: Weights, rng: Rng) -> Weights:
        """`w` after its steps of SGD on batches with as many images of each class."""
        if not self.settings.warm:
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


class View(NamedTuple):
    """Real images of every class as one augmentation shows them."""

    draw: Draw
    indices: Int[Tensor, "classes m"]


@functools.cache
def labels(classes: tuple[int, ...], each: int, device: torch.device) -> Int[Tensor, " kn"]:
    """Made once: what a GPU replays can take nothing from the host."""
    return torch.tensor(classes).repeat_interleave(each).to(device)


def per_class(features: Float[Tensor, "kn d"], chunk: Sequence[int]) -> Sample:
    return features.unflatten(0, (len(chunk), -1))


def pixels(w: Weights, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
    """The images as their own features."""
    return x.flatten(1)
