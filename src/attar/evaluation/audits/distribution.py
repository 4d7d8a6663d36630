"""Distribution: how a set's images lie among real ones, against real subsets of the same size.

Small sets move most distances by themselves. So each number is a z-score: how many deviations it is away from the mean
of random real subsets with as many images of each class. The random control shows what z-scores chance alone gives.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attar.data.normalisation import unit
from attar.data.whitening import AnyNormalisation
from attar.engine.device import use_device
from attar.engine.piece import Piece, Tick
from attar.engine.precision import use_precision
from attar.engine.run import Run
from attar.engine.staging import Part
from attar.evaluation.audits.closeness import Measured, density_and_coverage, kid, measure_closeness, voronoi
from attar.evaluation.audits.frame import Audit, Bench, Found, Subject
from attar.evaluation.audits.measures import Measure
from attar.evaluation.audits.spaces import NETWORKS, PIXELS, Pixels, Plane, Space
from attar.evaluation.audits.trained import list_trained, train_pieces
from attar.files import read_tensors
from attar.rng import Rng

LEAST = 20  # real subsets, below which a deviation says little
PIXEL_MEASURES = "out of range, % of pixels", "total variation", "high frequencies"
HEADLINES = "KID", "FID", "density", "coverage", "told apart, AUC", PIXEL_MEASURES[0]  # told as they are too
Labels = Int[Tensor, " m"]


@dataclass(frozen=True)
class Distribution(Audit):
    """Distances between real and synthetic images in several feature spaces, over all classes and in each."""

    name: ClassVar[str] = "distribution"
    reference: int = 2000
    """Training images that sets are compared with."""
    pool: int = 2000
    """Training images of which subsets are drawn; either is all of them where there are fewer."""
    subsets: int = 20
    trained: bool = True
    """Whether features of a network that was trained on the whole set are among the spaces."""

    def check(self, subjects: Sequence[Subject], bench: Bench) -> None:
        if bench.task.columns is not None:
            raise ValueError("the audit distribution is for images, and these are rows of a table")
        if self.reference < 2 or self.pool < 2:
            raise ValueError(f"reference and pool must be at least 2, not {self.reference} and {self.pool}")
        if self.subsets < LEAST:
            raise ValueError(f"subsets must be at least {LEAST}, or no deviation can be told, not {self.subsets}")
        pool = read_tensors(self.sample(bench)[1].path)[0]["y"]
        there = pool.bincount(minlength=len(bench.task.classes))
        for subject in subjects:
            wanted = subject.made.decoded_labels().bincount(minlength=len(there))
            if subject.role != "whole" and (wanted > there).any():
                c = int((wanted - there).argmax())
                told = f"the pool holds {int(there[c])} real images of {bench.task.classes[c]!r}"
                raise ValueError(f"{told}, too few to draw {int(wanted[c])} from: take a larger pool, or a smaller set")
        bench.kept["whole"] = next(subject for subject in subjects if subject.role == "whole")

    def sample(self, bench: Bench) -> tuple[Part, Part]:
        """What sets are compared with, and what subsets are drawn of: as likely to meet as a subset and the whole."""
        n = len(bench.task.train.y)
        return bench.sample(min(self.reference, n)), bench.sample(min(self.pool, n), "pool")

    def networks(self, subject: Subject, bench: Bench) -> list[Piece]:
        return train_pieces(subject, bench) if self.trained and subject.role == "whole" else []

    def pieces(self, subject: Subject, bench: Bench) -> list[Piece]:
        if subject.role == "whole":  # no subset is as large
            return []
        real, pool = self.sample(bench)
        run, found = bench.run("fp32"), []
        for space, code, flop in self.spaces(subject, bench):
            cost = (len(subject.made.labels) + self.reference + self.pool) * flop
            paths = subject.train.path, real.path, pool.path
            work = partial(compare, space, subject.made.normalisation, *paths, self.subsets, run)
            told = code, real.hash, pool.hash, self.subsets
            found.append(subject.piece(bench, space.name, work, recipe=told, seed=0, cost=cost, steps=1 + self.subsets))
        return found

    def spaces(self, subject: Subject, bench: Bench) -> Iterator[tuple[Space, str, int]]:
        """With what tells each from others of its name, and the operations of an image."""
        task, normalisation = bench.task, subject.made.normalisation
        flop = task.network.flop(task.shape)
        yield Space(PIXELS), "", 0
        code = task.network.key or str(bench.passing)  # one without a key may be another the next time
        yield Space("unlearned features", task.network, normalisation), code, NETWORKS * flop
        if self.trained:
            (trained,) = list_trained(bench.kept["whole"], bench)
            yield Space("trained features", trained, normalisation), trained.path.name, flop
        if task.encoder is not None:
            space = Space("features of an encoder", task.encoder, task.encoder.given)
            yield space, task.encoder.identity, task.encoder.flop

    def measures(self, found: Mapping[Subject, Sequence[Found]], bench: Bench) -> list[Measure]:
        return [
            subject.measure(self.name, f"{name}, {one['of']}", value, unit, tested=one["reference"])
            for subject, own in found.items()
            for one in own
            for name, value, unit in tell(one, bench.task.classes)
        ]


def compare(
    space: Space,
    normalisation: AnyNormalisation,
    train: Path,
    real: Path,
    pool: Path,
    subsets: int,
    run: Run,
    tick: Tick,
) -> Found:
    """What a set measures, and what each of so many real subsets does, over all classes and in each."""
    made, whole, others = (read_tensors(path)[0] for path in (train, real, pool))
    images = unit(whole["x"]), unit(others["x"]), normalisation.to_pixels(made["x"])
    with use_precision("fp32"), use_device(run.device):
        embed = space.embedding(images[0].to(run.device), run)
        features = [embed(x.to(run.device)).cpu() for x in images]
    plane = Plane.of(features[0])
    near, points, own = map(plane.place, features)
    found: Found = {"of": space.name, "reference": len(near), "voronoi": voronoi(near, own).tolist()}
    found["set"] = measure(near, whole["y"], own, made["y"], images[2])
    found["subsets"] = []
    tick()
    for i in range(subsets):
        rows = draw_alike(others["y"], made["y"], Rng(("audit", "subset", i)))
        found["subsets"].append(measure(near, whole["y"], points[rows], others["y"][rows], images[1][rows]))
        tick()
    return found


def draw_alike(classes: Int[Tensor, " n"], wanted: Labels, rng: Rng) -> Labels:
    """Random rows of `classes`, as many of each as there are in `wanted`."""
    order = torch.randperm(len(classes), generator=rng.generator())
    counts = wanted.bincount().tolist()
    return torch.cat([order[classes[order] == c][:count] for c, count in enumerate(counts)])


def measure(
    x: Float[Tensor, "n d"],
    x_labels: Int[Tensor, " n"],
    y: Float[Tensor, "m d"],
    y_labels: Labels,
    pixels: Float[Tensor, "m c h w"],
) -> dict[str, Measured]:
    """Everything over all classes, and two numbers in each class, by its number."""
    found = {"all": measure_closeness(x, y, y_labels, Rng(("audit", "closeness"))) | measure_pixels(pixels)}
    for c in y_labels.unique().tolist():
        real, own = x[x_labels == c], y[y_labels == c]
        if len(real) > 1:
            found[str(c)] = {"KID": kid(real, own), "density": density_and_coverage(real, own)[0]}
    return found


def measure_pixels(x: Pixels) -> Measured:
    """How much lies beyond black and white; how much neighbours differ; how much is finer than two pixels."""
    beyond = ((x < -1e-4) | (x > 1 + 1e-4)).double().mean().item()
    variation = (x.diff(dim=2).abs().mean() + x.diff(dim=3).abs().mean()).item()
    power = torch.fft.fft2(x - x.mean((2, 3), keepdim=True)).abs().square()
    high = [torch.fft.fftfreq(n).abs() > 0.25 for n in x.shape[2:]]
    fine = (power * (high[0][:, None] | high[1])).sum() / power.sum().clamp_min(1e-12)
    return dict(zip(PIXEL_MEASURES, (100 * beyond, variation, fine.item()), strict=True))


def tell(one: Found, classes: Sequence[str]) -> Iterator[tuple[str, float | None, str]]:
    """Names, values and units: z-scores, and the numbers themselves where readers know them from elsewhere."""
    for key, values in one["set"].items():
        where = "" if key == "all" else f" of {classes[int(key)]}"
        for name, value in values.items():
            if value is None or (one["of"] != PIXELS and name in PIXEL_MEASURES):
                continue  # the set is too small for it; or no features take part in it, and once is enough
            if name in HEADLINES and not where:
                yield name, value, ""
            yield f"{name}{where}, z", standardise(value, [subset[key][name] for subset in one["subsets"]]), "σ"


def standardise(value: float | None, null: Sequence[float | None]) -> float | None:
    """How many deviations the value is away from the mean of what real subsets give; `None` where they do not vary."""
    known = [each for each in null if each is not None]
    if value is None or len(known) < 2 or (deviation := statistics.stdev(known)) == 0:
        return None
    return (value - statistics.fmean(known)) / deviation
