"""What one update of a matching method looks at: real and synthetic images of each class under one augmentation."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from attar.augment.dsa import Augment, Draw, apply
from attar.data.normalisation import unit
from attar.data.task import Task
from attar.engine.cuda_graphs import Replay
from attar.engine.run import Run
from attar.engine.slices import at_rows, map_slices
from attar.networks.weights import Weights
from attar.rng import Rng
from attar.synthesis.loop import Synthetic, Terms

Features = Callable[[Weights, Tensor], Tensor]
Chunk = Sequence[int]  # classes whose synthetic images share a graph
EACH = 16  # real images of every class, from which batch normalisation takes its statistics


@dataclass(frozen=True, eq=False)
class Views:
    """Draws one view after another of the same real and synthetic images.

    `batch` is the number of real images a class; `first` takes each class's first images for good. `flop`, the work
    of the networks, decides whether what surrounds them is compiled.
    """

    task: Task
    syn: Synthetic
    run: Run
    augment: Augment
    batch: int
    first: bool
    flop: int
    measure: Callable[..., dict[str, Tensor]] | None
    """`Network.statistics` on the run's engine, for a network that has any."""

    @classmethod
    def of(
        cls, task: Task, syn: Synthetic, run: Run, augment: Augment, *, batch: int, first: bool = False, flop: int = 0
    ) -> "Views":
        """Raises `ValueError` for an augmentation of rows of a table."""
        if task.columns and augment.names:
            raise ValueError(f"augment is {augment.strategy!r}, but rows of a table are not augmented: leave it empty")
        network, augment = task.network, augment if task.flip else augment.without_flip()
        # About what that share of an update's real images costs. Now: to prepare it later would drop other functions.
        measure = run.engine(network.statistics, flop * EACH // batch) if network.keeps_statistics else None
        return cls(task, syn, run, augment, batch, first, flop, measure)

    def freeze(self, w: Weights, rng: Rng) -> Weights:
        """The network with batch normalisation frozen at the statistics of 16 real images of every class.

        So an image's features depend on no other image, and shards of the classes equal the whole. The authors of DC
        mix nine tenths of a fresh network's zeros and ones into them. A network without such layers stays as it is.
        """
        if self.measure is None:
            return w
        everyone = range(len(self.task.classes))  # also in a shard
        x = self.task.sample(everyone, EACH, rng.fold("statistics")).flatten(0, 1)
        return Weights(w.params, self.measure(w, x))

    def draw(self, rng: Rng) -> "View":
        """A fresh real batch and a fresh augmentation of each class, drawn for all classes."""
        everyone = range(len(self.task.classes))  # also in a shard, which then sees what the whole run sees
        draw = self.augment.draw(len(everyone), self.task.shape, rng.fold("augment")).to(self.task.device)
        if self.first:
            return View(self, draw, self.task.first(self.batch))
        return View(self, draw, self.task.indices(everyone, self.batch, rng.fold("real")))

    def update(self, terms: Callable[..., Iterable[Tensor]], *inputs: Any) -> Iterable[Tensor]:
        """`terms(*inputs)`, which a GPU replays where nothing in them comes from the host.

        `inputs` are weights, views and what else was drawn: all that changes from one update to the next.
        """
        return Terms(terms, inputs) if self.replays else terms(*inputs)

    @functools.cached_property
    def chunks(self) -> list[Chunk]:
        return list(self.run.chunks(self.syn.classes, self.syn.each))

    @functools.cached_property
    def replays(self) -> bool:
        # A GPU cannot replay what the host has a part in: a user's network, images from a file, rows from a list.
        together = isinstance(at_rows(self.syn.classes), slice)
        return self.task.network.replayable and not self.task.on_disk and together

    @functools.cached_property
    def at_once(self) -> int:
        """Real images that pass a network at once: one shape for all chunks."""
        largest = max(len(part) for chunk in self.chunks for part in self.parts(chunk))
        return self.run.slice_size(self.batch * largest)

    def parts(self, chunk: Chunk) -> Iterator[Chunk]:
        """Classes whose real images are augmented together: without a graph more of them fit the memory."""
        return self.run.chunks(chunk, self.batch, graphs=False)

    # What follows is made once for all updates: to compile or to record takes longer than many of them.

    @functools.cached_property
    def show_synthetic(self) -> Callable[..., Tensor]:
        return self.run.fuse(apply, self.flop)

    @functools.cached_property
    def show_real(self) -> Callable[..., Tensor]:
        to_network = self.task.normalisation.to_network
        return self.run.fuse(lambda raw, draw: apply(to_network(unit(raw)), draw), self.flop)

    @functools.cached_property
    def see_real(self) -> Callable[..., Any]:
        def see(features: Features, w: Weights, view: "View") -> tuple[Tensor, ...]:
            return tuple(view.real(features, w, chunk) for chunk in self.chunks)

        return Replay(see) if self.replays else see


class View(NamedTuple):
    """Real images of every class, and the augmentation that each class shares with its synthetic ones."""

    source: Views
    draw: Draw
    indices: Int[Tensor, "classes m"]
    kept: tuple[Float[Tensor, "k m d"], ...] | None = None

    def pairs(self, features: Features, w: Weights) -> Iterator[tuple[Float[Tensor, "k n d"], Float[Tensor, "k m d"]]]:
        """For each chunk of classes the features of its synthetic and of its real images.

        The real ones are without a graph.
        """
        for chunk in self.source.chunks:
            real = self.real(features, w, chunk)  # before there is a graph
            yield by_class(features(w, self.synthetic(chunk)), chunk), real

    def keep(self, features: Features, w: Weights) -> "View":
        """The same view, which from now on knows the features of its real images."""
        return self._replace(kept=self.source.see_real(features, w, self))

    @torch.no_grad()
    def real(self, features: Features, w: Weights, chunk: Chunk) -> Float[Tensor, "k m d"]:
        """Features of the real images of some classes, augmented."""
        if self.kept is not None:
            return self.kept[self.source.chunks.index(chunk)]
        shown = (self.real_images(part).flatten(0, 1) for part in self.source.parts(chunk))
        found = [map_slices(lambda x: features(w, x), x, self.source.at_once) for x in shown]
        return by_class(torch.cat(found), chunk)

    def real_images(self, classes: Chunk) -> Float[Tensor, "k m c h w"]:
        """Augmented."""
        raw = self.source.task.raw(self.indices[at_rows(classes)])
        return self.source.show_real(raw, self.draw.rows(classes))

    def synthetic(self, chunk: Chunk) -> Float[Tensor, "kn c h w"]:
        """The synthetic images of some classes, augmented; differentiable."""
        return self.source.show_synthetic(self.source.syn.of(chunk), self.draw.rows(chunk)).flatten(0, 1)

    def cross_entropy(self, scores: Float[Tensor, "kn classes"], chunk: Chunk) -> Float[Tensor, ""]:
        """The mean over the synthetic images of each class, summed over classes."""
        each = self.source.syn.each
        return F.cross_entropy(scores, labels(tuple(chunk), each, scores.device), reduction="sum") / each


@functools.cache
def labels(classes: tuple[int, ...], each: int, device: torch.device) -> Int[Tensor, " kn"]:
    """Made once: what a GPU replays can take nothing from the host."""
    return torch.tensor(classes).repeat_interleave(each).to(device)


def by_class(rows: Float[Tensor, "kn *d"], chunk: Chunk) -> Float[Tensor, "k n *d"]:
    return rows.unflatten(0, (len(chunk), -1))
